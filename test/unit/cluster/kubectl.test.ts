import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Kubectl } from '../../../src/cluster/kubectl.ts';
import { PreflightError, type KubeosError } from '../../../src/errors.ts';

const clock = { now: () => 0, sleep: () => Promise.resolve() };
let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubectl-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const kubectlAt = (kubectl: string): Kubectl =>
  new Kubectl({ kubectl, kubeconfig: '/k c', context: 'prod', environment: process.env, clock });

/** Asks a kubectl that is this shell script for its version. */
async function versionOf(script: string): Promise<unknown> {
  const kubectl = join(folder, 'kubectl');
  await writeFile(kubectl, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return versionAt(kubectl);
}

const versionAt = (kubectl: string): Promise<unknown> =>
  kubectlAt(kubectl)
    .version()
    .catch((error: unknown) => error);

const answer = (version: string): string => `echo '${JSON.stringify({ clientVersion: { gitVersion: version } })}'`;

test('tells its version, and takes kubeconfig and context', async () => {
  const strict = `[ "$*" = '--kubeconfig=/k c --context=prod version --client --output=json' ] || exit 9\n`;
  expect(await versionOf(strict + answer('v1.32.4-dispatcher'))).toBe('v1.32.4-dispatcher');
});

test('shows a command that a person can paste', () => {
  expect(kubectlAt('kubectl').shown('get nodes')).toBe("kubectl '--kubeconfig=/k c' --context=prod get nodes");
});

test('that is missing is named, with the flag that mends it', async () => {
  const error = (await versionAt(join(folder, 'none'))) as KubeosError;
  expect(error).toBeInstanceOf(PreflightError);
  expect(error.message).toContain('none');
  expect(error.next).toContain('--kubectl');
});

test('that cannot be run is named', async () => {
  const file = join(folder, 'kubectl');
  await writeFile(file, 'x', { mode: 0o644 });
  expect(await versionAt(file)).toBeInstanceOf(PreflightError);
});

test('that is too old is refused', async () => {
  const error = await versionOf(answer('v1.19.9'));
  expect(error).toBeInstanceOf(PreflightError);
  expect((error as KubeosError).message).toBe('kubectl is too old: v1.19.9');
});

test.each([
  ['is silent', 'exit 1', 'it ended with 1'],
  ['is something else', 'echo hello', 'it ended with 0'],
  ['complains', 'echo broken >&2; exit 3', 'broken'],
])('that %s is not taken for a kubectl', async (_what, script, reason) => {
  const error = await versionOf(script);
  expect(error).toBeInstanceOf(PreflightError);
  expect((error as KubeosError).reason).toBe(reason);
});
