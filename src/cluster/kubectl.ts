import { spawn } from 'node:child_process';
import * as z from 'zod';
import { ApiUnreachableError, PreflightError } from '../errors.ts';
import { startGuarded, type GuardedProcess } from './guard.ts';
import type { ClusterSettings } from './settings.ts';

/** kubectl drain has --delete-emptydir-data since 1.20; the same floor as for servers. */
const OLDEST = { major: 1, minor: 20 };

export interface Versions {
  /** As `kubectl version` prints it: `v1.32.4`. */
  kubectl: string;
  server: string;
}

const versionFields = z.object({ gitVersion: z.string() });
const versionsSchema = z.object({ clientVersion: versionFields, serverVersion: versionFields.optional() });

/** One kubectl with its kubeconfig and context. */
export class Kubectl {
  private readonly settings: ClusterSettings;

  constructor(settings: ClusterSettings) {
    this.settings = settings;
  }

  /**
   * The first call to the cluster. It keeps the terminal, so that a login plugin may ask for a password or show a code;
   * the calls behind guards have none and use what the plugin then has in its cache.
   * Throws PreflightError where kubectl is missing or kubectl or the server too old, ApiUnreachableError where the API
   * is away or refuses the login.
   */
  async login(): Promise<Versions> {
    const call = await this.callWithTerminal(['version', '--output=json']);
    const versions = parseVersions(call.stdout);
    if (versions === undefined) throw this.unreachable(call);
    requireVersion(
      'kubectl',
      versions.clientVersion.gitVersion,
      'install a newer kubectl, or name one: --kubectl PATH',
    );
    if (call.code !== 0 || versions.serverVersion === undefined) throw this.unreachable(call);
    requireVersion('the API server', versions.serverVersion.gitVersion, 'upgrade Kubernetes first');
    return { kubectl: versions.clientVersion.gitVersion, server: versions.serverVersion.gitVersion };
  }

  /** Starts `kubectl ARGS` under a guard, without a terminal. */
  start(args: readonly string[], folder?: string): GuardedProcess {
    return startGuarded(this.settings.kubectl, [...this.globalFlags(), ...args], {
      environment: this.settings.environment,
      ...(folder === undefined ? {} : { folder }),
    });
  }

  /** The command that a person would type to ask the same cluster. */
  shown(args: string): string {
    return ['kubectl', ...this.globalFlags(), args].join(' ');
  }

  private globalFlags(): string[] {
    const flags: string[] = [];
    if (this.settings.kubeconfig !== undefined) flags.push(`--kubeconfig=${this.settings.kubeconfig}`);
    if (this.settings.context !== undefined) flags.push(`--context=${this.settings.context}`);
    return flags;
  }

  private callWithTerminal(args: readonly string[]): Promise<FirstCall> {
    const terminal = process.stderr.isTTY;
    return new Promise((resolve, reject) => {
      const child = spawn(this.settings.kubectl, [...this.globalFlags(), ...args], {
        stdio: ['inherit', 'pipe', terminal ? 'inherit' : 'pipe'],
        env: { ...this.settings.environment },
      });
      let stdout = '';
      let stderr = '';
      child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
      child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-4_000)));
      child.once('error', (cause) => reject(notRunnable(this.settings.kubectl, cause)));
      child.once('close', (code) => resolve({ stdout, stderr: stderr.trim(), code, terminal }));
    });
  }

  private unreachable(call: FirstCall): ApiUnreachableError {
    const said = call.terminal ? 'kubectl says why in the lines above' : call.stderr;
    const silent = `kubectl ended with ${String(call.code)} and no word`;
    return new ApiUnreachableError("the cluster's API cannot be reached, or refuses the login", {
      reason: said === '' ? silent : said,
      next: `mend the connection or the login until this works: ${this.shown('version')}`,
    });
  }
}

interface FirstCall {
  stdout: string;
  stderr: string;
  code: number | null;
  terminal: boolean;
}

function parseVersions(stdout: string): z.infer<typeof versionsSchema> | undefined {
  try {
    return versionsSchema.parse(JSON.parse(stdout));
  } catch {
    return undefined;
  }
}

function requireVersion(who: string, version: string, next: string): void {
  const found = /^v?(\d+)\.(\d+)/.exec(version);
  const major = Number(found?.[1] ?? Number.NaN);
  const minor = Number(found?.[2] ?? Number.NaN);
  if (major > OLDEST.major || (major === OLDEST.major && minor >= OLDEST.minor)) return;
  throw new PreflightError(`${who} is too old: ${version}`, {
    reason: `kubeos needs ${OLDEST.major}.${OLDEST.minor} or newer`,
    next,
  });
}

function notRunnable(kubectl: string, cause: NodeJS.ErrnoException): PreflightError {
  const missing = cause.code === 'ENOENT';
  return new PreflightError(missing ? `kubectl was not found: ${kubectl}` : `kubectl cannot be run: ${kubectl}`, {
    reason: missing ? 'kubeos reaches the cluster through kubectl only' : cause.message,
    next: 'install kubectl, or name the one to use: --kubectl PATH',
    cause,
  });
}
