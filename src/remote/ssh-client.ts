import { spawn } from 'node:child_process';
import { withoutSecrets } from './proxy-command.ts';

/** What a call of `ssh` left behind. */
export interface SshAnswer {
  /** Missing where it could not be started, or was ended. */
  code?: number;
  stdout: string;
  /** Why, in its own words or ours. */
  stderr: string;
}

export interface SshClientOptions {
  environment: Readonly<Record<string, string | undefined>>;
  timeoutMs: number;
  /** Ends what still runs. */
  closing: AbortSignal;
}

const MAX_OUTPUT = 1024 * 1024;

/**
 * Runs OpenSSH's client to its end, without a terminal: nothing may ask there. A `Match exec` of ssh_config runs in its
 * process group, and ends with it.
 */
export function runSsh(args: readonly string[], options: SshClientOptions): Promise<SshAnswer> {
  const { environment, timeoutMs, closing } = options;
  return new Promise((resolve) => {
    const child = spawn('ssh', args, {
      env: { ...withoutSecrets(environment), LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const text = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (chunk: string) => {
        if (text[name].length < MAX_OUTPUT) text[name] += chunk;
      });
    }
    const settle = (answer: SshAnswer) => {
      clearTimeout(timer);
      closing.removeEventListener('abort', abort);
      resolve(answer);
    };
    const end = (stderr: string) => {
      killGroup(child.pid);
      settle({ stdout: '', stderr });
    };
    const abort = () => end('it was ended');
    const timer = setTimeout(() => end(`it did not answer within ${String(Math.round(timeoutMs / 1000))}s`), timeoutMs);
    closing.addEventListener('abort', abort);
    child.once('error', (error) => settle({ stdout: '', stderr: error.message }));
    child.once('close', (code) => settle({ ...text, ...(code !== null && { code }) }));
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended in this very moment.
  }
}
