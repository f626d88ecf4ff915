import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { handOver } from '../../src/lab/node-tree.ts';
import { sha256OfFile } from '../../src/lab/system-image.ts';
import { type ScriptArguments, composeFedCall } from '../../src/remote/compose.ts';
import { SCRIPTS, type StepScript } from '../../src/remote/scripts/index.ts';
import { copyNode } from './kill.ts';
import { MIB, type Node, SHELLS, type Shell, makeBin, makeImage, makeNode, makeYard, toolPath } from './node-bed.ts';

let yard: Awaited<ReturnType<typeof makeYard>>;
let image: Buffer;
let sha256: string;
let template: Node;
let node: Node;
let copies = 0;

beforeAll(async () => {
  yard = await makeYard();
  // What a shell would run, were it to read the image as its script.
  image = Buffer.concat([Buffer.from('\ntouch /tmp/ran; exit 3\n'), randomBytes(MIB)]);
  await writeFile(path.join(yard.dir, 'update.img'), image);
  sha256 = await sha256OfFile(path.join(yard.dir, 'update.img'));
  const bin = await makeBin(path.join(yard.dir, 'bin'), 'dash');
  template = await makeNode(yard.dir, bin, await makeImage(yard.dir, 'KubeOS 1.0.0', { sizeBytes: 2 * MIB }));
});

afterAll(() => yard.remove());

async function fresh(shell: Shell = 'dash'): Promise<void> {
  copies += 1;
  node = await copyNode(template, path.join(yard.dir, `copy-${copies}`));
  if (shell !== 'dash') node.bin = await makeBin(path.join(yard.dir, `bin-${copies}`), shell);
}

const rooted = (name: string): string => path.join(node.machine.root, name);
const part = (): string => rooted('persist/KubeOS-Update/update.img.part');
const sizeOfPart = async (): Promise<number> => (await stat(part()).catch(() => ({ size: 0 }))).size;

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await what())) {
    if (Date.now() > deadline) throw new Error(`never came: ${String(what)}`);
    await setTimeout(20);
  }
}

interface Receiver {
  child: ChildProcessWithoutNullStreams;
  /** Its answers so far. */
  said(): string;
  ended: Promise<number | null>;
}

/** The script as kubeos sends it, its input left open. */
function receive(args: Record<string, string | number> = {}): Receiver {
  const call = { ...node.by, sha256, bytes: image.length, ...args };
  const child = spawn(path.join(node.bin, 'sh'), ['-s'], {
    env: node.machine.env(node.bin),
    cwd: node.machine.root,
    ...(node.machine.identity ?? {}),
  });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString('latin1')));
  child.stderr.resume();
  child.stdin.on('error', () => undefined);
  child.stdin.write(composeFedCall(SCRIPTS.receive, call));
  return { child, said: () => said, ended: new Promise((resolve) => child.once('close', resolve)) };
}

const isReady = (one: Receiver): Promise<void> => until(() => /^ready=yes$/m.test(one.said()));
const offsetOf = (one: Receiver): number => Number(/^offset=(\d+)$/m.exec(one.said())?.[1]);
const staged = () => node.run('stage', { via: 'ssh', sha256, bytes: image.length });

describe('an image that kubeos sends', () => {
  it.each(SHELLS)('is taken byte by byte, none of it read as a script, and then verified, under %s', async (shell) => {
    await fresh(shell);
    const one = receive();
    await isReady(one);
    one.child.stdin.end(image);
    expect(await one.ended).toBe(0);
    expect((await readFile(part())).equals(image)).toBe(true);
    expect(await staged()).toMatchObject({ ended: 'ok', values: { bytes: String(image.length) } });
    expect(await sha256OfFile(rooted('persist/KubeOS-Update/update.img'))).toBe(sha256);
    const again = receive();
    expect(await again.ended).toBe(0);
    expect(again.said()).toBe(`kubeos-answer:\noffset=${image.length}\n`);
  });

  it('goes on where the connection broke', async () => {
    await fresh();
    const one = receive();
    await isReady(one);
    one.child.stdin.end(image.subarray(0, 300_000));
    expect(await one.ended).toBe(0);
    expect(await staged()).toMatchObject({ ended: 'ok', values: { arrived: 'no' } });
    const rest = receive();
    await isReady(rest);
    expect(offsetOf(rest)).toBe(300_000);
    rest.child.stdin.end(image.subarray(300_000));
    await rest.ended;
    expect((await staged()).values).toEqual({ bytes: String(image.length) });
  });

  it('waits for the receiver before it, which a disk that hangs lets nobody end', async () => {
    await fresh();
    await mkdir(rooted('run/kubeos'), { recursive: true });
    await handOver(node.machine.root, node.machine.identity);
    const hold = [rooted('run/kubeos/work.lock'), 'sh', '-c', 'echo held; read -r end'];
    const older = spawn(await toolPath('flock'), hold, { stdio: ['pipe', 'pipe', 'ignore'], ...node.machine.identity });
    await new Promise((resolve) => older.stdout.once('data', resolve));
    const one = receive();
    await until(async () => (await commandLines()).some((words) => words.join(' ').endsWith('-w 120 8')));
    older.stdin.end();
    await isReady(one);
    one.child.stdin.end(image);
    expect(await one.ended).toBe(0);
  });

  async function commandLines(): Promise<string[][]> {
    const pids = await node.machine.processes();
    const texts = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
    return texts.map((text) => text.split('\0').filter((word) => word !== ''));
  }

  it('may be what kubeos has decompressed: it is verified by a digest of its own, and goes by the spec’s', async () => {
    await fresh();
    const spec = 'a'.repeat(64);
    for (const sent of [image.subarray(0, 300_000), image.subarray(300_000)]) {
      const one = receive({ sha256: spec, data: sha256 });
      await isReady(one);
      one.child.stdin.end(sent);
      expect(await one.ended).toBe(0);
    }
    const answer = await node.run('stage', { via: 'ssh', sha256: spec, data: sha256, bytes: image.length });
    expect(answer.values).toEqual({ bytes: String(image.length) });
    const record = await readFile(rooted('persist/kubeos/artifact'), 'utf8');
    expect(record).toContain(`sha256=${spec}\n`);
    expect(record).toContain(`data_sha256=${sha256}\n`);
  });

  it.each(SHELLS)(
    'takes the place of one that the node cannot decompress any more, which stage says, under %s',
    async (shell) => {
      await fresh(shell);
      const zipped = gzipSync(image);
      const spec = createHash('sha256').update(zipped).digest('hex');
      const sent = { sha256: spec, bytes: zipped.length };
      const first = receive(sent);
      await isReady(first);
      first.child.stdin.end(zipped);
      await first.ended;
      expect((await node.run('stage', { ...sent, via: 'ssh' })).ended).toBe('ok');
      expect(await node.observe()).toMatchObject({ 'artifact.sha256': spec });
      expect(await node.observe()).not.toHaveProperty(['artifact.lacks']);
      node.bin = await makeBin(path.join(yard.dir, `bin-bare-${copies}`), shell, { gzip: '' });
      expect(await node.observe()).toMatchObject({ 'artifact.sha256': spec, 'artifact.lacks': 'gzip' });
      const told = await node.run('stage', { ...sent, via: 'ssh' });
      expect([told.ended, told.stdout]).toEqual(['missing-tool', '']);
      expect(told.stderr).toContain('the image is compressed with gzip, and the node has no gzip');

      const inside = { sha256: spec, bytes: image.length, data: sha256 };
      const one = receive(inside);
      await isReady(one);
      expect(offsetOf(one)).toBe(0);
      one.child.stdin.end(image);
      await one.ended;
      expect((await node.run('stage', { ...inside, via: 'ssh' })).values).toEqual({ bytes: String(image.length) });
      expect(await node.observe()).toMatchObject({ 'artifact.sha256': spec, 'artifact.bytes': String(image.length) });
    },
  );

  it('is written by nobody but the last who sends it: a connection that hangs is ended', async () => {
    await fresh();
    const hanging = receive();
    await isReady(hanging);
    hanging.child.stdin.write(image.subarray(0, 100_000));
    await until(async () => (await sizeOfPart()) === 100_000);
    const one = receive();
    await isReady(one);
    expect(offsetOf(one)).toBe(100_000);
    hanging.child.stdin.write(image.subarray(0, 100_000));
    expect(await hanging.ended).not.toBe(0);
    one.child.stdin.end(image.subarray(100_000));
    await one.ended;
    expect((await staged()).values).toEqual({ bytes: String(image.length) });
    expect(existsSync(rooted('run/kubeos/receiver'))).toBe(false);
  });

  const BACK = { operation: 'rollback', version: 'KubeOS 0.9.0', sha256: '' };
  it.each<[StepScript, ScriptArguments, string]>([
    ['stage-container', { imagetype: 'docker', reference: 'example.org/os:1', sha256: 'f'.repeat(64) }, 'missing-tool'],
    ['verify', { ...BACK, target: 'B' }, 'bad-content'],
  ])('keeps no %s waiting where its connection hangs', async (step, args, ended) => {
    await fresh();
    await node.must('begin', { ...BACK, replaced: 'KubeOS 1.0.0', from: 'A', target: 'B' });
    const hanging = receive();
    await isReady(hanging);
    expect((await node.run(step, args)).ended).toBe(ended);
    expect(await hanging.ended).not.toBe(0);
  });

  it('that was damaged on its way is thrown away, and no image', async () => {
    await fresh();
    const damaged = Buffer.from(image);
    damaged[500_000] = (damaged[500_000] ?? 0) ^ 1;
    const one = receive();
    await isReady(one);
    one.child.stdin.end(damaged);
    await one.ended;
    expect(await staged()).toMatchObject({ ended: 'ok', values: { arrived: 'no' } });
    expect(existsSync(part())).toBe(false);
    expect(existsSync(rooted('persist/KubeOS-Update/update.img'))).toBe(false);
  });

  it('takes the place of a part of another image, and of one that was renamed but not recorded', async () => {
    await fresh();
    await node.must('claim');
    await mkdir(path.dirname(part()), { recursive: true });
    await writeFile(rooted('persist/kubeos/part'), 'f'.repeat(64));
    await writeFile(part(), 'x'.repeat(1000));
    await handOver(node.machine.root, node.machine.identity);
    const one = receive();
    await isReady(one);
    expect(offsetOf(one)).toBe(0);
    one.child.stdin.end();
    await one.ended;
    await writeFile(rooted('persist/KubeOS-Update/update.img'), image);
    await handOver(node.machine.root, node.machine.identity);
    const renamed = receive();
    await renamed.ended;
    expect(offsetOf(renamed)).toBe(image.length);
    expect((await staged()).values).toEqual({ bytes: String(image.length) });
  });

  it('is refused by an older run, and where /persist has no room', async () => {
    await fresh();
    await node.must('claim');
    const older = receive({ token: 0 });
    expect(await older.ended).toBe(12);
    await handOver(node.machine.root, node.machine.identity);
    const huge = receive({ bytes: 900_000_000_000_000 });
    expect(await huge.ended).toBe(16);
    expect(huge.said()).toBe('kubeos-answer:\n');
  });
});
