import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { serverVersion } from '../../src/lab/server-version.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kubeos-version-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

it.each([
  ['that of kubectl', `echo '{"clientVersion":{"gitVersion":"v1.29.7-some.vendor"}}'`, 'v1.29.7'],
  [
    '1.32 where kubectl is older than all that the lab plays',
    `echo '{"clientVersion":{"gitVersion":"v1.17.0"}}'`,
    'v1.32.4',
  ],
  ['1.32 where kubectl says something else', 'echo hello', 'v1.32.4'],
  ['1.32 where kubectl fails', 'exit 1', 'v1.32.4'],
])('the lab’s API claims %s', async (_what, script, version) => {
  const kubectl = path.join(folder, 'kubectl');
  await writeFile(kubectl, `#!/bin/sh\n[ "$*" = 'version --client --output=json' ] || exit 9\n${script}\n`, {
    mode: 0o755,
  });
  expect(await serverVersion(kubectl)).toBe(version);
});

it('the lab’s API claims 1.32 where there is no kubectl', async () => {
  expect(await serverVersion(path.join(folder, 'none'))).toBe('v1.32.4');
});
