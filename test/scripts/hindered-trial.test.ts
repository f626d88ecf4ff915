import { type ChildProcess, spawn } from 'node:child_process';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { DOUBLES, OPTIONAL_TOOLS, REAL_TOOLS } from '../../src/lab/doubles/index.ts';
import { handOver } from '../../src/lab/node-tree.ts';
import { SYSTEM_TOOLS } from '../../src/lab/system-image.ts';
import { type ScriptArguments, composeScript } from '../../src/remote/compose.ts';
import { DEAD_MAN_WATCH, type StepScript } from '../../src/remote/scripts/index.ts';
import { makeBin, toolPath } from './node-bed.ts';
import { exec, expectRefused, node, nodeAt, prepareStages, rooted, toB, use, yard } from './stages.ts';

prepareStages();

let holder: ChildProcess | undefined;
afterEach(async () => {
  await node.machine.killAll();
  holder?.stdin?.end();
  holder = undefined;
});

/** It looks more often, and waits less, so that the tests need not. */
const QUICK = [
  ['left=5', 'left=1'],
  ['flock -w 20 9', 'flock -w 1 9'],
  ['LONG_OVERDUE_SECONDS=300', 'LONG_OVERDUE_SECONDS=1'],
] as const;
const WATCH = composeScript(
  QUICK.reduce((text, [slow, quick]) => {
    expect(text).toContain(slow);
    return text.replaceAll(slow, quick);
  }, DEAD_MAN_WATCH),
  {},
);
const BOOT_OF_A = { kind: 'up', slot: 'A', trial: false };

async function untilOrdered(): Promise<void> {
  const deadline = Date.now() + 60_000;
  const isOrdered = (): Promise<boolean> =>
    access(path.join(node.machine.stateDir, 'reboot')).then(
      () => true,
      () => false,
    );
  while (!(await isOrdered())) {
    if (Date.now() > deadline) throw new Error('no reboot is ordered');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** From now on what looks for it hangs. */
async function hang(): Promise<void> {
  await writeFile(path.join(node.machine.stateDir, 'hung'), '');
  await handOver(node.machine.dir, node.machine.identity);
}
const IF_HUNG = 'if [ -e "$KUBEOS_LAB_NODE/state/hung" ]; then exec sleep 1000; fi';

describe('a trial whose syslog reads no more', () => {
  async function trial(): Promise<void> {
    await nodeAt('trial');
    const timeout = `#!/bin/sh\n[ "$1" = 5 ] && shift && exec ${await exec('timeout')} 0.2 "$@"\n`;
    await use({ timeout, logger: `#!/bin/sh\n${IF_HUNG}\n` });
  }

  it("is brought back by its dead man's timer", async () => {
    await trial();
    await node.must('dead-man', { span: 1, payload: WATCH });
    await hang();
    await untilOrdered();
    expect(await node.machine.boot()).toMatchObject(BOOT_OF_A);
  });

  it('is sent back', async () => {
    await trial();
    await hang();
    await node.must('reboot', { purpose: 'send-back' });
    await untilOrdered();
    expect(await node.machine.boot()).toMatchObject(BOOT_OF_A);
  });

  it('is proven and committed', async () => {
    await trial();
    await hang();
    await node.must('dead-man', { span: 600, payload: WATCH });
    await node.must('prove', toB);
    await node.must('commit', { target: 'B' });
    expect(await node.observe()).toMatchObject({ 'journal.phase': 'committed', 'env.saved': 'B' });
  });
});

it('a script that hangs with the lock does not keep a trial for ever', async () => {
  await nodeAt('trial');
  await use({ dd: `#!/bin/sh\ncase $* in *journal.new*) ${IF_HUNG} ;; esac\nexec ${await exec('dd')} "$@"\n` });
  await node.must('dead-man', { span: 2, payload: WATCH });
  await hang();
  const hung = node.run('prove', toB);
  await untilOrdered();
  expect(await readFile(rooted('var/log/messages'), 'utf8')).toContain(
    'a script of it hangs: the node reboots by itself',
  );
  await node.machine.killAll();
  expect((await hung).ended).not.toBe('ok');
  expect(await node.machine.boot()).toMatchObject(BOOT_OF_A);
});

describe('a trial whose system lacks a tool', () => {
  it.each(['df', 'cmp', 'blockdev', 'grub2-editenv'])('(%s) is not proven, and led back', async (tool) => {
    await nodeAt('trial');
    await use({ [tool]: '' });
    expect((await node.ask('boot-report')).values).toMatchObject({ active: 'B' });
    await node.must('dead-man', { span: 600, payload: WATCH });
    expectRefused(await node.run('prove', toB), 'missing-tool', tool);
    await node.must('reboot', { purpose: 'send-back' });
    await untilOrdered();
    expect(await node.machine.boot()).toMatchObject(BOOT_OF_A);
  });
});

describe('a trial whose system has no tools but those that are asked of it', () => {
  async function bareTrial(): Promise<void> {
    await nodeAt('trial');
    const all = path.join(yard.dir, 'all-tools');
    await access(all).catch(() => makeBin(all, 'dash'));
    const taken = [...REAL_TOOLS, ...OPTIONAL_TOOLS].filter((tool) => !SYSTEM_TOOLS.includes(tool));
    // A double is a script, which a real tool is not: it may use them all.
    const doubles = Object.entries(DOUBLES).map(([name, text]): [string, string] => [
      name,
      SYSTEM_TOOLS.includes(name) ? text.replace('\n', `\nPATH=${all}\n`) : '',
    ]);
    await use({ ...Object.fromEntries(taken.map((tool) => [tool, ''])), ...Object.fromEntries(doubles) });
  }

  /** Without a word of what is not there. */
  async function silently(step: StepScript, args: ScriptArguments): Promise<void> {
    expect((await node.must(step, args)).stderr).toBe('');
  }

  it('is proven and committed', async () => {
    await bareTrial();
    await silently('dead-man', { span: 600, payload: WATCH });
    await silently('prove', toB);
    await silently('commit', { target: 'B' });
    expect(await node.observe()).toMatchObject({ 'journal.phase': 'committed', active: 'B', 'env.saved': 'B' });
  });

  it("is brought back by its dead man's timer", async () => {
    await bareTrial();
    await silently('dead-man', { span: 1, payload: WATCH });
    await untilOrdered();
    expect(await node.machine.boot()).toMatchObject(BOOT_OF_A);
  });

  it('is sent back, and its run is closed', async () => {
    await bareTrial();
    await silently('reboot', { purpose: 'send-back' });
    await untilOrdered();
    expect(await node.machine.boot()).toMatchObject(BOOT_OF_A);
    await silently('close', { outcome: 'fell-back', reason: 'it was sick' });
    const seen = await node.ask('observe');
    expect([seen.stderr, seen.values]).toEqual(['', expect.objectContaining({ 'journal.phase': 'fell-back' })]);
  });
});

const why = process.getuid?.() === 0 ? undefined : 'it needs root, for a file system of its own';
if (why !== undefined) process.stderr.write(`NOT RUN  a trial whose /run is full: ${why}\n`);

describe.skipIf(why !== undefined)('a trial whose /run is full', () => {
  const MOUNT = `run=$1
mount -t tmpfs -o size=256k,mode=0755 none /mnt
cp -a "$run/." /mnt
mount --move /mnt "$run"
echo ready
read -r go
dd if=/dev/zero of="$run/filler" bs=4096 2>/dev/null || :
echo full
read -r end || :`;

  async function smallRun(): Promise<ChildProcess & { stdin: NodeJS.WritableStream; stdout: NodeJS.ReadableStream }> {
    await mkdir(rooted('run/kubeos'), { recursive: true });
    await handOver(node.machine.root, node.machine.identity);
    const child = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-euc', MOUNT, 'sh', rooted('run')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    holder = child;
    await said(child);
    const { uid, gid } = node.machine.identity!;
    const to = ['--target', String(child.pid), '--mount', '--setuid', String(uid), '--setgid', String(gid), '--'];
    node.inside = [await toolPath('nsenter'), ...to];
    return child;
  }

  const said = (child: ChildProcess): Promise<unknown> =>
    new Promise((resolve, reject) => {
      child.once('exit', () => reject(new Error('the file system could not be made')));
      child.stdout?.once('data', resolve);
    });

  async function fill(child: ChildProcess): Promise<void> {
    const full = said(child);
    child.stdin?.write('go\n');
    await full;
  }

  it("is brought back by its dead man's timer", async () => {
    await nodeAt('trial');
    const child = await smallRun();
    await node.must('dead-man', { span: 3, payload: WATCH });
    await fill(child);
    await untilOrdered();
    expect(await node.machine.boot()).toMatchObject(BOOT_OF_A);
  });

  it('is sent back', async () => {
    await nodeAt('trial');
    await fill(await smallRun());
    await node.must('reboot', { purpose: 'send-back' });
    await untilOrdered();
    expect(await node.machine.boot()).toMatchObject(BOOT_OF_A);
  });
});
