import { spawn } from 'node:child_process';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import type { SendRounds } from './clients/send-rounds.ts';
import type { Sent } from './clients/send.ts';
import type { BenchOptions } from './main.ts';
import { median, spread, table, type Section } from './page.ts';

const IMAGE_MIB = 1024;
/** The first that kubeos offers; ssh prefers another. */
const CIPHER = 'aes128-gcm@openssh.com';
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
 * writes into a file there through the same server: as it comes, and by kubeos's cipher.
 */
export async function send({ image = IMAGE_MIB, rounds, clients, say }: BenchOptions): Promise<Section> {
  const load = `${loadavg()[0]?.toFixed(1) ?? '?'} on ${availableParallelism()} processors`;
  const measured: Measured[] = [];
  for (const [link, through] of Object.entries(LINKS)) {
    say(`over ${link}:`);
    const script = join(clients, 'clients/send-rounds.js');
    const sent = await run([...through, process.execPath, script, `${image}`, `${rounds}`, CIPHER]);
    measured.push({ link, image, sent });
  }
  const most = Math.max(...measured.flatMap(({ sent }) => memoryOf(sent)));
  const text = [
    `\`npm run bench -- send --image ${image} --rounds ${rounds}\`: medians, and from the least to the most; begun at a load of ${load}.`,
    '',
    table(HEAD, measured.flatMap(rowsOf)),
    '',
    `Aim: at least ${AIM.rate} of what ssh moves as it comes (${measured.map(judge).join('; ')}), under ${AIM.rssMiB} MiB of memory, whatever the image's size (${most.toFixed(0)}: ${judged(most < AIM.rssMiB)}).`,
  ].join('\n');
  return { name: 'send', text, met: measured.every((one) => ratioTo('ssh', one) >= AIM.rate) && most < AIM.rssMiB };
}

interface Measured {
  link: string;
  /** MiB. */
  image: number;
  sent: SendRounds;
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

/** MiB; told of kubeos alone. */
const memoryOf = ({ kubeos }: SendRounds): readonly number[] => kubeos.map(({ maxRssMiB }) => maxRssMiB);

/** kubeos's rate by another's. */
const ratioTo = (other: keyof SendRounds, { image, sent }: Measured): number =>
  median(ratesOf(sent.kubeos, image)) / median(ratesOf(sent[other], image));

function rowsOf(one: Measured): readonly (readonly string[])[] {
  const { link, image, sent } = one;
  const row = (name: keyof SendRounds, shown: string): readonly string[] => [
    link,
    shown,
    spread(sent[name].map(({ beforeMs }) => beforeMs / 1000)),
    spread(ratesOf(sent[name], image), 0),
    name === 'kubeos' ? '1' : ratioTo(name, one).toFixed(3),
    spread(sent[name].map(({ cpuMs }) => (cpuMs / image) * 1.024)),
    name === 'kubeos' ? spread(memoryOf(sent), 0) : '',
  ];
  return [
    row('kubeos', 'kubeos'),
    row('ssh', "ssh node 'cat >file'"),
    row('sameCipher', `ssh -c ${CIPHER} node 'cat >file'`),
  ];
}

function judge(one: Measured): string {
  const ratio = ratioTo('ssh', one);
  return `${one.link} ${ratio.toFixed(3)}: ${judged(ratio >= AIM.rate)}`;
}

const judged = (met: boolean): string => (met ? 'reached' : 'missed');
