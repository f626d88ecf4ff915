import type { Duplex } from 'node:stream';

export interface KeepaliveLimits {
  /** Milliseconds of silence after which the other side is asked for a sign of life. */
  intervalMs: number;
  /** How many times it is asked in vain before it counts as dead. */
  countMax: number;
}

/** What is on its way over a slow link must get through before an answer can: up to a window, 2 MiB with OpenSSH. */
const BULK_PATIENCE = 3;

/**
 * Tells when the other side of a connection has been silent for too long. Whatever arrives is a sign of life, as it is
 * to OpenSSH: over a slow link the answer to a question stands behind all that was sent before it, while acknowledgements
 * come all along. Silence is counted in intervals, so that a process that was stopped hears what has come meanwhile.
 */
export class Keepalive {
  /** How many calls send much right now: more patience is due then. */
  bulks = 0;
  readonly #limits: KeepaliveLimits;
  readonly #timer: NodeJS.Timeout;
  readonly #onDead: (reason: string) => void;
  #silent = 0;

  /** @param stream what the connection is carried over; it flows already */
  constructor(stream: Duplex, limits: KeepaliveLimits, onDead: (reason: string) => void) {
    this.#limits = limits;
    this.#onDead = onDead;
    this.#timer = setInterval(() => this.#count(), limits.intervalMs);
    stream.on('data', () => {
      this.#silent = 0;
      this.#timer.refresh();
    });
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #count(): void {
    const { intervalMs, countMax } = this.#limits;
    this.#silent += 1;
    // With 0 a healthy connection would end before it has answered.
    const most = (Math.max(countMax, 1) + 1) * (this.bulks > 0 ? BULK_PATIENCE : 1);
    if (this.#silent < most) return;
    this.stop();
    this.#onDead(`no sign of life for ${String(Math.round((most * intervalMs) / 100) / 10)}s`);
  }
}
