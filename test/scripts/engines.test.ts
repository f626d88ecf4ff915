import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { type Server, type Socket, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { composeScript, type ScriptArguments } from '../../src/remote/compose.ts';
import { SCRIPT_EXITS } from '../../src/remote/script-exits.ts';
import { SCRIPTS, type StepScript } from '../../src/remote/scripts/index.ts';
import { Engines, STORE_BYTES, engineLacking } from './engine-bed.ts';
import { type Shell, makeBin, toolPath } from './node-bed.ts';
import { type Registry, pushImage } from './registry.ts';

const HERE = path.dirname(new URL(import.meta.url).pathname);
const MIB = 1024 * 1024;
const IDENTITY = 'e'.repeat(64);
const OTHER = 'f'.repeat(64);
const OS_TAR = randomBytes(3 * MIB);

/** Each kind of engine with another of the nodes' shells. */
const KINDS = [
  { engine: 'docker', imagetype: 'docker', shell: 'dash' },
  { engine: 'crictl', imagetype: 'containerd', shell: 'bash' },
  { engine: 'ctr', imagetype: 'containerd', shell: 'busybox' },
] as const satisfies { engine: string; imagetype: string; shell: Shell }[];

interface Ended {
  ended: string;
  values: Readonly<Record<string, string>>;
  stderr: string;
}

const why = await engineLacking();
if (why !== undefined) process.stderr.write(`NOT RUN  container engines: ${why}\n`);

describe.skipIf(why !== undefined)('an image that the node’s own engine pulls', () => {
  let yard: string;
  let engines: Engines;
  let image: { digest: string; id: string };
  let moved: { digest: string };
  let silent: Server;
  const waiting = new Set<Socket>();

  beforeAll(async () => {
    yard = await mkdtemp(path.join(tmpdir(), 'kubeos-engines-'));
    await chmod(yard, 0o755);
    engines = new Engines(yard);
    await engines.start();
    const { open, locked } = engines;
    image = await pushImage(open, 'kubeos/kubeos', '2.0.0', [{ name: 'os.tar', content: OS_TAR }]);
    moved = await pushImage(open, 'kubeos/kubeos', 'moved', [{ name: 'os.tar', content: 'other' }]);
    await pushImage(locked, 'kubeos/kubeos', '2.0.0', [{ name: 'os.tar', content: OS_TAR }]);
    await pushImage(open, 'kubeos/none', '1', [{ name: 'os.tgz', content: 'x' }]);
    await pushImage(open, 'kubeos/link', '1', [{ name: 'os.tar', type: '2', link: '/etc/shadow' }]);
    await pushImage(open, 'kubeos/folder', '1', [{ name: 'os.tar', type: '5' }]);
    await pushImage(open, 'kubeos/empty', '1', [{ name: 'os.tar' }]);
    await pushImage(open, 'kubeos/big', '1', [{ name: 'os.tar', content: randomBytes(STORE_BYTES + 8 * MIB) }]);
    silent = createServer((socket) => {
      waiting.add(socket);
      socket.on('error', () => undefined);
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
  });

  afterAll(async () => {
    for (const socket of waiting) socket.destroy();
    silent.close();
    await engines.stop();
    await rm(yard, { recursive: true, force: true });
  });

  describe.each(KINDS)('by $engine, sh is $shell', ({ engine, imagetype, shell }) => {
    let bin: string;
    let root: string;
    let nodes = 0;

    beforeAll(async () => {
      bin = await makeBin(path.join(yard, `bin-${engine}`), shell, await tools(engine, shell));
    });

    beforeEach(async () => {
      nodes += 1;
      root = path.join(yard, `${engine}-${nodes}`);
      for (const folder of ['persist', 'run', 'root/.docker', 'etc/containerd/certs.d']) {
        await mkdir(path.join(root, folder), { recursive: true });
      }
    });

    const at = (name: string): string => path.join(root, name);
    const run = (step: StepScript, args: ScriptArguments, env: Record<string, string> = {}): Promise<Ended> =>
      runIn(engines, bin, step, { run: 'run-1', token: 1, ...args }, { KUBEOS_ROOT: root, ...env });
    const stage = (args: ScriptArguments, env?: Record<string, string>): Promise<Ended> =>
      run('stage-container', { imagetype, reference: named(), sha256: IDENTITY, ...args }, env);
    const named = (name = 'kubeos/kubeos:2.0.0', { host }: Registry = engines.open): string => `${host}/${name}`;

    it('gives its /os.tar, its digest, and leaves nothing in the engine', async () => {
      const done = await stage({ digest: image.digest });
      expect(done).toMatchObject({
        ended: 'ok',
        values: { bytes: String(OS_TAR.length), digest: image.digest },
      });
      expect((await readFile(at('persist/KubeOS-Update/update.img'))).equals(OS_TAR)).toBe(true);
      expect(engines.holds()).toEqual([]);
      expect(await readFile(at('log'), 'utf8')).toContain(`image sha256:${image.digest}`);
      expect(existsSync(at('persist/kubeos/tags'))).toBe(false);
      if (engine !== 'docker') {
        const mounts = (await readFile(at('mounts'), 'utf8')).trimEnd().split('\n');
        expect(mounts.map((line) => line.split(' ').slice(4, 6))).toEqual([
          [at('run/kubeos/image'), expect.stringMatching(/^ro\b/)],
        ]);
      }
      // A second time nothing is asked: the engine may be gone.
      const again = await stage({ digest: image.digest }, { PATH: path.join(yard, 'nowhere') });
      expect(again.ended).not.toBe('ok');
      await writeFile(at('persist/KubeOS-Update/update.img'), 'touched');
      expect((await stage({ digest: image.digest })).ended).toBe('ok');
      expect((await readFile(at('persist/KubeOS-Update/update.img'))).equals(OS_TAR)).toBe(true);
    });

    it('stays in the engine where it was there before', async () => {
      engines.ask(...KEEPER[engine].pull, named());
      const before = engines.holds();
      expect((await stage({})).ended).toBe('ok');
      expect(engines.holds()).toEqual(before);
      expect(await readFile(at('persist/kubeos/tags'), 'utf8')).toBe(`${IDENTITY} ${named()}\n`);
      engines.ask(...KEEPER[engine].remove, named());
      expect(engines.holds()).toEqual([]);
    });

    it('is refused where its digest is another one, with what the checksum may be instead', async () => {
      const wrong = await stage({ digest: OTHER });
      expect(wrong.ended).toBe('checksum-mismatch');
      expect(wrong.stderr).toContain(`sha256:${image.digest}, the spec's checksum says ${OTHER}`);
      expect(wrong.stderr).toContain('a checksum that a disk image left in the spec');
      if (engine === 'docker') {
        expect((await stage({ digest: image.id })).stderr).toContain("that is the image's ID, not its digest");
      }
      const tag = await stage({ reference: named('kubeos/kubeos:moved'), pinned: image.digest });
      expect(tag.ended).toBe('checksum-mismatch');
      expect(tag.stderr).toContain(`is sha256:${moved.digest} here`);
      expect(tag.stderr).toContain('the tag was moved');
      expect(engines.holds()).toEqual([]);
    });

    it('comes from a private registry by the node’s own login, and without one is refused', async () => {
      const reference = named('kubeos/kubeos:2.0.0', engines.locked);
      const refused = await stage({ reference });
      expect(refused.ended).toBe('download-failed');
      expect(reasonOf(refused)).toMatch(/^\w+ pull .*(?:unauthorized|no basic auth|authorization failed|denied)/i);
      await signIn(root, engines.locked);
      const done = await stage({ reference });
      expect([done.stderr, done.ended]).toEqual([expect.any(String), 'ok']);
      expect(engines.holds()).toEqual([]);
    });

    it('that was killed half way is taken by the next attempt, which leaves nothing', async () => {
      expect((await stage({}, { KILLED_AT: 'copy' })).ended).toBe('SIGKILL');
      expect(engines.holds().length).toBeGreaterThan(1);
      expect((await stage({})).ended).toBe('ok');
      expect(engines.holds()).toEqual([]);
    });

    // It differs from ctr only in how it pulls and removes.
    if (engine === 'crictl') return;

    it('that another node of the run did not get is not taken from what was staged', async () => {
      expect((await stage({ pinned: image.digest })).ended).toBe('ok');
      expect((await stage({ pinned: moved.digest })).ended).toBe('checksum-mismatch');
    });

    it('is taken by its digest, too', async () => {
      const pinned = await stage({ reference: named(`kubeos/kubeos@sha256:${image.digest}`), digest: image.digest });
      expect(pinned).toMatchObject({ ended: 'ok', values: { digest: image.digest } });
      expect(engines.holds()).toEqual([]);
    });

    it('is not found, or its registry is not there: the engine’s own words are quoted', async () => {
      const missing = await stage({ reference: named('kubeos/kubeos:nope') });
      expect(missing.ended).toBe('download-failed');
      expect(reasonOf(missing)).toMatch(/^\w+ pull .*(?:not found|unknown)/);
      const away = await stage({ reference: '127.0.0.1:1/kubeos/kubeos:1' });
      expect(away.ended).toBe('download-failed');
      expect(reasonOf(away)).toContain('connection refused');
      expect(engines.holds()).toEqual([]);
    });

    it('comes from no registry whose certificate the node does not trust', async () => {
      const refused = await stage({ reference: named('kubeos/kubeos:2.0.0', engines.untrusted) });
      expect(refused.ended).toBe('download-failed');
      expect(reasonOf(refused)).toMatch(/^\w+ pull .*x509: certificate signed by unknown authority$/);
      expect(engines.holds()).toEqual([]);
      expect(existsSync(at('persist/kubeos/engine'))).toBe(false);
    });

    it('for which the engine has no room is told as that, and what came of it makes room again', async () => {
      await mkdir(at('var/lib'), { recursive: true });
      await symlink(path.join(engines.folder, 'containerd'), at('var/lib/containerd'));
      const full = await stage({ reference: named('kubeos/big:1') });
      // Where it was full for a moment only, the engine's own words say so.
      const words =
        full.ended === 'no-space'
          ? /keeps images, is full: \d+ bytes were free$/
          : /^(docker|ctr|crictl) pull .*no space left/;
      expect(reasonOf(full)).toMatch(words);
      expect(full.stderr).not.toContain('Terminated');
      expect(engines.holds()).toEqual([]);
      expect(existsSync(at('persist/kubeos/engine'))).toBe(false);
      expect((await stage({})).ended).toBe('ok');
    });

    it('without a plain file /os.tar is one that no node takes', async () => {
      const cases = { none: 'there is no /os.tar', link: 'is a link', folder: 'is a folder', empty: 'is empty' };
      for (const [name, words] of Object.entries(cases)) {
        const refused = await stage({ reference: named(`kubeos/${name}:1`) });
        expect([refused.ended, refused.stderr]).toEqual(['unsupported-image', expect.stringContaining(words)]);
      }
      expect(engines.holds()).toEqual([]);
    });

    it('that does not fit into /persist is not copied', async () => {
      const full = await stage({}, { SMALL: 'yes' });
      expect(full.ended).toBe('no-space');
      expect(full.stderr).toContain(`need ${OS_TAR.length + 10 * MIB}`);
      expect(engines.holds()).toEqual([]);
    });

    it('that does not come is given up', async () => {
      const { port } = silent.address() as AddressInfo;
      const stalled = await stage({ reference: `127.0.0.1:${port}/kubeos/kubeos:1`, patience: 20 });
      expect(stalled.ended).toBe('download-failed');
      expect(stalled.stderr).toContain('given up, nothing came for 20 s');
      expect(engines.holds()).toEqual([]);
    });

    it('cannot be had where the engine’s daemon is not there', async () => {
      const nowhere = { DOCKER_HOST: `unix://${at('no.sock')}`, CONTAINERD_ADDRESS: at('no.sock') };
      const away = await stage({}, nowhere);
      expect(away.ended).toBe('download-failed');
      expect(away.stderr).toContain(`${imagetype} does not answer: `);
    });

    it('that was killed half way is cleared away when the node is given another goal', async () => {
      expect((await stage({}, { KILLED_AT: 'copy' })).ended).toBe('SIGKILL');
      const assignment = { operation: 'upgrade', version: 'KubeOS 2', replaced: 'KubeOS 1', from: 'A', target: 'B' };
      expect((await run('begin', { ...assignment, sha256: OTHER })).ended).toBe('ok');
      expect(engines.holds()).toEqual([]);
    });
  });
});

/** What people are told: the last line. */
const reasonOf = ({ stderr }: Ended): string => stderr.trimEnd().split('\n').at(-1) ?? '';

const K8S = ['ctr', '-n', 'k8s.io', 'images'];
const CRICTL = ['env', 'KUBEOS_ROOT=', 'sh', path.join(HERE, 'crictl.sh')];

/** How somebody else has an image, and gets rid of it. */
const ALL_NAMES = 'ctr -n k8s.io images rm --sync $(ctr -n k8s.io images ls --quiet)';
const KEEPER = {
  docker: { pull: ['docker', 'pull'], remove: ['docker', 'image', 'rm'] },
  crictl: { pull: [...CRICTL, 'pull'], remove: [...CRICTL, 'rmi'] },
  ctr: { pull: [...K8S, 'pull'], remove: ['sh', '-c', ALL_NAMES] },
};

/** What is on the node's PATH beside what every node has. */
async function tools(engine: string, shell: Shell): Promise<Record<string, string>> {
  const real = async (name: string): Promise<string> => `exec ${await toolPath(name)} "$@"\n`;
  const busybox = async (name: string): Promise<string> =>
    shell === 'busybox' ? `exec ${await toolPath('busybox')} ${name} "$@"\n` : real(name);
  // Of the engine itself nothing can be killed: the script and its children are a process group.
  const killed =
    'if [ "${KILLED_AT-}" = copy ] && [ -e "$KUBEOS_ROOT/persist/KubeOS-Update/update.img.part" ]; then kill -9 0; fi\n';
  // Where an image is mounted, and how, as the kernel has it.
  const mounting = `case " $* " in *' images mount '*) ${await toolPath('ctr')} "$@" || exit; exec grep -F "$KUBEOS_ROOT/run/kubeos/image" /proc/self/mountinfo >>"$KUBEOS_ROOT/mounts" ;; esac\n`;
  const sh = (text: string): string => `#!/bin/sh\n${text}`;
  return {
    df: sh(`if [ "\${SMALL-}" = yes ]; then printf 'x\\nx 9 9 2048 9 x\\n'; exit 0; fi\n${await real('df')}`),
    du: sh(await busybox('du')),
    timeout: sh(await busybox('timeout')),
    sleep: sh(`exec ${await toolPath('sleep')} 0.05\n`),
    logger: sh('shift 3; echo "$*" >>"$KUBEOS_ROOT/log"\n'),
    sync: sh('exit 0\n'),
    tar: sh(`case $1 in -xOf) ${killed} ;; esac\n${await real('tar')}`),
    cat: sh(`${killed}${await real('cat')}`),
    ...(engine === 'docker' ? { docker: sh(await real('docker')) } : { ctr: sh(`${mounting}${await real('ctr')}`) }),
    ...(engine === 'crictl' ? { crictl: await readFile(path.join(HERE, 'crictl.sh'), 'utf8') } : {}),
  };
}

/** docker's login is root's, that of ctr is in the settings of its hosts; both only for this node. */
async function signIn(root: string, { host, login = '' }: Registry): Promise<void> {
  const auth = Buffer.from(login).toString('base64');
  await writeFile(path.join(root, 'root/.docker/config.json'), JSON.stringify({ auths: { [host]: { auth } } }));
  const folder = path.join(root, 'etc/containerd/certs.d', host);
  await mkdir(folder, { recursive: true });
  const text = `server = "http://${host}"\n[host."http://${host}"]\n[host."http://${host}".header]\nauthorization = "Basic ${auth}"\n`;
  await writeFile(path.join(folder, 'hosts.toml'), text);
}

async function runIn(
  engines: Engines,
  bin: string,
  step: StepScript,
  args: ScriptArguments,
  env: Record<string, string>,
): Promise<Ended> {
  const [program, words] = engines.within([path.join(bin, 'sh'), '-s']);
  const child = spawn(await toolPath(program), words, { env: { PATH: bin, ...engines.env, ...env }, detached: true });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (stdout += piece));
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (stderr += piece));
  child.stdin.on('error', () => undefined);
  child.stdin.end(composeScript(SCRIPTS[step], args));
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once('close', (...end: [number | null, string | null]) => resolve(end)),
  );
  const ended = Object.entries(SCRIPT_EXITS).find(([, number]) => number === code)?.[0];
  const pairs = stdout.split('\n').filter((line) => line.includes('='));
  const values = Object.fromEntries(pairs.map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string]));
  return { ended: code === 0 ? 'ok' : (ended ?? signal ?? String(code)), values, stderr };
}
