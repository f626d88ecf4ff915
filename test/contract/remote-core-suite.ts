import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KubeosError } from '../../src/errors.ts';
import type { Assignment, Authority, Remote, StepProgress } from '../../src/rollout/ports.ts';
import type { BedNode, RemoteBed } from './remote-suite.ts';

/** A node whose SSH server can be started anew, its connections cut. */
export type ServerNode = BedNode & {
  restart(): Promise<void>;
  /** The folder that its scripts take for the root of its file system. */
  root: string;
};

export interface ServerBed extends RemoteBed {
  makeNode(): Promise<ServerNode>;
}

const by: Authority = { run: 'run-1', token: 5 };
const never = new AbortController().signal;

/**
 * What of the `Remote` port a server's configuration can break: answers, input, exit codes and logs get through
 * unharmed, long steps outlive their connection, and a step can be ended. The whole contract is in remote-suite.ts.
 */
export function describeRemoteCore(name: string, makeBed: () => Promise<ServerBed>): void {
  describe(`through ${name}, the Remote`, () => {
    let bed: ServerBed;
    let remote: Remote;

    beforeAll(async () => {
      bed = await makeBed();
      remote = bed.remote;
    });

    afterAll(() => bed.close());

    const upgradeOf = ({ version, image }: BedNode, sha256 = image.artifact.sha256): Assignment => ({
      operation: 'upgrade',
      version: image.version,
      replaced: version,
      from: 'A',
      target: 'B',
      sha256,
    });

    async function begun(sha256?: string): Promise<ServerNode> {
      const one = await bed.makeNode();
      await remote.claim(one.node, by);
      await remote.begin(one.node, by, upgradeOf(one, sha256));
      return one;
    }

    const stage = ({ node }: BedNode, artifact: BedNode['image']['artifact'], signal = never) =>
      remote.stage(node, by, artifact, () => undefined, signal);

    async function untilDetached({ node }: BedNode): Promise<void> {
      const deadline = Date.now() + 20_000;
      while ((await bed.another.observe(node)).detached?.running !== true) {
        if (Date.now() > deadline) throw new Error('the step never began');
      }
    }

    it('sees the node as it is, and changes it', async () => {
      const one = await begun();
      const seen = await remote.observe(one.node);
      expect(seen).toMatchObject({ osVersion: one.version, active: 'A', token: by.token, bootEnv: { saved: 'A' } });
      expect(seen.journal).toMatchObject({ ...upgradeOf(one), phase: 'started' });
    });

    it('tells what failed on the node in the node’s own words, and a quoted text gets there as it is', async () => {
      const wrong = 'f'.repeat(64);
      const one = await begun(wrong);
      const error: unknown = await stage(one, { ...one.image.artifact, sha256: wrong }).catch(
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(KubeosError);
      expect(error).toMatchObject({ step: 'stage', node: one.node.name });
      expect((error as KubeosError).reason).toContain(one.image.artifact.sha256);
      await remote.log(one.node, `it's $HOME, "!" and \`id\``);
      expect((await remote.logTail(one.node, 1))[0]).toContain(`it's $HOME, "!" and \`id\``);
    });

    it('carries a long step over a restart of the server', async () => {
      const one = await begun();
      const staging = stage(one, one.slow.artifact);
      staging.catch(() => undefined);
      await untilDetached(one);
      await one.restart();
      one.slow.release();
      expect(await staging).toEqual({ bytes: one.image.bytes });
      expect((await remote.observe(one.node)).artifact).toMatchObject({ bytes: one.image.bytes });
    });

    it('brings an image that this machine has over its own connection, be that cut meanwhile', async () => {
      const one = await begun();
      const seen: number[] = [];
      const onProgress = ({ doneBytes }: StepProgress): void => {
        if (doneBytes > 0 && seen.length === 0) one.cut();
        if (doneBytes > 0) seen.push(doneBytes);
      };
      const sent = await remote.stage(one.node, by, { ...one.image.artifact, via: 'ssh' }, onProgress, never);
      expect(sent).toEqual({ bytes: one.image.bytes });
      expect(seen.length).toBeGreaterThan(1);
      expect((await remote.observe(one.node)).artifact).toMatchObject(sent);
      expect(await remote.write(one.node, by, 'B', () => undefined, never)).toEqual(sent);
      // Done already: nothing is sent.
      expect(await remote.stage(one.node, by, { ...one.image.artifact, via: 'ssh' }, () => undefined, never)).toEqual(
        sent,
      );
    });

    it('ends a long step on the node when it is told to stop', async () => {
      const one = await begun();
      const stop = new AbortController();
      const reason = new Error('stop');
      const staging = stage(one, one.slow.artifact, stop.signal).catch((error: unknown) => error);
      await untilDetached(one);
      stop.abort(reason);
      expect(await staging).toBe(reason);
      expect((await remote.observe(one.node)).detached?.running ?? false).toBe(false);
    });
  });
}
