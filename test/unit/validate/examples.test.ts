import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { validateSpec } from '../../../src/validate/index.ts';

const example = (name: string): string => readFileSync(new URL(`../../../examples/${name}`, import.meta.url), 'utf8');

test.each([
  ['upgrade-disk.yaml', { opstype: 'upgrade', image: { type: 'disk', cacert: 'ca.crt' } }],
  ['upgrade-disk-mtls.yaml', { opstype: 'upgrade', image: { type: 'disk', clientkey: 'client.key' } }],
  ['upgrade-tar.yaml', { opstype: 'upgrade', image: { type: 'disk', url: 'https://192.168.122.15/kubeos.tar.gz' } }],
  ['upgrade-docker.yaml', { opstype: 'upgrade', image: { type: 'docker' } }],
  [
    'upgrade-containerd.yaml',
    { opstype: 'upgrade', image: { type: 'containerd', digest: expect.stringMatching(/^9f2c/) as string } },
  ],
  ['rollback.yaml', { opstype: 'rollback', maxunavailable: 1 }],
])('examples/%s is valid, without a warning or a note', (name, spec) => {
  const result = validateSpec(example(name), name);
  expect(result.diagnostics).toEqual([]);
  expect(result.spec).toMatchObject(spec);
});

test.each(['upgrade-disk.yaml', 'upgrade-tar.yaml'])(
  'the lab can put its own address and checksum into examples/%s',
  (name) => {
    const text = example(name);
    for (const field of ['imageurl', 'checksum', 'cacert', 'osversion', 'maxunavailable']) {
      expect(text.match(new RegExp(`^ {2}${field}: \\S.*$`, 'gm'))).toHaveLength(1);
    }
  },
);
