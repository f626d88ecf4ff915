import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type CliBed, type Doc, must, nodeOf, readLogs, startCliBed } from './cli-bed.ts';
import { type Finished, type Running, until } from './lab-bed.ts';
import { asFromElsewhere, ended, lockHolder, lockLease, otherHome } from './lock-bed.ts';
import { inTerminal, onOtherMachine } from './machines.ts';

let bed: CliBed;

beforeAll(async () => {
  bed = await startCliBed();
});

afterEach(async () => {
  await bed.fresh('worker-1', 'worker-2');
});

afterAll(async () => {
  await bed.stop();
});

const upgrade = (...flags: readonly string[]): string[] => ['upgrade', '-f', bed.lab.paths.spec, '-y', ...flags];
const json = (...flags: readonly string[]): string[] => upgrade('-o', 'json', ...flags);

/** A run that is in the middle of a write, and stays there. */
async function atWrite(...flags: readonly string[]): Promise<Running> {
  await bed.lab.setFault('worker-1', 'slow-write');
  const running = bed.start(json('--nodes', 'worker-1', ...flags));
  await bed.untilStep('worker-1', 'write');
  return running;
}

async function interrupt(running: Running): Promise<void> {
  running.kill('SIGINT');
  expect((await running.done).code).toBe(130);
}

describe('--lock-wait', () => {
  it('waits for a live run, then finds nothing left to do: exit 0', async () => {
    const first = await atWrite();
    const second = bed.start(json('--nodes', 'worker-1', '--lock-wait', '10m'), { env: otherHome(bed) });
    await second.untilSays(
      /waits for the lock, at most 10m: .*pid \d+, since \d\d:\d\d:\d\d: upgrade to KubeOS 1\.1\.0/,
    );
    await bed.lab.clearFault('worker-1');
    expect((await first.done).code).toBe(0);
    const done = await ended(second);
    expect([done.code, nodeOf(done, 'worker-1').outcome], done.stderr).toEqual([0, 'already there']);
    expect(done.stderr).toMatch(/has the lock after .*: the plan is made anew/);
    expect(done.stderr).toContain('worker-1  notice: runs KubeOS 1.1.0 by now: nothing is left to do');
    expect(done.stderr.match(/waits for the lock/g)).toHaveLength(1);
    expect(lockHolder(bed)).toBe('');
  });

  it('ends with 11 when the time is up, and with 130 and nothing changed when it is interrupted', async () => {
    const first = await atWrite();
    const [late, stopped] = ['1s', '0'].map((time) => bed.start(json('--nodes', 'worker-2', '--lock-wait', time)));
    await stopped!.untilSays('waits for the lock');
    stopped!.kill('SIGINT');
    const interrupted = await ended(stopped!);
    expect([interrupted.code, interrupted.kind, interrupted.exitCode]).toEqual([130, 'Error', 130]);
    const over = await ended(late!);
    expect([over.code, over.error.what]).toEqual([11, 'another run still holds the lock after 1s']);
    expect(over.error.next).toContain('kubeos lock release');
    expect(bed.stepOf('worker-2')).toBeUndefined();
    expect(lockHolder(bed)).toContain(`pid ${first.pid}`);
    await interrupt(first);
  });

  it('shows on a terminal who holds the lock and how far that run is; Ctrl-C ends the wait', async () => {
    // Told with a renewal: those come every 4 s then.
    const first = await atWrite('--lock-duration', '15s');
    const terminal = inTerminal(bed, upgrade('--nodes', 'worker-2', '--lock-wait', '10m'));
    await until(() => /waits for the lock, at most 10m/.test(terminal.shown()), terminal.shown);
    await until(() => /what\s+upgrade to KubeOS 1\.1\.0, 0 of 1 nodes done/.test(terminal.shown()), terminal.shown);
    expect(terminal.shown()).toMatch(new RegExp(`who\\s+.*pid ${first.pid}`));
    terminal.type('\u0003');
    expect(await terminal.ended).toBe(130);
    expect(terminal.shown()).toContain('\u001b[?25h');
    expect(bed.stepOf('worker-2')).toBeUndefined();
    await interrupt(first);
  });

  it('takes over from a run that dies while it is waited for', async () => {
    const first = await atWrite();
    asFromElsewhere(bed);
    const second = bed.start(json('--nodes', 'worker-1', '--lock-wait', '0'));
    await second.untilSays("watches the lock's holder for a sign of life, up to 1m");
    first.kill('SIGKILL');
    await first.done;
    asFromElsewhere(bed, 1);
    await bed.lab.clearFault('worker-1');
    const done = await ended(second);
    expect([done.code, nodeOf(done, 'worker-1').outcome], done.stderr).toEqual([0, 'upgraded']);
    expect(done.stderr).toMatch(new RegExp(`took the lock over after .* from .*pid ${first.pid}`));
  });
});

describe('--lock-duration', () => {
  it('is what others go by, and is refused below 15s', async () => {
    const first = await atWrite('--lock-duration', '90s');
    expect(lockLease(bed)?.spec?.['leaseDurationSeconds']).toBe(90);
    await interrupt(first);
    const short = await bed.kubeos(upgrade('--lock-duration', '10s'));
    expect([short.code, short.stderr]).toEqual([2, expect.stringContaining('--lock-duration: "10s" is too short')]);
    const never = await bed.kubeos(upgrade(), { env: { KUBEOS_LOCK_DURATION: '0' } });
    expect([never.code, never.stderr]).toEqual([2, expect.stringContaining('too short')]);
  });
});

describe('kubeos lock', () => {
  it('is not called free where it is looked for in a namespace that does not exist', async () => {
    for (const command of [
      ['lock', 'status'],
      ['lock', 'release', '--yes'],
      ['plan', '-f', bed.lab.paths.spec],
    ]) {
      const refused = await bed.kubeos([...command, '--lock-namespace', 'nope']);
      expect(refused.code, command.join(' ')).toBe(4);
      expect(refused.stderr).toContain('the namespace of the lock does not exist: nope');
      expect(refused.stdout).toBe('');
    }
  });

  it('status tells who holds it, or held it last; release frees it from a dead run alone, and says so', async () => {
    const first = await atWrite();
    const held = await bed.json(['lock', 'status']);
    expect(held).toMatchObject({
      kind: 'Lock',
      standing: 'held',
      durationMs: 60_000,
      what: expect.any(String) as string,
    });
    const refused = await bed.kubeos(['lock', 'release', '--yes']);
    expect([refused.code, refused.stderr]).toEqual([11, expect.stringContaining(`pid ${first.pid}`)]);
    expect(refused.stderr).toContain('--force');
    first.kill('SIGKILL');
    await first.done;
    expect(await bed.json(['lock', 'status'])).toMatchObject({ standing: 'dead' });
    const nobody = await bed.kubeos(['lock', 'release']);
    expect([nobody.code, nobody.stderr]).toEqual([2, expect.stringContaining('--yes')]);
    expect(lockHolder(bed)).toContain(`pid ${first.pid}`);
    const freed = await bed.kubeos(['lock', 'release', '--yes']);
    expect([freed.code, freed.stdout]).toEqual([0, expect.stringContaining(`pid ${first.pid}`)]);
    expect(lockHolder(bed)).toBe('');
    expect(await bed.json(['lock', 'status'])).toMatchObject({
      standing: 'free',
      freedBy: expect.stringMatching(/pid \d+/) as string,
    });
    const again = await bed.kubeos(['lock', 'release']);
    expect([again.code, again.stdout]).toEqual([0, 'The lock is free: nothing to do.\n']);
  });

  it('release --force takes it from a live run, which stops before its next change and says who did it', async () => {
    const first = await atWrite();
    const freed = await bed.kubeos(['lock', 'release', '--yes', '--force']);
    expect(freed.code, freed.stderr).toBe(0);
    await bed.lab.clearFault('worker-1');
    const stopped = await ended(first);
    expect([stopped.code, nodeOf(stopped, 'worker-1').outcome]).toEqual([3, 'failed']);
    expect(stopped.stopped).toMatch(/^the lock was lost: it was freed by hand, by .*pid \d+/);
    expect(bed.isCordoned('worker-1')).toBe(false);
    expect(lockHolder(bed)).toBe('');
    const done = await bed.json(upgrade('--nodes', 'worker-1'));
    expect([done.exitCode, nodeOf(done, 'worker-1').outcome]).toEqual([0, 'upgraded']);
  });

  it.each([
    ['y', 'y\n', 0],
    ['n', 'n\n', 4],
    ['Ctrl-C', '\u0003', 130],
  ])('release asks on a terminal, showing who holds it: %s', async (_what, typed, code) => {
    const first = await atWrite();
    first.kill('SIGKILL');
    await first.done;
    const terminal = inTerminal(bed, ['lock', 'release']);
    await until(() => terminal.shown().includes('Free the lock of this run? [y/N] '), terminal.shown);
    expect(terminal.shown()).toContain(`pid ${first.pid}`);
    terminal.type(typed);
    expect(await terminal.ended).toBe(code);
    expect(lockHolder(bed) === '').toBe(code === 0);
  });

  it('status and kubeos status tell a run of another machine that shows no sign of life from one that works', async () => {
    const first = await atWrite();
    first.kill('SIGKILL');
    await first.done;
    asFromElsewhere(bed);
    expect(await bed.json(['lock', 'status'])).toMatchObject({ standing: 'held' });
    expect((await bed.json(['status'])).lastRun).toMatchObject({ running: true });
    asFromElsewhere(bed, 1);
    await until(async () => (await bed.json(['lock', 'status'])).standing === 'dead');
    const screen = (await bed.kubeos(['status'])).stdout;
    expect(screen).toMatch(/No sign of life for \d+s: upgrade to KubeOS 1\.1\.0/);
    expect(screen).toMatch(/worker-1.*left at write/s);
  });
});

describe('two runs given in the same second, from two machines', () => {
  const finished = (running: readonly { done: Promise<Finished> }[]): Promise<Finished[]> =>
    Promise.all(running.map(({ done }) => done));

  /** From when to when a run worked under its lock, by its own log. */
  async function workedFrom(logDir: string): Promise<{ start: number; end: number }> {
    const lines = must((await readLogs(logDir))['run.ndjson'])
      .trim()
      .split('\n');
    const events = lines.map((line) => JSON.parse(line) as { at: number; type: string });
    const at = (type: string): number => must(events.find((event) => event.type === type)).at;
    return { start: at('rollout-started'), end: at('rollout-done') };
  }

  it('for the same spec: one works, the other is refused with 11', async () => {
    const flags = json('--nodes', 'worker-1', '--lock-duration', '15s');
    const codes = (await finished([1, 2].map((name) => onOtherMachine(bed, `runner-${name}`, flags)))).map(
      ({ code }) => code,
    );
    expect(codes.sort()).toEqual([0, 11]);
    expect(await bed.look('worker-1')).toMatchObject({
      osVersion: 'KubeOS 1.1.0',
      state: 'committed',
      cordoned: false,
    });
    expect(lockLease(bed)?.metadata.annotations?.['kubeos.openeuler.org/holder']).toMatch(/@runner-[12], pid/);
  });

  it('for the same spec, and both wait: one works, the other finds nothing to do', async () => {
    const flags = json('--nodes', 'worker-1', '--lock-duration', '15s', '--lock-wait', '0');
    const done = await finished([1, 2].map((name) => onOtherMachine(bed, `runner-${name}`, flags)));
    const outcomes = done.map(({ code, stdout }) => [code, nodeOf(JSON.parse(stdout) as never, 'worker-1').outcome]);
    expect(outcomes.sort()).toEqual([
      [0, 'already there'],
      [0, 'upgraded'],
    ]);
  });

  it('for two specs: one works, and the other refuses or does its own after it, never both at once', async () => {
    const other = await bed.spec('KubeOS 1.2.0');
    const flags = ['--nodes', 'worker-1', '--lock-duration', '15s'];
    const runs = [
      onOtherMachine(bed, 'runner-1', json(...flags, '--lock-wait', '0')),
      onOtherMachine(bed, 'runner-2', ['upgrade', '-f', other, '-y', '-o', 'json', ...flags, '--lock-wait', '0']),
    ];
    const done = await finished(runs);
    expect(
      done.map(({ code }) => code),
      done.map(({ stderr }) => stderr).join('\n'),
    ).toEqual([0, 0]);
    const { osVersion, state } = await bed.look('worker-1');
    expect([['KubeOS 1.1.0', 'KubeOS 1.2.0'].includes(osVersion), state]).toEqual([true, 'committed']);
    const [one, two] = await Promise.all(
      done.map(({ stdout }) => workedFrom(must((JSON.parse(stdout) as Doc).logDir))),
    );
    expect(one!.end <= two!.start || two!.end <= one!.start, JSON.stringify([one, two])).toBe(true);
  });
});
