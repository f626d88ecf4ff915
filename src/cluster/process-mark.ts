import { readFileSync, readlinkSync } from 'node:fs';

/**
 * A name for this process that no other process on any machine ever has: the kernel's boot id, the PID namespace (two
 * containers of one machine both have a process 1), the process id and its start time. '' where there is no /proc.
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
  const [boot = '', namespace = '', pid = '', start = ''] = mark.split(' ');
  if (start === '' || thisMachine() !== `${boot} ${namespace}` || !/^[1-9]\d*$/.test(pid)) return 'elsewhere';
  return startOf(Number(pid)) === start ? 'alive' : 'dead';
}

function thisMachine(): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return undefined;
  }
}

/** Start time in ticks since boot, field 22 of proc_pid_stat(5); undefined for no process, or one that only waits to be reaped. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in field 2 may hold blanks and brackets; the fields after it cannot.
    const [state = '', ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return 'ZXx'.includes(state) ? undefined : rest[18];
  } catch {
    return undefined;
  }
}
