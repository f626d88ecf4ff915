import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LOGIN_USER } from '../contract/remote-sshd.ts';
import type { BareJob } from './clients/bare-ssh2.ts';
import { startHosts, type Hosts } from './hosts.ts';
import { kubeosJob } from './jobs.ts';
import type { BenchOptions } from './main.ts';
import { median, spread, table, type Section } from './page.ts';

const CONNECTIONS = 1000;
const ADDRESSES = 50;
const AIM = { cpu: 1.3, rssMiB: 150 };

interface Held {
  cpuMs: number;
  wallMs: number;
  maxRssMiB: number;
}

/** A thousand connections, all held open, `true` on each: kubeos's pool against a bare loop over ssh2. */
export async function connections({ nodes = CONNECTIONS, rounds, clients, say }: BenchOptions): Promise<Section> {
  say(`starting sshds for ${nodes} connections`);
  const hosts = await startHosts(ADDRESSES, Math.ceil(nodes / ADDRESSES));
  try {
    const jobs = {
      kubeos: ['clients/kubeos.js', await kubeosJob(hosts, 'connect and run true')],
      'bare ssh2': ['clients/bare-ssh2.js', await bareJob(hosts)],
    } as const;
    const held: Record<keyof typeof jobs, Held[]> = { kubeos: [], 'bare ssh2': [] };
    for (let round = 1; round <= rounds; round++) {
      for (const [client, [script, job]] of Object.entries(jobs)) {
        const one = await hold(join(clients, script), job);
        held[client as keyof typeof jobs].push(one);
        say(`round ${round}: ${client} ${(one.cpuMs / 1000).toFixed(2)} s CPU, ${one.maxRssMiB.toFixed(0)} MiB`);
      }
    }
    return section(held.kubeos, held['bare ssh2'], hosts.hosts.length, rounds);
  } finally {
    await hosts.close();
  }
}

async function bareJob(hosts: Hosts): Promise<string> {
  const lines = (await readFile(hosts.knownHosts, 'utf8')).trim().split('\n');
  const job: BareJob = {
    hosts: hosts.hosts,
    user: LOGIN_USER,
    key: hosts.key,
    hostKeys: Object.fromEntries(
      lines.map((line) => {
        const [place = '', , key = ''] = line.split(' ');
        return [place, key];
      }),
    ),
  };
  const file = join(hosts.dir, 'bare.json');
  await writeFile(file, JSON.stringify(job));
  return file;
}

/** Runs a client that holds all connections; it tells its own use once they are all there. */
async function hold(script: string, job: string): Promise<Held> {
  const child = spawn(process.execPath, [script, job], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`${script} ended with ${String(code)}`);
  return JSON.parse(output) as Held;
}

function section(own: readonly Held[], bare: readonly Held[], count: number, rounds: number): Section {
  const ratios = own.map(({ cpuMs }, round) => cpuMs / (bare[round]?.cpuMs ?? Number.NaN));
  const [cpu, rss] = [median(ratios), Math.max(...own.map(({ maxRssMiB }) => maxRssMiB))];
  const row = (name: string, held: readonly Held[], ratio: string): string[] => [
    name,
    spread(held.map(({ wallMs }) => wallMs / 1000)),
    spread(
      held.map(({ cpuMs }) => cpuMs / count),
      2,
    ),
    spread(
      held.map(({ maxRssMiB }) => maxRssMiB),
      0,
    ),
    ratio,
  ];
  const text = [
    `\`npm run bench -- connections --nodes ${count} --rounds ${rounds}\`: ${count} connections held open at once, \`true\` on each.`,
    '',
    table(
      ['client', 'wall, s', 'CPU, ms a connection', 'most memory, MiB', "kubeos's CPU / its"],
      [row('kubeos', own, '1'), row('bare ssh2', bare, spread(ratios))],
    ),
    '',
    `Aim: at most ${AIM.cpu} of a bare loop's CPU (${cpu.toFixed(2)}: ${cpu <= AIM.cpu ? 'reached' : 'missed'}), under ${AIM.rssMiB} MiB (${rss.toFixed(0)}: ${rss < AIM.rssMiB ? 'reached' : 'missed'}).`,
  ].join('\n');
  return { name: 'connections', text, met: cpu <= AIM.cpu && rss < AIM.rssMiB };
}
