import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeGrubenv, readGrubenv } from '../../src/lab/grubenv.ts';

const exec = promisify(execFile);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kubeos-grubenv-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

it('reads and writes the environment as GRUB’s own tool does', async () => {
  const file = path.join(folder, 'grubenv');
  await writeFile(
    file,
    makeGrubenv([
      ['saved_entry', 'A'],
      ['odd', 'a\\b\nc'],
      ['next_entry', ''],
    ]),
  );
  const { stdout } = await exec('grub-editenv', [file, 'list']);
  expect(stdout).toBe('saved_entry=A\nodd=a\\b\nc\nnext_entry=\n');
  await exec('grub-editenv', [file, 'set', 'saved_entry=B', 'more=x\\y']);
  expect([...(readGrubenv(await readFile(file)) ?? [])]).toEqual([
    ['saved_entry', 'B'],
    ['odd', 'a\\b\nc'],
    ['next_entry', ''],
    ['more', 'x\\y'],
  ]);
});
