import { spawn, spawnSync } from 'node:child_process';
import { chmod, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ROOT, type Finished, until } from './lab-bed.ts';
import { type CliBed, nodeOf, startCliBed, type Doc } from './cli-bed.ts';

// macOS is not at hand: what it lacks, and how it differs, is played on Linux. The lab itself runs outside of it.
let bed: CliBed;
let preload: string;
/** As long as macOS's own, /var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T/, and longer, since it lies in another folder. */
let temporary: string;
const hasNamespaces = spawnSync('unshare', ['--mount', 'true']).status === 0;

/** What Node.js shows on macOS: the platform's name, and no /proc. */
const PRELOAD = `
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
Object.defineProperty(process, 'platform', { value: 'darwin' });
const isBelowProc = (place) => /^\\/proc(\\/|$)/.test(String(place));
const missing = (place) => Object.assign(new Error('ENOENT: ' + String(place)), { code: 'ENOENT' });
for (const name of ['readFileSync', 'readlinkSync', 'openSync', 'readdirSync', 'statSync', 'lstatSync', 'accessSync']) {
  const real = fs[name];
  fs[name] = (place, ...rest) => {
    if (isBelowProc(place)) throw missing(place);
    return real(place, ...rest);
  };
}
for (const name of ['readFile', 'readlink', 'open', 'readdir', 'stat', 'lstat', 'access']) {
  const real = fs.promises[name];
  fs.promises[name] = async (place, ...rest) => {
    if (isBelowProc(place)) throw missing(place);
    return real(place, ...rest);
  };
}
const exists = fs.existsSync;
fs.existsSync = (place) => !isBelowProc(place) && exists(place);
syncBuiltinESMExports();
`;

/** POSIX's ps as far as the guard may ask it, with the leading blanks of macOS's; /proc is elsewhere then. */
const posixPs = (proc: string): string => `#!/bin/sh
set -eu
[ "$#" -eq 4 ] && [ "$1 $3" = '-o -p' ] || { echo "ps: not known: $*" >&2; exit 64; }
stat=$(cat "${proc}/$4/stat")
set -- "$2" \${stat##*)}
case $1 in
ppid=) printf '  %s\\n' "$3" ;;
pgid=) printf '  %s\\n' "$4" ;;
*) exit 64 ;;
esac
`;

beforeAll(async () => {
  bed = await startCliBed({ workers: 2 });
  preload = path.join(bed.folder, 'darwin.mjs');
  await writeFile(preload, PRELOAD);
  temporary = path.join(bed.folder, 'var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T');
  await mkdir(temporary, { recursive: true });
  await mkdir(path.join(bed.folder, 'proc'));
  await mkdir(path.join(bed.folder, 'bin'));
  const ps = path.join(bed.folder, 'bin/ps');
  await writeFile(ps, posixPs(path.join(bed.folder, 'proc')));
  await chmod(ps, 0o755);
});

afterEach(async () => {
  expect((await readdir(temporary)).filter((name) => name.startsWith('kubeos-api-'))).toEqual([]);
  expect(await proxies()).toEqual([]);
});

afterAll(async () => {
  await bed.stop();
});

/** The command lines of kubectl proxies that this lab's kubeos started. */
async function proxies(): Promise<string[]> {
  const numbers = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(numbers.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.filter((line) => line.includes(`--unix-socket=${temporary}`) || line.includes(`${bed.folder}/much`));
}

interface Played {
  pid: number;
  done: Promise<Finished>;
}

/** Runs the built kubeos as on macOS. With `empty` it and all that it starts see an empty /proc, and only POSIX's ps. */
function start(args: readonly string[], { empty = false, tmp = `${temporary}/` } = {}): Played {
  const node = [process.execPath, '--import', preload, path.join(ROOT, 'bin/kubeos.js'), ...args];
  const hide = 'mount --rbind /proc "$1" && mount -t tmpfs none /proc && shift && exec "$@"';
  const words = empty ? ['unshare', '--mount', 'sh', '-c', hide, 'sh', path.join(bed.folder, 'proc'), ...node] : node;
  const env = { ...bed.env, TMPDIR: tmp, ...(empty ? { PATH: `${bed.folder}/bin:${bed.env['PATH'] ?? ''}` } : {}) };
  const child = spawn(words[0] ?? '', words.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text.stderr += chunk));
  const done = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, ...text }));
  });
  return { pid: child.pid ?? 0, done };
}

const run = (args: readonly string[], how?: Parameters<typeof start>[1]): Promise<Finished> => start(args, how).done;
const asData = async (args: readonly string[], how?: Parameters<typeof start>[1]): Promise<Doc> => {
  const { code, stdout, stderr } = await run([...args, '-o', 'json'], how);
  expect(stdout, stderr).not.toBe('');
  const doc = JSON.parse(stdout) as Doc;
  expect(doc.exitCode, stderr).toBe(code);
  return doc;
};

describe('kubeos on a machine that says it is macOS', () => {
  it('reads, plans and shows, wherever the temporary folder is', async () => {
    expect((await asData(['status'])).nodes).toHaveLength(3);
    expect((await asData(['plan', '-f', bed.lab.paths.spec])).entries).toHaveLength(2);
    expect((await run(['validate', '-f', bed.lab.paths.spec])).code).toBe(0);
    // Longer than a socket's path may be (103 bytes on macOS).
    const tmp = path.join(bed.folder, 'much-longer-than-a-socket-may-be/'.repeat(3));
    await mkdir(tmp, { recursive: true });
    expect((await run(['status'], { tmp })).code).toBe(0);
  });

  it.each([[['lab', 'start']], [['lab', 'status']], [['lab', 'stop']], [['lab', 'fault', 'worker-1', 'power-off']]])(
    '%j says that it needs Linux (exit 4)',
    async (args) => {
      const { code, stdout, stderr } = await run(args);
      expect([code, stdout]).toEqual([4, '']);
      expect(stderr).toContain('the lab runs on Linux only');
      expect(stderr).toContain('this is darwin');
    },
  );
});

it('upgrades a node without any look into /proc, and gives its lock back', async () => {
  const done = await asData(['upgrade', '-y', '-f', bed.lab.paths.spec, '--nodes', 'worker-1']);
  expect([done.exitCode, nodeOf(done, 'worker-1').outcome]).toEqual([0, 'upgraded']);
  const lease = bed.lab.api.get('leases', 'kube-system', 'kubeos');
  expect(lease?.spec?.['holderIdentity'] ?? '').toBe('');
});

describe.runIf(hasNamespaces)('in a mount namespace with an empty /proc, and with no ps but POSIX’s', () => {
  const empty = true;

  it('rolls back, drains included, and gives its lock back', async () => {
    const back = await asData(['rollback', '--to-previous', '-y', '--nodes', 'worker-1'], { empty });
    expect([back.exitCode, nodeOf(back, 'worker-1').outcome]).toEqual([0, 'rolled back']);
  });

  it('leaves no kubectl behind where it is killed', async () => {
    await bed.lab.setFault('worker-2', 'slow-download');
    const killed = start(['upgrade', '-y', '-f', bed.lab.paths.spec, '--nodes', 'worker-2'], { empty });
    await bed.untilStep('worker-2', 'stage');
    expect(await proxies()).not.toEqual([]);
    process.kill(killed.pid, 'SIGKILL');
    await killed.done;
    await until(async () => (await proxies()).length === 0);
  });
});
