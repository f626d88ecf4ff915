import { spawn } from 'node:child_process';
import * as z from 'zod';
import { PreflightError } from '../errors.ts';
import { startGuarded, type GuardedProcess } from './guard.ts';
import { DEFAULT_LOCK_SECONDS, type ClusterSettings } from './settings.ts';

/** kubectl drain has --delete-emptydir-data since 1.20; the same floor as for servers. */
const OLDEST = { major: 1, minor: 20 };

/** Three of them are longer than kubeos is ever silent, on a busy machine too. */
const SHORTEST_TICK_SECONDS = 3;

const versionSchema = z.object({ clientVersion: z.object({ gitVersion: z.string() }) });

/** What a kubectl that has ended said. */
export interface Finished {
  stdout: string;
  /** Its last words, trimmed. */
  stderr: string;
  code: number | null;
}

/** One kubectl with its kubeconfig and context. */
export class Kubectl {
  readonly settings: ClusterSettings;

  constructor(settings: ClusterSettings) {
    this.settings = settings;
  }

  /**
   * kubectl's own version, as it prints it: `v1.32.4`. Asks no server.
   * Throws PreflightError where kubectl is missing, too old, or something else.
   */
  async version(): Promise<string> {
    const { stdout, stderr, code } = await this.capture(['version', '--client', '--output=json']);
    const version = versionSchema.safeParse(parseJson(stdout)).data?.clientVersion.gitVersion;
    if (version === undefined) {
      throw new PreflightError(`${this.settings.kubectl} does not say its version as kubectl does`, {
        reason: stderr === '' ? `it ended with ${String(code)}` : stderr,
        next: NAME_ANOTHER,
      });
    }
    requireVersion('kubectl', version, 'install a newer kubectl, or name one: --kubectl PATH');
    return version;
  }

  /** Starts `kubectl ARGS` under a guard, without a terminal. */
  start(args: readonly string[], folder?: string): GuardedProcess {
    const { lockSeconds = DEFAULT_LOCK_SECONDS } = this.settings;
    return startGuarded(this.settings.kubectl, [...this.globalFlags(), ...args], {
      environment: this.settings.environment,
      // A run that is frozen, and whose lock another takes over, drains no more by then.
      tickSeconds: Math.max(SHORTEST_TICK_SECONDS, Math.floor(lockSeconds / 4)),
      ...(folder === undefined ? {} : { folder }),
    });
  }

  /** Runs `kubectl ARGS` to its end, without a terminal; for calls that end soon. Throws PreflightError. */
  capture(args: readonly string[]): Promise<Finished> {
    return this.run(args, ['ignore', 'pipe', 'pipe']);
  }

  /** The same with the terminal's hands and eyes, so that a login plugin may ask; `stderr` stays empty. */
  onTerminal(args: readonly string[]): Promise<Finished> {
    // Standard input may be the spec: only a terminal is the plugin's to read.
    return this.run(args, [process.stdin.isTTY ? 'inherit' : 'ignore', 'pipe', 'inherit']);
  }

  /** The command that a person would type to ask the same cluster. */
  shown(args: string): string {
    return ['kubectl', ...this.globalFlags().map(quoted), args].join(' ');
  }

  /** What leads kubectl, and kubeos too, to the same cluster. */
  globalFlags(): string[] {
    const flags: string[] = [];
    if (this.settings.kubeconfig !== undefined) flags.push(`--kubeconfig=${this.settings.kubeconfig}`);
    if (this.settings.context !== undefined) flags.push(`--context=${this.settings.context}`);
    return flags;
  }

  private run(args: readonly string[], stdio: readonly ('ignore' | 'inherit' | 'pipe')[]): Promise<Finished> {
    const { kubectl, environment } = this.settings;
    return new Promise((resolve, reject) => {
      const child = spawn(kubectl, [...this.globalFlags(), ...args], { stdio: [...stdio], env: { ...environment } });
      let stdout = '';
      let stderr = '';
      child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
      child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-4_000)));
      child.once('error', (cause) => reject(notRunnable(kubectl, cause)));
      child.once('close', (code) => resolve({ stdout, stderr: stderr.trim(), code }));
    });
  }
}

/** Throws PreflightError where the version is older than kubeos works with. */
export function requireVersion(who: string, version: string, next: string): void {
  const found = /^v?(\d+)\.(\d+)/.exec(version);
  const major = Number(found?.[1] ?? Number.NaN);
  const minor = Number(found?.[2] ?? Number.NaN);
  if (major > OLDEST.major || (major === OLDEST.major && minor >= OLDEST.minor)) return;
  throw new PreflightError(`${who} is too old: ${version}`, {
    reason: `kubeos needs ${OLDEST.major}.${OLDEST.minor} or newer`,
    next,
  });
}

/** What a text says as JSON; undefined where it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const quoted = (flag: string): string => (/^[\w@%+=:,./~-]+$/.test(flag) ? flag : `'${flag.replaceAll("'", "'\\''")}'`);

const NAME_ANOTHER = 'install kubectl, or name the one to use: --kubectl PATH';

function notRunnable(kubectl: string, cause: NodeJS.ErrnoException): PreflightError {
  const missing = cause.code === 'ENOENT';
  return new PreflightError(missing ? `kubectl was not found: ${kubectl}` : `kubectl cannot be run: ${kubectl}`, {
    reason: missing ? 'kubeos reaches the cluster through kubectl only' : cause.message,
    next: NAME_ANOTHER,
    cause,
  });
}
