import { readFileSync, readlinkSync } from 'node:fs';

/**
 * A name for this process that no other process on any machine ever has: the kernel's boot id, the PID namespace (two
 * containers of one machine both have a process 1), the process id and its start time. '' where there is no /proc, or
 * one of another PID namespace, as where a namespace was entered without mounting its own.
 */
export function markOfThisProcess(): string {
  const here = thisMachine();
  const own = here === undefined ? undefined : startOf(process.pid);
  return here === undefined || own === undefined ? '' : `${here} ${process.pid} ${own}`;
}

/**
 * Whether the process with this mark lives: known for certain on the machine, since the same boot, and in the same PID
 * namespace; `elsewhere` in every other case.
 */
export function fateOf(mark: string): 'alive' | 'dead' | 'elsewhere' {
  const [boot = '', namespaces = '', pid = '', start = ''] = mark.split(' ');
  if (start === '' || !/^[1-9]\d*$/.test(pid) || thisMachine() !== `${boot} ${namespaces}`) return 'elsewhere';
  const now = startOf(Number(pid));
  if (now === start) return 'alive';
  // A /proc that hides other users' processes (hidepid, proc(5)) shows nothing of a live one either.
  return now === undefined && exists(Number(pid)) ? 'elsewhere' : 'dead';
}

/** The boot, the PID namespace, and the time namespace, since that shifts the start times that /proc shows. */
function thisMachine(): string | undefined {
  try {
    if (readlinkSync('/proc/self') !== String(process.pid)) return undefined;
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}${timeNamespace()}`;
  } catch {
    return undefined;
  }
}

/** Linux has had them since 5.6. */
function timeNamespace(): string {
  try {
    return `,${readlinkSync('/proc/self/ns/time')}`;
  } catch {
    return '';
  }
}

/** Start time in ticks since boot, field 22 of proc_pid_stat(5); `ended` for a process that only waits to be reaped. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in field 2 may hold blanks and brackets; the fields after it cannot.
    const [state = '', ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return 'ZXx'.includes(state) ? 'ended' : rest[18];
  } catch {
    return undefined;
  }
}

/** Whether any process has this id, whoever's it is. */
function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
