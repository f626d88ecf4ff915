import { defineConfig } from 'vitest/config';
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

const tier = (name: string, timeoutMs: number) => ({
  plugins: [shellScripts],
  test: { name, include: [`test/${name}/**/*.test.ts`], testTimeout: timeoutMs, hookTimeout: timeoutMs },
});

export default defineConfig({
  test: {
    projects: [
      tier('unit', 20_000),
      tier('contract', 120_000),
      tier('scripts', 180_000),
      tier('sim', 120_000),
      tier('lab', 300_000),
      tier('proof', 12 * 3_600_000),
    ],
    maxWorkers: 2,
    reporters: ['default'],
  },
});
