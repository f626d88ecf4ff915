import { describe, expect, test } from 'vitest';
import { validateSpec } from '../../../src/validate/index.ts';
import { diskSpec, dockerSpec, rollbackSpec, SHA256 } from './spec-texts.ts';

const common = {
  osversion: 'KubeOS 2.0.0',
  maxunavailable: 2,
  evictpodforce: false,
  nodeselector: { kind: 'no-label' },
};
const read = (text: string): ReturnType<typeof validateSpec> => validateSpec(text, 'os.yaml');

describe('a valid spec', () => {
  test('of a disk image', () => {
    expect(read(diskSpec({ checksum: SHA256.toUpperCase() })).spec).toEqual({
      opstype: 'upgrade',
      ...common,
      image: {
        type: 'disk',
        url: 'https://192.168.122.15/update.img',
        sha256: SHA256,
        flagSafe: false,
        cacert: 'ca.crt',
      },
    });
  });

  test('keeps the credentials of the address, and writes its scheme in small letters', () => {
    const { spec } = read(diskSpec({ imageurl: 'HTTPS://u:p@h/x?sig=1' }));
    expect(spec).toMatchObject({ image: { url: 'https://u:p@h/x?sig=1' } });
  });

  test('has the client certificate with mtls over https only', () => {
    const client = { clientcert: 'c.crt', clientkey: 'c.key' };
    expect(read(diskSpec({ mtls: 'true', ...client })).spec).toMatchObject({ image: { cacert: 'ca.crt', ...client } });
    expect(read(diskSpec(client)).spec).not.toHaveProperty('image.clientcert');
    const http = read(diskSpec({ mtls: 'true', imageurl: 'http://h/x', flagSafe: 'true', ...client })).spec;
    expect(http).toMatchObject({ image: { type: 'disk', url: 'http://h/x', sha256: SHA256, flagSafe: true } });
    expect(http).not.toHaveProperty('image.cacert');
  });

  test.each(['docker', 'containerd'])('of a %s image', (imagetype) => {
    expect(read(dockerSpec({ imagetype, checksum: `sha256:${SHA256.toUpperCase()}` })).spec).toEqual({
      opstype: 'upgrade',
      ...common,
      image: {
        ...{ type: imagetype, reference: 'registry.example.com/kubeos/kubeos:2.0.0' },
        ...{ digest: SHA256, sha256: SHA256 },
      },
    });
    expect(read(dockerSpec({ imagetype })).spec).not.toHaveProperty('image.digest');
  });

  test('of a rollback', () => {
    expect(read(rollbackSpec({ evictpodforce: 'true', mtls: 'perhaps' })).spec).toEqual({
      opstype: 'rollback',
      ...common,
      evictpodforce: true,
    });
  });

  test.each([
    ['no-label', { kind: 'no-label' }],
    ['all-label', { kind: 'all' }],
    ['edge', { kind: 'value', value: 'edge' }],
    ['""', { kind: 'value', value: '' }],
  ])('selects nodes as upstream does: %s', (written, nodeselector) => {
    expect(read(diskSpec({ nodeselector: written })).spec).toMatchObject({ nodeselector });
  });
});

describe('an invalid spec', () => {
  test('gives no spec', () => {
    const result = read(diskSpec({ maxunavailable: '0' }));
    expect(result).not.toHaveProperty('spec');
    expect(result).not.toHaveProperty('insecureSpec');
  });

  test('of http without flagSafe alone tells what it would have been', () => {
    const result = read(diskSpec({ imageurl: 'http://h/x' }));
    expect(result).not.toHaveProperty('spec');
    expect(result.insecureSpec).toEqual({
      opstype: 'upgrade',
      ...common,
      image: { type: 'disk', url: 'http://h/x', sha256: SHA256, flagSafe: false },
    });
  });

  test('with a second error does not', () => {
    for (const second of [{ checksum: 'abc' }, { maxunavailable: '0' }, { foo: '1' }, { timewindow: '{}' }]) {
      expect(read(diskSpec({ imageurl: 'http://h/x', ...second }))).not.toHaveProperty('insecureSpec');
    }
  });

  test('shows each line as it stands, with the place of the mistake in it', () => {
    const [diagnostic] = read(diskSpec({ maxunavailable: 'two # for now' })).diagnostics;
    expect(diagnostic).toMatchObject({ line: 9, column: 19, length: 3, source: '  maxunavailable: two # for now' });
  });

  test('reports all mistakes at once, in the order of the file', () => {
    const { diagnostics } = read(diskSpec({ imagetype: 'iso', opstype: 'up', osversion: '1', mtls: '3', x: '1' }));
    expect(diagnostics.map(({ line }) => line)).toEqual([6, 7, 8, 14, 16]);
  });

  test('says how many findings it does not list', () => {
    const unknown = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`x${index}`, '1']));
    const { diagnostics } = read(diskSpec(unknown));
    expect(diagnostics).toHaveLength(51);
    expect(diagnostics.at(-1)).toMatchObject({ severity: 'error', message: '150 more findings are not shown' });
  });
});
