/**
 * The one function that makes text safe for a shell: a single word of any POSIX sh, whatever it holds.
 * A NUL cannot be in a word (POSIX, 2.2), so it is refused.
 */
export function quote(text: string): string {
  if (text.includes('\0')) throw new TypeError('a shell word cannot hold a NUL');
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
