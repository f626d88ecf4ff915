import type { DrainForecast, DrainOptions } from './drain-types.ts';
import type { Assignment, Fallback, Operation, Slot } from './facts.ts';
import type { ImageSeen } from './preflight-types.ts';
import type { Step } from './steps.ts';
import type { Compression, Via, Ways } from './artifacts.ts';

/** Something that stands in the way, or that the reader should know, with its mending. */
export interface Finding {
  what: string;
  reason?: string;
  next?: string;
}

/**
 * What must be put in order on a node before its way begins, because the slot it runs, or the one it would boot, is
 * not what its boot environment makes permanent.
 *
 * - `disarm`: a run with another goal armed the other slot and never rebooted.
 * - `close-fell-back`: a trial of a run with another goal ended in the old slot, and nobody wrote that down.
 * - `settle`: the slot it runs is not the permanent one (booted by hand, or another goal's trial that nobody finished):
 *   it is proven healthy and committed where it runs, before a byte of the other slot changes.
 */
export type Preliminary =
  { kind: 'disarm' } | { kind: 'close-fell-back' } | { kind: 'settle'; assignment: Assignment; adopt: boolean };

/** One node that the run will change. */
export interface PlanEntry {
  node: string;
  /** The OS version it runs now. */
  now: string;
  /** What its way leads to; its target is the inactive slot, or the active one of a node already on trial or booted by hand. */
  assignment: Assignment;
  /** The first step that has work to do; a resumed node begins later than `stage`. */
  firstStep: Step;
  /** A node that was booted by hand into the right slot: proven and committed where it runs. */
  adopt: boolean;
  /** What comes before the first step; missing for nearly every node. */
  preliminary?: Preliminary;
  /** It came up in its old slot in an earlier run that did not live to see it: reported as fell back, tidied up. */
  fellBackEarlier: boolean;
  /** Not Ready or cordoned already: it goes before those that are not, and takes no further budget. */
  alreadyDown: boolean;
  /** It goes alone, as long as no trial has succeeded. */
  canary: boolean;
  /** Whether a trial that fails ends in the old slot by itself; missing where the node did not say. */
  fallback?: Fallback['verdict'];
  /** Its trial goes by a managed boot: that of an earlier run, or one that is made for it; missing where not. */
  managedBoot?: true;
  /** What the inactive slot holds that a write will destroy; missing where nothing is lost. */
  loses?: string;
  /** How the image comes to it; missing where it has it, or needs none. */
  via?: Via;
  /** With what this machine decompresses it for the node, which cannot; missing where it need not. */
  decompress?: Compression;
  /** Its slot is written while the image arrives: what the slot holds is given up first. */
  stream?: true;
  /** Of a rollback: what vouches for the slot that it goes back to. */
  trust?: SlotTrust;
  drain: DrainForecast;
  notes: readonly string[];
  /** What the reader should know of the node before it is started; missing for none. */
  warnings?: readonly Finding[];
}

/** What vouches for a slot that a rollback leads to, before it is read; verify says in the result on what it stood. */
export interface SlotTrust {
  basis: 'recorded digest' | 'content only';
  /** When kubeos last verified it, by that basis: ISO 8601, on the node's clock; missing where it never did, or no time is recorded. */
  verifiedAt?: string;
  /** Its file system was written to since. */
  changed?: true;
}

/** A run that holds the lock, and is alive, while a plan is made: what the plan shows may be about to change. */
export interface LiveRun {
  run: string;
  /** `upgrade to KubeOS 2.0.0, 2 of 4 nodes done`. */
  what: string;
  holder: string;
  /** The nodes that bear its mark, and the step that it stands at. */
  nodes: readonly { node: string; step: Step }[];
}

/** What a rollout will do: `kubeos plan` prints it, `kubeos upgrade` executes this very object. */
export interface Plan {
  operation: Operation;
  version: string;
  /** For people: an upgrade that leads to an older version is a downgrade; of the same version a reinstall. */
  direction: 'upgrade' | 'downgrade' | 'reinstall' | 'rollback';
  image?: {
    type: 'disk' | 'docker' | 'containerd';
    /** Of a container image its reference. */
    shownUrl: string;
    /** Of a container image its digest, or where the spec gives none, the SHA-256 of its reference. */
    sha256: string;
    /** For a container image: what vouches that it is the right one. */
    trusted?: 'digest' | 'tag';
    /** How one node saw it on its server; missing where no node has to fetch it, or none could. */
    seen?: ImageSeen & { from: string };
  };
  /** Nodes over which the budget is counted: all that the spec addresses, whatever narrows the run itself. */
  addressed: readonly string[];
  /** How many nodes may be unavailable at once. */
  maxUnavailable: number;
  /** How many trials must succeed before nodes go side by side; those that a run left on trial count. */
  canary: number;
  /** No further node is started once this many failed or fell back; 0: never stop. */
  maxFailures: number;
  writeAfterDrain: boolean;
  /** Bytes a second at most with which each slot is written. */
  writeRate?: number;
  /** Nodes at the version whose running slot was not written from this image are written again. */
  reinstall?: boolean;
  /** An image that failed its trial on a node is tried there once more. */
  retryFailedImage?: boolean;
  /** Nodes are tried whose trial, should it fail, does not end by itself. */
  allowNoFallback?: boolean;
  /** A managed boot is made where there is none. */
  managedBoot?: boolean;
  /** How the image may come to the nodes, where the user said more than nothing. */
  ways?: Ways;
  /** The highest lock token that a selected node or its annotation has seen; the run's own must be higher. */
  highestToken?: number;
  /** Missing where no other run is at work. */
  liveRun?: LiveRun;
  drain: DrainOptions;
  entries: readonly PlanEntry[];
  /** Nodes that run the version already; `notes` where something is left to tell. */
  already: readonly { node: string; now: string; notes: readonly string[] }[];
  /** Nodes that the run does not address, and what left them out. */
  leftOut: readonly { node: string; because: string }[];
  /** Nodes that need the change but cannot be started. */
  notStarted: readonly { node: string; now: string; findings: readonly Finding[]; unreachable: boolean }[];
  /** What refuses the whole run; then nothing is done (exit 4). */
  refusals: readonly Finding[];
  notes: readonly Finding[];
}

/** What the user asked for: the spec's or the rollback's goal, checked, without any node in it. */
export interface Goal {
  operation: Operation;
  /** Missing for `rollback --to-previous` and `--to-other-slot`: worked out from the nodes. */
  version?: string;
  toOtherSlot: boolean;
}

export type { Assignment, Operation, Slot };
