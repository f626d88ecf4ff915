import { ConnectError, type FailureContext } from '../errors.ts';
import { offeredAlgorithms } from './algorithms.ts';
import { cleanText } from './clean-text.ts';
import { findMismatch, type PeerOffer } from './peer-offer.ts';
import type { SignIn } from './sign-in.ts';
import type { Target } from './target.ts';

/** How far a connection has come. `refused`: every method has been tried in vain. */
export interface DialState {
  phase: 'connect' | 'handshake' | 'host key' | 'sign-in' | 'refused';
  /** The server itself has said that it ends the connection. */
  told?: boolean;
  /** What the server offers to speak, once it has said so. */
  offer?: PeerOffer;
  /** The attempt has ended, well or not. */
  over?: boolean;
}

/** The server took the connection and closed it again before the sign-in was over; often it is only too busy. */
export class ClosedEarlyError extends ConnectError {
  constructor(target: Target, state: DialState, why?: string, next?: string) {
    super(`no SSH connection to ${target.shown}`, 'unreachable', {
      reason: why ?? `the server closed the connection (${state.phase === 'connect' ? 'handshake' : state.phase})`,
      next: next ?? 'look at the log of its sshd (MaxStartups, AllowUsers, a full disk), and at firewalls between',
      ...nodeOf(target),
    });
  }
}

/**
 * The same as it may be tried again: not where a password is out. Some servers answer a wrong one by hanging up, and
 * each further one brings a lock of the account nearer.
 */
export function closedEarly(target: Target, state: DialState, signIn: SignIn, why?: string): ConnectError {
  if (signIn.waitsForAnswer) return new ClosedEarlyError(target, state, UNANSWERED, ANSWER_SOONER);
  if (!signIn.passwordOut) return new ClosedEarlyError(target, state, why);
  const reason = 'the server closed the connection on the password, without an answer';
  if (!signIn.passwordKnown) return loginRefused(target, signIn, reason);
  const next = 'look at the log of its sshd';
  return new ConnectError(`no SSH connection to ${target.shown}`, 'unreachable', { reason, next, ...nodeOf(target) });
}

const UNANSWERED = 'the server closed the connection before its question was answered';
const ANSWER_SOONER =
  'answer sooner than LoginGraceTime of its sshd, or without a question: an agent, KUBEOS_SSH_PASSWORD, KUBEOS_SSH_PASSPHRASE';

/** What ssh2 reports while a connection is being made, as a failure that can be acted upon. */
export function explainDialError(error: unknown, target: Target, state: DialState, signIn: SignIn): ConnectError {
  const { message, level, code } = readError(error);
  if (state.phase === 'refused' || (state.phase === 'sign-in' && state.told === true)) {
    return loginRefused(target, signIn, state.phase === 'refused' ? undefined : message);
  }
  if (level === 'client-socket' || level === 'client-dns') {
    // A reset is what a server sends that is too busy to talk.
    if (code === 'ECONNRESET') return closedEarly(target, { phase: 'connect' }, signIn, MEANING[code]);
    return unreachable(target, code, message, error);
  }
  if (level === 'protocol') return closedEarly(target, state, signIn);
  return noCommonTongue(error, level, target, state.offer);
}

function noCommonTongue(
  error: unknown,
  level: string | undefined,
  target: Target,
  offer: PeerOffer | undefined,
): ConnectError {
  const mismatch =
    level === 'handshake' && offer !== undefined ? findMismatch(offer, offeredAlgorithms(new Set())) : undefined;
  return new ConnectError(`no SSH connection to ${target.shown}`, 'protocol', {
    reason: mismatch?.reason ?? cleanText(readError(error).message),
    next:
      mismatch === undefined
        ? `check that an SSH server listens there${orAnotherWay(target)}`
        : `allow one that kubeos speaks in the sshd_config of the ${roleOf(target)}: ${mismatch.keyword}${orAnotherWay(target)}`,
    cause: error,
    ...nodeOf(target),
  });
}

/** Everything was offered that is at hand, and the server let none of it in. */
export function loginRefused(target: Target, signIn: SignIn, why?: string): ConnectError {
  const { offered, problems, methodsLeft = [] } = signIn;
  const refused = offered.length === 0 ? 'there is no key to offer' : `refused: ${offered.join('; ')}`;
  const takes = methodsLeft.length === 0 ? [] : [`the server takes: ${methodsLeft.map(nameOf).join(', ')}`];
  return new ConnectError(`${target.shown} refuses the login`, 'login-refused', {
    reason: [...(why === undefined ? [] : [cleanText(why)]), refused, ...takes, ...problems].join('\n'),
    next: `${wayIn(target, signIn)}${orAnotherWay(target)}`,
    ...nodeOf(target),
  });
}

/** What would let in, as far as the server takes it. */
function wayIn(target: Target, { methodsLeft = [], passwordRefused }: SignIn): string {
  const role = roleOf(target);
  if (methodsLeft.length > 0 && methodsLeft.every((method) => BEYOND.has(method))) {
    return `allow keys or a password on the ${role}: PubkeyAuthentication yes in its sshd_config`;
  }
  const takesPassword = methodsLeft.some((method) => method === 'password' || method === 'keyboard-interactive');
  const takesKeys = methodsLeft.length === 0 || methodsLeft.includes('publickey');
  const ways = [
    ...(takesPassword || passwordRefused ? [passwordFor(target, passwordRefused)] : []),
    ...(takesKeys || !takesPassword ? [keyFor(target)] : []),
  ];
  return ways.join(', or ');
}

// The password of the environment is for nodes alone.
function passwordFor({ node }: Target, isRefused: boolean): string {
  if (node === undefined) return isRefused ? 'correct the password at its prompt' : 'give its password at a terminal';
  return isRefused
    ? 'correct the password (KUBEOS_SSH_PASSWORD, or the prompt)'
    : 'give the password (KUBEOS_SSH_PASSWORD, or the prompt at a terminal)';
}

function keyFor({ node, credentials }: Target): string {
  const put = `put a public key into ${credentials.user}'s authorized_keys on the`;
  return node === undefined
    ? `${put} jump host, or choose another: IdentityFile for it in ssh_config, -i FILE, ssh-add`
    : `${put} node, or choose another: -i FILE, --ssh-user NAME, ssh-add`;
}

/** What a host is on the way. */
export const roleOf = ({ node }: Target): string => (node === undefined ? 'jump host' : 'node');

/** Where else nodes could be reached through. */
export const orAnotherWay = ({ node }: Target): string =>
  node === undefined ? '; another way to the nodes: --jump, KUBEOS_SSH_JUMP, ProxyJump of ssh_config' : '';

/** Methods that ssh2 does not have (RFC 4462 and RFC 4252, 9). */
const BEYOND: ReadonlyMap<string, string> = new Map([
  ['gssapi-with-mic', 'Kerberos'],
  ['gssapi-keyex', 'Kerberos'],
  ['hostbased', 'trust in this host'],
]);

const nameOf = (method: string): string =>
  BEYOND.has(method) ? `${method} (${BEYOND.get(method) ?? ''}, which kubeos cannot do)` : cleanText(method);

const MEANING: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused: nothing listens on that port, or a firewall rejects it',
  EHOSTUNREACH: 'no route to the host: it is down, or not on this network',
  EHOSTDOWN: 'the host is down, or not on this network',
  ENETUNREACH: 'no route to its network',
  ENETDOWN: 'the network of this machine is down',
  ETIMEDOUT: 'no answer',
  ECONNRESET: 'the connection was reset',
  ENOTFOUND: 'its host name cannot be resolved',
  EAI_AGAIN: 'its host name cannot be resolved for now',
};

function unreachable(target: Target, code: string | undefined, message: string, cause: unknown): ConnectError {
  const context: FailureContext = {
    reason: MEANING[code ?? ''] ?? message,
    next:
      target.node === undefined
        ? `check that the jump host is up and its sshd runs${orAnotherWay(target)}`
        : 'check that the node is up and its sshd runs; other addresses: --address-type, --hosts FILE',
    cause,
    ...nodeOf(target),
  };
  return new ConnectError(`no SSH connection to ${target.shown}`, 'unreachable', context);
}

function readError(error: unknown): { message: string; level?: string; code?: string } {
  if (!(error instanceof Error)) return { message: String(error) };
  const { level, code } = error as { level?: unknown; code?: unknown };
  return {
    message: error.message,
    ...(typeof level === 'string' && { level }),
    ...(typeof code === 'string' && { code }),
  };
}

function nodeOf(target: Target): { node?: string } {
  return target.node === undefined ? {} : { node: target.node };
}
