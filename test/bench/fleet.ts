import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { composeCall } from '../../src/remote/compose.ts';
import { SCRIPTS } from '../../src/remote/scripts/index.ts';
import { LOGIN_USER } from '../contract/remote-sshd.ts';
import { startHosts, type Hosts } from './hosts.ts';
import { kubeosJob } from './jobs.ts';
import type { BenchOptions } from './main.ts';
import { measure, type Cost } from './measure.ts';
import { median, spread, table, type Section } from './page.ts';

const NODES = 200;
const AIM = { cpu: 1 / 10, wall: 1 / 3 };

type Client = 'kubeos' | 'ansible' | 'parallel-ssh';

/**
 * The same two scripts (observe, and claim with a token that the node has seen) on the same hosts by kubeos, Ansible and
 * parallel-ssh, in turn, round by round.
 */
export async function fleet({ nodes = NODES, rounds, clients, say }: BenchOptions): Promise<Section> {
  say(`starting ${nodes} nodes behind OpenSSH's sshd`);
  const hosts = await startHosts(nodes);
  try {
    const run = {
      kubeos: await kubeosClient(hosts, clients),
      ansible: await ansibleClient(hosts),
      'parallel-ssh': await parallelSshClient(hosts),
    };
    await run.kubeos();
    const costs: Record<Client, Cost[]> = { kubeos: [], ansible: [], 'parallel-ssh': [] };
    for (let round = 1; round <= rounds; round++) {
      for (const client of Object.keys(costs) as Client[]) {
        const cost = await run[client]();
        costs[client].push(cost);
        say(`round ${round}: ${client} ${(cost.wallMs / 1000).toFixed(1)} s, ${perNode(cost, nodes)} ms CPU a node`);
      }
    }
    return section(costs, nodes, rounds);
  } finally {
    await hosts.close();
  }
}

const perNode = ({ cpuMs }: Cost, nodes: number): string => (cpuMs / nodes).toFixed(1);

async function kubeosClient(hosts: Hosts, clients: string): Promise<() => Promise<Cost>> {
  const job = await kubeosJob(hosts, 'observe and claim');
  return () => measure([process.execPath, join(clients, 'clients/kubeos.js'), job]);
}

async function writeScripts(hosts: Hosts): Promise<{ observe: string; claim: string }> {
  const [observe, claim] = [join(hosts.dir, 'observe.sh'), join(hosts.dir, 'claim.sh')];
  await writeFile(observe, composeCall(SCRIPTS.observe, {}));
  await writeFile(claim, composeCall(SCRIPTS.claim, { run: 'bench', token: 1 }));
  return { observe, claim };
}

/** A playbook of two raw tasks, with pipelining and ControlPersist, 50 forks; each round makes its connections anew. */
async function ansibleClient(hosts: Hosts): Promise<() => Promise<Cost>> {
  const { observe, claim } = await writeScripts(hosts);
  const dir = join(hosts.dir, 'ansible');
  await mkdir(dir);
  await writeFile(join(dir, 'hosts'), `${hosts.hosts.map(({ address }) => address).join('\n')}\n`);
  const tasks = [observe, claim].map((file) => ({ raw: `{{ lookup('file', '${file}') }}` }));
  await writeFile(join(dir, 'play.yml'), JSON.stringify([{ hosts: 'all', gather_facts: false, tasks }]));
  let round = 0;
  return async () => {
    const controls = join(hosts.dir, `cp${++round}`);
    await writeFile(join(dir, 'ansible.cfg'), ansibleConfig(dir, hosts.sshConfig, controls));
    try {
      return await measure(['ansible-playbook', 'play.yml'], {
        cwd: dir,
        env: { ANSIBLE_CONFIG: join(dir, 'ansible.cfg'), HOME: dir },
      });
    } finally {
      await endMasters(controls);
    }
  };
}

const ansibleConfig = (dir: string, sshConfig: string, controls: string): string =>
  [
    '[defaults]',
    'inventory = hosts',
    'forks = 50',
    'retry_files_enabled = False',
    `local_tmp = ${dir}/tmp`,
    '[ssh_connection]',
    'pipelining = True',
    `ssh_args = -F ${sshConfig} -o ControlMaster=auto -o ControlPersist=60s`,
    `control_path_dir = ${controls}`,
    '',
  ].join('\n');

/** Ends the master connections of one round, and nothing else: the folder of their sockets is this round's own. */
async function endMasters(controls: string): Promise<void> {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const title = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (title.startsWith('ssh: ') && title.includes(controls)) process.kill(Number(pid), 'SIGTERM');
  }
}

/** It keeps no connections: each of the two scripts makes them anew. */
async function parallelSshClient(hosts: Hosts): Promise<() => Promise<Cost>> {
  const { observe, claim } = await writeScripts(hosts);
  const names = join(hosts.dir, 'pssh-hosts');
  await writeFile(names, `${hosts.hosts.map(({ address }) => address).join('\n')}\n`);
  const command = `parallel-ssh -h "$1" -p 50 -t 0 -x "-F $2" -I 'exec /bin/sh -s'`;
  const both = `${command} <"$3" >/dev/null && ${command} <"$4" >/dev/null`;
  return () => measure(['/bin/sh', '-c', both, 'pssh', names, hosts.sshConfig, observe, claim]);
}

function section(costs: Record<Client, Cost[]>, nodes: number, rounds: number): Section {
  const ratio = (client: Client, figure: keyof Cost): number[] =>
    costs.kubeos.map((own, round) => own[figure] / (costs[client][round]?.[figure] ?? Number.NaN));
  const [cpu, wall] = [median(ratio('ansible', 'cpuMs')), median(ratio('ansible', 'wallMs'))];
  const row = (client: Client): string[] => [
    client,
    spread(costs[client].map(({ wallMs }) => wallMs / 1000)),
    spread(
      costs[client].map(({ cpuMs }) => cpuMs / nodes),
      1,
    ),
    client === 'kubeos' ? '1' : spread(ratio(client, 'wallMs')),
    client === 'kubeos' ? '1' : spread(ratio(client, 'cpuMs'), 3),
  ];
  const met = cpu <= AIM.cpu && wall <= AIM.wall;
  const text = [
    `\`npm run bench -- fleet --nodes ${nodes} --rounds ${rounds}\`, signed in as ${LOGIN_USER}; medians, and from the least to the most.`,
    '',
    table(
      ['client', 'wall, s', "client's CPU, ms a node", 'kubeos / it: wall', 'kubeos / it: CPU'],
      (Object.keys(costs) as Client[]).map(row),
    ),
    '',
    `Aim: at most a tenth of Ansible's CPU (${cpu.toFixed(3)}: ${cpu <= AIM.cpu ? 'reached' : 'missed'}) and a third of its wall time (${wall.toFixed(2)}: ${wall <= AIM.wall ? 'reached' : 'missed'}).`,
  ].join('\n');
  return { name: 'fleet', text, met };
}
