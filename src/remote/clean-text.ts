import { redactUrls } from '../validate/index.ts';

const MAX_LINE = 2000;

/**
 * Makes text of another machine fit to be shown: no credentials in URLs, no control characters that a terminal would
 * act on, no invisible marks that turn the direction of writing, no endless line. Line breaks and tabs stay.
 */
export function cleanText(text: string): string {
  return redactUrls(text)
    .replaceAll('\r\n', '\n')
    .replaceAll(/(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '')
    .split('\n')
    .map((line) => (line.length > MAX_LINE ? `${line.slice(0, MAX_LINE)}…` : line))
    .join('\n');
}

/** The last `count` lines that hold anything. */
export function lastLines(text: string, count: number): string[] {
  return cleanText(text)
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '')
    .slice(-count);
}
