import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Kubectl } from '../../../src/cluster/kubectl.ts';
import { ApiUnreachableError, PreflightError, type KubeosError } from '../../../src/errors.ts';

const clock = { now: () => 0, sleep: () => Promise.resolve() };
let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubectl-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Signs in with a kubectl that is this shell script. */
async function loginWith(script: string): Promise<unknown> {
  const kubectl = join(folder, 'kubectl');
  await writeFile(kubectl, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return login(kubectl);
}

const login = (kubectl: string): Promise<unknown> =>
  new Kubectl({ kubectl, kubeconfig: '/k c', context: 'prod', environment: process.env, clock })
    .login()
    .catch((error: unknown) => error);

const answer = (client: string, server?: string): string => {
  const serverVersion = server === undefined ? undefined : { gitVersion: server };
  return `echo '${JSON.stringify({ clientVersion: { gitVersion: client }, serverVersion })}'`;
};

test('tells both versions, and hands on kubeconfig and context', async () => {
  const strict = `[ "$*" = '--kubeconfig=/k c --context=prod version --output=json' ] || exit 9\n`;
  expect(await loginWith(strict + answer('v1.32.4-dispatcher', 'v1.20.2'))).toEqual({
    kubectl: 'v1.32.4-dispatcher',
    server: 'v1.20.2',
  });
});

test('a missing kubectl is named, with the flag that mends it', async () => {
  const error = (await login(join(folder, 'none'))) as KubeosError;
  expect(error).toBeInstanceOf(PreflightError);
  expect(error.message).toContain('none');
  expect(error.next).toContain('--kubectl');
});

test('a kubectl that cannot be run is named', async () => {
  const file = join(folder, 'kubectl');
  await writeFile(file, 'x', { mode: 0o644 });
  expect(await login(file)).toBeInstanceOf(PreflightError);
});

test.each([
  ['kubectl', answer('v1.19.9', 'v1.30.0'), 'kubectl is too old: v1.19.9'],
  ['the server', answer('v1.32.0', 'v1.18.2'), 'the API server is too old: v1.18.2'],
])('%s that is too old is refused', async (_who, script, message) => {
  const error = await loginWith(script);
  expect(error).toBeInstanceOf(PreflightError);
  expect((error as KubeosError).message).toBe(message);
});

test.each([
  ['away', `${answer('v1.32.0')}; echo 'connection refused' >&2; exit 1`, 'connection refused'],
  ['refusing the login', `${answer('v1.32.0')}; echo 'You must be logged in' >&2; exit 1`, 'You must be logged in'],
  ['silent', 'exit 1', 'kubectl ended with 1 and no word'],
  ['not Kubernetes', 'echo hello', 'kubectl ended with 0 and no word'],
])('an API that is %s ends with exit code 10 and what kubectl said', async (_what, script, reason) => {
  const error = await loginWith(script);
  expect(error).toBeInstanceOf(ApiUnreachableError);
  expect((error as KubeosError).reason).toBe(reason);
  expect((error as KubeosError).exitCode).toBe(10);
});
