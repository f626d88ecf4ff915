import { expect } from 'vitest';
import type { Doc, NodeDoc } from '../lab/cli-bed.ts';
import type { BedNode, NodeBed } from './node.ts';

type Bed = Pick<NodeBed<unknown>, 'cluster' | 'kubeos'>;

/** The exit code, and what `-o json` printed, of a command that came to its end. */
export interface Ended {
  code: number | null;
  doc: Doc;
  /** Everything it said, for the message of a failed expectation. */
  said: string;
}

/** Runs a command with `-o json` to its end. */
export async function json(bed: Bed, ...args: string[]): Promise<Ended> {
  return endOf(bed.kubeos([...args, '-o', 'json']));
}

/** The end of a command that was started with `-o json`. */
export async function endOf(running: ReturnType<Bed['kubeos']>): Promise<Ended> {
  const { code, stdout, stderr } = await running;
  const said = `${stdout}\n${stderr}`;
  if (!stdout.startsWith('{')) throw new Error(`no result, exit code ${String(code)}: ${said}`);
  return { code, doc: JSON.parse(stdout) as Doc, said };
}

export function expectEnd({ code, doc, said }: Ended, wanted: number, outcome?: string): NodeDoc {
  expect(code, said).toBe(wanted);
  const [node] = doc.nodes;
  if (outcome !== undefined) expect(node?.outcome, said).toBe(outcome);
  if (node === undefined) throw new Error(`no node in the result: ${said}`);
  return node;
}

/** The node runs this slot, permanently, in service, and nothing of a run is left on it. */
export async function expectSettled(bed: Bed, node: BedNode, slot: 'A' | 'B', version: string): Promise<void> {
  expect(await node.slot()).toBe(slot);
  const env = await node.grubenv();
  // A commit sets boot_success to 1, GRUB at the next boot to 0.
  expect(env).toMatchObject({ saved_entry: slot, boot_success: expect.stringMatching(/^[01]$/) as string });
  expect(env['next_entry'] ?? '').toBe('');
  expect(await bed.cluster.node(node.name)).toMatchObject({
    ...{ osImage: version, ready: true, cordoned: false, step: undefined },
  });
}

/** What `status` says of whether a trial that fails ends by itself. */
export async function expectFallback(bed: Bed, verdict: 'proven' | 'likely', nodes: readonly BedNode[]): Promise<void> {
  const { doc, said } = await json(bed, 'status');
  const told = Object.fromEntries(doc.nodes.map(({ node, fallback }) => [node, fallback?.verdict]));
  expect(told, said).toEqual(Object.fromEntries(nodes.map(({ name }) => [name, verdict])));
}

/** Lines of the node's own /var/log/messages, in which a power cut leaves zeroes. */
export async function expectLogged(node: BedNode, ...texts: string[]): Promise<void> {
  const lines = await node.ssh('grep -a "kubeos: " /var/log/messages');
  for (const text of texts) expect(lines).toContain(text);
}
