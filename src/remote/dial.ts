import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import ssh2, { type Client, type ConnectConfig } from 'ssh2';
import { ConnectError } from '../errors.ts';
import { offeredAlgorithms } from './algorithms.ts';
import { Connection } from './connection.ts';
import { Deadline } from './deadline.ts';
import {
  ClosedEarlyError,
  closedEarly,
  explainDialError,
  loginRefused,
  orAnotherWay,
  roleOf,
  type DialState,
} from './dial-errors.ts';
import type { HostKeys, KnownKeys } from './host-keys.ts';
import type { KeepaliveLimits } from './keepalive.ts';
import { reusePackets } from './packet-reuse.ts';
import { watchForOffer } from './peer-offer.ts';
import { expiredPassword, type SignIn } from './sign-in.ts';
import type { Target } from './target.ts';

export interface DialOptions {
  target: Target;
  signIn: SignIn;
  hostKeys: HostKeys;
  /** A stream through a jump host, or of a ProxyCommand; missing: a TCP connection of its own. */
  through?: Duplex;
  /** The connection of that jump host. */
  jump?: Connection | undefined;
  readyTimeoutMs: number;
  /** Aborted when no connection is wanted any more, with the ConnectError that says so. */
  ending: AbortSignal;
  keepalive: KeepaliveLimits;
}

/**
 * Makes one connection and signs in. Rejects with ConnectError, leaving nothing open: `host-key-unknown`,
 * `host-key-changed`, `login-refused`, `unreachable`, `timeout` or `protocol`.
 */
export async function dial(options: DialOptions): Promise<Connection> {
  const { target, signIn, hostKeys, ending, jump, keepalive } = options;
  const known = await hostKeys.lookUp(target.hostKey);
  if (ending.aborted) options.through?.destroy();
  ending.throwIfAborted();
  const client = new ssh2.Client();
  const stream = options.through ?? connect({ host: target.host, port: target.port, ...target.socket, noDelay: true });
  const state: DialState = { phase: 'connect' };
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void) => {
      if (state.over === true) return;
      state.over = true;
      deadline.clear();
      ending.removeEventListener('abort', end);
      finish();
    };
    const fail = (error: Error) =>
      settle(() => {
        signIn.end('over');
        client.destroy();
        stream.destroy();
        reject(error);
      });
    const end = () => fail(ending.reason as ConnectError);
    ending.addEventListener('abort', end);
    const deadline = new Deadline(options.readyTimeoutMs, () => fail(timedOut(target, state, options.readyTimeoutMs)));
    // ssh2 has paused the stream by then, and listens to it itself a moment later.
    client.once('connect', () => watchForOffer(stream, (offer) => (state.offer = offer)));
    watch({ client, stream }, state, options, fail);
    client.on('ready', () => {
      signIn.end('accepted');
      const line = { stream, jump, keepalive };
      settle(() => resolve(new Connection(client, line, target.shown, target.credentials.user)));
    });
    const config: ConnectConfig = {
      sock: stream,
      username: target.credentials.user,
      // Our own timer runs instead: theirs reports its end twice.
      readyTimeout: 0,
      // ssh2 asks, and never judges: to it only an answer is a sign of life.
      keepaliveInterval: keepalive.intervalMs,
      keepaliveCountMax: Infinity,
      algorithms: offeredAlgorithms(known.types),
      authHandler: signIn.handler({
        pause: () => deadline.pause(),
        resume: () => deadline.resume(),
        refused: () => (state.phase = 'refused'),
        fail,
      }),
      hostVerifier: hostVerifier({ ...options, known }, state, fail),
    };
    try {
      client.connect(config);
      // ssh2 waits for ever for word from a stream that has ended before.
      if (options.through?.destroyed === true) fail(new ClosedEarlyError(target, state));
    } catch (error) {
      fail(explainDialError(error, target, state, signIn));
    }
  });
}

// The listeners stay for the connection's whole life: an error event without one would end the process.
function watch(
  { client, stream }: { client: Client; stream: Duplex },
  state: DialState,
  options: DialOptions,
  fail: (error: ConnectError) => void,
) {
  const { target, signIn, through } = options;
  client.on('connect', () => {
    state.phase = 'handshake';
  });
  client.on('handshake', () => {
    ignoreOtherHostKeys(client);
    reusePackets(client, stream);
  });
  client.on('change password', () => fail(expiredPassword(signIn.host, target.credentials.user)));
  client.on('error', (error: Error & { level?: string; code?: unknown }) => {
    // A key that an agent would not sign with: the next method follows.
    const goesOn = error.level === 'agent' || (error.level === 'client-authentication' && state.phase !== 'refused');
    // A number is the reason of the server's own farewell (RFC 4253, 11.1).
    state.told = typeof error.code === 'number';
    if (!goesOn) fail(explainDialError(error, target, state, signIn));
  });
  const closed = () =>
    fail(state.phase === 'refused' ? loginRefused(target, signIn) : closedEarly(target, state, signIn));
  client.on('end', () => {
    closed();
    // ssh2 leaves a stream half open that the other side has ended: a jump host would keep its channel for ever.
    through?.destroy();
  });
  client.on('close', closed);
}

/**
 * An OpenSSH server tells its other host keys to whoever has signed in (PROTOCOL, 2.5: hostkeys-00@openssh.com). Of a
 * server that says it is OpenSSH ssh2 then has each of them proven, by signatures that are a tenth of what a
 * connection costs this side; nobody here reads them, and ssh2 (1.17) has no setting for it. What it believes the server to be counts
 * only for such extensions.
 */
function ignoreOtherHostKeys(client: Client): void {
  (client as unknown as { _remoteVer?: string })._remoteVer = '';
}

function hostVerifier(
  options: DialOptions & { known: KnownKeys },
  state: DialState,
  fail: (error: Error) => void,
): (key: Buffer, verify: (permitted: boolean) => void) => void {
  let trusted: Buffer | undefined;
  return (key, verify) => {
    // New session keys are agreed upon now and then; the host must show the same key each time.
    if (trusted !== undefined) {
      verify(trusted.equals(key));
      return;
    }
    state.phase = 'host key';
    judgeHostKey(options, key, (refused) => {
      // ssh2 must hear nothing once the connection has gone: it throws then, where nobody can catch it (seen in 1.17).
      if (state.over === true) return;
      if (refused !== undefined) {
        fail(refused);
        return;
      }
      state.phase = 'sign-in';
      trusted = key;
      verify(true);
    });
  };
}

function judgeHostKey(
  options: DialOptions & { known: KnownKeys },
  key: Buffer,
  done: (refused: Error | undefined) => void,
): void {
  const { target, hostKeys, known } = options;
  const named = (error: ConnectError) =>
    new ConnectError(error.message, error.failure, { ...contextOf(error), ...nodeOf(target) });
  hostKeys.refusal(target.hostKey, key, known).then(
    (refused) => done(refused === undefined ? undefined : named(refused)),
    (error: unknown) => done(error instanceof ConnectError ? named(error) : (error as Error)),
  );
}

function timedOut(target: Target, state: DialState, timeoutMs: number): ConnectError {
  const doing = state.phase === 'connect' ? 'no answer' : `stuck in: ${state.phase}`;
  return new ConnectError(`no SSH connection to ${target.shown}`, 'timeout', {
    reason: `${doing} after ${String(Math.round(timeoutMs / 100) / 10)}s`,
    next: `check that the ${roleOf(target)} is up, and that nothing between filters the port${orAnotherWay(target)}`,
    ...nodeOf(target),
  });
}

function contextOf(error: ConnectError): { reason?: string; next?: string } {
  return {
    ...(error.reason !== undefined && { reason: error.reason }),
    ...(error.next !== undefined && { next: error.next }),
  };
}

function nodeOf(target: Target): { node?: string } {
  return target.node === undefined ? {} : { node: target.node };
}
