import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DOUBLES } from '../../src/lab/doubles/index.ts';
import { makeGrubenv, readGrubenv } from '../../src/lab/grubenv.ts';
import { findTool } from '../../src/lab/tools.ts';

const exec = promisify(execFile);
const GRUBENV_BYTES = 1024;

let folder: string;
let env: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kubeos-grubenv-'));
  await writeFile(path.join(folder, 'double'), DOUBLES['grub2-editenv'] ?? '');
  await chmod(path.join(folder, 'double'), 0o755);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

beforeEach(() => {
  count += 1;
  env = path.join(folder, `grubenv-${count}`);
});

/** GRUB's own tool, as Debian names it, and the lab's double of it: node scripts must not tell them apart. */
describe.each(['grub-editenv', 'the double'])('%s', (which) => {
  const edit = async (...args: string[]): Promise<string> => {
    const tool = which === 'the double' ? path.join(folder, 'double') : await findTool(which);
    if (tool === undefined) throw new Error('this test needs grub-editenv (Debian: grub-common)');
    return (await exec(tool, [env, ...args])).stdout;
  };
  const bytes = async (): Promise<string> => (await readFile(env)).toString('latin1');

  it('makes a file of exactly 1024 bytes, even where it is only to list', async () => {
    expect(await edit('list')).toBe('');
    expect((await stat(env)).size).toBe(GRUBENV_BYTES);
    expect(await bytes()).toMatch(/^# GRUB Environment Block\n# WARNING[^\n]*\n#+$/);
    await edit('set', 'a=1');
    await edit('create');
    expect(await edit('list')).toBe('');
  });

  it('sets both entries in one call, changes and removes them, and keeps the size', async () => {
    await edit('create');
    await edit('set', 'saved_entry=A', 'next_entry=B');
    expect(await edit('list')).toBe('saved_entry=A\nnext_entry=B\n');
    await edit('set', 'saved_entry=KubeOS-B');
    expect(await edit('list')).toBe('saved_entry=KubeOS-B\nnext_entry=B\n');
    await edit('unset', 'prev_saved_entry', 'next_entry');
    expect(await edit('list')).toBe('saved_entry=KubeOS-B\n');
    await edit('unset', 'saved_entry');
    await edit('set', 'next_entry=');
    expect(await edit('list')).toBe('next_entry=\n');
    expect((await stat(env)).size).toBe(GRUBENV_BYTES);
  });

  it('keeps backslashes, line feeds and number signs in values', async () => {
    await edit('set', 'a=x\\y#z\nw', 'b=#', 'c=d=e');
    expect(await edit('list')).toBe('a=x\\y#z\nw\nb=#\nc=d=e\n');
    expect(await bytes()).toContain('\na=x\\\\y#z\\\nw\nb=#\nc=d=e\n###');
    await edit('unset', 'a');
    expect(await edit('list')).toBe('b=#\nc=d=e\n');
  });

  it('reads what the lab’s firmware writes, and the other way round', async () => {
    await writeFile(
      env,
      makeGrubenv([
        ['saved_entry', 'B'],
        ['note', 'a\\b\nc'],
      ]),
    );
    expect(await edit('list')).toBe('saved_entry=B\nnote=a\\b\nc\n');
    await edit('set', 'next_entry=A');
    expect([...(readGrubenv(await readFile(env)) ?? [])]).toEqual([
      ['saved_entry', 'B'],
      ['note', 'a\\b\nc'],
      ['next_entry', 'A'],
    ]);
  });

  it('refuses what does not fit, and leaves the file as it was', async () => {
    await edit('set', 'saved_entry=A');
    const before = await bytes();
    await expect(edit('set', `long=${'x'.repeat(GRUBENV_BYTES)}`)).rejects.toMatchObject({ code: 1 });
    expect(await bytes()).toBe(before);
  });

  it.each([
    ['set', 'saved_entry=B', 'no equals sign'],
    ['sett', 'a=b'],
  ])('refuses %s %s and changes nothing', async (...args) => {
    await edit('set', 'saved_entry=A');
    const before = await bytes();
    await expect(edit(...args)).rejects.toMatchObject({ code: 1 });
    expect(await bytes()).toBe(before);
  });

  it.each(['', 'hello\n', 'X'.repeat(GRUBENV_BYTES)])('refuses a file that is no environment', async (content) => {
    await writeFile(env, content);
    for (const args of [['list'], ['set', 'a=1'], ['unset', 'a']]) {
      await expect(edit(...args)).rejects.toMatchObject({ code: 1 });
    }
    expect(await bytes()).toBe(content);
  });

  it('still lists a file of 1025 bytes, but writes no more into it', async () => {
    await edit('set', 'saved_entry=A');
    await writeFile(env, `${await bytes()}x`);
    expect(await edit('list')).toBe('saved_entry=A\n');
    await expect(edit('set', 'next_entry=B')).rejects.toMatchObject({ code: 1 });
  });
});
