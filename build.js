// Bundles src into dist: ESM, split at every dynamic import so that `kubeos --help` loads little, unminified so that
// stacks stay readable; shell scripts are embedded as shell-scripts.js says. ssh2 stays outside, so that its native
// parts can be found.
import { rm } from 'node:fs/promises';
import { build } from 'esbuild';
import { shellScripts } from './shell-scripts.js';

await rm('dist', { recursive: true, force: true });
await build({
  entryPoints: ['src/main.ts'],
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  sourcemap: true,
  plugins: [shellScripts],
  external: ['ssh2'],
  legalComments: 'linked',
  // Some bundled CommonJS packages call require for Node's own modules.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
