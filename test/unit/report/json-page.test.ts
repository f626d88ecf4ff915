import { readFileSync } from 'node:fs';
import ts from 'typescript';
import { expect, test } from 'vitest';

const PAGE = readFileSync(new URL('../../../docs/json.md', import.meta.url), 'utf8');
const JSON_FILE = new URL('../../../src/report/json.ts', import.meta.url).pathname;

/** Every word that the page shows as code: `a.b` and `.a` name b and a. */
const NAMED = new Set([...PAGE.matchAll(/`([^`]+)`/g)].flatMap(([, code = '']) => code.split(/[^\w]+/)));

/** The keys of a type, at any depth, each with where it stands. */
function keysOf(type: ts.Type, checker: ts.TypeChecker, at: string, seen = new Set<ts.Type>()): string[] {
  const parts = type.isUnion() ? type.types : [type];
  return parts.flatMap((part) => {
    const element = checker.getIndexTypeOfType(part, ts.IndexKind.Number);
    if (element !== undefined && checker.typeToString(part) !== 'string') return keysOf(element, checker, at, seen);
    if ((part.flags & ts.TypeFlags.Object) === 0 || seen.has(part)) return [];
    seen.add(part);
    return part.getProperties().flatMap((property) => {
      const path = `${at}.${property.name}`;
      return [path, ...keysOf(checker.getTypeOfSymbol(property), checker, path, seen)];
    });
  });
}

// It compiles types, which takes long on a busy machine.
test('docs/json.md names every key that any JSON output may have', { timeout: 120_000 }, () => {
  const program = ts.createProgram([JSON_FILE], {
    allowImportingTsExtensions: true,
    noEmit: true,
    strict: true,
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2023,
    skipLibCheck: true,
    types: ['node'],
  });
  const checker = program.getTypeChecker();
  const file = program.getSourceFile(JSON_FILE);
  const exported = file === undefined ? [] : checker.getExportsOfModule(checker.getSymbolAtLocation(file)!);
  const documents = exported.filter(({ name }) => name.endsWith('Json'));
  expect(documents.length).toBeGreaterThanOrEqual(7);
  const keys = documents.flatMap((symbol) => keysOf(checker.getDeclaredTypeOfSymbol(symbol), checker, symbol.name));
  expect(keys.length).toBeGreaterThan(150);
  const OUTCOMES = /^ResultJson\.counts\./;
  const missing = keys.filter((key) => !OUTCOMES.test(key) && !NAMED.has(key.split('.').at(-1) ?? ''));
  expect(missing).toEqual([]);
});
