import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withLibrary } from '../../src/remote/scripts/index.ts';
import { SHELLS, type Shell, makeBin, makeYard, toolPath } from './node-bed.ts';

/** Names that tools quote by rules of their own, that are taken for options, or that sort before others by a blank. */
const NAMES = [
  'a',
  'a b',
  'a\nb',
  `a\n${'0'.repeat(64)} b`,
  'back\\slash',
  'b/-n',
  'b/c',
  'b.d',
  'café',
  'empty',
  'tab\there',
  'z',
];
const OWN = 'main() { tree_sum "$KUBEOS_ROOT/tree"; }';

let yard: Awaited<ReturnType<typeof makeYard>>;
let expected: string;
let bins = 0;
const rooted = (name: string): string => path.join(yard.dir, name);
const contentOf = (name: string): string => (name === 'empty' ? '' : `in ${name}`.padEnd(20, '.'));
const sha256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex');

beforeAll(async () => {
  yard = await makeYard();
  for (const folder of ['tree/b', 'persist/kubeos', 'run/kubeos']) await mkdir(rooted(folder), { recursive: true });
  for (const name of NAMES) await writeFile(rooted(`tree/${name}`), contentOf(name));
  const facts = ['-type', 'd', '-printf', 'd %m %U %G %p\\0', '-o', '-printf', '%y %m %U %G %n %s %p\\t%l\\0'];
  const found = spawnSync('find', ['.', ...facts], { cwd: rooted('tree'), encoding: 'latin1' }).stdout;
  const inOrder = (words: string[]): string[] =>
    words.map((word) => Buffer.from(word, 'latin1').toString('latin1')).sort();
  const names = inOrder(NAMES.map((name) => Buffer.from(name).toString('latin1')));
  const sums = names.map((name) => `${sha256(contentOf(Buffer.from(name, 'latin1').toString()))}\n`).join('');
  const sorted = inOrder(found.split('\0').slice(0, -1))
    .map((fact) => `${fact}\0`)
    .join('');
  expected = sha256(Buffer.from(`\n${sums}${sorted}`, 'latin1'));
});

afterAll(() => yard.remove());

interface Summing {
  shell?: Shell;
  /** Tools by name; '' takes one away. */
  tools?: Readonly<Record<string, string>>;
  /** As many files a group. */
  group?: number;
}

async function sum({ shell = 'dash', tools = {}, group }: Summing): Promise<{ status: number | null; sum: string }> {
  bins += 1;
  const bin = await makeBin(rooted(`bin-${bins}`), shell, tools);
  const library = withLibrary(OWN);
  const ran = spawnSync(path.join(bin, 'sh'), ['-s'], {
    input: `${group === undefined ? library : library.replace('-n 1024', `-n ${group}`)}\n{ main </dev/null; }\n`,
    encoding: 'utf8',
    env: { PATH: bin, KUBEOS_ROOT: yard.dir },
  });
  if (group !== undefined) expect(library).toContain('-n 1024');
  return { status: ran.status, sum: ran.stdout };
}

const refusing = async (tool: string, when: string): Promise<Record<string, string>> => ({
  [tool]: `#!/bin/sh\n${when} exit 1\nexec ${await toolPath(tool)} "$@"\n`,
});

describe.each(SHELLS)('the digest of a tree, under %s', (shell) => {
  it('is the one that is promised, in whatever groups its files are hashed', async () => {
    for (const group of [undefined, 1, 2, 3]) {
      expect(await sum({ shell, ...(group !== undefined && { group }) })).toEqual({ status: 0, sum: expected });
    }
  });

  it('is the same by whatever tool a node has', async () => {
    for (const tools of [{ openssl: '' }, { sha256sum: '' }, await refusing('xargs', '[ "$2" != -P ] ||')]) {
      expect(await sum({ shell, tools, group: 2 })).toEqual({ status: 0, sum: expected });
    }
  });

  it('is none where a file cannot be read, or the names cannot be sorted', async () => {
    for (const tools of [
      await refusing('openssl', 'case "$*" in *./z*) false ;; esac ||'),
      await refusing('sort', '[ "$LC_ALL" != C ] ||'),
      await refusing('sort', 'case "$*" in *-z*) false ;; esac ||'),
      await refusing('od', ''),
      await refusing('flock', ''),
      await refusing('tr', '[ "$1" != -s ] ||'),
      await refusing('tr', '[ "$#" != 2 ] ||'),
      await refusing('sed', 'case "$1" in *\\;*) false ;; esac ||'),
      await refusing('sed', 'case "$1" in *\\;*) ;; *) false ;; esac ||'),
      await refusing('find', 'case "$*" in *printf*) false ;; esac ||'),
    ]) {
      expect((await sum({ shell, tools, group: 2 })).status).not.toBe(0);
    }
  });
});

it('tells two files apart that have changed places', async () => {
  for (const [from, to] of [
    ['a', 'other'],
    ['z', 'a'],
    ['other', 'z'],
  ] as const) {
    await rename(rooted(`tree/${from}`), rooted(`tree/${to}`));
  }
  expect(await readFile(rooted('tree/a'), 'utf8')).toBe(contentOf('z'));
  const changed = await sum({});
  expect(changed.status).toBe(0);
  expect(changed.sum).not.toBe(expected);
});
