import { untilAborted } from './until-aborted.ts';

/** What became of a password on a host. `ended`: the host closed the connection on it; `unknown`: it was not sent. */
export type Verdict = 'accepted' | 'refused' | 'ended' | 'unknown';

export interface PasswordSource {
  /** What a failure says where there is neither. */
  missing: string;
  /** Set beforehand, by an environment variable. */
  given: string | undefined;
  /**
   * Asks the user, `attempt` counting from 1; resolves to undefined where none was given, rejects with the signal's reason
   * where the question is withdrawn. Missing: nobody is there.
   */
  ask: ((host: string, attempt: number, signal: AbortSignal | undefined) => Promise<string | undefined>) | undefined;
}

/** How a password may be tried on a host. */
export interface Trial {
  /** How often the user is asked, at most. */
  most: number;
  /** Aborted once the host waits for no answer any more. */
  signal?: AbortSignal | undefined;
}

/** So many wrong ones lock an account in many places (pam_faillock(8) denies after three). */
const MOST_REFUSALS = 3;

const REFUSAL = { refused: 'it refuses the password', ended: 'it closed the connection on the password' } as const;

// It may have been sent: whoever cannot tell must not risk it again.
const notAgain = (reason: unknown): string =>
  `not sent again: ${reason instanceof Error ? reason.message : String(reason)}`;

/**
 * One password for many hosts. It is asked for once; until one host has taken it, it is tried on one host at a time,
 * and on three at most: a wrong one, sent to a whole fleet, would lock the account everywhere.
 */
export class SharedPassword {
  readonly #source: PasswordSource;
  readonly #refused = new Map<string, string>();
  readonly #refusals: string[] = [];
  readonly #hosts = new Set<string>();
  #candidate: string | undefined;
  #takenBy: string | undefined;
  #noMore: string | undefined;
  #brokenOff: { reason: unknown } | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(source: PasswordSource) {
    this.#source = source;
    this.#candidate = source.given;
  }

  /**
   * Why there can be none; undefined where there is one, or someone to ask for it.
   * @param batch nobody may be asked
   */
  missing(batch: boolean): string | undefined {
    const { given, ask, missing } = this.#source;
    return given === undefined && (batch || ask === undefined) ? missing : undefined;
  }

  /** True where the host has accepted it in this run. */
  isTakenBy(host: string): boolean {
    return this.#hosts.has(host);
  }

  /**
   * Tries the password on a host, waiting while it is tried for the first time on another one. A host that has refused
   * it is never sent it again. Rejects with the signal's reason where the question is withdrawn.
   * @returns undefined where it was accepted, or nothing is known; else why it was not, as a sentence
   */
  async tryOn(
    host: string,
    trial: Trial,
    attempt: (password: string) => Promise<Verdict>,
  ): Promise<string | undefined> {
    const settled = await this.#whenTaken(host, attempt);
    if (settled !== 'first') return settled.why;
    const endTurn = await this.#waitForTurn(trial.signal);
    try {
      if (this.#takenBy === undefined) return await this.#tryFirst(host, trial, attempt);
    } finally {
      endTurn();
    }
    const later = await this.#whenTaken(host, attempt);
    return later === 'first' ? undefined : later.why;
  }

  /** Resolves to what ends the turn. */
  async #waitForTurn(signal: AbortSignal | undefined): Promise<() => void> {
    const before = this.#turn;
    let end: () => void = () => undefined;
    const mine = new Promise<void>((resolve) => (end = resolve));
    this.#turn = before.then(() => mine);
    await untilAborted(before, signal).catch((reason: unknown) => {
      end();
      throw reason;
    });
    return end;
  }

  async #whenTaken(
    host: string,
    attempt: (password: string) => Promise<Verdict>,
  ): Promise<{ why: string | undefined } | 'first'> {
    const known = this.#refused.get(host);
    if (known !== undefined) return { why: known };
    if (this.#candidate === undefined || this.#takenBy === undefined) return 'first';
    const verdict = await attempt(this.#candidate).catch((reason: unknown) => {
      // Where it was accepted before, it was not the password that broke this off.
      if (!this.#hosts.has(host)) this.#refuse(host, notAgain(reason));
      throw reason;
    });
    if (verdict === 'accepted') this.#hosts.add(host);
    // A node that goes down for its reboot may end a sign-in at any point.
    const isSpared = verdict === 'ended' && this.#hosts.has(host);
    if (verdict === 'accepted' || verdict === 'unknown' || isSpared) return { why: undefined };
    return { why: this.#refuse(host, `${REFUSAL[verdict]} that ${this.#takenBy} has taken`) };
  }

  async #tryFirst(
    host: string,
    { most, signal }: Trial,
    attempt: (password: string) => Promise<Verdict>,
  ): Promise<string | undefined> {
    for (let count = 1; ; count++) {
      if (this.#noMore !== undefined) return this.#noMore;
      this.#candidate ??= await this.#ask(host, signal);
      if (this.#candidate === undefined) return (this.#noMore = 'no password was given');
      const verdict = await attempt(this.#candidate).catch((reason: unknown) => {
        this.#countRefusal(host);
        this.#refuse(host, notAgain(reason));
        throw reason;
      });
      if (verdict === 'unknown') return undefined;
      if (verdict === 'accepted') {
        this.#takenBy = host;
        this.#hosts.add(host);
        return undefined;
      }
      // One that was typed is asked for anew; one from the environment may still be right on another host.
      const isTyped = this.#source.given === undefined;
      if (isTyped) this.#candidate = undefined;
      const isLast = this.#countRefusal(host);
      if (isLast || !isTyped || verdict === 'ended' || count === most) {
        return this.#refuse(host, REFUSAL[verdict]);
      }
    }
  }

  // Whoever breaks off one question means every other host's too.
  async #ask(host: string, signal: AbortSignal | undefined): Promise<string | undefined> {
    if (this.#brokenOff !== undefined) throw this.#brokenOff.reason;
    signal?.throwIfAborted();
    try {
      return await this.#source.ask?.(host, this.#refusals.length + 1, signal);
    } catch (reason) {
      if (signal?.aborted !== true) this.#brokenOff = { reason };
      throw reason;
    }
  }

  /** Returns true for the last one that is risked. */
  #countRefusal(host: string): boolean {
    this.#refusals.push(host);
    if (this.#refusals.length < MOST_REFUSALS) return false;
    const hosts = [...new Set(this.#refusals)].join(', ');
    this.#noMore = `not tried: ${hosts} refused it ${String(MOST_REFUSALS)} times in all, and more would lock accounts`;
    return true;
  }

  #refuse(host: string, why: string): string {
    this.#refused.set(host, why);
    return why;
  }
}
