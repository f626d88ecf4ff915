import { readFile } from 'node:fs/promises';
import { getPriority } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildSystemTar, compressImage } from '../../src/lab/system-tar.ts';
import { file, serve } from './image-server.ts';
import { MIB } from './node-bed.ts';
import { VERSION, begin, exec, image, node, nodeAt, prepareStages, rooted, use, verify, yard } from './stages.ts';

prepareStages();

/** What works as long as the image is big, by its name and, where not all that it does takes long, its arguments. */
const LONG: Readonly<Record<string, RegExp>> = {
  curl: /^--disable --config/,
  openssl: /^dgst/,
  gzip: /^-dc/,
  tar: /^--file=/,
  // With -n it writes nothing; out of a folder it is the double of umount that makes one.
  'mkfs.ext4': /^(?!-n )(?!.* -d )/,
  tee: /to-hash/,
  dd: /bs=(?:4M|65536)\b/,
};

/** Behind everybody else; a test run that is itself nice makes it nicer. */
const GENTLE = `${Math.min(19, getPriority() + 10)} best-effort: prio 7`;

interface Ran {
  tool: string;
  args: string;
  /** Its niceness, and what `ionice` says of it. */
  priority: string;
}

/** Lets each tool note how it was run before it becomes the real one. */
async function noteTools(): Promise<void> {
  const tools = await Promise.all(
    Object.keys(LONG).map(async (tool) => {
      const note = `echo "${tool}|$(nice) $(ionice -p $$)|$*" >>"$KUBEOS_ROOT/tmp/ran"`;
      return [tool, `#!/bin/sh\n${note}\nexec ${await exec(tool)} "$@"\n`] as const;
    }),
  );
  await use(Object.fromEntries(tools));
}

async function longOnes(): Promise<readonly Ran[]> {
  const lines = (await readFile(rooted('tmp/ran'), 'utf8')).trimEnd().split('\n');
  const ran = lines.map((line) => {
    const [tool = '', priority = '', ...args] = line.split('|');
    return { tool, priority, args: args.join('|') };
  });
  return ran.filter(({ tool, args }) => LONG[tool]?.test(args));
}

const toSlot = ({ args }: Ran): boolean => args.includes(`of=${rooted('dev/vda3')}`);

describe('an image is brought into the slot behind all other work of the node:', () => {
  it.each([
    ['plain', 'image', undefined, ['curl', 'dd', 'openssl']],
    ['plain, at a rate', 'image', 100 * MIB, ['curl', 'dd', 'openssl']],
    ['compressed', 'image.gz', undefined, ['curl', 'dd', 'gzip', 'openssl', 'tee']],
    ['a tar', 'tar', undefined, ['curl', 'mkfs.ext4', 'openssl', 'tar']],
  ] as const)('%s', async (_what, kind, rate, tools) => {
    const out = path.join(yard.dir, `gentle.${kind}`);
    const forms = {
      image: () => image,
      'image.gz': () => compressImage(image, 'gzip', out),
      tar: () => buildSystemTar({ version: VERSION, out }),
    };
    const { path: name, sha256 } = await forms[kind]();
    const server = await serve(file(name));
    await nodeAt('fresh');
    await noteTools();
    await node.must('begin', begin({ sha256 }));
    await node.must('stage', { url: server.url, sha256, flagsafe: true });
    await server.close();
    await node.must('write', { target: 'B', rate });
    await node.must('verify', verify({ sha256 }));
    const ran = await longOnes();
    expect([...new Set(ran.map(({ tool }) => tool))].sort()).toEqual(tools);
    expect(ran.filter(({ priority }) => priority !== GENTLE)).toEqual([]);
    if (kind !== 'tar') expect(ran.some(toSlot)).toBe(true);
  });
});
