import { setTimeout as pause } from 'node:timers/promises';
import pLimit from 'p-limit';
import { ConnectError } from '../errors.ts';
import type { ClusterNode } from '../rollout/facts.ts';
import type { Clock } from '../rollout/ports.ts';
import { NO_KEYS, planKeys, type KeyPlan } from './auth.ts';
import { BusyServers } from './busy-servers.ts';
import type { Connection } from './connection.ts';
import { dial } from './dial.ts';
import { HostKeys } from './host-keys.ts';
import { showJumpHost } from './jump-hosts.ts';
import { hopsTo, type Hop } from './jump-path.ts';
import { KeyRing } from './keys.ts';
import { Passwords } from './passwords.ts';
import type { RemoteSettings } from './settings.ts';
import { SignIn } from './sign-in.ts';
import { SshConfig } from './ssh-config.ts';
import { resolveJumpHost, resolveNode, type Target } from './target.ts';
import { untilAborted } from './until-aborted.ts';
import { openWay, wayFailed } from './way.ts';

const CONNECT_LIMIT = 32;
const READY_TIMEOUT_MS = 30_000;
// Dead in 20 s, in 60 s where much is being sent.
const KEEPALIVE = { intervalMs: 5000, countMax: 3 };
// Each `ssh -G` is a process of about 10 ms.
const CONFIG_LIMIT = 8;
const ENDED = 'kubeos has ended its SSH connections';
const BROKEN_ATTEMPTS = 4;
const BROKEN_WAIT_MS = 400;
const CLOSE_WITHIN_MS = 3000;

export interface GetOptions {
  signal?: AbortSignal;
  /** Milliseconds until the connection must have signed in, the time of questions not counted. */
  readyTimeoutMs?: number;
  /** Aborted once nobody may be asked any more, with the ConnectError that says so. */
  asking?: AbortSignal;
}

type Limits = GetOptions & { readyTimeoutMs: number };

/** Makes a connection, through a jump host where there is one. */
type Connect = (jump: Connection | undefined) => Promise<Connection>;

/** One long-lived connection per node and per jump host; connections are made at most `connectLimit` at a time. */
export class ConnectionPool {
  readonly #settings: RemoteSettings;
  readonly #clock: Clock;
  readonly #busy: BusyServers;
  readonly #hostKeys: HostKeys;
  readonly #keys: KeyRing;
  readonly #passwords: Passwords;
  readonly #config: SshConfig;
  readonly #connecting: ReturnType<typeof pLimit>;
  readonly #asking = pLimit(CONFIG_LIMIT);
  readonly #connections = new Map<string, Promise<Connection>>();
  readonly #targets = new Map<string, Promise<Target>>();
  readonly #ways = new Map<string, Promise<readonly Hop[]>>();
  readonly #ending = new AbortController();

  constructor(settings: RemoteSettings, clock: Clock, notice: (message: string) => void) {
    this.#settings = settings;
    this.#clock = clock;
    this.#busy = new BusyServers(clock);
    this.#hostKeys = new HostKeys(notice);
    const { environment, ask } = settings;
    this.#keys = new KeyRing({
      passphrase: environment['KUBEOS_SSH_PASSPHRASE'],
      askPassphrase: ask && ((path, signal) => ask(`Passphrase for ${path}: `, { hidden: true, signal })),
    });
    this.#passwords = new Passwords(settings);
    this.#config = new SshConfig({
      environment,
      note: notice,
      ...(settings.sshConfig !== undefined && { file: settings.sshConfig }),
    });
    this.#connecting = pLimit(settings.connectLimit ?? CONNECT_LIMIT);
  }

  /** The node's connection, made if there is none. Rejects with ConnectError, or with the signal's reason. */
  get(node: ClusterNode, options: GetOptions = {}): Promise<Connection> {
    const key = `node ${node.name}`;
    const connecting = this.#shared(key, async () => {
      // A node may come back from its reboot with another address.
      const asked = `${key} ${JSON.stringify(node.addresses)}`;
      const resolve = () => this.#asking(() => resolveNode(node, this.#settings, this.#config));
      const target = await this.#remembered(this.#targets, asked, resolve);
      return this.#open(target, asked, { readyTimeoutMs: this.#readyTimeoutOf(target), ...options });
    });
    return untilAborted(connecting, options.signal);
  }

  /** Ends a node's connection, so that the next call makes a new one. */
  async drop(node: string): Promise<void> {
    const connection = await this.#connections.get(`node ${node}`)?.catch(() => undefined);
    this.#connections.delete(`node ${node}`);
    await connection?.end();
  }

  /** Ends every connection, those in the making too, within a few seconds; none is made any more. */
  async close(): Promise<void> {
    this.#ending.abort(new ConnectError(ENDED, 'lost'));
    const ending = [...this.#connections.values()].map(async (connecting) => {
      const connection = await connecting.catch(() => undefined);
      await connection?.end();
    });
    this.#connections.clear();
    // One in the making may wait for an agent, or for a passphrase.
    const patience = pause(CLOSE_WITHIN_MS, undefined, { ref: false });
    await Promise.race([Promise.all([...ending, this.#config.close()]), patience]);
  }

  get #closed(): boolean {
    return this.#ending.signal.aborted;
  }

  #readyTimeoutOf(target: Target): number {
    return this.#settings.readyTimeoutMs ?? target.connectTimeoutMs ?? READY_TIMEOUT_MS;
  }

  // Callers that come while a connection is in the making share it; a failed or lost one is forgotten.
  #shared(key: string, open: () => Promise<Connection>): Promise<Connection> {
    if (this.#closed) return Promise.reject(new ConnectError(ENDED, 'lost'));
    const known = this.#connections.get(key);
    if (known !== undefined) return known;
    const connecting = open();
    this.#connections.set(key, connecting);
    const forget = () => {
      if (this.#connections.get(key) === connecting) this.#connections.delete(key);
    };
    connecting.then((connection) => connection.onLost(forget), forget);
    return connecting;
  }

  #remembered<T>(known: Map<string, Promise<T>>, key: string, resolve: () => Promise<T>): Promise<T> {
    const before = known.get(key);
    if (before !== undefined) return before;
    const resolving = resolve();
    known.set(key, resolving);
    resolving.catch(() => known.delete(key));
    return resolving;
  }

  async #open(target: Target, key: string, limits: Limits): Promise<Connection> {
    const hops = await this.#remembered(this.#ways, key, () => this.#hopsTo(target));
    const connect: Connect = (jump) => this.#connecting(() => this.#signIn(target, jump, limits));
    return this.#enter(target, hops, connect, limits.asking);
  }

  #hopsTo(target: Target): Promise<readonly Hop[]> {
    return hopsTo(target, (jump, position) => {
      const asked = `${position} jump host ${showJumpHost(jump)}`;
      const resolve = () => this.#asking(() => resolveJumpHost(jump, this.#settings, this.#config, position));
      return this.#remembered(this.#targets, asked, resolve);
    });
  }

  // Made outside of the connect pool: nodes that hold its places may be waiting for this very jump host.
  #jumpOver(hops: readonly Hop[]): Promise<Connection | undefined> {
    const last = hops.at(-1);
    if (last === undefined) return Promise.resolve(undefined);
    return this.#shared(last.key, () =>
      this.#enter(last.target, hops.slice(0, -1), (before) =>
        this.#signIn(last.target, before, { readyTimeoutMs: this.#readyTimeoutOf(last.target) }),
      ),
    );
  }

  #enter(target: Target, hops: readonly Hop[], connect: Connect, asking?: AbortSignal): Promise<Connection> {
    const server = `${hops.at(-1)?.key ?? ''} ${target.host} ${String(target.port)}`;
    return this.#busy.enter(server, () => this.#through(hops, connect, asking), this.#ending.signal);
  }

  // What keeps a jump host away has been tried again already; one that breaks in between is made anew.
  async #through(hops: readonly Hop[], connect: Connect, asking: AbortSignal | undefined): Promise<Connection> {
    for (let attempt = 1; ; attempt++) {
      // What a jump host asks, it asks for all nodes behind it: one of them does not withdraw it.
      const jump = await untilAborted(this.#jumpOver(hops), asking);
      try {
        return await connect(jump);
      } catch (error) {
        if (jump?.alive !== false || attempt >= BROKEN_ATTEMPTS || this.#closed) throw error;
      }
      await this.#clock.sleep(BROKEN_WAIT_MS * attempt, this.#ending.signal);
    }
  }

  /** Signs in; once more without any key where the server heard too many of them before it would take a password. */
  async #signIn(target: Target, jump: Connection | undefined, limits: Limits): Promise<Connection> {
    const { readyTimeoutMs, asking } = limits;
    const keys = await untilAborted(planKeys(target.credentials, this.#keys, asking), asking);
    const withKeys = this.#newSignIn(target, keys, asking);
    try {
      return await this.#dialWith(target, withKeys, jump, readyTimeoutMs);
    } catch (error) {
      // Its last question is withdrawn before another is put.
      await withKeys.over();
      const refused = error instanceof ConnectError && error.failure === 'login-refused';
      if (!refused || !withKeys.cutShort || !this.#mayUsePassword(target)) throw error;
    }
    const problem = `the server closed after ${String(withKeys.offered.length)} keys: choose one by -i or IdentitiesOnly`;
    const without = this.#newSignIn(target, { ...NO_KEYS, problems: [problem] }, asking);
    return this.#dialWith(target, without, jump, readyTimeoutMs);
  }

  #newSignIn(target: Target, keys: KeyPlan, asking: AbortSignal | undefined): SignIn {
    const { credentials, node, shown } = target;
    const password = this.#passwords.of(target);
    const { ask } = this.#settings;
    return new SignIn(keys, { host: node ?? shown, credentials, ring: this.#keys, password, ask, asking });
  }

  #mayUsePassword(target: Target): boolean {
    const { methods, batch } = target.credentials.rules;
    return this.#passwords.of(target).missing(batch) === undefined && methods.some((method) => method !== 'publickey');
  }

  async #dialWith(
    target: Target,
    signIn: SignIn,
    jump: Connection | undefined,
    readyTimeoutMs: number,
  ): Promise<Connection> {
    this.#ending.signal.throwIfAborted();
    const through = await openWay(target, jump, this.#settings.environment, readyTimeoutMs);
    const connection = await dial({
      target,
      signIn,
      hostKeys: this.#hostKeys,
      ...(through !== undefined && { through }),
      jump,
      readyTimeoutMs,
      ending: this.#ending.signal,
      keepalive: this.#settings.keepalive ?? KEEPALIVE,
    }).catch((error: unknown) => wayFailed(error, through, target));
    // Ended meanwhile: nothing may stay open behind.
    if (this.#closed) await connection.end();
    return connection;
  }
}
