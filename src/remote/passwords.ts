import type { Ask, RemoteSettings } from './settings.ts';
import { SharedPassword, type PasswordSource } from './shared-password.ts';
import type { Target } from './target.ts';

/** The passwords that hosts are signed in to with: one for each user of the nodes, one for each jump host. */
export class Passwords {
  readonly #settings: RemoteSettings;
  readonly #known = new Map<string, SharedPassword>();

  constructor(settings: RemoteSettings) {
    this.#settings = settings;
  }

  /** The one for a host. A node's is never sent to a jump host, nor the other way round. */
  of({ node, shown, credentials }: Target): SharedPassword {
    const key = node === undefined ? shown : `nodes ${credentials.user}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const { ask } = this.#settings;
    const made =
      node === undefined
        ? new SharedPassword({ missing: NO_JUMP_PASSWORD, given: undefined, ask: asking(ask, shown) })
        : new SharedPassword({
            missing: NO_PASSWORD,
            given: this.#settings.sshPassword,
            ask: asking(ask, `${credentials.user} on the nodes`),
          });
    this.#known.set(key, made);
    return made;
  }
}

/** A question for a password: whose it is, and which host wants it. */
export function asking(ask: Ask | undefined, whose: string, what = 'Password of'): PasswordQuestion | undefined {
  if (ask === undefined) return undefined;
  return (host, attempt, signal) => {
    const before = attempt === 1 ? '' : `${host} refuses it, attempt ${String(attempt)} of 3.\n`;
    const by = whose.includes(host) ? '' : ` (${host} asks for it)`;
    return ask(`${before}${what} ${whose}${by}: `, { hidden: true, signal });
  };
}

type PasswordQuestion = NonNullable<PasswordSource['ask']>;

const NO_PASSWORD = 'no password is at hand: set KUBEOS_SSH_PASSWORD, or run kubeos at a terminal, which asks for it';
const NO_JUMP_PASSWORD =
  'no password is at hand for it: run kubeos at a terminal, which asks, or use a key (KUBEOS_SSH_PASSWORD is for nodes)';
