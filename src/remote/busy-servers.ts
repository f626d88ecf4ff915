import pLimit from 'p-limit';
import type { Clock } from '../rollout/ports.ts';
import { ClosedEarlyError } from './dial-errors.ts';

// A server that is busy is asked again this often, the pauses growing: 400 ms, 800 ms, and so on.
const ATTEMPTS = 6;
const PAUSE_MS = 400;

interface Line {
  oneByOne: ReturnType<typeof pLimit>;
  /** Nobody got in, however often it was tried. */
  hopeless: boolean;
}

/**
 * Signs in to servers that close connections early where too many are in the making (MaxStartups of sshd_config(5),
 * which counts those of everybody): after a first refusal, whoever wants to get in there waits in line.
 */
export class BusyServers {
  readonly #clock: Clock;
  readonly #lines = new Map<string, Line>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Resolves to what `signIn` does; rejects with its last error.
   * @param server where the server listens; all that is asked of one goes through one line
   */
  async enter<T>(server: string, signIn: () => Promise<T>, ending: AbortSignal): Promise<T> {
    const line = this.#lines.get(server);
    if (line === undefined || isEmpty(line)) {
      try {
        return await signIn();
      } catch (error) {
        if (!(error instanceof ClosedEarlyError) || ending.aborted) throw error;
      }
    }
    const joined = this.#lineTo(server);
    return joined.oneByOne(() => this.#insist(joined, signIn, ending));
  }

  async #insist<T>(line: Line, signIn: () => Promise<T>, ending: AbortSignal): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      if (!line.hopeless) await this.#clock.sleep(PAUSE_MS * (attempt - 1), ending);
      try {
        const result = await signIn();
        line.hopeless = false;
        return result;
      } catch (error) {
        if (!(error instanceof ClosedEarlyError) || ending.aborted || line.hopeless) throw error;
        line.hopeless = attempt + 1 >= ATTEMPTS;
        if (line.hopeless) throw error;
      }
    }
  }

  #lineTo(server: string): Line {
    const known = this.#lines.get(server);
    if (known !== undefined && !(known.hopeless && isEmpty(known))) return known;
    const made = { oneByOne: pLimit(1), hopeless: false };
    this.#lines.set(server, made);
    return made;
  }
}

function isEmpty({ oneByOne }: Line): boolean {
  return oneByOne.activeCount + oneByOne.pendingCount === 0;
}
