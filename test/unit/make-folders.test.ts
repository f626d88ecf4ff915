import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { makeFolders } from '../../src/make-folders.ts';

const root = mkdtempSync(path.join(tmpdir(), 'kubeos-folders-'));
const at = (...names: string[]): string => path.join(root, ...names);

afterAll(() => rmSync(root, { recursive: true }));

describe('making a folder and those above it', () => {
  it('makes all that is missing, with the mode, and is content with what is there', () => {
    makeFolders(at('a', 'b', 'c'), 0o700);
    makeFolders(at('a', 'b', 'c'), 0o755);
    expect(['a', 'a/b', 'a/b/c'].map((name) => statSync(at(name)).mode & 0o777)).toEqual([0o700, 0o700, 0o700]);
  });

  it('goes through a link to a folder', () => {
    mkdirSync(at('real'));
    symlinkSync('real', at('link'));
    makeFolders(at('link', 'below'));
    makeFolders(at('link'));
    expect(statSync(at('real', 'below')).isDirectory()).toBe(true);
  });

  it.runIf(process.platform === 'linux')('ends where the system makes none, as below /proc', () => {
    expect(() => makeFolders('/proc/nope/kubeos')).toThrow("ENOENT: no such file or directory, mkdir '/proc/nope'");
  });

  it('tells what is in the way', () => {
    writeFileSync(at('file'), '');
    symlinkSync('nowhere', at('dangling'));
    expect(() => makeFolders(at('file'))).toThrow('EEXIST');
    expect(() => makeFolders(at('file', 'below'))).toThrow('ENOTDIR');
    expect(() => makeFolders(at('dangling', 'below'))).toThrow('EEXIST');
  });
});
