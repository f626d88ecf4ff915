import { randomBytes } from 'node:crypto';
import { ConnectError } from '../errors.ts';
import { afterMark } from './answers.ts';
import { lastLines } from './clean-text.ts';
import { ANSWER_MARK } from './compose.ts';
import type { Connection } from './connection.ts';
import { give, lost, type ExecOptions, type ExecResult, type Input, type Running } from './exec.ts';
import { asking } from './passwords.ts';
import { quote } from './quote.ts';
import type { Ask, SudoSettings } from './settings.ts';
import { SharedPassword, type Verdict } from './shared-password.ts';
import { anySignal } from './until-aborted.ts';

export interface RootShellSettings {
  sudo?: SudoSettings;
  ask?: Ask;
}

export interface RootOptions extends ExecOptions {
  /** Aborted once nobody may be asked any more, with the ConnectError that says so. */
  asking?: AbortSignal;
}

/** A shell of root's on a node, be it by sudo. */
export class RootShell {
  readonly #settings: RootShellSettings;
  readonly #passwords = new Map<string, SharedPassword>();
  /** Nodes whose sudo wants a password. */
  readonly #asks = new Set<string>();

  constructor(settings: RootShellSettings = {}) {
    this.#settings = settings;
  }

  /**
   * Runs a script as root and resolves to how it ended.
   * @param piece begins its answers with `ANSWER_MARK`
   * @throws ConnectError `no-root` where sudo does not let the user, `protocol` where no shell is run
   */
  async run(connection: Connection, node: string, piece: Input, options: RootOptions): Promise<ExecResult> {
    const { user, shown } = connection;
    if (user === 'root') return ran(await connection.run(ROOT_SHELL, piece, options), () => noShell(shown, user));
    if (!this.#asks.has(node)) {
      const result = await connection.run(`sudo -n -- /bin/sh -s`, piece, options);
      const password = this.#passwordOf(user);
      if (isRun(result)) return result;
      if (password === undefined || result.code !== 1)
        throw await refusal(connection, noRoot(user, 'sudo -n -- /bin/sh -s', result), result, options);
      this.#asks.add(node);
    }
    return this.#withPassword(connection, node, piece, options);
  }

  #passwordOf(user: string): SharedPassword | undefined {
    const { sudo, ask } = this.#settings;
    if (sudo === undefined) return undefined;
    const known = this.#passwords.get(user);
    if (known !== undefined) return known;
    const asks = sudo.ask ? asking(ask, `${user} on the nodes`, 'sudo password of') : undefined;
    if (sudo.password === undefined && asks === undefined) return undefined;
    const made = new SharedPassword({ missing: '', given: sudo.password, ask: asks });
    this.#passwords.set(user, made);
    return made;
  }

  async #withPassword(connection: Connection, node: string, piece: Input, options: RootOptions): Promise<ExecResult> {
    const { user } = connection;
    const results: ExecResult[] = [];
    const gone = new AbortController();
    const forget = connection.onLost((reason) => gone.abort(lost(reason)));
    const trial = { most: 3, signal: anySignal(options.signal, options.asking, gone.signal) };
    const tried = this.#passwordOf(user)?.tryOn(node, trial, async (password) => {
      const { result, verdict, isWrong } = await sudoWithPassword(connection, password, piece, options);
      // Of a wrong password sudo says last only that it was given no further one.
      if (!isWrong) results.push(result);
      return verdict;
    });
    const why = await Promise.resolve(tried).finally(forget);
    const last = results.at(-1);
    if (last !== undefined && isRun(last)) return last;
    throw await refusal(connection, passwordRefused(user, why), last, options);
  }
}

const ROOT_SHELL = 'exec /bin/sh -s';

/**
 * sudo reads the password from the standard input, as the shell does the script after it. So each is sent only once it
 * is asked for: the password when sudo's own prompt is there, the script when the shell says so. Else sudo, where it
 * does not ask, would leave the password to the shell as a command; and where it refuses it, would take the script for
 * further passwords. What is waited for holds a random word, so that nothing prints it by chance.
 */
async function sudoWithPassword(
  connection: Connection,
  password: string,
  piece: Input,
  options: ExecOptions,
): Promise<{ result: ExecResult; verdict: Verdict; isWrong: boolean }> {
  const word = randomBytes(12).toString('hex');
  const prompt = `kubeos-sudo-${word}:`;
  const ready = `kubeos-root-${word}`;
  let prompts = 0;
  const feed = (running: Running): void => {
    const { channel } = running;
    const onError = watchFor(prompt, () => {
      prompts += 1;
      if (prompts === 1) channel.write(`${password}\n`);
      else channel.end();
    });
    const onOutput = watchFor(`${ready}\n`, () => give(running, piece));
    channel.stderr.on('data', onError);
    channel.on('data', onOutput);
  };
  const command = `sudo -S -p ${quote(prompt)} -- /bin/sh -c ${quote(`echo ${ready}; exec /bin/sh -s`)}`;
  const result = await connection.run(command, feed, options);
  // What comes before, a lecture of sudo's say, is nothing of the script's.
  const stderr = result.stderr.split(prompt).at(-1) ?? '';
  const stdout = result.stdout.split(`${ready}\n`).at(-1) ?? '';
  const verdict = prompts === 0 ? 'unknown' : isRun(result) ? 'accepted' : 'refused';
  return { result: { ...result, stdout, stderr }, verdict, isWrong: prompts > 1 };
}

const isRun = ({ stdout }: ExecResult): boolean => afterMark(stdout) !== undefined;

/** Calls back for each time that a text comes by, be it in several pieces. */
function watchFor(text: string, seen: () => void): (chunk: Buffer) => void {
  let rest = '';
  return (chunk) => {
    rest += chunk.toString('latin1');
    for (let at = rest.indexOf(text); at >= 0; at = rest.indexOf(text)) {
      rest = rest.slice(at + text.length);
      seen();
    }
    rest = rest.slice(-text.length);
  };
}

interface NotRun {
  what: string;
  failure: 'no-root' | 'protocol';
  why: string | undefined;
  next: string;
}

function ran(result: ExecResult, otherwise: () => NotRun): ExecResult {
  if (isRun(result)) return result;
  throw notRun(otherwise(), result);
}

// Where not even a shell of the user's own answers, sudo was never asked.
async function refusal(
  connection: Connection,
  bySudo: NotRun,
  result: ExecResult | undefined,
  options: ExecOptions,
): Promise<ConnectError> {
  const plain = await connection.run(ROOT_SHELL, `echo ${ANSWER_MARK}\n`, options);
  return isRun(plain) ? notRun(bySudo, result) : notRun(noShell(connection.shown, connection.user), plain);
}

// The mark is missing: what was started on the node was not our script.
function notRun({ what, failure, why, next }: NotRun, result: ExecResult | undefined): ConnectError {
  const said = result === undefined ? [] : lastLines(result.stderr || result.stdout, 5);
  const ended = result === undefined ? undefined : endOf(result);
  const first = [why, ended].filter((text) => text !== undefined).join(': ');
  return new ConnectError(what, failure, { reason: [first, ...said].filter((line) => line !== '').join('\n'), next });
}

function endOf({ code, signal }: ExecResult): string {
  return code === undefined ? `ended by ${signal ?? 'a signal'}` : `exit code ${String(code)}`;
}

const noShell = (shown: string, user: string): NotRun => ({
  what: `${shown} does not run /bin/sh`,
  failure: 'protocol',
  why: ROOT_SHELL,
  next: `let ${user} run commands: look at ${user}'s login shell, at ForceCommand in the sshd_config of the node, and whether ${user}'s password has expired`,
});

// A shell tells a command that is not there by 127 (POSIX, 2.8.2).
function noRoot(user: string, command: string, { code }: ExecResult): NotRun {
  if (code === 127) {
    return {
      what: `there is no sudo on the node, so that ${user} cannot become root`,
      failure: 'no-root',
      why: command,
      next: 'install sudo on the node, or sign in as root: --ssh-user root',
    };
  }
  return {
    what: `${user} may not become root without a password`,
    failure: 'no-root',
    why: command,
    next: `give the password (--ask-sudo-password, or KUBEOS_SUDO_PASSWORD), or ${RULE(user)}`,
  };
}

const passwordRefused = (user: string, why: string | undefined): NotRun => ({
  what: `sudo does not let ${user} become root`,
  failure: 'no-root',
  why: why === undefined ? 'sudo -S -- /bin/sh' : `sudo password: ${why}`,
  next: `check the password and what ${user} may do (sudo -l on the node); or ${RULE(user)}`,
});

const RULE = (user: string): string =>
  [
    'on the node, as root:',
    `  echo '${user} ALL=(root) NOPASSWD: /bin/sh' > /etc/sudoers.d/kubeos`,
    `  echo 'Defaults:${user} !requiretty' >> /etc/sudoers.d/kubeos`,
    'or sign in as root: --ssh-user root',
  ].join('\n');
