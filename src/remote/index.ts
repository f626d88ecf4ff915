import type { Clock } from '../rollout/ports.ts';
import type { RemoteHooks, RemoteSettings } from './settings.ts';
import { SshRemote } from './ssh-remote.ts';

export { parseHostsFile } from './hosts-file.ts';
export type { HostEntry, Patience, RemoteHooks, RemoteSettings } from './settings.ts';
export type { SshRemote } from './ssh-remote.ts';

/** Builds the `Remote` port over SSH. Connects to nothing yet; end it with `disconnect()`. */
export function createRemote(settings: RemoteSettings, hooks: RemoteHooks = {}): SshRemote {
  return new SshRemote(settings, { ...hooks, clock: hooks.clock ?? machineClock });
}

const machineClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      const abort = () => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', abort);
        resolve();
      }, ms);
      if (signal?.aborted === true) abort();
      else signal?.addEventListener('abort', abort, { once: true });
    }),
};
