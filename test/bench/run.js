// `npm run bench -- fleet | connections | rollout | node | send [--rounds N] [--nodes N] [--image MIB]`: measures side by side, prints
// ratios and writes them to docs/benchmarks.md. Not a part of `npm test`: what is measured here depends on the machine.
import { build } from 'esbuild';
import { shellScripts } from '../../shell-scripts.js';

// The command line is measured as it stands.
await import('../../build.js');

const out = 'dist/bench';
await build({
  entryPoints: [
    'test/bench/main.ts',
    'test/bench/clients/kubeos.ts',
    'test/bench/clients/bare-ssh2.ts',
    'test/bench/clients/send.ts',
    'test/bench/clients/send-rounds.ts',
  ],
  outdir: out,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  plugins: [shellScripts],
  external: ['ssh2', 'esbuild'],
  // Some bundled CommonJS packages call require for Node's own modules.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
const { bench } = await import(`../../${out}/main.js`);
process.exitCode = await bench(process.argv.slice(2), out);
