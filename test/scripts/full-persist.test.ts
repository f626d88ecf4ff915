import { type ChildProcess, spawn } from 'node:child_process';
import { access, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { handOver } from '../../src/lab/node-tree.ts';
import { composeScript } from '../../src/remote/compose.ts';
import { DEAD_MAN_WATCH } from '../../src/remote/scripts/index.ts';
import { SHELLS, type Shell, makeBin, toolPath } from './node-bed.ts';
import { begin, expectRefused, node, nodeAt, prepareStages, rooted, type Stage, toB, yard } from './stages.ts';

const why = process.getuid?.() === 0 ? undefined : 'they need root, for a file system of their own';
if (why !== undefined) process.stderr.write(`NOT RUN  a /persist that takes no note: ${why}\n`);

/** A /persist of its own that has no byte left, or turned read-only, and for how long this process reads. */
const MOUNT = `persist=$1
mount -t tmpfs -o size=128k,mode=0755 none /mnt
cp -a "$persist/kubeos" /mnt
mount --move /mnt "$persist"
case $2 in
full) dd if=/dev/zero of="$persist/filler" bs=4096 2>/dev/null || : ;;
read-only) mount -o remount,ro "$persist" ;;
esac
echo ready
read -r end || :`;

const HOW = { full: 'No space left on device', 'read-only': 'Read-only file system' };
type How = keyof typeof HOW;
const WATCH = composeScript(DEAD_MAN_WATCH, {});
const BOOT_OF_A = { kind: 'up', slot: 'A', trial: false };

describe.skipIf(why !== undefined)('a /persist that takes no note', () => {
  prepareStages();

  const bins = new Map<Shell, string>();
  let holder: ChildProcess | undefined;

  beforeAll(async () => {
    for (const shell of SHELLS) bins.set(shell, await makeBin(path.join(yard.dir, `bin-${shell}`), shell));
  });

  afterEach(async () => {
    await node.machine.killAll();
    holder?.stdin?.end();
    holder = undefined;
  });

  /** A node whose GRUB could not clear what it was told for one boot. */
  async function nodeWith(how: How, shell: Shell, stage: Stage): Promise<void> {
    await nodeAt(stage);
    node.bin = bins.get(shell)!;
    await node.machine.setGrubVariables({ next_entry: 'B' });
    await mkdir(rooted('run/kubeos'), { recursive: true });
    await handOver(node.machine.root, node.machine.identity);
    const script = ['sh', '-euc', MOUNT, 'sh', rooted('persist'), how];
    const child = spawn('unshare', ['--mount', '--propagation', 'private', ...script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    holder = child;
    await new Promise((resolve, reject) => {
      child.once('exit', () => reject(new Error('the file system could not be made')));
      child.stdout.once('data', resolve);
    });
    const { uid, gid } = node.machine.identity!;
    const to = ['--target', String(child.pid), '--mount', '--setuid', String(uid), '--setgid', String(gid), '--'];
    node.inside = [await toolPath('nsenter'), ...to];
  }

  async function untilOrdered(): Promise<void> {
    const deadline = Date.now() + 60_000;
    const ordered = path.join(node.machine.stateDir, 'reboot');
    for (;;) {
      const is = await access(ordered).then(
        () => true,
        () => false,
      );
      if (is) return;
      if (Date.now() > deadline) throw new Error('no reboot is ordered');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  const CASES = SHELLS.flatMap((shell) => (['full', 'read-only'] as const).map((how) => [how, shell] as const));

  it.each(CASES)('(%s) leads back from a trial, whichever run asks, sh is %s', async (how, shell) => {
    await nodeWith(how, shell, 'trial');
    expectRefused(await node.run('prove', toB), 'state', HOW[how]);
    // A newer run: its token counts on this boot.
    const older = node.by;
    node.by = { run: 'run-2', token: 2 };
    expect((await node.must('claim')).values).toEqual({ token: '2' });
    expectRefused(await node.run('claim', older), 'stale-token', 'the node has seen 2');
    expect(await node.observe()).toMatchObject({ token: '2' });
    expect((await node.must('begin', begin())).values).toEqual({ phase: 'armed' });
    expectRefused(await node.run('prove', toB), 'state', HOW[how]);
    expect((await node.must('reboot', { purpose: 'send-back' })).values).toEqual({ accepted: 'yes' });
    await untilOrdered();
    expect(await node.machine.boot()).toMatchObject(BOOT_OF_A);
  });

  it.each(CASES)("(%s) does not stop the dead man's timer, sh is %s", async (how, shell) => {
    await nodeWith(how, shell, 'trial');
    await node.must('dead-man', { span: 1, payload: WATCH });
    await untilOrdered();
    const variables = await node.machine.grubVariables();
    expect(variables?.get('saved_entry')).toBe('A');
    expect(variables?.get('next_entry') ?? '').toBe('');
    expect(await readFile(rooted('var/log/messages'), 'utf8')).toContain('the node went back by itself');
    expect(await node.machine.boot()).toMatchObject(BOOT_OF_A);
  });

  it('refuses a newer run all that begins something', async () => {
    await nodeWith('full', 'dash', 'armed');
    node.by = { run: 'run-2', token: 2 };
    for (const [step, args] of [
      ['claim', {}],
      ['begin', begin()],
      ['arm', toB],
      ['reboot', { purpose: 'trial' }],
    ] as const) {
      expectRefused(await node.run(step, args), 'state', 'No space left on device');
    }
    expect((await node.run('reboot', { purpose: 'trial', run: 'run-1', token: 1 })).ended).toBe('ok');
  });

  it.each([
    ['reboot', { purpose: 'send-back' }],
    ['dead-man', { span: 1, payload: WATCH }],
  ] as const)('where there is room, %s notes that GRUB cleared nothing, asked once or twice', async (step, args) => {
    await nodeAt('trial');
    await node.machine.setGrubVariables({ next_entry: 'B' });
    await node.must(step, args);
    await untilOrdered();
    await node.machine.killAll();
    await node.must('reboot', { purpose: 'send-back' });
    expect(await readFile(rooted('persist/kubeos/grub'), 'utf8')).toBe('no');
  });
});
