import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { RECORD_ANNOTATION } from '../../src/cluster/node-facts.ts';
import { catalogOf } from '../../src/lab/api/kinds.ts';
import type { KubeObject } from '../../src/lab/api/index.ts';
import { type CliBed, type Doc, must } from './cli-bed.ts';
import { type Running, until } from './lab-bed.ts';

const LEASES = catalogOf('v1.34.4').byName('leases');

/** The Lease that is the lock; undefined before any run has taken it. */
export const lockLease = (bed: CliBed): KubeObject | undefined => bed.lab.api.get('leases', 'kube-system', 'kubeos');

export const lockHolder = (bed: CliBed): string => (lockLease(bed)?.spec?.['holderIdentity'] ?? '') as string;

/**
 * The holder's Lease as it would be if the holder had run on another machine, and had promised to be silent for no longer
 * than this: what a run that would take it over goes by.
 */
export function asFromElsewhere(bed: CliBed, durationSeconds?: number): void {
  const { metadata, spec, ...rest } = must(lockLease(bed));
  const annotations = { ...metadata.annotations, 'kubeos.openeuler.org/process': 'another-boot pid:[1] 7 7' };
  const leaseDurationSeconds = durationSeconds ?? spec?.['leaseDurationSeconds'];
  bed.lab.api.store.replace(LEASES, {
    ...rest,
    metadata: { ...metadata, annotations },
    spec: { ...spec, leaseDurationSeconds },
  });
}

/** Another machine's environment: another home, so that nothing of the first one's is found. */
export const otherHome = (bed: CliBed): Record<string, string> => {
  const home = path.join(bed.folder, 'other-home');
  return {
    HOME: home,
    XDG_STATE_HOME: path.join(home, 'state'),
    XDG_CACHE_HOME: path.join(home, 'cache'),
    USER: 'other',
  };
};

/** What runs leave on a node and in the cluster: whoever changes any of it is found out. */
export async function traces(bed: CliBed, ...names: string[]): Promise<unknown> {
  return Promise.all(
    names.map(async (name) => {
      const { metadata, spec } = must(bed.lab.api.get('nodes', '', name));
      const { machine } = bed.lab.node(name);
      const folder = path.join(machine.root, 'persist/kubeos');
      // The dead man's timer of a trial that was committed ends a moment later.
      await untilEnded(bed, name, (pid) => wordsOf(pid).some((word) => word.endsWith('/dead-man.sh')));
      const files = (await readdir(folder).catch(() => [])).filter((file) => file !== 'lock').sort();
      const texts = await Promise.all(files.map((file) => readFile(path.join(folder, file), 'utf8')));
      return {
        name,
        record: metadata.annotations?.[RECORD_ANNOTATION],
        cordoned: spec?.['unschedulable'] === true,
        grub: [...((await machine.grubVariables()) ?? [])],
        bootId: await readFile(path.join(machine.root, 'proc/sys/kernel/random/boot_id'), 'utf8'),
        files: Object.fromEntries(files.map((file, index) => [file, texts[index]])),
        log: (await readFile(path.join(machine.root, 'var/log/messages'), 'utf8')).split('\n').filter(isDeed),
      };
    }),
  );
}

/**
 * Waits until no process of this kind runs on a node. A script whose text a frozen run has yet to send runs until the run
 * is woken.
 */
export async function untilEnded(
  bed: CliBed,
  name: string,
  isMeant: (pid: number) => boolean = () => true,
): Promise<void> {
  let left: number[] = [];
  await until(
    async () => (left = (await bed.lab.node(name).machine.processes()).filter(isMeant)).length === 0,
    () => `processes are left on ${name}:\n${left.map((pid) => wordsOf(pid).join(' ')).join('\n')}`,
  );
}

/** That a node refused an older token is no deed: a call that was under way when its run was frozen ends so. */
const isDeed = (line: string): boolean => !/failed \(stale-token\)/.test(line);

/** How many detached steps, each a session of its own, write to a slot on the node right now. */
export async function writers(bed: CliBed, name: string): Promise<number> {
  const pids = await bed.lab.node(name).machine.processes();
  return new Set(pids.filter(writesSlot).flatMap((pid) => sessionOf(pid) ?? [])).size;
}

const writesSlot = (pid: number): boolean => wordsOf(pid).some((word) => /^of=.*\/dev\/vda/.test(word));

const wordsOf = (pid: number): string[] => textOf(`/proc/${pid}/cmdline`).split('\0');

/** proc(5): the session is the fourth field after the name, which stands in brackets. */
function sessionOf(pid: number): string | undefined {
  const stat = textOf(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3];
}

/** Empty where the process has ended. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Stops a process where it stands, as SIGSTOP does; resolves once all its threads stand. */
export async function freeze(running: Running): Promise<void> {
  running.kill('SIGSTOP');
  await until(async () => /^State:\s+T/m.test(await readFile(`/proc/${running.pid}/status`, 'utf8')));
}

/** The result that a command with `-o json` ended with. */
export async function ended(running: Running): Promise<Doc & { code: number | null; stderr: string }> {
  const { code, signal, stdout, stderr } = await running.done;
  if (stdout === '') throw new Error(`it printed nothing and ended with ${String(code ?? signal)}: ${stderr}`);
  return { ...(JSON.parse(stdout) as Doc), code, stderr };
}
