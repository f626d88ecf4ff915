import { rm, rmdir } from 'node:fs/promises';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ApiUnreachableError } from '../errors.ts';
import { LONGEST_ENDING, makeTemporaryFolder } from '../temporary-folder.ts';
import type { GuardedProcess } from './guard.ts';
import type { Kubectl } from './kubectl.ts';

const START_TIMEOUT_MS = 20_000;
const MOST_WORDS = 4_000;
/** A Unix socket's path is limited to 103 bytes on macOS, 107 on Linux. */
const LONGEST_FOLDER = 100;

/** kubectl proxy ends, or opens no socket: before it has asked the API server anything. */
export class ProxyStartError extends ApiUnreachableError {}

/** Where requests go: the socket of a running proxy and the connections kept open to it. */
export interface ProxyAddress {
  socketPath: string;
  agent: Agent;
}

/**
 * One `kubectl proxy` on a Unix socket in a folder that only this user can enter. A proxy that ended is started again
 * by the next request, since a run lasts hours and must not die of it.
 */
export class KubectlProxy {
  private readonly kubectl: Kubectl;
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 32 });
  private current: Promise<RunningProxy> | undefined;
  private closed = false;
  private readonly words = new Words();

  constructor(kubectl: Kubectl) {
    this.kubectl = kubectl;
  }

  /** What the proxy, and a login plugin under it, wrote to standard error of late, without kubectl's own log. */
  get said(): string {
    return this.words.said;
  }

  /** Throws ApiUnreachableError where no proxy can be started. */
  async address(): Promise<ProxyAddress> {
    const { socketPath } = await this.alive();
    return { socketPath, agent: this.agent };
  }

  private async alive(): Promise<RunningProxy> {
    const seen = this.current;
    const running = await seen?.catch(() => undefined);
    if (running?.process.ended() === false) return running;
    if (this.closed) throw new ApiUnreachableError('the connection to the cluster is closed already');
    // Another request may have started one while this one looked.
    if (this.current !== seen) return this.alive();
    this.current = startProxy(this.kubectl, this.words);
    return this.current;
  }

  /** Ends the proxy and removes its folder. */
  async close(): Promise<void> {
    this.closed = true;
    this.agent.destroy();
    const running = await this.current?.catch(() => undefined);
    await running?.process.end();
    if (running !== undefined) await removeFolder(running.folder);
  }
}

interface RunningProxy {
  process: GuardedProcess;
  folder: string;
  socketPath: string;
}

/** The last of what a program said. */
class Words {
  private text = '';

  take(text: string): void {
    this.text += text;
    // Whole lines only.
    if (this.text.length > MOST_WORDS) this.text = this.text.slice(-MOST_WORDS).replace(/^.*\n/, '');
  }

  get said(): string {
    // klog's header: severity, month and day (E1125 17:57:11.648812 …).
    const lines = this.text.split('\n').filter((line) => !/^[IWEF]\d{4} /.test(line));
    return lines.join('\n').trim();
  }
}

async function startProxy(kubectl: Kubectl, words: Words): Promise<RunningProxy> {
  const folder = await makeTemporaryFolder(shortTemporaryFolder(), 'api');
  const socketPath = join(folder, 's');
  const guarded = kubectl.start(['proxy', `--unix-socket=${socketPath}`], folder);
  guarded.stdout.resume();
  guarded.stderr.setEncoding('utf8').on('data', (text: string) => words.take(text));
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!guarded.ended() && performance.now() < deadline) {
    if (await accepts(socketPath)) return { process: guarded, folder, socketPath };
    await pause(20);
  }
  await guarded.end();
  await removeFolder(folder);
  throw new ProxyStartError('kubectl proxy does not start', {
    reason: words.said === '' ? 'it does not open its socket' : words.said,
    next: `see what it says: ${kubectl.shown('proxy --port=0')}`,
  });
}

const shortTemporaryFolder = (): string =>
  tmpdir().length > LONGEST_FOLDER - '/kubeos-api-/s'.length - LONGEST_ENDING ? '/tmp' : tmpdir();

function accepts(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** The guard has removed it already, as a rule. */
async function removeFolder(folder: string): Promise<void> {
  await rm(join(folder, 's'), { force: true });
  await rmdir(folder).catch(() => undefined);
}
