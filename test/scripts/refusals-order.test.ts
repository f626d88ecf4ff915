import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { sha256OfFile } from '../../src/lab/system-image.ts';
import { runTool } from '../../src/lab/tools.ts';
import type { ScriptArguments } from '../../src/remote/compose.ts';
import { SCRIPTS, type StepScript } from '../../src/remote/scripts/index.ts';
import {
  type Stage,
  begin,
  exec,
  expectRefused,
  image,
  node,
  nodeAt,
  prepareStages,
  put,
  rooted,
  server,
  toB,
  use,
  verify,
} from './stages.ts';

prepareStages();

describe('the observation', () => {
  it('names a container image that had no digest by its tag', async () => {
    await nodeAt('committed');
    expect(await node.observe()).not.toHaveProperty(['B.record_tag']);
    await put('persist/kubeos/tags', `${'c'.repeat(64)} registry/os:1\n${image.sha256} registry/os:2\n`);
    expect(await node.observe()).toMatchObject({ 'B.record_sha256': image.sha256, 'B.record_tag': 'registry/os:2' });
  });
});

describe('a step out of its order', () => {
  it.each<[Stage, StepScript, ScriptArguments, string]>([
    ['fresh', 'write', { target: 'B' }, 'no journal: a run must begin first'],
    ['fresh', 'arm', toB, 'no journal'],
    ['fresh', 'prove', toB, 'no journal'],
    ['fresh', 'commit', { target: 'B' }, 'no journal'],
    ['fresh', 'close', { outcome: 'aborted' }, 'no journal'],
    ['fresh', 'reboot', { purpose: 'trial' }, 'no journal'],
    ['started', 'write', { target: 'B' }, 'the artifact of this run is not on the node: stage comes first'],
    ['started', 'write', { target: 'A' }, 'the journal leads to slot B, not to slot A'],
    ['started', 'verify', {}, 'slot B was not written by this run: write comes first'],
    ['staged', 'arm', toB, 'slot B is not verified (phase started)'],
    ['written', 'arm', toB, 'slot B is not verified (phase started)'],
    ['written', 'reboot', { purpose: 'trial' }, 'this boot is not armed (phase started)'],
    ['verified', 'reboot', { purpose: 'trial' }, 'this boot is not armed (phase verified)'],
    ['verified', 'arm', { ...toB, version: 'KubeOS 9' }, 'slot B holds KubeOS 1.1.0, not KubeOS 9'],
    ['verified', 'prove', toB, 'no trial was armed (phase verified)'],
    ['verified', 'commit', { target: 'B' }, 'slot B is not proven'],
    ['verified', 'verify', { version: 'KubeOS 9' }, 'the journal leads to KubeOS 1.1.0'],
    ['armed', 'reboot', { purpose: 'send-back' }, 'this boot is not a trial'],
    ['armed', 'commit', { target: 'B' }, 'prove comes first'],
    ['trial', 'commit', { target: 'B' }, 'slot B is not proven (slot B, phase armed)'],
    ['trial', 'reboot', { purpose: 'trial' }, 'this boot is not armed'],
    ['trial', 'close', { outcome: 'fell-back' }, 'slot B still runs'],
    ['committed', 'write', { target: 'B' }, 'the journal is closed (committed)'],
    ['committed', 'close', { outcome: 'aborted' }, 'the journal is closed: committed'],
    ['committed', 'reboot', { purpose: 'send-back' }, 'this boot is not a trial'],
  ])('%s: %s is refused', async (stage, step, args, words) => {
    await nodeAt(stage);
    const answer = await node.run(step, step === 'verify' ? verify(args) : args);
    expectRefused(answer, 'out-of-order', words);
  });

  it('a proof of an earlier boot commits nothing', async () => {
    await nodeAt('proven');
    await node.machine.setGrubVariables({ next_entry: 'B' });
    await node.machine.boot();
    expectRefused(await node.run('commit', { target: 'B' }), 'out-of-order', 'the proof is of an earlier boot');
  });

  it('a slot that was changed since it was verified is not armed', async () => {
    await nodeAt('verified');
    await runTool('e2label', [node.machine.device('B'), 'ROOT-X']);
    await runTool('debugfs', ['-w', '-R', 'ssv wtime 12345', node.machine.device('B')]);
    expectRefused(await node.run('arm', toB), 'out-of-order', 'is not as it was when it was verified');
  });

  it('an unproven slot that runs is neither made permanent nor its fallback written over', async () => {
    await nodeAt('trial');
    await node.must('begin', begin({ from: 'B', target: 'A' }));
    await node.must('stage', { url: server.url, sha256: image.sha256, flagsafe: true });
    const before = await sha256OfFile(node.machine.device('A'));
    expectRefused(await node.run('write', { target: 'A' }), 'out-of-order', 'prove and commit slot B first');
    expect(await sha256OfFile(node.machine.device('A'))).toBe(before);
    await node.must('close', { outcome: 'aborted', reason: 'test' });
    expect(await node.observe()).toMatchObject({ 'env.saved': 'A', active: 'B', 'journal.phase': 'aborted' });
  });
});

describe('a call', () => {
  it.each<[StepScript, ScriptArguments, string]>([
    ['claim', { more: 1 }, 'unknown argument: more'],
    ['claim', { token: '08' }, 'malformed argument: token'],
    ['claim', { token: '1;reboot' }, 'malformed argument: token'],
    ['write', {}, 'missing argument: target'],
    ['write', { target: 'C' }, 'malformed argument: target'],
    ['verify', { sha256: 'ABC' }, 'malformed argument: sha256'],
    ['launch', { job: '../x', step: 'write', payload: '' }, 'malformed argument: job'],
    ['launch', { job: 'x', step: 'rm', payload: '' }, 'malformed argument: step'],
    ['begin', { version: 'a\nb' }, 'malformed argument: version'],
  ])('%s with %o is refused', async (step, args, words) => {
    await nodeAt('fresh');
    expectRefused(await node.run(step, args), 'bad-call', words);
  });

  it('of which only a part arrived runs nothing', async () => {
    await nodeAt('fresh');
    for (const text of Object.values(SCRIPTS)) {
      expect(text).not.toMatch(/^main\b(?!\(\)\{)/m);
    }
  });

  it('never runs what stands in its values', async () => {
    await nodeAt('fresh');
    const evil = '$(touch "$KUBEOS_ROOT/persist/evil")`touch $KUBEOS_ROOT/persist/evil`;\'"\\ %s';
    await node.must('begin', begin({ version: evil, replaced: evil }));
    expect(await node.observe()).toMatchObject({ 'journal.version': evil, 'journal.replaced': evil });
    expect((await node.ask('log', { text: evil })).ended).toBe('ok');
    await put(
      'persist/kubeos/slot-B',
      `state=verified\nbytes=a[$(touch ${rooted('persist/evil')})]\nversion=${evil}\n`,
    );
    await put('usr/lib/os-release', `PRETTY_NAME="${evil}"\n`);
    await node.observe();
    await node.run('verify', verify({ version: evil }));
    await expect(readFile(rooted('persist/evil'))).rejects.toThrow('ENOENT');
    expect((await node.ask('logs', { lines: 5 })).stdout).toContain(evil);
  });
});

describe('what is forced to the disk', () => {
  const failing = (path: string): string =>
    `#!/bin/sh\ncase "$*" in *${path}) echo 'sync: error syncing: Input/output error' >&2; exit 1 ;; esac\n`;

  it.each([
    ['begin', () => begin(), 'fresh', 'persist/kubeos', 'state'],
    ['arm', () => toB, 'verified', 'grubenv', 'boot-environment'],
  ] as const)('and does not get there ends %s', async (step, args, stage, path, ended) => {
    await nodeAt(stage);
    await use({ sync: failing(path) });
    expectRefused(await node.run(step, args()), ended, 'to the disk');
    expect((await node.machine.grubVariables())?.get('next_entry') ?? '').toBe('');
  });

  it('is all that there is where the node’s sync takes no path', async () => {
    await nodeAt('fresh');
    const all = rooted('../state/all-flushed');
    await use({ sync: `#!/bin/sh\n[ "$#" -eq 0 ] || exit 1\n: >${all}\n` });
    await node.must('begin', begin());
    await readFile(all);
  });
});

describe('authority', () => {
  it('an older token is refused by every script that changes something, and changes nothing', async () => {
    await nodeAt('armed');
    const stale = node.by;
    node.by = { run: 'run-2', token: 7 };
    await node.must('claim');
    const before = await readFile(rooted('persist/kubeos/journal'), 'utf8');
    const calls: [StepScript, ScriptArguments][] = [
      ['claim', {}],
      ['begin', begin()],
      ['launch', { job: 'x', step: 'write', payload: 'exit 0' }],
      ['end-job', { job: 'x' }],
      ['stage', { url: server.url, sha256: image.sha256, flagsafe: true }],
      ['write', { target: 'B' }],
      ['verify', verify()],
      ['arm', toB],
      ['reboot', { purpose: 'trial' }],
      ['prove', toB],
      ['commit', { target: 'B' }],
      ['close', { outcome: 'aborted' }],
    ];
    for (const [step, args] of calls) {
      const answer = await node.run(step, { ...args, ...stale });
      expectRefused(answer, 'stale-token', "this run's lock token is 1, but the node has seen 7");
    }
    expect(await readFile(rooted('persist/kubeos/journal'), 'utf8')).toBe(before);
  });

  it('a long step that was overtaken records nothing', async () => {
    await nodeAt('written');
    // A newer run leaves its token while the slot is being checked.
    await use({
      e2fsck: `#!/bin/sh\necho 9 >"$KUBEOS_ROOT/persist/kubeos/token"\nexec ${await exec('e2fsck')} "$@"\n`,
    });
    expectRefused(await node.run('verify', verify()), 'stale-token', 'the node has seen 9');
    expect(await readFile(rooted('persist/kubeos/slot-B'), 'utf8')).toContain('state=dirty');
    expect(await readFile(rooted('persist/kubeos/journal'), 'utf8')).toContain('phase=started');
  });

  const held = async (name: string, work: () => Promise<void>): Promise<void> => {
    // Whoever waits for a lock gives up at once here, so that the test needs no 20 s.
    await use({ flock: `#!/bin/sh\nshift 2\nexec ${await exec('flock')} -n "$@"\n` });
    await put(name, '');
    const flock = await exec('flock');
    const holder: ChildProcess = spawn(flock, [rooted(name), 'sh', '-c', 'echo held; exec sleep 600'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    await new Promise((resolve) => holder.stdout?.once('data', resolve));
    try {
      await work();
    } finally {
      process.kill(-(holder.pid ?? 0), 'SIGKILL');
    }
  };

  it('a node whose lock is held is busy', async () => {
    await nodeAt('started');
    await held('persist/kubeos/lock', async () => {
      expectRefused(await node.run('claim'), 'busy', 'another script has held the lock');
    });
  });

  it('a left-over dd keeps a second write away', async () => {
    await nodeAt('staged');
    await held('run/kubeos/work.lock', async () => {
      expectRefused(await node.run('write', { target: 'B' }), 'busy', 'another long step still runs');
    });
  });

  it.each(['token', 'journal'])('a %s that makes no sense is a state error, and is seen by observe', async (name) => {
    await nodeAt('verified');
    await put(`persist/kubeos/${name}`, 'phase=what\n');
    expect((await node.run('arm', toB)).ended).toBe('state');
    expect(await node.observe()).toHaveProperty('journal_problem');
  });
});
