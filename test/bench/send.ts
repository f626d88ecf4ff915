import { spawn } from 'node:child_process';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import type { SendRounds } from './clients/send-rounds.ts';
import type { Sent } from './clients/send.ts';
import type { BenchOptions } from './main.ts';
import { median, spread, table, type Section } from './page.ts';

const IMAGE_MIB = 1024;
const AIM = { rate: 0.9, rssMiB: 200 };

// A network of its own, whose loopback carries what a cable of 1 Gbit/s does, in its packets.
const GIGABIT = `ip link set lo mtu 1500 up
tc qdisc add dev lo root tbf rate 1gbit burst 256kb latency 50ms
exec "$@"`;

/** Where client and node meet -> what a command is run by that is to meet there, with its arguments. */
const LINKS: Readonly<Record<string, readonly string[]>> = {
  loopback: [],
  '1 Gbit/s': ['unshare', '--net', 'sh', '-ec', GIGABIT, 'sh'],
};

/**
 * An image on its way to one node over a connection that is up: kubeos's `receive`, against OpenSSH's own client that
 * writes into a file there, by the same cipher through the same server.
 */
export async function send({ image = IMAGE_MIB, rounds, clients, say }: BenchOptions): Promise<Section> {
  const load = `${loadavg()[0]?.toFixed(1) ?? '?'} on ${availableParallelism()} processors`;
  const measured: Measured[] = [];
  for (const [link, through] of Object.entries(LINKS)) {
    say(`over ${link}:`);
    const script = join(clients, 'clients/send-rounds.js');
    const sent = await run([...through, process.execPath, script, `${image}`, `${rounds}`]);
    measured.push({ link, image, sent, ratio: median(ratesOf(sent.kubeos, image)) / median(ratesOf(sent.ssh, image)) });
  }
  const most = Math.max(...measured.flatMap(({ sent }) => sent.kubeos.map(({ maxRssMiB }) => maxRssMiB)));
  const text = [
    `\`npm run bench -- send --image ${image} --rounds ${rounds}\`: aes128-gcm@openssh.com; medians, and from the least to the most; begun at a load of ${load}.`,
    '',
    table(HEAD, measured.flatMap(rowsOf)),
    '',
    `Aim: at least ${AIM.rate} of ssh's rate (${measured.map(judge).join('; ')}), under ${AIM.rssMiB} MiB of memory, whatever the image's size (${most.toFixed(0)}: ${judged(most < AIM.rssMiB)}).`,
  ].join('\n');
  return { name: 'send', text, met: measured.every(({ ratio }) => ratio >= AIM.rate) && most < AIM.rssMiB };
}

interface Measured {
  link: string;
  /** MiB. */
  image: number;
  sent: SendRounds;
  /** kubeos's rate by ssh's. */
  ratio: number;
}

async function run(command: readonly string[]): Promise<SendRounds> {
  const [file = '', ...args] = command;
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  const code = await new Promise<number | null>((resolve, reject) =>
    child.once('error', reject).once('close', resolve),
  );
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${String(code)}`);
  return JSON.parse(output) as SendRounds;
}

const HEAD = ['over', 'client', 'before it, s', 'MiB/s', 'kubeos / it', 'its CPU, s/GiB', 'its memory, MiB'];

const ratesOf = (all: readonly Sent[], image: number): readonly number[] =>
  all.map(({ wallMs }) => (image / wallMs) * 1000);

function rowsOf({ link, image, sent: { kubeos, ssh }, ratio }: Measured): readonly (readonly string[])[] {
  const rates = (all: readonly Sent[]): string => spread(ratesOf(all, image), 0);
  const cpu = (all: readonly Sent[]): string => spread(all.map(({ cpuMs }) => (cpuMs / image) * 1.024));
  const before = (all: readonly Sent[]): string => spread(all.map(({ beforeMs }) => beforeMs / 1000));
  const memory = kubeos.map(({ maxRssMiB }) => maxRssMiB);
  return [
    [link, 'kubeos', before(kubeos), rates(kubeos), '1', cpu(kubeos), spread(memory, 0)],
    [link, "ssh node 'cat >file'", before(ssh), rates(ssh), ratio.toFixed(3), cpu(ssh), ''],
  ];
}

const judge = ({ link, ratio }: Measured): string => `${link} ${ratio.toFixed(3)}: ${judged(ratio >= AIM.rate)}`;

const judged = (met: boolean): string => (met ? 'reached' : 'missed');
