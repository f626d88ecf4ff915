import { KubeosError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { ClusterNode } from './facts.ts';
import type { Cluster } from './ports.ts';

/** All nodes as the one watch last showed them. */
export class ClusterView {
  #nodes: ReadonlyMap<string, ClusterNode>;
  readonly #stop: () => void;
  readonly #listeners = new Set<() => void>();

  private constructor(cluster: Cluster, first: readonly ClusterNode[]) {
    this.#nodes = new Map(first.map((node) => [node.name, node]));
    this.#stop = cluster.watchNodes((nodes) => {
      this.#nodes = nodes;
      for (const tell of this.#listeners) tell();
    });
  }

  /** Reads all nodes once, then follows them. */
  static async open(cluster: Cluster, signal?: AbortSignal): Promise<ClusterView> {
    return new ClusterView(cluster, await cluster.nodes(signal));
  }

  get nodes(): ReadonlyMap<string, ClusterNode> {
    return this.#nodes;
  }

  find(name: string): ClusterNode | undefined {
    return this.#nodes.get(name);
  }

  /** @throws KubeosError where the cluster no longer has the node */
  get(name: string): ClusterNode {
    const node = this.find(name);
    if (node !== undefined) return node;
    throw new KubeosError('the node is no longer in the cluster', EXIT.incomplete, {
      node: name,
      next: 'if it was deleted on purpose, nothing is to be done; else see why its kubelet no longer registers',
    });
  }

  /** Calls back whenever any node has changed. Returns the way to stop it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  close(): void {
    this.#stop();
  }
}
