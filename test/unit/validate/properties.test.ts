import fc from 'fast-check';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { validateSpec, type Diagnostic } from '../../../src/validate/index.ts';
import { SPEC_FIELDS } from '../../../src/validate/names.ts';
import { diskSpec, dockerSpec, rollbackSpec } from './spec-texts.ts';

/** What every answer promises, whatever was asked. */
function expectSound(text: string | Uint8Array): void {
  const { spec, insecureSpec, diagnostics } = validateSpec(text, 'os.yaml');
  const errors = diagnostics.filter(({ severity }) => severity === 'error');
  expect(spec === undefined).toBe(errors.length > 0);
  if (insecureSpec !== undefined) expect(errors.map(({ rule }) => rule)).toEqual(['insecure-address']);
  const decoded = typeof text === 'string' ? text : new TextDecoder().decode(text);
  const lines = decoded.replace(/^\ufeff/, '').split('\n');
  for (const diagnostic of diagnostics) expectPlaced(diagnostic, lines);
  const keys = diagnostics.slice(0, 50).map(({ line = 0, column = 0 }) => line * 1e6 + column);
  expect(keys).toEqual(keys.toSorted((one, other) => one - other));
}

function expectPlaced({ severity, line = 0, column = 0, length = 0, source, mend }: Diagnostic, lines: string[]): void {
  expect(line).toBeGreaterThanOrEqual(1);
  expect(line).toBeLessThanOrEqual(Math.max(1, lines.length));
  expect(column).toBeGreaterThanOrEqual(1);
  expect(length).toBeGreaterThanOrEqual(1);
  if (source !== undefined) {
    expect(source).toHaveLength((lines[line - 1] ?? '').replace(/\r$/, '').length);
    expect(column).toBeLessThanOrEqual(source.length + 1);
    expect(column + length).toBeLessThanOrEqual(source.length + 2);
  }
  if (severity === 'error') expect(mend).toBeTruthy();
}

test('any bytes and any text get a sound answer', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), expectSound));
  fc.assert(fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), expectSound));
});

test('any line of YAML signs gets a sound answer', () => {
  const signs = Array.from(' \n\t\r:-?[]{},#&*!|>\'"%@`<~0a.');
  const sign = fc.constantFrom(...signs, '<<: *a\n', '---\n', 'spec:', '  kind: OS\n', 'é', '\ufeff');
  fc.assert(
    fc.property(fc.array(sign, { maxLength: 60 }), (chosen) => {
      expectSound(chosen.join(''));
    }),
  );
});

test('a valid spec with any part cut out, doubled or overwritten gets a sound answer', () => {
  const specs = fc.constantFrom(diskSpec(), dockerSpec(), rollbackSpec(), diskSpec().replaceAll('\n', '\r\n'));
  const place = fc.nat({ max: 400 });
  fc.assert(
    fc.property(specs, place, place, fc.string({ maxLength: 8 }), (text, one, other, put) => {
      expectSound(text.slice(0, one) + put + text.slice(other));
    }),
    { numRuns: 200 },
  );
});

test('a spec of any values gets a sound answer', () => {
  const value = fc.oneof(
    fc.constantFrom(
      'disk',
      'docker',
      'upgrade',
      'rollback',
      '',
      true,
      false,
      1,
      0,
      null,
      'KubeOS 1',
      'http://h/x',
      'ca.crt',
    ),
    fc.jsonValue({ maxDepth: 1 }),
  );
  const fields = fc.record(Object.fromEntries(SPEC_FIELDS.map((field) => [field, value])), { requiredKeys: [] });
  fc.assert(
    fc.property(fields, (spec) => {
      expectSound(stringify({ apiVersion: 'upgrade.openeuler.org/v1alpha1', kind: 'OS', spec }));
    }),
    { numRuns: 150 },
  );
});
