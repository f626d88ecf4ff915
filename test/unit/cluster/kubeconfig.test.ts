import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { askForDestination, type Destination, readDestination } from '../../../src/cluster/kubeconfig.ts';
import { Kubectl } from '../../../src/cluster/kubectl.ts';
import type { ClusterSettings } from '../../../src/cluster/settings.ts';
import { ApiUnreachableError } from '../../../src/errors.ts';

const clock = { now: () => 0, sleep: () => Promise.resolve() };
let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubeconfig-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const EMPTY = { 'current-context': '', contexts: null, clusters: null, users: null };
const view = (user: object, cluster: object = {}): object => ({
  'current-context': 'prod',
  contexts: [{ name: 'prod', context: { cluster: 'c', user: 'u' } }],
  clusters: [{ name: 'c', cluster: { server: 'https://10.0.0.1:6443', ...cluster } }],
  users: [{ name: 'u', user }],
});

/** Reads it with a kubectl that answers `config view` so; a minified view that is missing fails. */
async function read(all: object, minified?: object, settings: Partial<ClusterSettings> = {}): Promise<unknown> {
  const kubectl = join(folder, 'kubectl');
  const answers = minified === undefined ? 'exit 1' : `echo '${JSON.stringify(minified)}'`;
  const script = [
    '#!/bin/sh',
    'case "$*" in',
    `*'config view --output=json --minify') ${answers} ;;`,
    `*'config view --output=json') echo '${JSON.stringify(all)}' ;;`,
    '*) exit 9 ;;',
    'esac',
    '',
  ];
  await writeFile(kubectl, script.join('\n'), { mode: 0o755 });
  const environment = { PATH: process.env['PATH'], ...settings.environment };
  const asked = new Kubectl({ kubectl, clock, ...settings, environment });
  return readDestination(asked, await askForDestination(asked)).catch((error: unknown) => error);
}

const signIn = async (user: object): Promise<unknown> => ((await read({}, view(user))) as Destination).signIn;

test('tells where it leads, and by which proxy', async () => {
  expect(await read({}, view({ token: 'REDACTED' }, { 'proxy-url': 'http://proxy:3128' }))).toEqual({
    ...{ context: 'prod', server: 'https://10.0.0.1:6443', user: 'u', signIn: { by: 'token' } },
    proxyUrl: 'http://proxy:3128',
  });
});

test('tells how its user signs in, as kubectl would', async () => {
  expect(await signIn({ exec: { command: 'corp-login' }, token: 'REDACTED' })).toEqual({
    by: 'plugin',
    command: 'corp-login',
  });
  expect(await signIn({ tokenFile: '/t', token: 'REDACTED' })).toEqual({ by: 'token', file: '/t' });
  expect(await signIn({ 'client-certificate': '/c', 'client-key': '/k' })).toEqual({ by: 'certificate', file: '/c' });
  expect(await signIn({ 'client-certificate-data': 'DATA+OMITTED' })).toEqual({ by: 'certificate' });
  expect(await signIn({ 'auth-provider': { name: 'oidc' } })).toEqual({ by: 'other' });
});

test('no login is none that a server with TLS takes, and all that one without knows', async () => {
  expect(await read({}, view({}))).toBeInstanceOf(ApiUnreachableError);
  expect(await read({}, view({}, { server: 'http://127.0.0.1:8001' }))).toMatchObject({ signIn: { by: 'nothing' } });
});

test('in a pod, whose account kubectl takes by itself, no kubeconfig is none that is missing', async () => {
  const environment = { KUBERNETES_SERVICE_HOST: '10.96.0.1' };
  expect(await read(EMPTY, undefined, { environment })).toBeUndefined();
  expect(await read(EMPTY)).toBeInstanceOf(ApiUnreachableError);
  expect(await read(EMPTY, undefined, { environment, kubeconfig: '/nowhere' })).toBeInstanceOf(ApiUnreachableError);
});
