import type { RolloutPorts } from './context.ts';
import type { Cluster, HeldLock, Remote } from './ports.ts';

/**
 * The same neighbours, but each change of a node first asks whether the lock is still ours: a run that was frozen and
 * slept through a takeover stops at its next change, though no renewal has failed yet. Marks on nodes are guarded by the
 * cluster itself.
 * @returns changes reject with LockLostError where the lock is gone
 */
export function fenced(ports: RolloutPorts, lock: Pick<HeldLock, 'confirm'>): RolloutPorts {
  return { ...ports, cluster: fence(ports.cluster, CLUSTER, lock), remote: fence(ports.remote, REMOTE, lock) };
}

type Kinds<Port> = Readonly<Record<keyof Port, 'asks' | 'guarded' | 'changes'>>;

const CLUSTER: Kinds<Cluster> = {
  missingRights: 'asks',
  clockOffset: 'asks',
  nodes: 'asks',
  watchNodes: 'asks',
  osResources: 'asks',
  forecastDrains: 'asks',
  record: 'guarded',
  cordon: 'guarded',
  release: 'guarded',
  drain: 'guarded',
  heartbeat: 'asks',
  lockState: 'asks',
  acquireLock: 'asks',
  freeLock: 'asks',
};

const REMOTE: Kinds<Remote> = {
  observe: 'asks',
  lookAtImage: 'asks',
  claim: 'changes',
  begin: 'changes',
  stage: 'changes',
  write: 'changes',
  verify: 'changes',
  arm: 'changes',
  reboot: 'changes',
  awaitBoot: 'asks',
  prove: 'changes',
  commit: 'changes',
  close: 'changes',
  log: 'asks',
  logTail: 'asks',
};

function fence<Port extends object>(port: Port, kinds: Kinds<Port>, lock: Pick<HeldLock, 'confirm'>): Port {
  return new Proxy(port, {
    get(target, name): unknown {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== 'function') return method;
      const call = (...args: unknown[]): unknown => Reflect.apply(method, target, args);
      if (kinds[name as keyof Port] !== 'changes') return call;
      return async (...args: unknown[]) => {
        await lock.confirm();
        return call(...args);
      };
    },
  });
}
