import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConnectError, KubeosError, LockLostError } from '../../src/errors.ts';
import type { ClusterNode, NodeObservation } from '../../src/rollout/facts.ts';
import type { Assignment, Authority, DiskArtifact, Remote, StepProgress } from '../../src/rollout/ports.ts';

/** What a bed can do to a node that no port can. */
export interface BedNode {
  node: ClusterNode;
  /** What it runs in slot A; slot B holds nothing. */
  version: string;
  /** An image of another version, ready to be fetched. */
  image: { artifact: DiskArtifact; version: string; bytes: number };
  /** The same image at an address where the download begins, then stands still until it is released. */
  slow: { artifact: DiskArtifact; release: () => void };
  /** Breaks every connection to the node, now. */
  cut(): void;
  /** Waits for the order to reboot, then takes the node down and up again; a trial may fail to boot. */
  obeyReboot(options?: { trialFails?: boolean }): Promise<void>;
}

export interface RemoteBed {
  /** The port under test. */
  remote: Remote;
  /** The same nodes as another run, or another machine, reaches them. */
  another: Remote;
  /** A node of the cluster that answers nobody. */
  unreachable: ClusterNode;
  makeNode(): Promise<BedNode>;
  close(): Promise<void>;
}

const first: Authority = { run: 'run-1', token: 5 };
const never = new AbortController().signal;

/** The contract of the `Remote` port (src/rollout/ports.ts). Talks to it and to the bed alone. */
export function describeRemoteContract(name: string, makeBed: () => Promise<RemoteBed>): void {
  describe(`${name} as Remote`, () => {
    let bed: RemoteBed;
    let remote: Remote;

    beforeAll(async () => {
      bed = await makeBed();
      remote = bed.remote;
    });

    afterAll(() => bed.close());

    const upgradeOf = ({ version, image }: BedNode): Assignment => ({
      operation: 'upgrade',
      version: image.version,
      replaced: version,
      from: 'A',
      target: 'B',
      sha256: image.artifact.sha256,
    });

    async function stageIt(one: BedNode, artifact = one.image.artifact, signal = never): Promise<{ bytes: number }> {
      return remote.stage(one.node, first, artifact, () => undefined, signal);
    }

    async function bringToVerified(one: BedNode): Promise<Assignment> {
      const assignment = upgradeOf(one);
      await remote.claim(one.node, first);
      await remote.begin(one.node, first, assignment);
      await stageIt(one);
      await remote.write(one.node, first, 'B', () => undefined, never);
      await remote.verify(one.node, first, assignment, () => undefined, never);
      return assignment;
    }

    async function bringToTrial(one: BedNode, options: { trialFails?: boolean } = {}) {
      const assignment = await bringToVerified(one);
      await remote.arm(one.node, first, 'B', false);
      const { bootId } = await remote.observe(one.node);
      await remote.reboot(one.node, first, 'trial');
      const waiting = remote.awaitBoot(one.node, bootId, 60_000, never);
      await one.obeyReboot(options);
      return { assignment, report: await waiting, bootId };
    }

    async function untilDetached(one: BedNode): Promise<void> {
      const deadline = Date.now() + 20_000;
      while ((await bed.another.observe(one.node)).detached?.running !== true) {
        if (Date.now() > deadline) throw new Error('the step never began');
      }
    }

    const phaseOf = async (one: BedNode) => (await remote.observe(one.node)).journal?.phase;

    it('observes a node that no run has touched', async () => {
      const one = await bed.makeNode();
      const seen = await remote.observe(one.node);
      expect(seen).toMatchObject({
        osVersion: one.version,
        active: 'A',
        token: 0,
        hasCurl: true,
        slots: { A: { content: 'bootable', recordHolds: false, failedTrial: false }, B: { content: 'unbootable' } },
        bootEnv: { saved: 'A' },
      } satisfies DeepPartial<NodeObservation>);
      expect(seen.bootId).not.toBe('');
      expect(seen.freeBytes).toBeGreaterThan(0);
      for (const key of ['unsupported', 'journal', 'journalProblem', 'artifact', 'detached'])
        expect(seen).not.toHaveProperty(key);
      expect(seen.bootEnv).not.toHaveProperty('next');
      expect(await remote.observe(one.node)).toEqual(seen);
    });

    it('makes a managed boot where a trial asks for one, and takes it out once no trial is on its way', async () => {
      const one = await bed.makeNode();
      const { node } = one;
      expect((await remote.observe(node)).managedBoot).toEqual({ state: 'no' });
      await bringToVerified(one);
      await remote.arm(node, first, 'B', true);
      const armed = await remote.observe(node);
      expect(armed).toMatchObject({ managedBoot: { state: 'yes' }, bootEnv: { next: 'B' } });
      await expect(remote.resetBoot(node, first)).rejects.toMatchObject({ node: node.name, step: 'reset-boot' });
      await remote.close(node, first, 'aborted', 'changed my mind');
      expect((await remote.observe(node)).managedBoot).toEqual({ state: 'yes' });
      await expect(remote.resetBoot(node, { ...first, token: first.token - 1 })).rejects.toBeInstanceOf(LockLostError);
      expect(await remote.resetBoot(node, first)).toEqual({ removed: true });
      expect(await remote.resetBoot(node, first)).toEqual({ removed: false });
      expect((await remote.observe(node)).managedBoot).toEqual({ state: 'no' });
    });

    it('takes a node the whole way to another version, each step repeatable', async () => {
      const one = await bed.makeNode();
      const { node, image } = one;
      const assignment = upgradeOf(one);
      await remote.claim(node, first);
      await remote.begin(node, first, assignment);
      await remote.begin(node, first, assignment);
      expect(await remote.observe(node)).toMatchObject({
        token: first.token,
        journal: { ...assignment, phase: 'started', run: first.run, token: first.token },
      });

      const progress: StepProgress[] = [];
      for (let time = 1; time <= 2; time++) {
        const staged = await remote.stage(node, first, image.artifact, (now) => progress.push(now), never);
        expect(staged).toEqual({ bytes: image.bytes });
      }
      for (const { doneBytes, totalBytes } of progress) {
        expect(doneBytes).toBeLessThanOrEqual(totalBytes ?? image.bytes);
      }
      expect((await remote.observe(node)).artifact).toEqual({ sha256: assignment.sha256, bytes: image.bytes });

      for (let time = 1; time <= 2; time++) {
        const written = await remote.write(node, first, 'B', () => undefined, never);
        expect(written).toEqual({ bytes: image.bytes });
      }
      for (let time = 1; time <= 2; time++) {
        const verified = await remote.verify(node, first, assignment, () => undefined, never);
        expect(verified).toEqual({ version: image.version, basis: 'bytes' });
      }
      await remote.begin(node, first, assignment);
      expect(await remote.observe(node)).toMatchObject({
        journal: { phase: 'verified' },
        bootEnv: { saved: 'A' },
        slots: {
          B: { content: 'bootable', version: image.version, record: { sha256: assignment.sha256 }, recordHolds: true },
        },
      });

      await remote.arm(node, first, 'B', false);
      await remote.arm(node, first, 'B', false);
      const armed = await remote.observe(node);
      expect(armed).toMatchObject({
        bootEnv: { saved: 'A', next: 'B' },
        journal: { phase: 'armed', armedBootId: armed.bootId },
      });
      await remote.reboot(node, first, 'trial');
      const waiting = remote.awaitBoot(node, armed.bootId, 60_000, never);
      await one.obeyReboot();
      const report = await waiting;
      expect(report).toMatchObject({ active: 'B', osVersion: image.version });
      expect(report?.bootId).not.toBe(armed.bootId);

      expect(await remote.observe(node)).not.toHaveProperty('deadManMs');
      await remote.deadMan(node, first, 600_000);
      await remote.deadMan(node, first, 900_000);
      const { deadManMs } = await remote.observe(node);
      expect(deadManMs).toBeGreaterThan(600_000);
      expect(deadManMs).toBeLessThanOrEqual(900_000);

      const expected = { slot: 'B', version: image.version, adopt: false } as const;
      await remote.prove(node, first, expected);
      await remote.prove(node, first, expected);
      expect(await phaseOf(one)).toBe('proven');
      await remote.commit(node, first, 'B');
      await remote.commit(node, first, 'B');
      const after = await remote.observe(node);
      expect(after).toMatchObject({
        active: 'B',
        osVersion: image.version,
        bootEnv: { saved: 'B' },
        journal: { phase: 'committed' },
      });
      expect(after).not.toHaveProperty('artifact');
      expect(after).not.toHaveProperty('deadManMs');
      await remote.deadMan(node, first, 900_000);
      expect(await remote.observe(node)).not.toHaveProperty('deadManMs');
      expect(after.bootEnv).not.toHaveProperty('next');

      const back: Assignment = {
        operation: 'rollback',
        version: one.version,
        replaced: image.version,
        from: 'B',
        target: 'A',
        sha256: '',
      };
      await remote.begin(node, first, back);
      const checked = await remote.verify(node, first, back, () => undefined, never);
      expect(checked).toEqual({ version: one.version, basis: 'content only' });
      await remote.arm(node, first, 'A', false);
      await remote.reboot(node, first, 'trial');
      const again = remote.awaitBoot(node, after.bootId, 60_000, never);
      await one.obeyReboot();
      expect(await again).toMatchObject({ active: 'A', osVersion: one.version });
      await remote.prove(node, first, { slot: 'A', version: one.version, adopt: false });
      await remote.commit(node, first, 'A');
      expect(await remote.observe(node)).toMatchObject({ active: 'A', bootEnv: { saved: 'A' } });
    });

    it('refuses steps out of order, and changes nothing by that', async () => {
      const one = await bed.makeNode();
      const { node } = one;
      await remote.claim(node, first);
      await remote.begin(node, first, upgradeOf(one));
      const before = await remote.observe(node);
      const tries: [string, () => Promise<unknown>][] = [
        ['write', () => remote.write(node, first, 'B', () => undefined, never)],
        ['arm', () => remote.arm(node, first, 'B', false)],
        ['reboot', () => remote.reboot(node, first, 'trial')],
        ['reboot', () => remote.reboot(node, first, 'send-back')],
        ['prove', () => remote.prove(node, first, { slot: 'B', version: one.image.version, adopt: false })],
        ['commit', () => remote.commit(node, first, 'B')],
      ];
      for (const [step, trying] of tries) {
        const error = await failureOf(trying());
        expect(error, step).toBeInstanceOf(KubeosError);
        expect(error, step).toMatchObject({ node: node.name, step });
        expect((error as KubeosError).reason, step).toBeTruthy();
        expect((error as KubeosError).next, step).toBeTruthy();
      }
      // The step that was refused on the node may still be seen there as one that has ended.
      const after = await remote.observe(node);
      expect(after.detached?.running ?? false).toBe(false);
      delete after.detached;
      expect(after).toEqual(before);
    });

    it('refuses every change by an older token than the node has seen', async () => {
      const one = await bed.makeNode();
      const { node } = one;
      await remote.claim(node, first);
      await remote.begin(node, first, upgradeOf(one));
      await bed.another.claim(node, { run: 'run-2', token: 6 });
      const before = await remote.observe(node);
      expect(before.token).toBe(6);
      for (const change of [
        () => remote.claim(node, first),
        () => remote.begin(node, first, upgradeOf(one)),
        () => stageIt(one),
        () => remote.write(node, first, 'B', () => undefined, never),
        () => remote.verify(node, first, upgradeOf(one), () => undefined, never),
        () => remote.arm(node, first, 'B', false),
        () => remote.reboot(node, first, 'trial'),
        () => remote.prove(node, first, { slot: 'B', version: one.image.version, adopt: false }),
        () => remote.commit(node, first, 'B'),
        () => remote.close(node, first, 'aborted', 'no longer mine'),
      ]) {
        expect(await failureOf(change())).toBeInstanceOf(LockLostError);
      }
      expect(await remote.observe(node)).toEqual(before);
    });

    it('tells a trial that fell back, refuses to prove it, and remembers the image', async () => {
      const one = await bed.makeNode();
      const { report, bootId } = await bringToTrial(one, { trialFails: true });
      expect(report).toMatchObject({ active: 'A', osVersion: one.version });
      expect(report?.bootId).not.toBe(bootId);
      const proof = failureOf(remote.prove(one.node, first, { slot: 'B', version: one.image.version, adopt: false }));
      expect(await proof).toMatchObject({ name: 'KubeosError', step: 'prove', node: one.node.name });
      const journal = await remote.close(one.node, first, 'fell-back', 'the trial did not boot');
      expect(journal).toMatchObject({ phase: 'fell-back', reason: 'the trial did not boot', target: 'B' });
      const after = await remote.observe(one.node);
      expect(after).toMatchObject({ journal, slots: { A: { failedTrial: false }, B: { failedTrial: true } } });
      expect(after.bootEnv).toMatchObject({ saved: 'A' });
      expect(after.bootEnv).not.toHaveProperty('next');
    });

    it('sends an unhealthy trial back to the old slot', async () => {
      const one = await bed.makeNode();
      const { report } = await bringToTrial(one);
      expect(report?.active).toBe('B');
      await remote.reboot(one.node, first, 'send-back');
      const waiting = remote.awaitBoot(one.node, report?.bootId ?? '', 60_000, never);
      await one.obeyReboot();
      expect(await waiting).toMatchObject({ active: 'A', osVersion: one.version });
      expect(await remote.close(one.node, first, 'fell-back', 'kubelet not Ready')).toMatchObject({
        phase: 'fell-back',
      });
    });

    it('closes an aborted journal and disarms', async () => {
      const one = await bed.makeNode();
      await bringToVerified(one);
      await remote.arm(one.node, first, 'B', false);
      const journal = await remote.close(one.node, first, 'aborted', 'stopped\nby the user');
      expect(journal).toMatchObject({ phase: 'aborted', reason: 'stopped; by the user' });
      expect((await remote.observe(one.node)).bootEnv).toEqual(expect.not.objectContaining({ next: 'B' }));
    });

    it('refuses an image that is not the one of the spec, keeping the node’s words', async () => {
      const one = await bed.makeNode();
      const wrong = { ...one.image.artifact, sha256: 'f'.repeat(64) };
      await remote.claim(one.node, first);
      await remote.begin(one.node, first, { ...upgradeOf(one), sha256: wrong.sha256 });
      const error = (await failureOf(stageIt(one, wrong))) as KubeosError;
      expect(error).toMatchObject({ name: 'KubeosError', step: 'stage', node: one.node.name });
      expect(error.reason).toBeTruthy();
      expect(error.logTail.length).toBeGreaterThan(0);
      expect(await remote.observe(one.node)).not.toHaveProperty('artifact');
    });

    it('refuses http without flagSafe on the node itself, and tells its log', async () => {
      const one = await bed.makeNode();
      const unsafe: DiskArtifact = {
        ...one.image.artifact,
        url: 'http://user:geheim@127.0.0.1:1/update.img',
        flagSafe: false,
      };
      await remote.claim(one.node, first);
      await remote.begin(one.node, first, upgradeOf(one));
      const error = (await failureOf(stageIt(one, unsafe))) as KubeosError;
      expect(error).toMatchObject({ name: 'KubeosError', step: 'stage' });
      const log = await remote.logTail(one.node, 20);
      expect(log.join('\n')).toMatch(/insecure/i);
      expect(`${log.join('\n')} ${String(error.reason)} ${error.logTail.join('\n')}`).not.toContain('geheim');
    });

    it('survives a connection that breaks in the middle of a long step', async () => {
      const one = await bed.makeNode();
      await remote.claim(one.node, first);
      await remote.begin(one.node, first, upgradeOf(one));
      const staging = stageIt(one, one.slow.artifact);
      await untilDetached(one);
      one.cut();
      one.slow.release();
      expect(await staging).toEqual({ bytes: one.image.bytes });
    });

    it('ends a long step on the node when it is told to stop', async () => {
      const one = await bed.makeNode();
      await remote.claim(one.node, first);
      await remote.begin(one.node, first, upgradeOf(one));
      const stop = new AbortController();
      const reason = new Error('stop');
      const staging = failureOf(stageIt(one, one.slow.artifact, stop.signal));
      await untilDetached(one);
      stop.abort(reason);
      expect(await staging).toBe(reason);
      expect((await remote.observe(one.node)).detached?.running ?? false).toBe(false);
      one.slow.release();
      expect(await stageIt(one)).toEqual({ bytes: one.image.bytes });
    });

    it('lets a newer run take over a long step that an older one left behind', async () => {
      const one = await bed.makeNode();
      await remote.claim(one.node, first);
      await remote.begin(one.node, first, upgradeOf(one));
      const left = failureOf(stageIt(one, one.slow.artifact));
      await untilDetached(one);
      const second: Authority = { run: 'run-2', token: 9 };
      await bed.another.claim(one.node, second);
      expect((await bed.another.observe(one.node)).detached?.running ?? false).toBe(false);
      expect(await left).toBeInstanceOf(LockLostError);
      one.slow.release();
      await bed.another.begin(one.node, second, upgradeOf(one));
      const staged = await bed.another.stage(one.node, second, one.image.artifact, () => undefined, never);
      expect(staged).toEqual({ bytes: one.image.bytes });
    });

    it('waits for a boot no longer than told, or until it is told to stop', async () => {
      const one = await bed.makeNode();
      const { bootId } = await remote.observe(one.node);
      expect(await remote.awaitBoot(one.node, bootId, 200, never)).toBeUndefined();
      const stop = new AbortController();
      const reason = new Error('stop');
      const waiting = failureOf(remote.awaitBoot(one.node, bootId, 0, stop.signal));
      stop.abort(reason);
      expect(await waiting).toBe(reason);
    });

    it('writes to the node’s log and reads its last lines, oldest first', async () => {
      const one = await bed.makeNode();
      await remote.log(one.node, 'first');
      await remote.log(one.node, "a line with 'quotes', $HOME and\na break");
      await remote.log(one.node, 'third');
      const tail = await remote.logTail(one.node, 2);
      expect(tail).toHaveLength(2);
      expect(tail[0]).toContain("a line with 'quotes', $HOME and");
      expect(tail[1]).toMatch(/third$/);
    });

    it('tells what a run would meet, where it is asked for, and changes nothing by that', async () => {
      const one = await bed.makeNode();
      const before = await remote.observe(one.node);
      expect(before).not.toHaveProperty('preflight');
      const { preflight, ...rest } = await remote.observe(one.node, undefined, {});
      expect(rest).toEqual(before);
      expect(preflight).toMatchObject({ persistReadOnly: false, partBytes: 0, certificateProblems: [] });
      expect(preflight?.tools).toContain('openssl');
      expect(preflight?.freeInodes).toBeGreaterThan(0);
      // Its clock is this machine's.
      expect(preflight?.clock?.atLeastMs).toBeLessThanOrEqual(0);
      expect(preflight?.clock?.atMostMs).toBeGreaterThanOrEqual(0);
    });

    it('looks at the image on its server, from a node, and leaves nothing there', async () => {
      const one = await bed.makeNode();
      const before = await remote.observe(one.node);
      const seen = await remote.lookAtImage(one.node, one.image.artifact);
      expect(seen).toEqual({ sizeBytes: one.image.bytes, ranges: true, content: 'ext4' });
      expect(await remote.observe(one.node)).toEqual(before);
      expect(await failureOf(remote.lookAtImage(bed.unreachable, one.image.artifact))).toBeInstanceOf(ConnectError);
      const reason = new Error('stop');
      const aborted = AbortSignal.abort(reason);
      expect(await failureOf(remote.lookAtImage(one.node, one.image.artifact, aborted))).toBe(reason);
    });

    it('says that a node cannot be reached', async () => {
      const error = await failureOf(remote.observe(bed.unreachable));
      expect(error).toBeInstanceOf(ConnectError);
      expect(error).toMatchObject({ failure: 'unreachable', node: bed.unreachable.name });
      expect((error as ConnectError).next).toBeTruthy();
    });

    it('looks at nothing once it is told to stop', async () => {
      const one = await bed.makeNode();
      const reason = new Error('stop');
      expect(await failureOf(remote.observe(one.node, AbortSignal.abort(reason)))).toBe(reason);
    });
  });
}

type DeepPartial<T> = T extends object ? { [K in keyof T]?: DeepPartial<T[K]> } : T;

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    (value) => {
      throw new Error(`it succeeded: ${JSON.stringify(value)}`);
    },
    (reason: unknown) => reason,
  );
}
