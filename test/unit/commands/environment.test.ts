import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { main } from '../../../src/main.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kubeos-environment-'));
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

/** `kubeos status` in an environment, with a kubectl that says what it was started with and reaches nothing. */
async function status(
  env: Record<string, string>,
  flags: readonly string[] = [],
): Promise<{ code: number; stderr: string }> {
  const kubectl = join(folder, 'kubectl');
  writeFileSync(kubectl, '#!/bin/sh\necho "KUBECONFIG=${KUBECONFIG-unset}" >&2\nexit 1\n', { mode: 0o755 });
  const all = { PATH: process.env['PATH'] ?? '', HOME: folder, KUBEOS_KUBECTL: kubectl, ...env };
  vi.unstubAllEnvs();
  for (const [name, value] of Object.entries(all)) vi.stubEnv(name, value);
  let stderr = '';
  const sink = { write: () => true };
  const stdin = Readable.from([]) as unknown as NodeJS.ReadStream;
  const io = { stdin, stdout: sink, stderr: { write: (text: string) => ((stderr += text), true) }, env: all };
  return { code: await main(['status', ...flags], io), stderr };
}

it.each([
  'KUBEOS_HOSTS',
  'KUBEOS_SSH_PORT',
  'KUBEOS_KNOWN_HOSTS',
  'KUBEOS_ADDRESS_TYPE',
  'KUBEOS_ACCEPT_NEW_HOST_KEYS',
])('%s counts as not set where it is empty', async (name) => {
  // Past the flags: kubectl has been asked.
  expect((await status({ [name]: '' })).stderr).toContain('KUBECONFIG=');
});

it.each([
  ['KUBEOS_SSH_PORT', '--ssh-port', 'ssh', '"ssh" is not a whole number'],
  ['KUBEOS_SSH_JUMP', '--jump', 'a:b', '"a:b" names no jump hosts'],
  ['KUBEOS_IDENTITY', '--identity', '/no/such/key', '/no/such/key cannot be read'],
  ['KUBEOS_SSH_CONFIG', '--ssh-config', '/no/such/config', '/no/such/config cannot be read'],
  ['KUBEOS_HOSTS', '--hosts', '/no/such/hosts', '/no/such/hosts cannot be read'],
  ['KUBEOS_HOSTS', '--hosts', '/', '/ cannot be read'],
])('%s that is wrong is told by its own name, and %s by the flag', async (name, given, value, told) => {
  const byVariable = await status({ [name]: value });
  expect([byVariable.code, byVariable.stderr]).toEqual([2, expect.stringContaining(`${name}: ${told}`)]);
  expect(byVariable.stderr).not.toContain(`${given}: `);
  const byFlag = await status({}, [given, value]);
  expect([byFlag.code, byFlag.stderr]).toEqual([2, expect.stringContaining(`${given}: ${told}`)]);
  // The flag is what counts where both are there.
  expect((await status({ [name]: 'x' }, [given, value])).stderr).toContain(`${given}: ${told}`);
});

it('a private key that is not there is told with what to do, unless its public half is: the agent may have it', async () => {
  const missing = join(folder, 'id');
  const { code, stderr } = await status({}, ['-i', missing]);
  expect([code, stderr]).toEqual([2, expect.stringContaining('no such file')]);
  expect(stderr.replace(/\s+/g, ' ')).toContain('leave it out: ssh_config and the agent');
  writeFileSync(`${missing}.pub`, '');
  expect((await status({}, ['-i', missing])).stderr).toContain('KUBECONFIG=');
  expect((await status({ KUBEOS_IDENTITY: '~/id' })).stderr).toContain('KUBECONFIG=');
});

it('KUBECONFIG reaches kubectl as it is, since kubectl has its own idea of an empty one', async () => {
  expect((await status({ KUBECONFIG: '' })).stderr).toMatch(/KUBECONFIG=\n/);
  expect((await status({ KUBECONFIG: '/a:/b' })).stderr).toContain('KUBECONFIG=/a:/b');
});
