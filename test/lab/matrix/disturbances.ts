import { setTimeout as sleep } from 'node:timers/promises';
import type { CliBed } from '../cli-bed.ts';
import type { Running } from '../lab-bed.ts';
import type { Side } from './places.ts';
import type { Held } from './keeper.ts';

/** What befalls a run. */
export const DISTURBANCES = {
  'kill -9, same machine': killed,
  'kill -9, another machine': killed,
  'SSH cut': sshCut,
  'API cut': apiCut,
  'node reset': nodeReset,
} as const;

export type Disturbance = keyof typeof DISTURBANCES;

interface Victim {
  bed: CliBed;
  running: Running;
  node: string;
  /** Undefined at an instant inside a step. */
  held?: { call: Held; side: Side };
}

/** For so long the way is away: long enough that several attempts fail. */
const SSH_AWAY_MS = 1500;
const API_AWAY_MS = 3000;

async function killed({ running, held }: Victim): Promise<void> {
  running.kill('SIGKILL');
  await running.done;
  held?.call.letGo(held.side === 'leave');
}

async function sshCut({ bed, node, held }: Victim): Promise<void> {
  await bed.lab.setFault(node, 'ssh-refused');
  held?.call.letGo(held.side === 'leave' || held.call.call.kind === 'request');
  await sleep(SSH_AWAY_MS);
  await bed.lab.clearFault(node, 'ssh-refused');
}

async function apiCut({ bed, held }: Victim): Promise<void> {
  await bed.lab.api.pause();
  held?.call.letGo(held.side === 'leave' || held.call.call.kind === 'command');
  await sleep(API_AWAY_MS);
  await bed.lab.api.resume();
}

async function nodeReset({ bed, node, held }: Victim): Promise<void> {
  await bed.lab.setFault(node, 'power-off');
  held?.call.letGo(held.side === 'leave' || held.call.call.kind === 'request');
  await bed.lab.clearFault(node, 'power-off');
}
