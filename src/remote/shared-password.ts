/** What became of a password on a host. `ended`: the host closed the connection on it; `unknown`: it was not sent. */
export type Verdict = 'accepted' | 'refused' | 'ended' | 'unknown';

export interface PasswordSource {
  /** What a failure says where there is neither. */
  missing: string;
  /** Set beforehand, by an environment variable. */
  given: string | undefined;
  /** Asks the user, `attempt` counting from 1; resolves to undefined where none was given. Missing: nobody is there. */
  ask: ((host: string, attempt: number) => Promise<string | undefined>) | undefined;
}

/** So many wrong ones lock an account in many places (pam_faillock(8) denies after three). */
const MOST_REFUSALS = 3;

const REFUSAL = { refused: 'it refuses the password', ended: 'it closed the connection on the password' } as const;

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

  /** Why there can be none; undefined where there is one, or someone to ask for it. */
  get missing(): string | undefined {
    return this.#source.given === undefined && this.#source.ask === undefined ? this.#source.missing : undefined;
  }

  /** True where the host has accepted it in this run. */
  isTakenBy(host: string): boolean {
    return this.#hosts.has(host);
  }

  /**
   * Tries the password on a host, waiting while it is tried for the first time on another one. A host that has refused
   * it is never sent it again.
   * @param most how often the user is asked, at most
   * @returns undefined where it was accepted, or nothing is known; else why it was not, as a sentence
   */
  async tryOn(
    host: string,
    most: number,
    attempt: (password: string) => Promise<Verdict>,
  ): Promise<string | undefined> {
    const settled = await this.#whenTaken(host, attempt);
    if (settled !== 'first') return settled.why;
    const turn = this.#turn.then(async () => {
      if (this.#takenBy !== undefined) return 'taken' as const;
      return { why: await this.#tryFirst(host, Math.min(most, MOST_REFUSALS), attempt) };
    });
    this.#turn = turn.catch(() => undefined);
    const first = await turn;
    if (first !== 'taken') return first.why;
    const later = await this.#whenTaken(host, attempt);
    return later === 'first' ? undefined : later.why;
  }

  async #whenTaken(
    host: string,
    attempt: (password: string) => Promise<Verdict>,
  ): Promise<{ why: string | undefined } | 'first'> {
    const known = this.#refused.get(host);
    if (known !== undefined) return { why: known };
    if (this.#candidate === undefined || this.#takenBy === undefined) return 'first';
    const verdict = await attempt(this.#candidate);
    if (verdict === 'accepted') this.#hosts.add(host);
    // A node that goes down for its reboot may end a sign-in at any point.
    const isSpared = verdict === 'ended' && this.#hosts.has(host);
    if (verdict === 'accepted' || verdict === 'unknown' || isSpared) return { why: undefined };
    return { why: this.#refuse(host, `${REFUSAL[verdict]} that ${this.#takenBy} has taken`) };
  }

  async #tryFirst(
    host: string,
    most: number,
    attempt: (password: string) => Promise<Verdict>,
  ): Promise<string | undefined> {
    for (let count = 1; ; count++) {
      if (this.#noMore !== undefined) return this.#noMore;
      this.#candidate ??= await this.#ask(host);
      if (this.#candidate === undefined) return (this.#noMore = 'no password was given');
      const verdict = await attempt(this.#candidate).catch((reason: unknown) => {
        // It may have been sent: whoever cannot tell must not risk it again.
        this.#countRefusal(host);
        this.#refuse(host, REFUSAL.refused);
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
  async #ask(host: string): Promise<string | undefined> {
    if (this.#brokenOff !== undefined) throw this.#brokenOff.reason;
    try {
      return await this.#source.ask?.(host, this.#refusals.length + 1);
    } catch (reason) {
      this.#brokenOff = { reason };
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
