import path from 'node:path';
import { expect, it } from 'vitest';
import type { ScriptArguments } from '../../src/remote/compose.ts';
import type { StepScript } from '../../src/remote/scripts/index.ts';
import { file, serve } from './image-server.ts';
import { changesMade, killAt, makeKillingBin } from './kill.ts';
import { turnsAt } from './killed-suite.ts';
import { MIB, SHELLS, type Shell, makeImage, makeNode, makeYard } from './node-bed.ts';

const OLD = 'KubeOS 1.0.0';
const NEW = 'KubeOS 1.1.0';
const STEPS = ['claim', 'begin', 'stage', 'write', 'verify', 'arm', 'prove', 'commit'] as const;

it('no change is left out by shells that take turns: each of them makes as many', async () => {
  const yard = await makeYard();
  const small = { sizeBytes: 2 * MIB, paddingBytes: MIB / 4 };
  const image = await makeImage(yard.dir, NEW, small);
  const old = await makeImage(yard.dir, OLD, small);
  const server = await serve(file(image.path));
  const { version, sha256 } = image;
  const target = 'B';
  const args: Partial<Record<StepScript, ScriptArguments>> = {
    begin: { operation: 'upgrade', version, replaced: OLD, sha256, from: 'A', target },
    stage: { url: `${server.url}/update.img`, sha256, flagsafe: true },
    write: { target },
    verify: { operation: 'upgrade', target, version, sha256 },
    arm: { target, version },
    prove: { target, version },
    commit: { target },
  };
  const changes = async (shell: Shell): Promise<Record<string, number>> => {
    const bin = await makeKillingBin(path.join(yard.dir, shell), shell);
    const firmware = shell === 'bash' ? 'bios' : 'uefi';
    const node = await makeNode(yard.dir, bin, old, { firmware, slotBytes: 3 * MIB });
    const made: Record<string, number> = {};
    for (const step of STEPS) {
      if (step === 'prove') await node.machine.boot();
      await killAt(node, 0);
      await node.must(step, args[step]);
      made[step] = await changesMade(node);
    }
    return made;
  };
  try {
    const made = new Map(await Promise.all(SHELLS.map(async (shell) => [shell, await changes(shell)] as const)));
    for (const step of STEPS) {
      const counts = turnsAt(step).map((shell) => made.get(shell)?.[step]);
      expect(new Set(counts).size, `${step}: ${counts.join(', ')}`).toBe(1);
      expect(counts[0], step).toBeGreaterThan(0);
    }
  } finally {
    await server.close();
    await yard.remove();
  }
});
