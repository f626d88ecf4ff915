/** A shell script embedded as text: by the build and, in tests, by the same rule in vitest.config.ts. */
declare module '*.sh' {
  const text: string;
  export default text;
}
