import { startBed } from '../lab/lab-bed.ts';
import type { BenchOptions } from './main.ts';
import { table, type Section } from './page.ts';

const NODES = 100;
const BUDGET = 10;
const AIM = 1.1;

interface Result {
  exitCode: number;
  tookMs: number;
  nodes: readonly { node: string; outcome: string; tookMs: number }[];
}

/** A whole upgrade in the lab, by the built kubeos, against the ideal: nodes / budget x the mean time of a node. */
export async function rollout({ nodes = NODES, say }: BenchOptions): Promise<Section> {
  say(`starting a lab of ${nodes} workers`);
  const bed = await startBed({ workers: nodes });
  try {
    say('upgrading it');
    const flags = ['--canary', '0', '--maxunavailable', String(BUDGET), '-y', '-o', 'json'];
    const done = await bed.kubeos(['upgrade', '-f', `${bed.lab.dir}/upgrade-disk.yaml`, ...flags]);
    const result = JSON.parse(done.stdout) as Result;
    if (result.exitCode !== 0)
      throw new Error(`the upgrade ended with ${result.exitCode}:\n${done.stderr.slice(-4000)}`);
    const own = result.nodes.filter(({ outcome }) => outcome === 'upgraded').map(({ tookMs }) => tookMs);
    return section(result.tookMs, own);
  } finally {
    await bed.stop();
  }
}

function section(tookMs: number, own: readonly number[]): Section {
  const mean = own.reduce((sum, ms) => sum + ms, 0) / own.length;
  const ideal = (own.length / BUDGET) * mean;
  const ratio = tookMs / ideal;
  const seconds = (ms: number): string => (ms / 1000).toFixed(1);
  const text = [
    `\`npm run bench -- rollout --nodes ${own.length}\`: budget ${BUDGET}, \`--canary 0\`, every node upgraded.`,
    '',
    table(
      ['whole run, s', 'mean of a node, s', 'ideal, s', 'ratio'],
      [[seconds(tookMs), seconds(mean), seconds(ideal), ratio.toFixed(3)]],
    ),
    '',
    `Aim: under ${AIM} (${ratio < AIM ? 'reached' : 'missed'}).`,
  ].join('\n');
  return { name: 'rollout', text, met: ratio < AIM };
}
