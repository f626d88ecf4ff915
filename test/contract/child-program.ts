import { spawn } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { shellScripts } from '../../shell-scripts.js';

const here = dirname(fileURLToPath(import.meta.url));

/** Makes a program of the file `name` in this folder, which Node.js can run by itself; resolves to its path. */
export async function bundle(name: string, dir: string): Promise<string> {
  mkdirSync(dir, { recursive: true });
  symlinkSync(join(here, '..', '..', 'node_modules'), join(dir, 'node_modules'));
  const outfile = join(dir, `${name}.mjs`);
  await build({
    entryPoints: [join(here, `${name}.ts`)],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    plugins: [shellScripts],
    packages: 'external',
    logLevel: 'error',
  });
  return outfile;
}

/** Runs a command that prints one JSON value; rejects where it ends otherwise. */
export async function runForJson(command: readonly string[]): Promise<unknown> {
  const [file = '', ...args] = command;
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (piece: string) => (output[name] += piece));
  }
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (code !== 0) throw new Error(`it ended with ${String(code)}: ${output.stderr}`);
  return JSON.parse(output.stdout) as unknown;
}
