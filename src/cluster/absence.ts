import type { Clock } from '../rollout/ports.ts';
import { shortTime } from './short-time.ts';

/** A server that misses a beat is no news. */
const TOLD_AFTER_MS = 10_000;

/** Tells of an API server that has not answered anybody for a while, and of its return. */
export class Absence {
  private readonly clock: Clock;
  private readonly notice: (message: string) => void;
  private since: number | undefined;
  private told = false;

  constructor(clock: Clock, notice: (message: string) => void) {
    this.clock = clock;
    this.notice = notice;
  }

  /** Whether a request was answered. */
  heard(answered: boolean): void {
    if (answered) this.met();
    else this.missed();
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
    this.since = undefined;
    this.told = false;
  }
}
