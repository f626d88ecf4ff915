import { StringDecoder } from 'node:string_decoder';
import type { Client, ClientChannel } from 'ssh2';
import { ConnectError } from '../errors.ts';

export interface ExecOptions {
  /** Milliseconds until the command must have ended. */
  timeoutMs: number;
  signal?: AbortSignal;
}

/** How a remote command ended. Exactly one of `code` and `signal` is there. */
export interface ExecResult {
  code?: number;
  /** `SIGKILL`, where a signal ended it. */
  signal?: string;
  stdout: string;
  /** Its last part, where it was very long. */
  stderr: string;
}

/** A command that runs, as whoever feeds it sees it. */
export interface Running {
  channel: ClientChannel;
  /** Aborted once its call has ended, however that ended. */
  ended: AbortSignal;
  /**
   * Resolves once what was written behind the channel has left this process: undefined where it has. It may never, where
   * the call ends before.
   */
  drained: () => Promise<void> | undefined;
  /** Sets the time limit anew: so many milliseconds from now. The call fails with `late` then. */
  within: (ms: number, late: () => ConnectError) => void;
}

/** What a command reads: a text, or something that gives it piece by piece as it is asked for. */
export type Input = string | ((running: Running) => void);

/** Lets a command read its input. */
export function give(running: Running, input: Input): void {
  if (typeof input === 'string') running.channel.end(input);
  else input(running);
}

/** What commands are run over. */
export interface Carrier {
  client: Client;
  /** Calls back where the connection is lost; returns the way to take that back. */
  onLost: (callback: (reason: string) => void) => () => void;
  /** As `Running.drained`. */
  drained: () => Promise<void> | undefined;
}

/** The server refused to open a session; nothing was run. */
export class NoSessionError extends ConnectError {}

/** A command neither ended nor went on in its time; the connection to its node may be well. */
export class OverdueError extends ConnectError {}

/** The node answers more than is kept; its connection is of no more use. */
export class FloodError extends ConnectError {}

/** More than any script says by a thousand times, on each output. */
const MAX_BYTES = 4 * 1024 * 1024;
/** How much of standard error is kept: its end. */
const KEPT_STDERR = 64 * 1024;
// A child that stays in the background may hold the channel's standard output open long after the command has ended.
// OpenSSH tells the exit status at once, be there output left to send or not: so this is a time without any.
const GRACE_MS = 2000;

/**
 * Runs one command over a connection that is up. Both outputs are always read to their end, since an unread one would
 * stop the channel for good.
 * @throws ConnectError `lost` where the connection broke, `timeout`, or `protocol` where no channel could be opened
 */
export function execute(
  { client, onLost, drained }: Carrier,
  command: string,
  input: Input,
  options: ExecOptions,
): Promise<ExecResult> {
  return new Promise((resolve, reject) => {
    let channel: ClientChannel | undefined;
    const undo: (() => void)[] = [];
    let settled = false;
    const settle = (finish: () => void) => {
      if (settled) return;
      settled = true;
      for (const step of undo) step();
      if (channel !== undefined) letGo(channel);
      finish();
    };
    const fail = (error: Error) => settle(() => reject(error));
    undo.push(onLost((reason) => fail(lost(reason))));
    let timer: NodeJS.Timeout | undefined;
    const within = (ms: number, late: () => ConnectError) => {
      clearTimeout(timer);
      if (!settled) timer = setTimeout(() => fail(late()), ms);
    };
    within(options.timeoutMs, () => tooSlow(options.timeoutMs));
    const over = new AbortController();
    undo.push(
      () => clearTimeout(timer),
      () => over.abort(new Error('the call has ended')),
    );
    const { signal } = options;
    if (signal !== undefined) {
      const abort = () => fail(signal.reason as Error);
      if (signal.aborted) {
        abort();
        return;
      }
      signal.addEventListener('abort', abort);
      undo.push(() => signal.removeEventListener('abort', abort));
    }
    try {
      client.exec(command, (error, opened) => {
        if (error) {
          fail(noChannel(error));
          return;
        }
        if (settled) {
          letGo(opened);
          return;
        }
        channel = opened;
        // Writing to a command that reads no more is no failure: its exit status tells.
        opened.on('error', () => undefined);
        collect(opened, fail, (result) => settle(() => resolve(result)));
        give({ channel: opened, ended: over.signal, drained, within }, input);
      });
    } catch (error) {
      // ssh2 throws where the connection has gone since.
      fail(lost(error instanceof Error ? error.message : String(error)));
    }
  });
}

function collect(channel: ClientChannel, fail: (error: Error) => void, done: (result: ExecResult) => void): void {
  const stdout = { text: '', decoder: new StringDecoder('utf8') };
  const stderr = { text: '', decoder: new StringDecoder('utf8') };
  let status: Pick<ExecResult, 'code' | 'signal'> | undefined;
  let grace: NodeJS.Timeout | undefined;
  const finish = () => {
    clearTimeout(grace);
    if (status === undefined) {
      fail(lost('the channel closed without an exit status'));
      return;
    }
    done({ ...status, stdout: stdout.text + stdout.decoder.end(), stderr: stderr.text + stderr.decoder.end() });
  };
  const wait = () => {
    clearTimeout(grace);
    if (status !== undefined) grace = setTimeout(finish, GRACE_MS);
  };
  const count = limit(fail);
  channel.on('data', (chunk: Buffer) => {
    stdout.text += stdout.decoder.write(chunk);
    wait();
    count.stdout(chunk);
  });
  channel.stderr.on('data', (chunk: Buffer) => {
    stderr.text = (stderr.text + stderr.decoder.write(chunk)).slice(-KEPT_STDERR);
    wait();
    count.stderr(chunk);
  });
  channel.on('exit', (code: number | null, name?: string) => {
    status = code === null ? { signal: name ?? 'an unknown signal' } : { code };
    wait();
  });
  channel.on('close', finish);
}

/** Counts both outputs, and fails once one is longer than any script's. */
function limit(fail: (error: Error) => void): Record<'stdout' | 'stderr', (chunk: Buffer) => void> {
  const counter = (name: string) => {
    let bytes = 0;
    return (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= MAX_BYTES) return;
      const next = 'look at the login files of the account on the node: something prints without end';
      fail(new FloodError(`the node answered with more than 4 MiB on its standard ${name}`, 'protocol', { next }));
    };
  };
  return { stdout: counter('output'), stderr: counter('error') };
}

// What still comes is read, since an unread output would stop the channel, and kept no more: the other side may ignore
// that the channel is closed.
function letGo(channel: ClientChannel): void {
  for (const stream of [channel, channel.stderr]) {
    stream.removeAllListeners('data');
    stream.resume();
  }
  channel.on('error', () => undefined);
  channel.close();
}

/** The failure of whatever needs a connection that has gone. */
export function lost(reason: string): ConnectError {
  return new ConnectError('the SSH connection was lost', 'lost', {
    reason,
    next: 'check that the node is up; once it answers, give the same command again',
  });
}

function tooSlow(timeoutMs: number): ConnectError {
  return new OverdueError(`the node did not answer within ${String(Math.round(timeoutMs / 1000))}s`, 'timeout', {
    next: 'look at the load of the node, and whether its disks answer; then give the same command again',
  });
}

function noChannel(error: Error & { reason?: unknown }): ConnectError {
  // A number is the server's own refusal (RFC 4254, 5.1); anything else means that the connection has gone.
  if (typeof error.reason !== 'number') return lost(error.message);
  return new NoSessionError('the SSH server opened no session', 'protocol', {
    reason: error.message,
    next: 'allow at least one session: MaxSessions in the sshd_config of the node',
  });
}
