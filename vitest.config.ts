import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { minifyShell } from './shell-scripts.js';

/** A `.sh` file is imported by the same rule as in build.js. */
const shellScripts = {
  name: 'shell-scripts',
  enforce: 'pre' as const,
  async transform(code: string, id: string) {
    if (!id.endsWith('.sh')) return undefined;
    return { code: `export default ${JSON.stringify(await minifyShell(code))};`, map: null };
  },
};

/** What takes a minute and a half or more on two cores, the longest first. */
const LONG = [
  'representative',
  ...['real-run', 'cut-off', 'killed-places', 'cli-signals', 'cli-stopped', 'cli-faults', 'cli-taken-over', 'cli-lock'],
  ...['killed-tar', 'cluster-envtest', 'cli-way', 'killed-bash', 'cluster-workloads', 'cluster-faults'],
  ...['killed-busybox', 'killed-dash', 'remote-matrix', 'cli-images', 'cluster-lab'],
];

/** Begins with what takes long, whatever its tier, so that none of it is left to run alone at the end. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const at = LONG.indexOf(basename(moduleId, '.test.ts'));
      return at < 0 ? LONG.length : at;
    };
    return (await super.sort(files)).sort((one, other) => place(one) - place(other));
  }
}

const tier = (name: string, timeoutMs: number) => ({
  plugins: [shellScripts],
  test: { name, include: [`test/${name}/**/*.test.ts`], testTimeout: timeoutMs, hookTimeout: timeoutMs },
});

export default defineConfig({
  test: {
    projects: [
      tier('unit', 60_000),
      tier('contract', 120_000),
      tier('scripts', 180_000),
      tier('sim', 300_000),
      tier('lab', 300_000),
      tier('namespaces', 900_000),
      tier('vm', 3_600_000),
      tier('vm-matrix', 6 * 3_600_000),
      tier('proof', 12 * 3_600_000),
    ],
    // One more than the cores of CI: on the average a test waits for half of its time.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    reporters: ['default'],
  },
});
