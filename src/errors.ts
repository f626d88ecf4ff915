import { EXIT, type ExitCode } from './exit-codes.ts';

/** What every failure carries, so that its report can say what, where, why and what to do next. */
export interface FailureContext {
  /** Why: the underlying fact, in one or a few lines. */
  reason?: string;
  /** What to do next, as an instruction; a command to run stands on a line of its own. */
  next?: string;
  /** The node it happened on. */
  node?: string;
  /** The step it happened in. */
  step?: string;
  /** The last lines of the node's or the tool's own output, newest last. */
  logTail?: readonly string[];
  cause?: unknown;
}

/** A failure that kubeos expects and can explain. Anything else that is thrown is a bug (exit 1). */
export class KubeosError extends Error {
  override readonly name: string = 'KubeosError';
  readonly reason: string | undefined;
  readonly next: string | undefined;
  readonly node: string | undefined;
  readonly step: string | undefined;
  readonly logTail: readonly string[];
  readonly exitCode: ExitCode;

  constructor(what: string, exitCode: ExitCode, context: FailureContext = {}) {
    super(what, context.cause === undefined ? undefined : { cause: context.cause });
    this.exitCode = exitCode;
    this.reason = context.reason;
    this.next = context.next;
    this.node = context.node;
    this.step = context.step;
    this.logTail = context.logTail ?? [];
  }
}

/** The command line is wrong. */
export class UsageError extends KubeosError {
  override readonly name = 'UsageError';
  constructor(what: string, context: FailureContext = {}) {
    super(what, EXIT.usage, context);
  }
}

/** Something stands in the way, found before anything was changed. */
export class PreflightError extends KubeosError {
  override readonly name: string = 'PreflightError';
  constructor(what: string, context: FailureContext = {}) {
    super(what, EXIT.refused, context);
  }
}

/** The image is one that kubeos does not write: found before a slot changed, and true for every node. */
export class ImageRefusedError extends PreflightError {
  override readonly name: string = 'ImageRefusedError';
}

/** The cluster's API cannot be reached, or refuses the login. */
export class ApiUnreachableError extends KubeosError {
  override readonly name = 'ApiUnreachableError';
  constructor(what: string, context: FailureContext = {}) {
    super(what, EXIT.unreachable, context);
  }
}

/** Why a node could not be signed in to. `lost` is a connection that broke after it had been made. */
export type ConnectFailure =
  | 'unreachable'
  | 'timeout'
  | 'host-key-unknown'
  | 'host-key-changed'
  | 'login-refused'
  | 'no-root'
  | 'lost'
  | 'protocol';

/** A node cannot be reached or signed in to by SSH, or its connection broke and could not be made again. */
export class ConnectError extends KubeosError {
  override readonly name = 'ConnectError';
  readonly failure: ConnectFailure;
  constructor(what: string, failure: ConnectFailure, context: FailureContext = {}) {
    super(what, EXIT.unreachable, context);
    this.failure = failure;
  }
}

/** Another live run holds the lock. */
export class LockHeldError extends KubeosError {
  override readonly name = 'LockHeldError';
  constructor(what: string, context: FailureContext = {}) {
    super(what, EXIT.locked, context);
  }
}

/** This run's lock was taken over or could not be renewed: nothing more may be changed. */
export class LockLostError extends KubeosError {
  override readonly name = 'LockLostError';
  constructor(what: string, context: FailureContext = {}) {
    super(what, EXIT.incomplete, context);
  }
}

/** The user or the system asked kubeos to stop. */
export class InterruptedError extends KubeosError {
  override readonly name = 'InterruptedError';
  constructor(what = 'interrupted', context: FailureContext = {}) {
    super(what, EXIT.interrupted, context);
  }
}
