import { describe, expect, it } from 'vitest';
import { ConnectError, KubeosError } from '../../../src/errors.ts';
import { awaitBoot } from '../../../src/remote/await-boot.ts';
import { ANSWER_MARK } from '../../../src/remote/compose.ts';
import type { ExecResult } from '../../../src/remote/exec.ts';
import { jobId, runJob, type Job } from '../../../src/remote/jobs.ts';
import { NodeCalls } from '../../../src/remote/node-calls.ts';
import type { ConnectionPool } from '../../../src/remote/pool.ts';
import { orderReboot } from '../../../src/remote/reboot.ts';
import { SCRIPTS, type StepScript } from '../../../src/remote/scripts/index.ts';
import { DEFAULT_PATIENCE } from '../../../src/remote/settings.ts';
import type { ClusterNode } from '../../../src/rollout/facts.ts';
import type { StepProgress } from '../../../src/rollout/ports.ts';

const node = { name: 'worker-1' } as ClusterNode;
const by = { run: 'r', token: 1 };
const never = new AbortController().signal;

/** What the node says to a script: its answers, the failure of its connection, or an exit code. */
type Reply = string | ConnectError | Omit<ExecResult, 'stdout'>;

const LOST = new ConnectError('the SSH connection was lost', 'lost', { reason: 'reset' });
const REFUSED = new ConnectError('no SSH connection', 'unreachable', { reason: 'connection refused' });

/** A node that is nothing but a script of replies, under a clock that no one waits for. */
function stage(reply: (script: StepScript, now: number) => Reply) {
  let now = 0;
  const clock = {
    now: () => now,
    sleep: (ms: number, signal?: AbortSignal) => {
      now += Math.max(ms, 1);
      signal?.throwIfAborted();
      return Promise.resolve();
    },
  };
  const called: StepScript[] = [];
  const notices: string[] = [];
  const names = Object.keys(SCRIPTS) as StepScript[];
  const run = async (_command: string, input: string): Promise<ExecResult> => {
    await Promise.resolve();
    const found = names.find((name) => input.startsWith(SCRIPTS[name]));
    if (found === undefined) throw new Error('no such script');
    called.push(found);
    const said = reply(found, now);
    if (said instanceof ConnectError) throw said;
    const answers = typeof said === 'string' ? said : '';
    const ended = typeof said === 'string' ? { code: 0, stderr: '' } : said;
    return { ...ended, stdout: `${ANSWER_MARK}\n${answers}\n` };
  };
  const pool = { get: () => Promise.resolve({ user: 'root', shown: 'root@node', run }) } as unknown as ConnectionPool;
  const notice = (message: string) => notices.push(message);
  const calls = new NodeCalls(pool, clock, notice);
  return { tools: { calls, clock, patience: DEFAULT_PATIENCE, notice }, called, notices, clock };
}

const job: Job = { step: 'write', by, args: { target: 'B' }, mark: ['B', 'abc'] };

describe('a long step', () => {
  it('is polled over lost connections to its end, and says so once', async () => {
    const replies: Reply[] = [
      'state=running\ndone_bytes=5',
      LOST,
      REFUSED,
      REFUSED,
      'state=running\ndone_bytes=7\ntotal_bytes=9',
      'state=done\nrc=0\nout.bytes=9',
    ];
    const { tools, called, notices } = stage((script) => (script === 'poll' ? replies.shift()! : 'state=started'));
    const progress: StepProgress[] = [];
    const answers = await runJob(tools, node, job, (now) => progress.push(now), never);
    expect(answers.get('bytes')).toEqual(['9']);
    expect(progress).toEqual([{ doneBytes: 5 }, { doneBytes: 7, totalBytes: 9 }]);
    expect(called.filter((script) => script === 'launch')).toHaveLength(1);
    expect(notices).toEqual([expect.stringContaining('SSH is away'), 'the SSH connection is back']);
  });

  it('is given up after a quarter of an hour without the node, saying that it goes on there', async () => {
    const { tools, clock } = stage((script) => (script === 'poll' ? REFUSED : 'state=started'));
    const failed = runJob(tools, node, job, () => undefined, never);
    await expect(failed).rejects.toMatchObject({
      failure: 'lost',
      node: 'worker-1',
      step: 'write',
      message: 'the SSH connection was lost and could not be made again for 15m',
      reason: 'no SSH connection: connection refused',
    });
    expect(clock.now()).toBeGreaterThanOrEqual(DEFAULT_PATIENCE.jobMs);
  });

  it('is started again where it vanished, but not for ever', async () => {
    const { tools, called } = stage((script) => (script === 'poll' ? 'state=gone\nerr=Killed' : 'state=started'));
    await expect(runJob(tools, node, job, () => undefined, never)).rejects.toMatchObject({
      message: 'write vanished on the node 3 times',
      logTail: ['Killed'],
    });
    expect(called.filter((script) => script === 'launch')).toHaveLength(3);
  });

  it('that fails brings the name of its exit code and its last lines', async () => {
    const { tools } = stage((script) =>
      script === 'poll' ? 'state=done\nrc=22\nerr=dd: short write\nerr=slot B took 4 of 9 bytes' : 'state=started',
    );
    await expect(runJob(tools, node, job, () => undefined, never)).rejects.toMatchObject({
      message: 'the disk did not take the image',
      reason: 'slot B took 4 of 9 bytes',
      logTail: ['dd: short write', 'slot B took 4 of 9 bytes'],
    });
  });

  it('has the same name on the node for the same work, whoever asks', () => {
    expect(jobId(job)).toBe(jobId({ ...job }));
    expect(jobId(job)).toMatch(/^write-[0-9a-f]{16}$/);
    expect(jobId({ step: 'write', mark: ['B', 'abd'] })).not.toBe(jobId(job));
    expect(jobId({ step: 'write', mark: ['Ba', 'bc'] })).not.toBe(jobId(job));
  });
});

describe('once the connections are ended', () => {
  it('nothing waits for a node any more, be it at work, waiting or about to be ended', async () => {
    const stop = new AbortController();
    const { tools, called, clock } = stage((script) => {
      if (script === 'launch') return 'state=started';
      stop.abort(new Error('stopped'));
      tools.calls.close();
      return LOST;
    });
    await expect(runJob(tools, node, job, () => undefined, stop.signal)).rejects.toThrow('stopped');
    expect(called).toEqual(['launch', 'poll', 'end-job']);
    expect(clock.now()).toBeLessThan(1000);
  });

  it('a wait that has begun ends too, though its caller had no way to end it', async () => {
    const { calls, asleep } = sleeper();
    const call = calls.call(node, 'observe', {}, { patienceMs: 60_000 });
    await asleep;
    calls.close();
    await expect(call).rejects.toMatchObject({ failure: 'lost', message: 'kubeos has ended its SSH connections' });
  });
});

/** Calls to a node that answered once, under a clock whose sleepers wake by their signals alone. */
function sleeper() {
  let tell: () => void;
  const asleep = new Promise<void>((resolve) => (tell = resolve));
  const sleep = (_ms: number, signal?: AbortSignal): Promise<void> => {
    tell();
    return new Promise((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error));
    });
  };
  const run = () => Promise.reject(LOST);
  const pool = { get: () => Promise.resolve({ user: 'root', shown: 'root@node', run }) } as unknown as ConnectionPool;
  return { calls: new NodeCalls(pool, { now: () => 0, sleep }, () => undefined), asleep };
}

describe('a short call', () => {
  it('fails at once where the node was never reached', async () => {
    const { tools } = stage(() => REFUSED);
    const pool = { get: () => Promise.reject(REFUSED) } as unknown as ConnectionPool;
    const calls = new NodeCalls(pool, tools.clock, () => undefined);
    await expect(calls.call(node, 'observe', {}, { patienceMs: 60_000 })).rejects.toMatchObject({
      failure: 'unreachable',
      node: 'worker-1',
    });
    expect(tools.clock.now()).toBe(0);
  });

  it('is not repeated where its failure will not pass', async () => {
    const changed = new ConnectError('the host key has changed', 'host-key-changed');
    const { tools, called } = stage(() => changed);
    await expect(tools.calls.call(node, 'claim', {}, { patienceMs: 60_000 })).rejects.toMatchObject({
      failure: 'host-key-changed',
      step: 'claim',
    });
    expect(called).toHaveLength(1);
  });
});

describe('the order to reboot', () => {
  const report = (id: string) => `boot_id=${id}\nactive=A\nversion=X`;

  it('is given again where the connection broke before it got through', async () => {
    const replies: Reply[] = [LOST, 'accepted=yes'];
    const { tools, called } = stage((script) => (script === 'reboot' ? replies.shift()! : report('one')));
    await orderReboot(tools, node, by, 'trial');
    expect(called).toEqual(['boot-report', 'reboot', 'boot-report', 'reboot']);
  });

  it('is not given again to a node that has rebooted meanwhile', async () => {
    let sent = false;
    const { tools, called } = stage((script) => {
      if (script === 'boot-report') return report(sent ? 'two' : 'one');
      sent = true;
      return LOST;
    });
    await orderReboot(tools, node, by, 'trial');
    expect(called).toEqual(['boot-report', 'reboot', 'boot-report']);
  });

  it('counts as given where the node stays away after it, and says that its answer was lost', async () => {
    let sent = false;
    const { tools, notices } = stage((script) => {
      if (!sent && script === 'boot-report') return report('one');
      sent = true;
      return REFUSED;
    });
    await orderReboot(tools, node, by, 'trial');
    expect(notices.at(-1)).toContain('its answer was lost');
  });

  it('that the node refuses is a failure', async () => {
    const { tools } = stage((script) =>
      script === 'reboot' ? { code: 28, stderr: 'systemd refuses' } : report('one'),
    );
    await expect(orderReboot(tools, node, by, 'trial')).rejects.toMatchObject({
      step: 'reboot',
      reason: 'systemd refuses',
    });
  });
});

describe('the wait for a boot', () => {
  it('takes refusals, silence, early failures and the old boot as part of it', async () => {
    const replies: Reply[] = [
      'boot_id=one\nactive=A\nversion=X',
      LOST,
      REFUSED,
      new ConnectError('no answer', 'timeout'),
      { code: 11, stderr: 'nothing mounted yet' },
      'boot_id=two\nactive=B\nversion=Y',
    ];
    const { tools, notices } = stage(() => replies.shift()!);
    expect(await awaitBoot(tools, node, 'one', 60_000, never)).toEqual({ bootId: 'two', active: 'B', osVersion: 'Y' });
    expect(notices).toEqual([]);
  });

  it('ends without a boot when its time is over, and tells the last thing seen', async () => {
    const { tools, notices, clock } = stage(() => REFUSED);
    expect(await awaitBoot(tools, node, 'one', 60_000, never)).toBeUndefined();
    expect(clock.now()).toBeGreaterThanOrEqual(60_000);
    expect(notices).toEqual(['no new boot seen; last: no SSH connection: connection refused']);
  });

  it('tells at once, and once, of what waiting alone does not mend, and ends with it where it still stands', async () => {
    const changed = new ConnectError('the SSH host key of w has changed', 'host-key-changed', {
      next: 'ssh-keygen -R w',
    });
    const { tools, notices } = stage(() => changed);
    await expect(awaitBoot(tools, node, 'one', 30_000, never)).rejects.toMatchObject({
      message: changed.message,
      failure: 'host-key-changed',
    });
    expect(notices).toEqual(['it is back, but: the SSH host key of w has changed\nssh-keygen -R w']);
  });

  it('ends with what the system that came up refuses to answer for, where it still does so at the end', async () => {
    const { tools, notices } = stage(() => ({ code: 11, stderr: 'the node has no findmnt' }));
    await expect(awaitBoot(tools, node, 'one', 30_000, never)).rejects.toMatchObject({
      message: 'the node has a layout that kubeos does not work on',
      reason: 'the node has no findmnt',
    });
    expect(notices).toEqual([]);
  });

  it('goes on by itself once people have mended what shut it out', async () => {
    const changed = new ConnectError('the SSH host key of w has changed', 'host-key-changed');
    const replies: Reply[] = [changed, changed, 'boot_id=two\nactive=B\nversion=Y'];
    const { tools } = stage(() => replies.shift()!);
    expect(await awaitBoot(tools, node, 'one', 60_000, never)).toMatchObject({ bootId: 'two' });
  });

  it('withdraws a question that nobody has answered when its time is over, and ends with it', async () => {
    const { tools } = stage(() => 'boot_id=two');
    // A sign-in that waits for a person.
    const get = (_node: ClusterNode, { asking }: { asking: AbortSignal }) =>
      new Promise((_resolve, reject) => asking.addEventListener('abort', () => reject(asking.reason as Error)));
    const pool = { get } as unknown as ConnectionPool;
    const calls = new NodeCalls(pool, tools.clock, () => undefined);
    await expect(awaitBoot({ ...tools, calls }, node, 'one', 100, never)).rejects.toMatchObject({
      failure: 'login-refused',
      node: 'worker-1',
      next: expect.stringContaining('KUBEOS_SSH_PASSWORD') as unknown,
    });
  });

  it('lets a bug through', async () => {
    const { tools } = stage(() => {
      throw new TypeError('a bug');
    });
    await expect(awaitBoot(tools, node, 'one', 1000, never)).rejects.not.toBeInstanceOf(KubeosError);
  });
});
