import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ANSWER_MARK, composeCall, composeScript } from '../../../src/remote/compose.ts';
import { quote } from '../../../src/remote/quote.ts';

const sh = (input: string) => spawnSync('/bin/sh', ['-s'], { input, encoding: 'utf8' });
const word = fc.string({ unit: 'binary', maxLength: 60 }).map((text) => text.replaceAll('\0', ''));
const nasty = fc.oneof(
  word,
  fc.constantFrom("'", "''", `a'b"c$(id)\`id\`\\`, '-n', '', ' ', '\n', '*', '~', '$HOME', '!1'),
);

describe('quote', () => {
  it('gives every text back as one word, through the real sh', () => {
    fc.assert(
      fc.property(fc.array(nasty, { minLength: 1, maxLength: 20 }), (words) => {
        const { stdout } = sh(`printf '%s\\0' ${words.map(quote).join(' ')}\n`);
        expect(stdout.split('\0').slice(0, -1)).toEqual(words);
      }),
      { numRuns: 60 },
    );
  });

  it('refuses what no shell word can hold', () => {
    expect(() => quote('a\0b')).toThrow(TypeError);
  });
});

const SCRIPT =
  '# a script without a last line break: nothing of it runs by itself\nset -eu\nsay() { echo "$1"; }\nmain() {\n\tfor argument; do say "got $argument"; done\n\tcat\n\treturn 7\n}';
const ARGS = { url: "https://x/y?a='b'", empty: '', count: 3, flag: false, absent: undefined };

describe('a composed script', () => {
  it('calls main with one key=value word for each argument, and leaves standard input empty', () => {
    const { stdout, status } = sh(composeScript(SCRIPT, ARGS));
    expect(stdout).toBe("got url=https://x/y?a='b'\ngot empty=\ngot count=3\ngot flag=false\n");
    expect(status).toBe(7);
  });

  it('marks where its answers begin, when they come straight back', () => {
    const { stdout, status } = sh(composeCall(SCRIPT, { a: 'b' }));
    expect(stdout).toBe(`${ANSWER_MARK}\ngot a=b\n`);
    expect(status).toBe(7);
  });

  it('runs nothing when it is cut off anywhere', () => {
    const whole = composeCall('main() { echo RAN "$@"; }\n', { a: 'one', b: 'two words', c: "it's" });
    for (let length = 0; length < whole.trimEnd().length; length++) {
      expect(sh(whole.slice(0, length)).stdout, whole.slice(0, length)).toBe('');
    }
    expect(sh(whole).stdout).toContain("RAN a=one b=two words c=it's");
  });
});
