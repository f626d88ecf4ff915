import { spawn } from 'node:child_process';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256OfFile } from '../../src/lab/system-image.ts';
import { clusterNode } from '../contract/remote-kit.ts';
import { LOGIN_USER, makeFolder, makeKey, Sshd } from '../contract/remote-sshd.ts';
import type { SendJob, Sent } from './clients/send.ts';
import type { BenchOptions } from './main.ts';
import { measure } from './measure.ts';
import { median, spread, table, type Section } from './page.ts';
import { MIB, writeNoise } from './system.ts';

const IMAGE_MIB = 1024;
const AIM = { rate: 0.9, rssMiB: 200 };
/** The first that kubeos offers. */
const CIPHER = 'aes128-gcm@openssh.com';

/**
 * An image on its way to one node over a connection that is up: kubeos's `receive`, against OpenSSH's own client that
 * writes into a file there, by the same cipher through the same server.
 */
export async function send({ image = IMAGE_MIB, rounds, clients, say }: BenchOptions): Promise<Section> {
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
    const ways = {
      kubeos: () => sendByKubeos(join(clients, 'clients/send.js'), job),
      ssh: () => sendBySsh(config, file, join(root, 'persist/by-ssh')),
    };
    const sent: Record<keyof typeof ways, Sent[]> = { kubeos: [], ssh: [] };
    for (let round = 0; round <= rounds; round++) {
      for (const name of round % 2 === 0 ? (['kubeos', 'ssh'] as const) : (['ssh', 'kubeos'] as const)) {
        const one = await ways[name]();
        await needAll(join(root, name === 'ssh' ? 'persist/by-ssh' : 'persist/KubeOS-Update/update.img.part'), image);
        await rm(join(root, 'persist'), { recursive: true });
        await mkdir(join(root, 'persist'));
        if (round > 0) sent[name].push(one);
        say(`${round === 0 ? 'warming up' : `round ${round}`}: ${name} ${rateOf(one, image).toFixed(0)} MiB/s`);
      }
    }
    return section(sent.kubeos, sent.ssh, image, rounds);
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
    `  Ciphers ${CIPHER}`,
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

async function sendByKubeos(script: string, job: string): Promise<Sent> {
  const child = spawn(process.execPath, [script, job], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`${script} ended with ${String(code)}`);
  return JSON.parse(output) as Sent;
}

/** What it costs beside connecting and signing in, which kubeos has behind it. */
async function sendBySsh(config: string, file: string, into: string): Promise<Sent> {
  const ssh = ['ssh', '-F', config, 'node'];
  const empty = await measure([...ssh, 'true']);
  // The same priority that kubeos's receiver has.
  const command = ['sh', '-c', 'file=$1; shift; exec "$@" <"$file"', 'sh', file, ...ssh, `nice -n 10 cat >${into}`];
  const all = await measure(command);
  return { wallMs: all.wallMs - empty.wallMs, cpuMs: all.cpuMs - empty.cpuMs, maxRssMiB: Number.NaN };
}

async function needAll(file: string, image: number): Promise<void> {
  const { size } = await stat(file);
  if (size !== image * MIB) throw new Error(`${file} has ${size} bytes`);
}

const rateOf = ({ wallMs }: Sent, image: number): number => (image / wallMs) * 1000;

function section(own: readonly Sent[], ssh: readonly Sent[], image: number, rounds: number): Section {
  const rates = (all: readonly Sent[]): readonly number[] => all.map((one) => rateOf(one, image));
  const cpu = (all: readonly Sent[]): readonly number[] => all.map(({ cpuMs }) => (cpuMs / image) * 1.024);
  const ratio = median(rates(own)) / median(rates(ssh));
  const memory = own.map(({ maxRssMiB }) => maxRssMiB);
  const most = Math.max(...memory);
  const judged = (met: boolean): string => (met ? 'reached' : 'missed');
  const text = [
    `\`npm run bench -- send --image ${image} --rounds ${rounds}\`: ${CIPHER}; medians, and from the least to the most.`,
    '',
    table(
      ['client', 'MiB/s', 'kubeos / it', 'its CPU, s/GiB', 'its memory, MiB'],
      [
        ['kubeos', spread(rates(own), 0), '1', spread(cpu(own)), spread(memory, 0)],
        ["ssh node 'cat >file'", spread(rates(ssh), 0), ratio.toFixed(2), spread(cpu(ssh)), ''],
      ],
    ),
    '',
    `Aim: at least ${AIM.rate} of ssh's rate (${ratio.toFixed(2)}: ${judged(ratio >= AIM.rate)}), under ${AIM.rssMiB} MiB of memory, whatever the image's size (${most.toFixed(0)}: ${judged(most < AIM.rssMiB)}).`,
  ].join('\n');
  return { name: 'send', text, met: ratio >= AIM.rate && most < AIM.rssMiB };
}
