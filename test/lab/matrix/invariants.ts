import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { runEntry } from '../../../src/lab/firmware.ts';
import type { KubeObject } from '../../../src/lab/api/index.ts';
import type { LabNode } from '../../../src/lab/lab-node.ts';
import type { Slot } from '../../../src/rollout/facts.ts';
import type { CliBed } from '../cli-bed.ts';

/** What must hold at every moment of a case, whatever befalls it (docs/proof.md names each). */
export class Watch {
  readonly broken: string[] = [];
  readonly #bed: CliBed;
  readonly #budget: number;
  readonly #foreign: string | undefined;
  readonly #slotA: string;
  readonly #stop: () => void;

  /** @param slotA SHA-256 of the slot that the nodes run */
  constructor(bed: CliBed, { budget, foreign, slotA }: { budget: number; foreign: string | undefined; slotA: string }) {
    this.#bed = bed;
    this.#budget = budget;
    this.#foreign = foreign;
    this.#slotA = slotA;
    this.#stop = bed.lab.api.store.subscribe(({ kind }) => {
      if (kind.plural === 'nodes') this.#lookAtCluster();
    });
  }

  /** After every call that changed a node: what a power cut right now would leave. */
  async lookAtNode(name: string): Promise<void> {
    const node = this.#bed.lab.node(name);
    const { machine } = node;
    const saved = machine.savedSlot() ?? 'A';
    const entry = await runEntry(machine.root, saved, machine);
    if (entry.kind !== 'up') this.#say(`${name} would not boot slot ${saved}: ${entry.message}`);
    const phase = (await journalOf(node)).get('phase') ?? 'none';
    if (saved === 'B' && phase !== 'proven' && phase !== 'committed') {
      this.#say(`${name} has slot B permanent in phase ${phase}`);
    }
    const next = (await machine.grubVariables())?.get('next_entry') ?? '';
    if (next !== '' && !['verified', 'armed'].includes(phase)) this.#say(`${name} is armed in phase ${phase}`);
  }

  async lookAtAll(): Promise<void> {
    await Promise.all(workers(this.#bed).map((name) => this.lookAtNode(name)));
  }

  /** Ends the watch. */
  async end(): Promise<readonly string[]> {
    this.#stop();
    await this.lookAtAll();
    for (const name of workers(this.#bed)) {
      if ((await digestOfSlot(this.#bed, name, 'A')) !== this.#slotA) this.#say(`${name}: slot A was written`);
    }
    return this.broken;
  }

  #lookAtCluster(): void {
    const nodes = workers(this.#bed).flatMap((name) => this.#bed.lab.api.get('nodes', '', name) ?? []);
    const down = nodes.filter((node) => isCordoned(node) || !isReady(node)).map(({ metadata }) => metadata.name);
    if (down.length > this.#budget) this.#say(`${down.join(', ')} are unavailable, ${this.#budget} may be`);
    const foreign = nodes.find(({ metadata }) => metadata.name === this.#foreign);
    if (foreign !== undefined && !isCordoned(foreign))
      this.#say(`the cordon of ${foreign.metadata.name} was taken off`);
  }

  #say(what: string): void {
    if (!this.broken.includes(what)) this.broken.push(what);
  }
}

export const workers = ({ lab }: CliBed): string[] =>
  lab.nodes.map(({ name }) => name).filter((name) => name.startsWith('worker-'));

export async function digestOfSlot({ lab }: CliBed, name: string, slot: Slot): Promise<string> {
  const bytes = await readFile(lab.node(name).machine.device(slot));
  return createHash('sha256').update(bytes).digest('hex');
}

async function journalOf(node: LabNode): Promise<ReadonlyMap<string, string>> {
  const text = await readFile(path.join(node.machine.root, 'persist/kubeos/journal'), 'utf8').catch(() => '');
  return new Map(text.split('\n').map((line) => [line.split('=', 1)[0] ?? '', line.slice(line.indexOf('=') + 1)]));
}

const isCordoned = ({ spec }: KubeObject): boolean => spec?.['unschedulable'] === true;

function isReady({ status }: KubeObject): boolean {
  const conditions = (status?.['conditions'] ?? []) as { type: string; status: string }[];
  return conditions.some(({ type, status: value }) => type === 'Ready' && value === 'True');
}
