import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Lab } from '../../src/lab/lab.ts';
import { until } from '../lab/lab-bed.ts';
import type { BootedNode, Kubelets } from './kubelets.ts';

const LOOK_MS = 100;

/**
 * Lets the stand-ins for kubelets follow the lab's machines: silent as soon as one goes down, reporting each system as
 * the lab's own kubelet does once it is up.
 */
export function followBoots(lab: Lab, kubelets: Kubelets): Boots {
  const followers = new Map(lab.nodes.map(({ name }) => [name, new BootFollower(lab, kubelets, name)]));
  const all = [...followers.values()];
  const looking = setInterval(() => all.forEach((one) => one.look()), LOOK_MS);
  return {
    allReported: () => until(() => all.every((one) => one.reported)),
    holdNext: (name) => followers.get(name)?.hold() ?? (() => undefined),
    stop: () => clearInterval(looking),
  };
}

export interface Boots {
  allReported(): Promise<void>;
  /** From its next boot on the node's kubelet says nothing, though its system is up; returns the way to let it go. */
  holdNext(name: string): () => void;
  stop(): void;
}

class BootFollower {
  readonly #lab: Lab;
  readonly #kubelets: Kubelets;
  readonly #name: string;
  /** The system that the API server was told of last, while it is up. */
  #told = '';
  #telling = false;
  #held = false;

  constructor(lab: Lab, kubelets: Kubelets, name: string) {
    this.#lab = lab;
    this.#kubelets = kubelets;
    this.#name = name;
  }

  get reported(): boolean {
    return this.#told !== '';
  }

  hold(): () => void {
    this.#held = true;
    return () => (this.#held = false);
  }

  look(): void {
    const isUp = this.#lab.node(this.#name).status().state === 'up';
    const system = isUp ? this.#system() : undefined;
    const words = JSON.stringify(system);
    const isNews = system !== undefined && words !== this.#told;
    if (!isUp || (isNews && this.#held)) {
      this.#told = '';
      this.#kubelets.lose(this.#name);
    } else if (isNews && !this.#telling) this.#tell(system, words);
  }

  #tell(system: BootedNode, words: string): void {
    this.#telling = true;
    void this.#kubelets
      .boot(system)
      .then(() => (this.#told = words))
      // An API server that is away is told at the next look.
      .catch(() => undefined)
      .finally(() => (this.#telling = false));
  }

  /** As the lab's kubelet reported it; undefined until it has reported this boot. */
  #system(): BootedNode | undefined {
    const node = this.#lab.api.get('nodes', '', this.#name);
    const info = node?.status?.['nodeInfo'] as { bootID: string; osImage: string; kernelVersion: string } | undefined;
    const conditions = node?.status?.['conditions'] as { type: string; status: string }[] | undefined;
    const ready = conditions?.find(({ type }) => type === 'Ready')?.status;
    const { machine, ssh } = this.#lab.node(this.#name);
    const bootId = readFileSync(path.join(machine.root, 'proc/sys/kernel/random/boot_id'), 'utf8').trim();
    if (info?.bootID !== bootId || ready === 'Unknown') return undefined;
    return {
      name: this.#name,
      address: ssh.address,
      labels: this.#name === 'cp-1' ? { 'node-role.kubernetes.io/control-plane': '' } : {},
      osImage: info.osImage,
      bootId: info.bootID,
      kernelVersion: info.kernelVersion,
      ready: ready === 'True',
    };
  }
}
