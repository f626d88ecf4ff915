import { parseArgs } from 'node:util';
import { connections } from './connections.ts';
import { fleet } from './fleet.ts';
import { node } from './node.ts';
import { record, type Section } from './page.ts';
import { rollout } from './rollout.ts';
import { send } from './send.ts';

/** What a benchmark is given: how much of it, and the folder with the bundled clients. */
export interface BenchOptions {
  nodes: number | undefined;
  /** MiB of an image. */
  image: number | undefined;
  rounds: number;
  clients: string;
  say: (line: string) => void;
}

const BENCHES: Readonly<Record<string, (options: BenchOptions) => Promise<Section>>> = {
  fleet,
  connections,
  rollout,
  node,
  send,
};

/** Runs one benchmark, prints its table and writes it to docs/benchmarks.md. Resolves to an exit code. */
export async function bench(argv: readonly string[], clients: string): Promise<number> {
  const { positionals, values } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { nodes: { type: 'string' }, image: { type: 'string' }, rounds: { type: 'string', default: '5' } },
  });
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  const [name = ''] = positionals;
  const run = BENCHES[name];
  if (run === undefined) {
    say(`usage: npm run bench -- ${Object.keys(BENCHES).join(' | ')} [--nodes N] [--image MIB] [--rounds N]`);
    return 2;
  }
  const number = (value: string | undefined): number | undefined => (value === undefined ? undefined : Number(value));
  const [nodes, image] = [number(values.nodes), number(values.image)];
  const section = await run({ nodes, image, rounds: Number(values.rounds), clients, say });
  say(`\n${section.text}`);
  await record(section);
  return section.met ? 0 : 1;
}
