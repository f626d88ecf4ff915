import { defineConfig } from 'vitest/config';

/** The same rule as in build.js: a `.sh` file is imported as its text. */
const shellScriptsAsText = {
  name: 'shell-scripts-as-text',
  enforce: 'pre' as const,
  transform(code: string, id: string) {
    return id.endsWith('.sh') ? { code: `export default ${JSON.stringify(code)};`, map: null } : undefined;
  },
};

const tier = (name: string, timeoutMs: number) => ({
  plugins: [shellScriptsAsText],
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
