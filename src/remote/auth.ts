import ssh2, { type AnyAuthMethod, type IdentityCallback, type ParsedKey } from 'ssh2';
import { fingerprint } from './known-hosts.ts';
import type { KeyFile, KeyRing } from './keys.ts';

const AGENT_TIMEOUT_MS = 5000;

/** With what a host may be signed in to. */
export interface Credentials {
  user: string;
  keyFiles: readonly string[];
  /** The key files were named for this purpose, by a flag or the hosts file: they go first, and must be usable. */
  explicit: boolean;
  /** Only keys of `keyFiles` may be offered, from the agent too. */
  identitiesOnly: boolean;
  /** Path of the agent's socket. */
  agentSocket: string | undefined;
}

/** One round of sign-in: the methods to offer, in order, and what could be tried in a further round. */
export interface AuthRound {
  methods: readonly AnyAuthMethod[];
  /** Encrypted keys that are worth a question once the rest was refused. */
  locked: readonly (KeyFile & { kind: 'locked' })[];
  /** What was offered and what could not be, for the failure's report. */
  offered: readonly string[];
  problems: readonly string[];
}

/**
 * Decides what to offer: keys in files that are open, then the agent's. An encrypted key is opened beforehand only
 * where the user named it; else the user is asked only when nothing else was let in.
 */
export async function planAuth(credentials: Credentials, ring: KeyRing): Promise<AuthRound> {
  const { user, explicit, agentSocket } = credentials;
  const agent = await listAgentKeys(agentSocket);
  const loaded = await Promise.all(credentials.keyFiles.map((path) => ring.load(path)));
  const files: KeyFile[] = [];
  for (const file of loaded) {
    const opens = file.kind === 'locked' && explicit && ring.canUnlock && !isIn(agent.keys, file);
    files.push(opens ? await ring.unlock(file) : file);
  }
  const ready = files.filter((file) => file.kind === 'ready');
  const held = agent.keys.filter((key) => mayOffer(key, files, credentials));
  const order = ready.map(({ path, key }) => ({ method: publicKey(user, key), text: `${path} (${shortKey(key)})` }));
  if (agentSocket !== undefined && held.length > 0) {
    order.push({ method: agentMethod(user, agentSocket, held), text: `agent: ${held.map(shortKey).join(', ')}` });
  }
  const locked = files.filter((file) => file.kind === 'locked').filter((file) => !isIn(agent.keys, file));
  return {
    methods: order.map(({ method }) => method),
    offered: order.map(({ text }) => text),
    locked,
    problems: [
      ...(agent.problem === undefined ? [] : [agent.problem]),
      ...files.flatMap((file) => problemOf(file, explicit)),
      ...(ring.canUnlock
        ? []
        : locked.map(({ path }) => `${path}: it is encrypted (KUBEOS_SSH_PASSPHRASE, or an agent)`)),
    ],
  };
}

// A key whose file is open is offered from there.
function mayOffer(key: ParsedKey, files: readonly KeyFile[], { identitiesOnly }: Credentials): boolean {
  const same = files.filter((file) => isSame(key, file));
  return !same.some(({ kind }) => kind === 'ready') && (same.length > 0 || !identitiesOnly);
}

function isIn(keys: readonly ParsedKey[], file: KeyFile): boolean {
  return keys.some((key) => isSame(key, file));
}

function publicKey(user: string, key: ParsedKey): AnyAuthMethod {
  return { type: 'publickey', username: user, key };
}

function agentMethod(user: string, socket: string, keys: readonly ParsedKey[]): AnyAuthMethod {
  return { type: 'agent', username: user, agent: new ChosenKeys(socket, keys) };
}

/** An agent of which only some keys are offered: a server counts each refused key, and closes after six. */
class ChosenKeys extends ssh2.OpenSSHAgent {
  readonly #keys: readonly ParsedKey[];

  constructor(socket: string, keys: readonly ParsedKey[]) {
    super(socket);
    this.#keys = keys;
  }

  override getIdentities(done: IdentityCallback<ParsedKey>): void {
    done(null, [...this.#keys]);
  }
}

function listAgentKeys(socket: string | undefined): Promise<{ keys: ParsedKey[]; problem?: string }> {
  if (socket === undefined) return Promise.resolve({ keys: [] });
  return new Promise((done) => {
    const silent = { keys: [], problem: `the agent at ${socket} does not answer` };
    const timer = setTimeout(() => done(silent), AGENT_TIMEOUT_MS);
    ssh2.createAgent(socket).getIdentities((error, keys) => {
      clearTimeout(timer);
      done(error ? silent : { keys: (keys ?? []) as ParsedKey[] });
    });
  });
}

function isSame(key: ParsedKey, file: KeyFile): boolean {
  const blob = file.kind === 'ready' ? file.key.getPublicSSH() : 'publicKey' in file ? file.publicKey : undefined;
  return blob?.equals(key.getPublicSSH()) ?? false;
}

// A default key file that is not there is no news; one that the user named is.
function problemOf(file: KeyFile, explicit: boolean): string[] {
  if (file.kind === 'unusable') return [`${file.path}: ${file.why}`];
  return file.kind === 'missing' && explicit ? [`${file.path}: no such file`] : [];
}

function shortKey(key: ParsedKey): string {
  return `${key.type} ${fingerprint(key.getPublicSSH())}`;
}
