import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { Connection, ServerChannel, Session } from 'ssh2';
import type { NodeUser } from './machine.ts';

/** What the SSH server needs to know of its node. */
export interface NodeShell {
  /** The whole environment of a command. */
  env(user: NodeUser): Record<string, string>;
  /** Where a command starts. */
  cwd: string;
  /** Whom it runs as; missing: as the lab itself. */
  identity?: { uid: number; gid: number };
  /** Asked when a command has ended, before its exit code is told: true cuts the connection instead. */
  cutInstead?: () => boolean;
  /** Asked with all of a command's input before it runs, and again before its end is told. */
  gate?: ShellGate;
}

/** A `LabGate` as one node's commands see it. */
export interface ShellGate {
  enter(input: string): Promise<boolean>;
  leave(input: string): Promise<void>;
}

type Command = ChildProcessWithoutNullStreams;

/** As sshd's MaxSessions. */
const MAX_SESSIONS = 10;

/** Serves the sessions of a connection that has signed in. */
export function serveSession(client: Connection, user: NodeUser, shell: NodeShell, cut: () => void): void {
  let open = 0;
  let lost = false;
  client.once('close', () => {
    lost = true;
  });
  client.on('session', (accept, reject) => {
    if (open >= MAX_SESSIONS) {
      reject();
      return;
    }
    open += 1;
    const session = accept();
    session.on('close', () => {
      open -= 1;
    });
    session.on('exec', (acceptExec, _reject, info) => {
      const channel = acceptExec();
      // What has lost its connection already cannot use up the cut that is meant for another command.
      const cutInstead = (): boolean => {
        if (lost || shell.cutInstead?.() !== true) return false;
        cut();
        return true;
      };
      const start = (): Command => {
        const child = startCommand(info.command, user, shell);
        takeSignals(session, child);
        return child;
      };
      if (shell.gate !== undefined) {
        void throughGate(shell.gate, channel, start, cutInstead);
        return;
      }
      const child = start();
      connect(child, channel, client);
      tellTheEnd(child, channel, cutInstead);
    });
  });
}

/** A command that stops at the gate before it runs and before its end is told. What was let in runs without its client too. */
async function throughGate(
  gate: ShellGate,
  channel: ServerChannel,
  start: () => Command,
  cutInstead: () => boolean,
): Promise<void> {
  channel.on('error', () => undefined);
  const input = await readAll(channel);
  if (input === undefined || !(await gate.enter(input.toString()))) return;
  const child = start();
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on('error', () => undefined);
  child.stdin.end(input);
  tellTheEnd(child, channel, cutInstead, () => gate.leave(input.toString()));
}

/** All that the client sends; undefined where its connection breaks before. The channel stays open for the answer. */
function readAll(channel: ServerChannel): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  return new Promise((resolve) => {
    channel.on('data', (chunk: Buffer) => void chunks.push(chunk));
    channel.once('end', () => resolve(Buffer.concat(chunks)));
    channel.once('close', () => resolve(undefined));
  });
}

function startCommand(command: string, user: NodeUser, shell: NodeShell): Command {
  return spawn('/bin/sh', ['-c', command], {
    env: shell.env(user),
    cwd: shell.cwd,
    // A group of its own: signals reach all of the command, and nothing of the lab's reaches it.
    detached: true,
    ...(shell.identity ?? {}),
  });
}

/** Joins a command's streams with its channel, at the slower one's pace. */
function connect(child: Command, channel: ServerChannel, client: Connection): void {
  // A command that ends without reading its input, or whose client is gone, is none of the lab's errors.
  for (const stream of [child.stdin, child.stdout, child.stderr, channel]) stream.on('error', () => undefined);
  channel.pipe(child.stdin);
  // As with sshd, a lost connection ends no process: it only finds its pipes closed.
  const unplug = (): void => {
    child.stdin.destroy();
    child.stdout.destroy();
    child.stderr.destroy();
  };
  channel.once('close', unplug);
  client.once('close', unplug);
  child.once('close', () => client.off('close', unplug));
}

/** Tells the client how the command ended, at once, and closes when nobody holds its outputs any more, as sshd does. */
function tellTheEnd(
  child: Command,
  channel: ServerChannel,
  cutInstead: () => boolean,
  before: () => Promise<void> = () => Promise.resolve(),
): void {
  // Outputs that are closed early have lost their client: there is nobody left to tell.
  const handedOver = forwardOutputs(child, channel).catch(() => undefined);
  child.once('error', (error) => {
    channel.stderr.write(`sh: ${error.message}\n`);
    channel.exit(127);
    channel.end();
  });
  child.once('exit', (code, signal) => {
    if (cutInstead()) return;
    void before().then(() => {
      if (code === null) channel.exit((signal ?? 'SIGKILL').slice('SIG'.length), false, '');
      else channel.exit(code);
      void handedOver.then(() => channel.end());
    });
  });
}

/**
 * Copies both outputs to the channel, at the reader's pace, and resolves when all has been handed over. One write at a
 * time: ssh2 1.17 forgets one of two writes that wait for the client's window, and sends a finished one again.
 */
async function forwardOutputs(child: Command, channel: ServerChannel): Promise<void> {
  let last: Promise<void> = Promise.resolve();
  const copy = async (from: Readable, to: Writable): Promise<void> => {
    for await (const chunk of from) {
      last = last.then(() => writeOut(channel, to, chunk as Buffer));
      await last;
    }
  };
  await Promise.all([copy(child.stdout, channel), copy(child.stderr, channel.stderr)]);
}

async function writeOut(channel: ServerChannel, to: Writable, chunk: Buffer): Promise<void> {
  await new Promise<void>((resolve) => to.write(chunk, () => resolve()));
  Object.assign(channel, { _chunk: undefined, _chunkcb: undefined, _chunkErr: undefined, _chunkcbErr: undefined });
}

/** Hands the client's signals to the command's whole group, as sshd does. */
function takeSignals(session: Session, child: Command): void {
  session.on('signal', (accept, _reject, info) => {
    signalGroup(child, info.name);
    // ssh2 leaves `accept` out where the client wants no answer, though its types say otherwise.
    (accept as (() => void) | undefined)?.();
  });
}

function signalGroup(child: Command, name: string): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, `SIG${name}`);
  } catch {
    // The command has just ended, or the name is no signal: sshd ignores both.
  }
}
