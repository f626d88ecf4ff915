import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

describe('the package', () => {
  let folder = '';
  let kubeos = '';

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kubeos-package-'));
    // As root the lab runs its nodes as another user, who must be able to come by.
    await chmod(folder, 0o755);
    await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: root });
    const tarball = (await readdir(folder)).find((name) => name.endsWith('.tgz'));
    if (tarball === undefined) throw new Error('npm pack made no tarball');
    const prefix = join(folder, 'prefix');
    await run('npm', ['install', '--global', '--prefer-offline', '--prefix', prefix, join(folder, tarball)]);
    kubeos = join(prefix, 'bin/kubeos');
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('installs a kubeos that answers with its version', async () => {
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
    expect((await run(kubeos, ['--version'])).stdout).toBe(`${version}\n`);
  });

  it('validates a spec that it ships as an example', async () => {
    const example = join(folder, 'prefix/lib/node_modules/kubeos/examples/upgrade-docker.yaml');
    expect((await run(kubeos, ['validate', '-f', example])).stdout).toContain('valid');
  });

  it('carries the node scripts inside: a lab can be started and stopped with it', async () => {
    const dir = join(folder, 'lab');
    await run(kubeos, ['lab', 'start', '--nodes', '1', '--dir', dir]);
    const env = await run('sh', ['-c', '. "$0/env" && exec "$1" status -o json', dir, kubeos]);
    expect(JSON.parse(env.stdout)).toMatchObject({ nodes: [{ node: 'cp-1' }, { node: 'worker-1' }] });
    await run(kubeos, ['lab', 'stop', '--dir', dir]);
  });
});
