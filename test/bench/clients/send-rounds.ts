// Sends an image to one node in turn by kubeos and by ssh, in the network that it is started in:
// `send-rounds.js MIB ROUNDS CIPHER`. Prints what each sending cost, as JSON.
import { spawn } from 'node:child_process';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sha256OfFile } from '../../../src/lab/system-image.ts';
import { clusterNode } from '../../contract/remote-kit.ts';
import { LOGIN_USER, makeFolder, makeKey, Sshd } from '../../contract/remote-sshd.ts';
import { measure } from '../measure.ts';
import { MIB, writeNoise } from '../system.ts';
import type { SendJob, Sent } from './send.ts';

const CLIENTS = ['kubeos', 'ssh', 'sameCipher'] as const;
type Client = (typeof CLIENTS)[number];

/** What each client's sendings cost, one a round; `ssh` is ssh as it comes, `sameCipher` ssh by kubeos's cipher. */
export type SendRounds = Record<Client, Sent[]>;

async function takeTurns(image: number, rounds: number, cipher: string): Promise<SendRounds> {
  const { dir, remove } = makeFolder();
  const root = join(dir, 'root');
  const key = join(dir, 'key');
  const sshd = await startNode(dir, root, makeKey(key));
  const config = join(dir, 'ssh_config');
  try {
    const file = join(dir, 'image');
    await writeNoise(file, image * MIB);
    await writeFile(config, configText(dir, sshd, key));
    const job = await jobFor(dir, config, file);
    const staged = join(root, 'persist/KubeOS-Update/update.img.part');
    const bySsh = join(root, 'persist/by-ssh');
    const ssh = ['ssh', '-F', config];
    const ways: Record<Client, { into: string; send: () => Promise<Sent> }> = {
      kubeos: { into: staged, send: () => sendByKubeos(job) },
      ssh: { into: bySsh, send: () => sendBySsh(ssh, file, bySsh) },
      sameCipher: { into: bySsh, send: () => sendBySsh([...ssh, '-c', cipher], file, bySsh) },
    };
    const sent: SendRounds = { kubeos: [], ssh: [], sameCipher: [] };
    for (let round = 0; round <= rounds; round++) {
      for (const name of round % 2 === 0 ? CLIENTS : CLIENTS.toReversed()) {
        const { into, send } = ways[name];
        const one = await send();
        await needAll(into, image);
        await rm(join(root, 'persist'), { recursive: true });
        await mkdir(join(root, 'persist'));
        if (round > 0) sent[name].push(one);
        const rate = ((image / one.wallMs) * 1000).toFixed(0);
        process.stderr.write(`${round === 0 ? 'warming up' : `round ${round}`}: ${name} ${rate} MiB/s\n`);
      }
    }
    return sent;
  } finally {
    await sshd.close();
    remove();
  }
}

/** A server whose commands see a node's /persist in a folder. */
async function startNode(dir: string, root: string, publicKey: string): Promise<Sshd> {
  await mkdir(join(root, 'persist'), { recursive: true });
  await mkdir(join(root, 'run'));
  return Sshd.start({
    dir: join(dir, 'sshd'),
    authorizedKeys: [publicKey],
    config: [`ForceCommand KUBEOS_ROOT=${root} exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"`],
  });
}

const configText = (dir: string, sshd: Sshd, key: string): string =>
  [
    'Host *',
    `  HostName 127.0.0.1`,
    `  Port ${sshd.port}`,
    `  User ${LOGIN_USER}`,
    `  IdentityFile ${key}`,
    `  UserKnownHostsFile ${join(dir, 'known_hosts')}`,
    '  StrictHostKeyChecking accept-new',
    '',
  ].join('\n');

async function jobFor(dir: string, config: string, image: string): Promise<string> {
  const job: SendJob = {
    node: clusterNode('node'),
    image,
    sha256: await sha256OfFile(image),
    settings: {
      sshConfig: config,
      acceptNewHostKeys: true,
      environment: { HOME: dir, PATH: process.env['PATH'] },
    },
  };
  const file = join(dir, 'send.json');
  await writeFile(file, JSON.stringify(job));
  return file;
}

async function sendByKubeos(job: string): Promise<Sent> {
  const script = fileURLToPath(new URL('send.js', import.meta.url));
  const child = spawn(process.execPath, [script, job], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`${script} ended with ${String(code)}`);
  return JSON.parse(output) as Sent;
}

/** Its connecting, signing in and starting of a shell is what comes before. */
async function sendBySsh(ssh: readonly string[], file: string, into: string): Promise<Sent> {
  const empty = await measure([...ssh, 'node', 'true']);
  // The same priority that kubeos's receiver has.
  const remote = `nice -n 10 cat >${into}`;
  const command = ['sh', '-c', 'file=$1; shift; exec "$@" <"$file"', 'sh', file, ...ssh, 'node', remote];
  const all = await measure(command);
  const [wallMs, cpuMs] = [all.wallMs - empty.wallMs, all.cpuMs - empty.cpuMs];
  return { beforeMs: empty.wallMs, wallMs, cpuMs, maxRssMiB: Number.NaN };
}

async function needAll(file: string, image: number): Promise<void> {
  const { size } = await stat(file);
  if (size !== image * MIB) throw new Error(`${file} has ${size} bytes`);
}

const [image, rounds, cipher = ''] = process.argv.slice(2);
const sent = await takeTurns(Number(image), Number(rounds), cipher);
process.stdout.write(JSON.stringify(sent));
