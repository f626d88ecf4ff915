import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SystemImage } from '../../src/lab/system-image.ts';
import { buildSystemTar } from '../../src/lab/system-tar.ts';
import type { ScriptArguments } from '../../src/remote/compose.ts';
import type { StepScript } from '../../src/remote/scripts/index.ts';
import { type ImageServer, file, serve } from './image-server.ts';
import { changesMade, copyNode, killAt, makeKillingBin, misleads, remains, standing, stopKilling } from './kill.ts';
import { MIB, type Node, SHELLS, type Shell, makeImage, makeNode, makeYard } from './node-bed.ts';

const OLD = 'KubeOS 1.0.0';
const NEW = 'KubeOS 1.1.0';
const TRIAL = { kind: 'up', slot: 'B', trial: true };

/** What is to be done next with a node; `end` is the look at how it ended. */
type Next = StepScript | 'boot' | 'end';
const FROM_B = ['prove', 'commit', 'end'] as const;
const FROM_A = ['begin', 'stage', 'write', 'verify', 'arm', 'boot', ...FROM_B] as const;
/** For machines that have much else to do; on a quiet one it takes half a minute. */
const LONG_MS = 900_000;
/**
 * What a kill leaves does not hang on the shell. So those whose scripts make the same changes take turns
 * (killed-turns.test.ts): all up to `verify`; from then on the two without a managed boot, whose firmware is the same.
 */
export const turnsAt = (step: StepScript): readonly Shell[] =>
  ['claim', 'begin', 'stage', 'write', 'verify'].includes(step) ? SHELLS : ['dash', 'busybox'];

/**
 * The tests of a script that is killed before each of its changes, and in the middle of each write to a disk. After
 * each kill the machine loses its power: it must boot the old system, or the new one once that was verified, and the
 * same way, taken again, must reach the same end.
 */
export function describeKilled(shell: Shell, firmware: 'uefi' | 'bios', form: 'image' | 'tar' = 'image'): void {
  describe(`killed before each change, sh is ${shell}, ${firmware}, the system comes as ${form}`, () => {
    let yard: Awaited<ReturnType<typeof makeYard>>;
    let server: ImageServer;
    let image: SystemImage;
    let bytes: Buffer;
    let node: Node;
    const seen = new Set<string>();

    beforeAll(async () => {
      yard = await makeYard();
      const small = { sizeBytes: 2 * MIB, paddingBytes: MIB / 4 };
      const tar = { version: NEW, out: path.join(yard.dir, 'new.tar'), paddingBytes: MIB / 4 };
      image = form === 'tar' ? await buildSystemTar(tar) : await makeImage(yard.dir, NEW, small);
      bytes = await readFile(image.path);
      server = await serve(file(image.path));
      const bin = await makeKillingBin(path.join(yard.dir, 'bin'), shell);
      node = await makeNode(yard.dir, bin, await makeImage(yard.dir, OLD, small), { firmware, slotBytes: 3 * MIB });
    });

    afterAll(async () => {
      await server.close();
      await yard.remove();
    });

    const argumentsOf = (step: StepScript): ScriptArguments => {
      const { version, sha256 } = image;
      const target = 'B';
      switch (step) {
        case 'begin':
          return { operation: 'upgrade', version, replaced: OLD, sha256, from: 'A', target };
        case 'stage':
          return { url: `${server.url}/update.img`, sha256, flagsafe: true };
        case 'verify':
          return { operation: 'upgrade', target, version, sha256 };
        case 'arm':
          return { target, version, managed: shell === 'bash' };
        case 'prove':
          return { target, version };
        case 'write':
        case 'commit':
          return { target };
        default:
          return {};
      }
    };
    /** Where nodes stood before a step, on a way that came to its end. */
    const known = new Set<string>();

    /** What a run does that finds the node somewhere on its way; where another node stood just so, the rest is known. */
    async function carryOn(on: Node, where: string): Promise<void> {
      const passed: string[] = [];
      const way: Next[] = ['claim', 'observe'];
      for (let next = way.shift(); next !== undefined; next = way.shift()) {
        const here = `${next} ${await standing(on)}`;
        passed.push(here);
        if (known.has(here)) break;
        if (next === 'observe') way.push(...((await on.observe())['active'] === 'A' ? FROM_A : FROM_B));
        else if (next === 'boot') expect(await on.machine.boot(), where).toMatchObject(TRIAL);
        else if (next === 'end') await expectEnd(on, where);
        else await on.must(next, argumentsOf(next));
      }
      for (const one of passed) known.add(one);
    }

    async function expectEnd(on: Node, where: string): Promise<void> {
      expect(await on.observe(), where).toMatchObject({
        active: 'B',
        os_version: NEW,
        'env.saved': 'B',
        'B.label': 'ROOT-B',
        'B.record_holds': 'yes',
        'B.record_sha256': image.sha256,
        'A.version': OLD,
        'A.content': 'bootable',
        'journal.phase': 'committed',
        managed: shell === 'bash' ? 'yes' : 'no',
      });
      expect(await on.machine.boot(), where).toMatchObject({ kind: 'up', slot: 'B', trial: false, version: NEW });
    }

    async function killEach(step: StepScript, mayBootNew: boolean, torn: boolean): Promise<void> {
      const turns = form === 'image' && turnsAt(step).includes(shell) ? turnsAt(step) : [shell];
      const stride = turns.length;
      for (let at = turns.indexOf(shell) + 1; ; at += stride) {
        const copy = await copyNode(node, path.join(yard.dir, 'killed'));
        await killAt(copy, at, torn);
        const answer = await copy.run(step, argumentsOf(step));
        const where = `${step}, change ${at}: ${answer.stderr}`;
        if (answer.ended === 'ok') {
          const made = await changesMade(copy);
          expect(made, where).toBeLessThan(at);
          expect(made, where).toBeGreaterThanOrEqual(at - stride);
          break;
        }
        expect(answer.ended, where).toBe('SIGKILL');
        stopKilling(copy);
        expect(await misleads(copy, form === 'tar' ? undefined : bytes), where).toBeUndefined();
        // Two kills that leave the same go on in the same way.
        const left = await remains(copy);
        if (seen.has(left)) continue;
        seen.add(left);
        const booted = await copy.machine.boot();
        expect(booted, where).toMatchObject({ kind: 'up' });
        if (booted.kind !== 'up' || (!mayBootNew && booted.slot !== 'A'))
          throw new Error(`boots the new slot: ${where}`);
        expect(booted.version, where).toBe(booted.slot === 'A' ? OLD : NEW);
        await carryOn(copy, where);
      }
      await killAt(node, 0);
      await node.must(step, argumentsOf(step));
    }

    it.each(['claim', 'begin', 'stage'] as const)('%s', async (step) => {
      // These are the same whatever the image is.
      if (form === 'tar') await node.must(step, argumentsOf(step));
      else await killEach(step, false, false);
    });
    it('write, in the middle of it', { timeout: LONG_MS }, async () => {
      await killEach('write', false, true);
    });
    it('verify', { timeout: LONG_MS }, async () => {
      await killEach('verify', false, true);
    });
    // From here on nothing depends on what the image was.
    if (form === 'tar') return;
    it('arm', async () => {
      await killEach('arm', true, false);
    });
    it('prove, on the trial', async () => {
      expect(await node.machine.boot()).toMatchObject(TRIAL);
      await killEach('prove', false, false);
    });
    it('commit', async () => {
      await killEach('commit', true, false);
    });
  });
}
