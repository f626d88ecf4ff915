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
async function status(env: Record<string, string>): Promise<{ code: number; stderr: string }> {
  const kubectl = join(folder, 'kubectl');
  writeFileSync(kubectl, '#!/bin/sh\necho "KUBECONFIG=${KUBECONFIG-unset}" >&2\nexit 1\n', { mode: 0o755 });
  const all = { PATH: process.env['PATH'] ?? '', HOME: folder, KUBEOS_KUBECTL: kubectl, ...env };
  for (const [name, value] of Object.entries(all)) vi.stubEnv(name, value);
  let stderr = '';
  const sink = { write: () => true };
  const stdin = Readable.from([]) as unknown as NodeJS.ReadStream;
  const io = { stdin, stdout: sink, stderr: { write: (text: string) => ((stderr += text), true) }, env: all };
  return { code: await main(['status'], io), stderr };
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

it('a variable that is wrong is still told', async () => {
  const { code, stderr } = await status({ KUBEOS_SSH_PORT: 'ssh' });
  expect([code, stderr]).toEqual([2, expect.stringContaining('"ssh" is not a whole number')]);
});

it('KUBECONFIG reaches kubectl as it is, since kubectl has its own idea of an empty one', async () => {
  expect((await status({ KUBECONFIG: '' })).stderr).toMatch(/KUBECONFIG=\n/);
  expect((await status({ KUBECONFIG: '/a:/b' })).stderr).toContain('KUBECONFIG=/a:/b');
});
