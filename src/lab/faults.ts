import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** What can be made to go wrong on one node. `times`: how often it strikes; missing: until it is cleared. */
export const FAULTS = {
  'ssh-refused': { what: 'SSH refuses every connection, and those that are open are cut' },
  'ssh-cut': { what: 'SSH cuts the connection in the middle of a step, once a long step has begun', times: 3 },
  'corrupt-download': { what: 'a byte of the next download is not what the server has', times: 1 },
  'download-cut': { what: 'the image server cuts the next downloads half-way', times: 2 },
  'slow-download': { what: 'the image server sends at most 1 MiB/s' },
  'slow-write': { what: 'the disk takes at most 1 MiB/s of an image' },
  'disk-full': { what: 'no space is left in /persist' },
  'persist-read-only': { what: '/persist is mounted read-only' },
  'clock-skew': { what: "the node's clock is ten minutes ahead" },
  'old-kernel': { what: 'the kernel is one of openEuler 22.03' },
  'other-architecture': { what: 'the machine says that it is an aarch64' },
  'missing-tool': { what: 'the node has no curl' },
  'expired-certificate': { what: 'ca.crt in /etc/KubeOS/certs has expired' },
  'boot-fails': { what: 'the next trial boot panics; the node comes back in its old slot', times: 1 },
  'never-comes-back': { what: 'the next trial boot hangs until --clear cycles the power', times: 1 },
  unready: { what: 'a slot on trial comes up, but its kubelet never becomes Ready' },
  'drain-blocked': { what: 'a PodDisruptionBudget allows no eviction now: a drain waits until --clear' },
  'drain-impossible': { what: 'a PodDisruptionBudget never allows the eviction of a pod on the node' },
  'power-off': { what: 'the node loses its power until --clear' },
} as const satisfies Record<string, { what: string; times?: number }>;

export type FaultKind = keyof typeof FAULTS;

export const FAULT_KINDS = Object.keys(FAULTS) as readonly FaultKind[];

export const isFaultKind = (text: string): text is FaultKind => Object.hasOwn(FAULTS, text);

/**
 * The faults that are set on one node, kept as files in its state folder, where the doubles see them too. A file holds
 * how often its fault is still to strike; an empty one strikes until it is cleared.
 */
export class FaultBook {
  readonly #folder: string;

  /** @param stateDir LAB/nodes/NAME/state */
  constructor(stateDir: string) {
    this.#folder = path.join(stateDir, 'faults');
    mkdirSync(this.#folder, { recursive: true });
  }

  set(kind: FaultKind): void {
    const fault = FAULTS[kind];
    writeFileSync(this.#file(kind), 'times' in fault ? `${fault.times}\n` : '');
  }

  clear(kind: FaultKind): void {
    rmSync(this.#file(kind), { force: true });
  }

  /** The faults that are set, in the order of FAULTS. */
  list(): readonly FaultKind[] {
    const set = new Set(readdirSync(this.#folder));
    return FAULT_KINDS.filter((kind) => set.has(kind));
  }

  has(kind: FaultKind): boolean {
    return this.#read(kind) !== undefined;
  }

  /** True where the fault is set; one that strikes only so often has struck once more. */
  strike(kind: FaultKind): boolean {
    const left = this.#read(kind);
    if (left === undefined) return false;
    if (left === 1) this.clear(kind);
    else if (left > 1) writeFileSync(this.#file(kind), `${left - 1}\n`);
    return true;
  }

  /** How often it is still to strike; 0 for one without a limit, undefined for one that is not set. */
  #read(kind: FaultKind): number | undefined {
    try {
      return Number(readFileSync(this.#file(kind), 'utf8'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  #file(kind: FaultKind): string {
    return path.join(this.#folder, kind);
  }
}
