import type { RolloutPorts } from './context.ts';
import type { Cluster, HeldLock, Remote } from './ports.ts';

/**
 * The same neighbours, but each change of a node first asks whether the lock is still ours: a run that was frozen and
 * slept through a takeover stops at its next change, though no renewal has failed yet. Marks on nodes are guarded by the
 * cluster itself. What starts new work waits while it is not known whose the lock is; what brings an armed node or a trial
 * to its end goes on. Those that do either (begin, reboot, cordon, drain) are waited for by `Trip.mayStart`.
 * @param early ends such a wait
 * @returns changes reject with LockLostError where the lock is gone
 */
export function fenced(ports: RolloutPorts, lock: Confirms, early: AbortSignal): RolloutPorts {
  const confirms = {
    changes: () => lock.confirm(),
    starts: () => lock.confirmStart(early),
  };
  return { ...ports, cluster: fence(ports.cluster, CLUSTER, confirms), remote: fence(ports.remote, REMOTE, confirms) };
}

type Confirms = Pick<HeldLock, 'confirm' | 'confirmStart'>;
type Kind = 'asks' | 'guarded' | 'changes' | 'starts';
type Kinds<Port> = Readonly<Record<keyof Port, Kind>>;
type FirstAsked = Readonly<Record<'changes' | 'starts', () => Promise<void>>>;

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
  claim: 'starts',
  begin: 'changes',
  stage: 'starts',
  write: 'starts',
  stream: 'starts',
  verify: 'starts',
  arm: 'starts',
  reboot: 'changes',
  awaitBoot: 'asks',
  deadMan: 'changes',
  prove: 'changes',
  commit: 'changes',
  close: 'changes',
  resetBoot: 'changes',
  log: 'asks',
  logTail: 'asks',
};

function fence<Port extends object>(port: Port, kinds: Kinds<Port>, confirms: FirstAsked): Port {
  return new Proxy(port, {
    get(target, name): unknown {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== 'function') return method;
      const call = (...args: unknown[]): unknown => Reflect.apply(method, target, args);
      const kind: Kind | undefined = kinds[name as keyof Port];
      if (kind !== 'changes' && kind !== 'starts') return call;
      return async (...args: unknown[]) => {
        await confirms[kind]();
        return call(...args);
      };
    },
  });
}
