import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareNatural, compareVersions, majorOf, relationOf } from '../../../src/rollout/versions.ts';

describe('versions', () => {
  test.each([
    ['KubeOS 1.0.0', 'KubeOS 2.0.0', 'upgrade'],
    ['KubeOS 1.9.0', 'KubeOS 1.10.0', 'upgrade'],
    ['KubeOS 1.10.2', 'KubeOS 1.9.9', 'downgrade'],
    ['KubeOS 1.0', 'KubeOS 1.0.0', 'same'],
    ['1.0.0', 'KubeOS 1.0.1', 'upgrade'],
    ['KubeOS v1.0.0', 'KubeOS 1.0.0', 'same'],
    ['KubeOS 1.0.0-rc1', 'KubeOS 1.0.0', 'upgrade'],
    ['KubeOS 1.0.0-rc2', 'KubeOS 1.0.0-rc10', 'upgrade'],
    ['KubeOS 1.0.0', 'KubeOS 1.0.0-rc1', 'downgrade'],
    ['KubeOS 1.0.0-2.oe2403', 'KubeOS 1.0.0-10.oe2403', 'upgrade'],
    ['KubeOS 1.0.0', 'KubeOS 1.0.0-2', 'unknown'],
    ['KubeOS 20230911123456789012345.1', 'KubeOS 20230911123456789012346.0', 'upgrade'],
    ['KubeOS 1.0.0', 'openEuler 22.03', 'unknown'],
    ['KubeOS', 'KubeOS 1.0.0', 'unknown'],
    ['the blue one', 'the blue one', 'same'],
    ['', 'KubeOS 1.0.0', 'unknown'],
  ])('from %s to %s: %s', (from, to, relation) => {
    expect(relationOf(from, to)).toBe(relation);
  });

  test.each([
    ['KubeOS 1.10.2', '1'],
    ['KubeOS 010.2', '10'],
    ['3', '3'],
    ['KubeOS', undefined],
    ['KubeOS x.1', undefined],
  ])('the major of %s is %s', (version, major) => {
    expect(majorOf(version)).toBe(major);
  });

  test('whatever the text, comparing never throws, and the other way round is the opposite', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^(KubeOS )?\d{1,3}(\.\d{1,3}){0,3}(-(rc|beta)?\d)?$/));
    fc.assert(
      fc.property(text, text, (a, b) => {
        const there = compareVersions(a, b);
        const back = compareVersions(b, a);
        expect(there === undefined ? back : there + (back ?? NaN)).toBe(there === undefined ? undefined : 0);
      }),
    );
  });

  test('a megabyte of digits is no work', () => {
    expect(compareVersions('1'.repeat(1e6), '2')).toBeUndefined();
  });

  test('names are ordered as people do', () => {
    const names = ['worker-10', 'worker-2', 'cp-1', 'worker-1', 'worker-1a'];
    expect(names.sort(compareNatural)).toEqual(['cp-1', 'worker-1', 'worker-1a', 'worker-2', 'worker-10']);
  });
});
