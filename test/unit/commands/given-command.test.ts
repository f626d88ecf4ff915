import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fileWord, givenCommand, shellWord } from '../../../src/commands/given-command.ts';

describe('the command that is told to be given', () => {
  it.each([
    ['as it was', ['upgrade', '-f', 'upgrade.yaml'], 'kubeos upgrade -f upgrade.yaml'],
    ['with its flags', ['rollback', '--to-previous', '--nodes', 'a,b'], 'kubeos rollback --to-previous --nodes a,b'],
    ['quoted for a shell', ['upgrade', '-f', "it's my.yaml"], String.raw`kubeos upgrade -f 'it'\''s my.yaml'`],
    ['with selectors', ['upgrade', '-f', 'a', '-l', 'pool in (a, b)'], "kubeos upgrade -f a -l 'pool in (a, b)'"],
  ])('%s', (_what, argv, expected) => {
    expect(givenCommand(argv)).toBe(expected);
  });

  it('has another verb and leaves flags out where that is wanted', () => {
    const argv = ['plan', '-f', 'plan', '--detailed-exitcode', '--canary', '0'];
    expect(givenCommand(argv, { verb: 'upgrade', without: ['--detailed-exitcode'] })).toBe(
      'kubeos upgrade -f plan --canary 0',
    );
  });

  it.each([['-f', '-'], ['--file', '-'], ['--file=-'], ['-f-'], ['-f', '/dev/fd/63'], ['-f', '/dev/stdin']])(
    'cannot read a pipe twice: %s %s',
    (...words) => {
      expect(givenCommand(['upgrade', ...words, '-y'])).toMatch(
        /^kubeos upgrade (?:-f|--file)[ =]?FILE -y {2}# FILE: the spec that was piped in$/,
      );
    },
  );

  it('names a file so that it can be copied', () => {
    expect([fileWord('a.yaml'), fileWord('a b.yaml'), fileWord('-')]).toEqual(['a.yaml', "'a b.yaml'", 'FILE']);
  });

  it('quotes any word so that a shell reads it back', () => {
    const words = fc.sample(fc.string({ unit: 'grapheme', minLength: 1 }), { numRuns: 100, seed: 7 });
    const given = words.map((word) => word.replaceAll('\0', ''));
    const read = execFileSync('/bin/sh', ['-c', `printf '%s\\0' ${given.map(shellWord).join(' ')}`], {
      encoding: 'utf8',
    });
    expect(read.split('\0').slice(0, -1)).toEqual(given);
  });
});
