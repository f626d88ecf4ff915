import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, it } from 'vitest';
import { withPart } from '../proof/parts.ts';
import { CACHE } from '../vm/artifacts.ts';
import { CASES, REAL_API, type VmCase } from '../vm/cases.ts';
import { lackingPackages } from './needs.ts';
import { type CaseResult, vmPart } from './page.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PAGE = path.join(ROOT, 'docs/proof.md');
/** How many cases are played side by side. */
const LANES = Number(process.env['KUBEOS_VM_LANES'] ?? 2);
/** No case is begun later than this; the next run goes on from there. */
const MINUTES = Number(process.env['KUBEOS_VM_MINUTES'] ?? Infinity);
const AGAIN = process.env['KUBEOS_VM_AGAIN'] !== undefined;
const ONLY = process.env['KUBEOS_VM_ONLY'] ?? '';

it('every promise about real machines is kept', async () => {
  const lacking = await lackingPackages();
  if (lacking.length > 0)
    throw new Error(`the matrix needs what this machine lacks: apt-get install ${lacking.join(' ')}`);
  if (REAL_API === undefined) process.stdout.write('NOT RUN  with a real API server: KUBEBUILDER_ASSETS names none\n');
  const results = path.join(CACHE, 'results', await keyOfCode());
  await mkdir(results, { recursive: true });
  const found = new Map<string, CaseResult>();
  const left: VmCase[] = [];
  for (const one of CASES) {
    const known = await knownResult(results, one);
    if (known !== undefined) found.set(one.name, known);
    if (!AGAIN && known !== undefined && known.failure === undefined) continue;
    if (one.name.includes(ONLY)) left.push(one);
  }
  const until = Date.now() + MINUTES * 60_000;
  const lane = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined && Date.now() < until; next = left.shift()) {
      const result = await play(next);
      found.set(next.name, result);
      await writeFile(fileOf(results, next), JSON.stringify({ name: next.name, ...result }));
      const seconds = Math.round(result.tookMs / 1000);
      process.stdout.write(`${result.failure === undefined ? 'kept' : 'BROKEN'} after ${seconds}s: ${next.name}\n`);
      if (result.failure !== undefined) process.stdout.write(`${result.failure}\n`);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  await writeFile(PAGE, withPart(await readFile(PAGE, 'utf8'), vmPart(CASES, found)));
  const broken = [...found].filter(([, { failure }]) => failure !== undefined).map(([name]) => name);
  expect(broken).toEqual([]);
});

async function play(one: VmCase): Promise<CaseResult> {
  const began = Date.now();
  const failure = await one.play().then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error)),
  );
  return { ...(failure === undefined ? {} : { failure }), tookMs: Date.now() - began };
}

const fileOf = (results: string, one: VmCase): string =>
  path.join(results, `${createHash('sha256').update(one.name).digest('hex').slice(0, 16)}.json`);

async function knownResult(results: string, one: VmCase): Promise<CaseResult | undefined> {
  const text = await readFile(fileOf(results, one), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as CaseResult);
}

/** Of everything that a case runs: what was seen of other code says nothing. */
async function keyOfCode(): Promise<string> {
  const files = new Set(await importedBy('test/vm/cases.ts'));
  // What is run, read or sent to a machine, and not imported.
  for (const folder of ['dist', 'bin', 'src/lab', 'src/remote/scripts', 'test/vm']) {
    for (const entry of await readdir(path.join(ROOT, folder), { recursive: true, withFileTypes: true })) {
      const file = path.relative(ROOT, path.join(entry.parentPath, entry.name));
      if (entry.isFile() && !file.endsWith('.map')) files.add(file);
    }
  }
  const hash = createHash('sha256');
  for (const file of [...files].sort()) hash.update(file).update(await readFile(path.join(ROOT, file)));
  return hash.digest('hex').slice(0, 16);
}

/** The project's own files that a module is made of, itself among them, from the top folder. */
async function importedBy(module: string): Promise<readonly string[]> {
  const { metafile } = await build({
    ...{ absWorkingDir: ROOT, entryPoints: [module], bundle: true, packages: 'external', platform: 'node' },
    ...{ format: 'esm', write: false, metafile: true, loader: { '.sh': 'text' }, logLevel: 'error' },
  });
  return Object.keys(metafile.inputs);
}
