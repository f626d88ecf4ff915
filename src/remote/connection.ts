import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import pLimit from 'p-limit';
import type { Client } from 'ssh2';
import { ConnectError } from '../errors.ts';
import { cleanText } from './clean-text.ts';
import { roleOf } from './dial-errors.ts';
import {
  execute,
  FloodError,
  lost,
  NoSessionError,
  type Carrier,
  type ExecOptions,
  type ExecResult,
  type Input,
} from './exec.ts';
import { Keepalive, type KeepaliveLimits } from './keepalive.ts';
import type { Target } from './target.ts';

// An sshd frees the session of a command only after it has read what else has come in, so that with MaxSessions 1 the
// next command may be refused for a moment (OpenSSH 9.2: channels are collected after a batch of packets).
const SESSION_WAIT_MS = [20, 50, 100, 200, 400, 800];

/** What a connection is carried over. */
interface Line {
  stream: Duplex;
  /** The jump host's connection, where the stream leads through one. */
  jump?: Connection | undefined;
  keepalive: KeepaliveLimits;
}

const NOTHING = Buffer.alloc(0);

/** A connection that has signed in. One command runs at a time: some servers allow a single session. */
export class Connection {
  /** `root@10.0.0.11:22` */
  readonly shown: string;
  readonly user: string;
  readonly #client: Client;
  readonly #line: Line;
  readonly #keepalive: Keepalive;
  readonly #oneByOne = pLimit(1);
  readonly #losers = new Set<(reason: string) => void>();
  #lostBecause: string | undefined;
  #leftBehind = false;
  #lastError = 'the other side closed it';

  constructor(client: Client, line: Line, shown: string, user: string) {
    this.#client = client;
    this.#line = line;
    this.#keepalive = new Keepalive(line.stream, line.keepalive, (reason) => this.#giveUp(reason));
    this.shown = shown;
    this.user = user;
    client.on('error', (error) => (this.#lastError = error.message));
    client.on('close', () => this.#lose());
    // Some losses only end the stream, and ssh2 tells of no close where that stream leads through a jump host.
    client.on('end', () => this.#giveUp(this.#lastError));
  }

  get alive(): boolean {
    return this.#lostBecause === undefined;
  }

  /** Runs a command, `input` on its standard input. Rejects with ConnectError where the connection does not carry it. */
  run(command: string, input: Input, options: ExecOptions): Promise<ExecResult> {
    let isBulk = false;
    const carrier: Carrier = {
      client: this.#client,
      onLost: (callback) => this.onLost(callback),
      drained: () => {
        if (!isBulk) this.#countBulks(1);
        isBulk = true;
        return this.drained();
      },
    };
    return this.#oneByOne(async () => {
      for (let attempt = 0; ; attempt++) {
        if (this.#lostBecause !== undefined) throw lost(this.#lostBecause);
        try {
          return await execute(carrier, command, input, options);
        } catch (error) {
          const wait = SESSION_WAIT_MS[attempt];
          if (!(error instanceof NoSessionError) || wait === undefined) throw this.#judge(error);
          await pause(wait, undefined, options.signal === undefined ? {} : { signal: options.signal }).catch(() =>
            options.signal?.throwIfAborted(),
          );
        } finally {
          if (isBulk) this.#countBulks(-1);
          isBulk = false;
        }
      }
    });
  }

  /** What is sent through a jump host is sent to it. */
  #countBulks(more: 1 | -1): void {
    this.#keepalive.bulks += more;
    const { jump } = this.#line;
    if (jump !== undefined) jump.#countBulks(more);
  }

  /**
   * Resolves once nothing of what was written so far waits in this process, be it for a jump host; undefined where nothing
   * does. ssh2 writes without waiting for that: up to a window of each channel would stand before whatever else is to be
   * said.
   */
  drained(): Promise<void> | undefined {
    const { stream, jump } = this.#line;
    if (stream.writableLength === 0 || !stream.writable) return jump?.drained();
    return new Promise<void>((resolve) => stream.write(NOTHING, () => resolve())).then(() => jump?.drained());
  }

  /**
   * Opens a stream to another host from here: what a jump host is for. Rejects with ConnectError: `lost` where this
   * connection has gone, `timeout`, `protocol` where the server lets nobody through, `unreachable` where it tried in vain.
   */
  forward(target: Target, timeoutMs: number): Promise<Duplex> {
    const { host, port } = target;
    const role = roleOf(target);
    const place = `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;
    return new Promise((resolve, reject) => {
      let settled = false;
      const settle = (finish: () => void) => {
        if (settled) return;
        settled = true;
        clearTimeout(timer);
        forget?.();
        finish();
      };
      const fail = (error: ConnectError) => settle(() => reject(error));
      const lost = (reason: string) => fail(new ConnectError(`${this.shown} was lost`, 'lost', { reason }));
      const timer = setTimeout(() => fail(forwardTooSlow(this.shown, place, role, timeoutMs)), timeoutMs);
      const forget: (() => void) | undefined = this.onLost(lost);
      try {
        this.#client.forwardOut('127.0.0.1', 0, host, port, (error, channel) => {
          if (error) fail(notForwarded(this.shown, place, role, error));
          else if (settled) channel.destroy();
          else settle(() => resolve(channel));
        });
      } catch (error) {
        lost(error instanceof Error ? error.message : String(error));
      }
    });
  }

  /** Calls back once the connection is gone, at once if it is; returns the way to take the callback back. */
  onLost(callback: (reason: string) => void): () => void {
    if (this.#lostBecause !== undefined) callback(this.#lostBecause);
    else this.#losers.add(callback);
    return () => this.#losers.delete(callback);
  }

  /** Ends the connection; resolves once it is gone. */
  async end(): Promise<void> {
    if (!this.alive) return;
    await new Promise<void>((done) => {
      this.onLost(() => done());
      this.#lastError = 'kubeos ended it';
      this.#destroy();
      setTimeout(done, 1000).unref();
    });
  }

  // What still runs behind a channel that was left must not hold up the next call.
  #judge(error: unknown): unknown {
    if (!(error instanceof ConnectError)) {
      this.#leftBehind = true;
      return error;
    }
    if (error.failure === 'timeout' || error instanceof FloodError) this.#giveUp(error.message);
    if (!(error instanceof NoSessionError) || !this.#leftBehind) return error;
    this.#giveUp('a command that was left behind holds its only session');
    return lost(this.#lastError);
  }

  #giveUp(because: string): void {
    this.#lastError = because;
    this.#destroy();
    this.#lose();
  }

  // Without a farewell: a peer that has vanished would not answer it, and ssh2 destroys no socket that it has ended, so that
  // it would keep this process alive.
  #destroy(): void {
    this.#keepalive.stop();
    this.#client.destroy();
    this.#line.stream.destroy();
  }

  #lose(): void {
    if (this.#lostBecause !== undefined) return;
    this.#lostBecause = this.#lastError;
    this.#keepalive.stop();
    for (const callback of [...this.#losers]) callback(this.#lastError);
    this.#losers.clear();
  }
}

// The reasons of RFC 4254, 5.1.
const PROHIBITED = 1;
const CONNECT_FAILED = 2;
const UNKNOWN_TYPE = 3;

function notForwarded(shown: string, place: string, role: string, error: Error & { reason?: unknown }): ConnectError {
  if (typeof error.reason !== 'number') return new ConnectError(`${shown} was lost`, 'lost', { reason: error.message });
  const words = cleanText(error.message.replace(/^\(SSH\) Channel open failure: /, ''));
  if (error.reason === PROHIBITED || error.reason === UNKNOWN_TYPE) {
    return new ConnectError(`${shown} lets nobody through to ${place}`, 'protocol', {
      reason: `its server forbids it${words === '' ? '' : `: ${words}`}`,
      next: 'allow it there: AllowTcpForwarding, DisableForwarding and PermitOpen of its sshd_config, and what stands before the key in authorized_keys (restrict, no-port-forwarding)',
    });
  }
  const next =
    error.reason === CONNECT_FAILED
      ? `check that the ${role} is up and its sshd runs, and that ${shown} has a way to it`
      : 'look at the log of its sshd';
  return new ConnectError(`${shown} does not reach ${place}`, 'unreachable', {
    reason: words || 'its server does not say why',
    next,
  });
}

function forwardTooSlow(shown: string, place: string, role: string, timeoutMs: number): ConnectError {
  return new ConnectError(`${shown} does not reach ${place}`, 'timeout', {
    reason: `no answer after ${String(Math.round(timeoutMs / 100) / 10)}s`,
    next: `check that the ${role} is up, and that nothing between it and ${shown} filters the port`,
  });
}
