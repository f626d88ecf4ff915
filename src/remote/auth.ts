import type { AnyAuthMethod, ParsedKey } from 'ssh2';
import { AgentKey, listAgentKeys, type AgentKeys } from './agent.ts';
import { fingerprint } from './known-hosts.ts';
import type { KeyFile, KeyRing } from './keys.ts';
import type { SignInRules } from './sign-in-rules.ts';

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
  rules: SignInRules;
}

/** One key to offer. */
export interface KeyOffer {
  method: AnyAuthMethod;
  /** What a failure calls it. */
  text: string;
  keyType: string;
  /** Where an agent signs with it. */
  agentKey?: AgentKey;
}

type LockedKey = KeyFile & { kind: 'locked' };

/** The keys for one host, and what could not be offered. */
export interface KeyPlan {
  offers: readonly KeyOffer[];
  /** Encrypted keys that are worth a question once the rest was refused. */
  locked: readonly LockedKey[];
  problems: readonly string[];
}

/** No keys at all, as after a server that has heard enough of them. */
export const NO_KEYS: KeyPlan = { offers: [], locked: [], problems: [] };

/**
 * Decides what keys to offer: those in files that are open, then the agent's. An encrypted key is opened beforehand
 * only where the user named it; else the user is asked only when nothing else was let in.
 * @param asking withdraws a question for a passphrase
 */
export async function planKeys(credentials: Credentials, ring: KeyRing, asking?: AbortSignal): Promise<KeyPlan> {
  const { user, explicit, agentSocket, rules } = credentials;
  if (!rules.methods.includes('publickey')) return NO_KEYS;
  const agent = await listAgentKeys(agentSocket);
  const loaded = await Promise.all(credentials.keyFiles.map((path) => ring.load(path)));
  const mayUnlock = rules.batch ? ring.hasPassphrase : ring.canUnlock;
  const files: KeyFile[] = [];
  for (const file of loaded) {
    const opens = file.kind === 'locked' && explicit && mayUnlock && !isIn(agent.keys, file);
    files.push(opens ? await ring.unlock(file, asking) : file);
  }
  const ready = files.filter((file) => file.kind === 'ready');
  const held = agent.keys.filter((key) => mayOffer(key, files, credentials));
  const locked = files.filter((file) => file.kind === 'locked').filter((file) => !isIn(agent.keys, file));
  return {
    offers: [
      ...ready.map((file) => fileOffer(user, file)),
      ...(agentSocket === undefined ? [] : held.map((key) => agentOffer(user, agentSocket, key))),
    ],
    locked: mayUnlock ? locked : [],
    problems: [
      ...agentProblems(agent, credentials),
      ...files.flatMap((file) => problemOf(file, explicit)),
      ...rules.certificateFiles.map((path) => `${path}: ${CERTIFICATE}`),
      ...(mayUnlock ? [] : locked.map(({ path }) => `${path}: it is encrypted (KUBEOS_SSH_PASSPHRASE, or an agent)`)),
    ],
  };
}

/** A key of a file as an offer. */
export function fileOffer(user: string, { path, key }: KeyFile & { kind: 'ready' }): KeyOffer {
  return { method: { type: 'publickey', username: user, key }, text: `${path} (${shortKey(key)})`, keyType: key.type };
}

// Each of the agent's keys is a method of its own: ssh2 tells nothing between two keys of one.
function agentOffer(user: string, socket: string, key: ParsedKey): KeyOffer {
  const agentKey = new AgentKey(socket, key);
  const method = { type: 'agent', username: user, agent: agentKey } as const;
  return { method, text: `agent: ${shortKey(key)}`, keyType: key.type, agentKey };
}

// A key whose file is open is offered from there.
function mayOffer(key: ParsedKey, files: readonly KeyFile[], { identitiesOnly }: Credentials): boolean {
  const same = files.filter((file) => isSame(key, file));
  return !same.some(({ kind }) => kind === 'ready') && (same.length > 0 || !identitiesOnly);
}

function isIn(keys: readonly ParsedKey[], file: KeyFile): boolean {
  return keys.some((key) => isSame(key, file));
}

function isSame(key: ParsedKey, file: KeyFile): boolean {
  const blob = file.kind === 'ready' ? file.key.getPublicSSH() : 'publicKey' in file ? file.publicKey : undefined;
  return blob?.equals(key.getPublicSSH()) ?? false;
}

const CERTIFICATE = 'an OpenSSH certificate, which kubeos cannot use';

function agentProblems({ problem, beyond }: AgentKeys, { identitiesOnly }: Credentials): string[] {
  if (problem !== undefined) return [problem];
  if (identitiesOnly) return [];
  return beyond.map(
    ({ type, comment }) =>
      `agent: ${comment === '' ? type : `${comment} (${type})`}: kubeos cannot use FIDO keys and certificates`,
  );
}

// A default key file that is not there is no news; one that the user named is.
function problemOf(file: KeyFile, explicit: boolean): string[] {
  if (file.kind === 'unusable') return [`${file.path}: ${file.why}`];
  if (file.kind === 'missing') return explicit ? [`${file.path}: no such file`] : [];
  return file.certificate === undefined ? [] : [`${file.certificate}: ${CERTIFICATE}; the plain key is offered`];
}

function shortKey(key: ParsedKey): string {
  return `${key.type} ${fingerprint(key.getPublicSSH())}`;
}
