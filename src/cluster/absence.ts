import type { Clock } from '../rollout/ports.ts';
import { shortTime } from './short-time.ts';

/** A server that misses a beat is no news. */
const TOLD_AFTER_MS = 10_000;
/** For so long after its return a server may not know yet who has which rights: it reads them anew (seen: some seconds). */
const SETTLING_MS = 60_000;

/** Tells of an API server that has not answered anybody for a while, and of its return. */
export class Absence {
  private readonly clock: Clock;
  private readonly notice: (message: string) => void;
  private since: number | undefined;
  private told = false;
  private returnedAt: number | undefined;

  constructor(clock: Clock, notice: (message: string) => void) {
    this.clock = clock;
    this.notice = notice;
  }

  /** Whether a request was answered. */
  heard(answered: boolean): void {
    if (answered) this.met();
    else this.missed();
  }

  /** It came back a short while ago: what it refuses now, it may allow in a moment. */
  get settling(): boolean {
    return this.returnedAt !== undefined && this.clock.now() - this.returnedAt < SETTLING_MS;
  }

  private missed(): void {
    const now = this.clock.now();
    this.since ??= now;
    if (this.told || now - this.since < TOLD_AFTER_MS) return;
    this.told = true;
    this.notice('the API server does not answer; it is waited for');
  }

  private met(): void {
    if (this.told && this.since !== undefined) {
      this.notice(`the API server was away for ${shortTime(this.clock.now() - this.since)}`);
    }
    if (this.since !== undefined) this.returnedAt = this.clock.now();
    this.since = undefined;
    this.told = false;
  }
}
