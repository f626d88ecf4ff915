import { readdirSync, readFileSync } from 'node:fs';

/** The most memory that a command and all its descendants held at one moment. */
export interface Peak {
  bytes: number;
  /** What held it: names of processes with their own memory in KiB, the biggest first. */
  holders: string;
}

const EVERY_MS = 10;

/**
 * Watches the descendants of a process, many times a second: memory of their own (what a fork still shares counted once),
 * and each mapped file once, with the most of its pages that one of them has. The page cache is nobody's.
 */
export function watchMemory(parent: number): { end: () => Peak } {
  let peak: Peak = { bytes: 0, holders: '' };
  const look = (): void => {
    const now = memoryOf(descendants(parent));
    if (now.bytes > peak.bytes) peak = now;
  };
  const timer = setInterval(look, EVERY_MS);
  return {
    end: () => {
      clearInterval(timer);
      return peak;
    },
  };
}

function descendants(parent: number): readonly number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    // The fields after the name of the command: state and parent (proc(5)).
    const above = Number(/^.*\) \S (\d+)/s.exec(textOf(`/proc/${name}/stat`))?.[1]);
    children.set(above, [...(children.get(above) ?? []), Number(name)]);
  }
  const found: number[] = [];
  const left = [...(children.get(parent) ?? [])];
  for (let pid = left.pop(); pid !== undefined; pid = left.pop()) {
    found.push(pid);
    left.push(...(children.get(pid) ?? []));
  }
  return found;
}

function memoryOf(pids: readonly number[]): Peak {
  const mapped = new Map<string, number>();
  const own: { name: string; kib: number }[] = [];
  for (const pid of pids) {
    const files = new Map<string, number>();
    let kib = 0;
    for (const { inode, rss, pss, anonymous } of mappings(textOf(`/proc/${pid}/smaps`))) {
      // Of what is anonymous, a fork's pages are shared: Pss counts them once in all.
      const ownKib = rss === 0 ? 0 : (pss * anonymous) / rss;
      kib += ownKib;
      files.set(inode, (files.get(inode) ?? 0) + rss - anonymous);
    }
    for (const [inode, size] of files) mapped.set(inode, Math.max(mapped.get(inode) ?? 0, size));
    own.push({ name: textOf(`/proc/${pid}/comm`).trim(), kib });
  }
  const shared = [...mapped.values()].reduce((sum, kib) => sum + kib, 0);
  const total = own.reduce((sum, { kib }) => sum + kib, shared);
  const biggest = own.sort((one, other) => other.kib - one.kib).map(({ name, kib }) => `${name} ${Math.round(kib)}`);
  return { bytes: total * 1024, holders: [`files ${shared}`, ...biggest].join(', ') };
}

function* mappings(smaps: string): Generator<{ inode: string; rss: number; pss: number; anonymous: number }> {
  for (const part of smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)) {
    const inode = /^\S+ \S+ \S+ (\S+ \d+)/.exec(part)?.[1];
    if (inode === undefined) continue;
    const field = (name: string): number => Number(new RegExp(`^${name}: *(\\d+) kB`, 'm').exec(part)?.[1] ?? 0);
    yield { inode, rss: field('Rss'), pss: field('Pss'), anonymous: field('Anonymous') };
  }
}

/** Empty where the process has ended. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
