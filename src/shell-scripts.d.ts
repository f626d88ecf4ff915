/** A shell script embedded as text, without its comments: shell-scripts.js. */
declare module '*.sh' {
  const text: string;
  export default text;
}
