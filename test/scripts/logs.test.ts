import { appendFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Node, MIB, SHELLS, makeBin, makeImage, makeNode, makeYard } from './node-bed.ts';

let yard: Awaited<ReturnType<typeof makeYard>>;
let node: Node;

beforeAll(async () => {
  yard = await makeYard();
  const bin = await makeBin(path.join(yard.dir, 'bin-dash'), 'dash');
  const system = await makeImage(yard.dir, 'KubeOS 1.0.0', { sizeBytes: 2 * MIB });
  node = await makeNode(yard.dir, bin, system, { slotBytes: 2 * MIB });
  // What a power cut leaves of a file whose last blocks never arrived.
  await appendFile(
    path.join(node.machine.root, 'var/log/messages'),
    `${'\0'.repeat(4096)}Nov 26 03:54:32 worker-1 kubeos: armed\nNov 26 03:54:33 worker-1 sshd[9]: no\n`,
  );
});

afterAll(() => yard.remove());

it.each(SHELLS)('shows the lines of kubeos behind what a power cut left of the log, sh is %s', async (shell) => {
  if (shell !== 'dash') node.bin = await makeBin(path.join(yard.dir, `bin-${shell}`), shell);
  const { stdout } = await node.ask('logs', { lines: 10 });
  expect(stdout).toBe('Nov 26 03:54:32 worker-1 kubeos: armed\n');
});
