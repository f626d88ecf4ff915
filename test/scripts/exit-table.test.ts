import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { SCRIPT_EXITS } from '../../src/remote/script-exits.ts';
import { SCRIPTS } from '../../src/remote/scripts/index.ts';

const page = await readFile(new URL('../../docs/node-protocol.md', import.meta.url), 'utf8');

const pairs = (text: string, pattern: RegExp, name: number, code: number): Record<string, number> =>
  Object.fromEntries([...text.matchAll(pattern)].map((match) => [match[name] ?? '', Number(match[code])]));

describe('the exit codes of node scripts', () => {
  it('are the same in TypeScript, in lib.sh and in the protocol', () => {
    expect(pairs(SCRIPTS.log, /^([a-z-]+)\)echo (\d+);;$/gm, 1, 2)).toEqual(SCRIPT_EXITS);
    expect(pairs(page, /^\| (\d+) \| ([a-z-]+) \|/gm, 2, 1)).toEqual(SCRIPT_EXITS);
  });

  it('are used by name, and each of them is used', () => {
    const text = Object.values(SCRIPTS).join('\n');
    const used = new Set([...text.matchAll(/\bdie ([a-z-]+) ['"]/g)].map((match) => match[1]));
    expect([...used].sort()).toEqual(Object.keys(SCRIPT_EXITS).sort());
  });

  it('belong to scripts that the protocol lists, each with its arguments', () => {
    const listed = [...page.matchAll(/^\| ([a-z-]+)(?: \[C\])?(?: ?\[L\])? \|/gm)].map((match) => match[1]);
    expect(Object.keys(SCRIPTS).every((step) => listed.includes(step))).toBe(true);
  });
});
