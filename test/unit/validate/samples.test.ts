import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { validateSpec } from '../../../src/validate/index.ts';
import { diskSpec, dockerSpec, findingsOf } from './spec-texts.ts';

const sample = (name: string): string =>
  readFileSync(new URL(`../../fixtures/specs/${name}.yaml`, import.meta.url), 'utf8');
const rulesAndLines = (name: string): string[] =>
  validateSpec(sample(name), name).diagnostics.map(({ rule, line }) => `${rule} ${line ?? '-'}`);

describe("the usage instructions' samples", () => {
  test('with their line breaks restored each placeholder is named, once', () => {
    expect(rulesAndLines('disk-placeholders')).toEqual(
      [8, 9, 11, 12, 13, 14, 15, 16, 17].map((n) => `placeholder ${n}`),
    );
    expect(rulesAndLines('docker-placeholders')).toEqual([
      'placeholder 8',
      'placeholder 9',
      'placeholder 10',
      'ignored 14',
    ]);
    expect(findingsOf(sample('docker-placeholders'))[2]).toContain('"dockerimage like repository/name:tag"');
  });

  test('mtls:true without its space has its own mending', () => {
    expect(rulesAndLines('rollback-placeholders')).toEqual(['placeholder 8', 'missing-space 14', 'ignored 14']);
    expect(findingsOf(sample('rollback-placeholders')).at(1)).toBe(
      'error missing-space 14:3 mtls lacks the space after its colon = write it: mtls: true',
    );
  });

  test.each(['disk-one-line', 'docker-one-line', 'rollback-one-line'])(
    '%s, as the page prints it, gets one word',
    (name) => {
      const { spec, diagnostics } = validateSpec(sample(name), name);
      expect(spec).toBeUndefined();
      expect(diagnostics).toHaveLength(1);
      expect(diagnostics[0]).toMatchObject({ rule: 'one-line', severity: 'error', line: 1 });
    },
  );

  test.each(['disk-filled-in', 'docker-filled-in', 'rollback-filled-in'])('%s is accepted', (name) => {
    const { spec, diagnostics } = validateSpec(sample(name), name);
    expect(spec).toBeDefined();
    expect(diagnostics.filter(({ severity }) => severity !== 'note')).toEqual([]);
  });

  test('a placeholder is known in a field that is not its own', () => {
    expect(findingsOf(diskSpec({ checksum: 'edit.os.version' }))).toEqual([
      'error placeholder 12:13 checksum still holds the sample\'s placeholder "edit.os.version" = write your own value, ' +
        'for example: checksum: <the 64 hex digits that sha256sum prints for it>',
    ]);
    expect(findingsOf(dockerSpec({ imageurl: 'imageurl.safety' }))[0]).toMatch(/^error placeholder 11:13 imageurl /);
  });
});
