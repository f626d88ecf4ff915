import { spawn, type ChildProcess } from 'node:child_process';
import { Duplex, type Writable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { ConnectError } from '../errors.ts';
import { lastLines } from './clean-text.ts';
import guardScript from './proxy-guard.sh';

/** What the tokens of a ProxyCommand stand for. */
export interface ProxyTokens {
  /** `%h`: what is connected to. */
  host: string;
  /** `%n`: the node's or the jump host's name. */
  name: string;
  port: number;
  user: string;
  /** `%k`: HostKeyAlias, else the name. */
  alias: string;
}

/** How a ProxyCommand ended. */
export interface ProxyEnd {
  /** What is told of it: exit code or signal, then its last lines on standard error. */
  reason: string;
  /** A shell's exit code 126 or 127: it could not be run at all. */
  notRun: boolean;
}

const STDERR_BYTES = 4096;
const STDERR_LINES = 5;
/** A pipe may be read to its end a moment before or after the exit is told. */
const GRACE_MS = 500;
const HANG_UP_MS = 1000;

/**
 * Puts a host into a ProxyCommand of ssh_config, which `ssh -G` leaves as it was written. The command is the user's
 * own and goes to a shell; what fills its tokens comes from elsewhere, and may only be what no shell acts upon.
 * @throws ConnectError where a token is unknown, or what it stands for is not plain
 */
export function expandProxyCommand(template: string, tokens: ProxyTokens): string {
  const values = new Map([
    ['%', '%'],
    ['h', tokens.host],
    ['n', tokens.name],
    ['p', String(tokens.port)],
    ['r', tokens.user],
    ['k', tokens.alias],
  ]);
  return template.replaceAll(/%(.?)/gs, (whole, token: string) => {
    const value = values.get(token);
    if (value === undefined) {
      throw new ConnectError(`ProxyCommand of ssh_config holds ${whole}, which stands for nothing`, 'protocol', {
        reason: 'its tokens are %h, %n, %p, %r, %k and %%',
        next: 'mend the file; write %% for a percent sign',
      });
    }
    if (token !== '%' && !isPlain(value)) {
      throw new ConnectError(`${whole} of ProxyCommand in ssh_config cannot be filled`, 'protocol', {
        reason: `it would stand for ${JSON.stringify(value.slice(0, 80))}; a shell might act upon that`,
        next: 'use names of letters, digits and . _ - only, or reach it by ProxyJump',
      });
    }
    return value;
  });
}

function isPlain(value: string): boolean {
  return /^[\w:.][\w:.@+%-]*$/.test(value);
}

/**
 * The stream of a running ProxyCommand: what it prints is read, what is written it gets. Destroyed, it ends the command
 * and all that it started; once the command ends, it is destroyed with an error that tells of it. It is run as ssh does,
 * by the user's own shell (ssh_config(5), ProxyCommand), but without a terminal.
 */
export class ProxyStream extends Duplex {
  readonly #command: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #stderr = '';
  #spawnError: Error | undefined;
  #stopped = false;

  constructor(command: string, environment: Readonly<Record<string, string | undefined>>) {
    super();
    // It may end before anybody listens: whoever uses it looks whether it is destroyed.
    this.on('error', () => undefined);
    this.#command = command;
    const shell = environment['SHELL'] === undefined || environment['SHELL'] === '' ? '/bin/sh' : environment['SHELL'];
    this.#child = spawn('/bin/sh', ['-c', guardScript, 'kubeos-proxy', shell, command], {
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
      // Secrets are not for it.
      env: withoutSecrets(environment),
      // A session of its own: Ctrl-C on the terminal must not cut the nodes off that are brought to their end.
      detached: true,
    });
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', () => resolve());
      this.#child.once('error', (error) => {
        this.#spawnError = error;
        resolve();
      });
    });
    for (const pipe of [this.#child.stdin, this.#child.stdout, this.#child.stderr, this.#holder]) {
      // What breaks here is told by the command's end.
      pipe?.on('error', () => undefined);
    }
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_BYTES);
    });
    const over = new Promise((resolve) => this.#child.stdout?.once('close', resolve));
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) this.#child.stdout?.pause();
    });
    void Promise.race([over, this.#exited]).then(async () => {
      await Promise.race([Promise.all([over, this.#exited]), pause(GRACE_MS)]);
      this.destroy(new Error(this.ending().reason));
    });
  }

  /** How the command ended, or that it still runs. */
  ending(): ProxyEnd {
    const { exitCode, signalCode } = this.#child;
    const ended =
      exitCode === null ? `was ended by ${signalCode ?? 'nobody'}` : `ended with exit code ${String(exitCode)}`;
    const how = this.#spawnError?.message ?? (this.#isRunning || this.#stopped ? 'still ran' : ended);
    return {
      reason: [`its ProxyCommand${programOf(this.#command)} ${how}`, ...lastLines(this.#stderr, STDERR_LINES)].join(
        '\n',
      ),
      notRun: exitCode === 126 || exitCode === 127 || this.#spawnError !== undefined,
    };
  }

  /** Resolves once the command has ended, or a moment has passed. */
  async settled(): Promise<void> {
    await Promise.race([this.#exited, pause(GRACE_MS)]);
  }

  override _read(): void {
    this.#child.stdout?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#child.stdin?.write(chunk, () => done());
  }

  override _final(done: () => void): void {
    this.#child.stdin?.end(() => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#stopped = this.#isRunning;
    this.#child.stdin?.destroy();
    this.#child.stdout?.destroy();
    if (this.#isRunning) hangUp(this.#child);
    void Promise.race([this.#exited, pause(HANG_UP_MS, undefined, { ref: false })]).then(() => this.#holder?.destroy());
    done(error);
  }

  get #isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null && this.#spawnError === undefined;
  }

  // The guard's pipe: while it is open, the command may run.
  get #holder(): Writable | undefined {
    return this.#child.stdio[3] as Writable | undefined;
  }
}

// As ssh ends it: by SIGHUP; what does not listen is killed by the guard.
function hangUp(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGHUP');
  } catch {
    // It ended in this very moment.
  }
}

// Its arguments may hold a password.
function programOf(command: string): string {
  const program = /^\s*(?:exec\s+)?([\w./-]+)(?:\s|$)/.exec(command)?.[1];
  return program === undefined ? '' : ` ${program}`;
}

/** The environment for what ssh_config runs: without the secrets that kubeos is given in variables. */
export function withoutSecrets(
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(environment).filter(([name]) => !/^KUBEOS_.*(?:PASSPHRASE|PASSWORD)$/.test(name)),
  );
}
