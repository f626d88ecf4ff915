import type { ContainerArtifact, DiskArtifact, DrainOptions } from './ports.ts';
import type { Goal } from './plan-types.ts';
import type { MaxUnavailable } from './budget.ts';
import type { SelectionOptions } from './selection.ts';
import type { Operation } from './facts.ts';
import type { Ways } from './artifacts.ts';

/** Everything a user asked for; a plan is made from this and the cluster alone. */
export interface RolloutRequest {
  goal: Goal;
  /** For an upgrade. */
  image?: ImageRequest;
  selection: SelectionOptions;
  maxUnavailable: MaxUnavailable;
  canary: number;
  maxFailures: number;
  writeAfterDrain: boolean;
  /** Bytes a second at most with which each slot is written. */
  writeRate?: number;
  drain: DrainOptions;
  allowMajor: boolean;
  reinstall: boolean;
  retryFailedImage: boolean;
  /** Nodes may be tried whose trial, should it fail, does not end by itself. */
  allowNoFallback: boolean;
  /** Trials go by a managed boot, which is made where there is none. */
  managedBoot: boolean;
  /** How the image may come to the nodes; missing: by tools of their own. */
  ways?: Ways;
  /** The node whose own pod runs kubeos, where there is one. */
  ownNode?: string;
  /** One node that cannot be started refuses the whole run. */
  strict?: boolean;
  /** What the cluster must allow: a mere plan only reads. */
  rights: 'read' | 'rollout';
}

export type ImageRequest =
  | { type: 'disk'; artifact: DiskArtifact; /** Without credentials or signatures. */ shownUrl: string }
  | { type: ContainerArtifact['engine']; artifact: ContainerArtifact };

/** What every node of a run shall become. */
export interface NodeGoal {
  operation: Operation;
  version: string;
  /** What the artifact is called by; empty for a rollback. */
  sha256: string;
  /** The node's container engine brings the image, and no curl. */
  byEngine?: true;
  reinstall: boolean;
  retryFailedImage: boolean;
  allowNoFallback: boolean;
  ways?: Ways;
}
