import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { minifyShell } from '../../shell-scripts.js';
import { SCRIPTS, type StepScript } from '../../src/remote/scripts/index.ts';

const NAMES = Object.keys(SCRIPTS) as StepScript[];
const SHELLS = { dash: [], bash: ['--posix'], busybox: ['sh'] };

const FILES = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.sh'))
  .map((name) => join('src', name));

type Visit = (key: string, value: unknown) => unknown;

function tree(script: string, visit: Visit, ...options: string[]): unknown {
  const input = { input: script, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 } as const;
  return JSON.parse(execFileSync('shfmt', ['-ln', 'posix', '--to-json', ...options], input), visit);
}

/** What a script does, as a tree without places and comments. */
const meaning = (script: string, ...options: string[]): unknown =>
  tree(
    script,
    (key, value) => {
      const isPlace = typeof value === 'object' && value !== null && 'Offset' in value;
      return isPlace || key === 'Comments' || key === 'Last' ? undefined : value;
    },
    ...options,
  );

interface Word {
  Parts: { Type: string; Value?: string }[];
}

/** The functions that a script defines, and every plain word of its commands: whatever it may call. */
function namesIn(script: string): { defined: Set<string>; words: Set<string | undefined> } {
  const names = { defined: new Set<string>(), words: new Set<string | undefined>() };
  tree(script, (key, value) => {
    const node = value as { Type?: string; Name?: { Value: string } } | null;
    if (node?.Type === 'FuncDecl' && node.Name !== undefined) names.defined.add(node.Name.Value);
    if (key === 'Args') for (const { Parts } of value as Word[]) names.words.add(Parts[0]?.Value);
    return value;
  });
  return names;
}

describe('an embedded script', () => {
  it.each(FILES)('means the same as its file: %s', async (file) => {
    const text = readFileSync(file, 'utf8');
    const minified = await minifyShell(text);
    expect(minified.length).toBeLessThan(text.length);
    expect(minified.startsWith('#!/bin/sh\n')).toBe(true);
    // Minifying implies shfmt's simplification, of `$((($a)))` say.
    expect(meaning(minified)).toEqual(meaning(text, '-s'));
  });

  it.each(Object.entries(SHELLS))('can be read by %s', async (shell, options) => {
    const all = await Promise.all(FILES.map((file) => minifyShell(readFileSync(file, 'utf8'))));
    const { stderr } = spawnSync(shell, [...options, '-n'], { input: all.join('\n'), encoding: 'utf8' });
    expect(stderr).toBe('');
  });
});

describe('what is sent to a node', () => {
  const library = FILES.filter((file) => file.startsWith('src/remote/scripts/lib')).flatMap((file) => [
    ...namesIn(readFileSync(file, 'utf8')).defined,
  ]);

  it.each(NAMES)('holds every function of the library that it may call: %s', (name) => {
    const { defined, words } = namesIn(SCRIPTS[name]);
    expect(library.filter((name) => words.has(name) && !defined.has(name))).toEqual([]);
  });

  it('holds no part of the library that it does not need', () => {
    expect(SCRIPTS.log).not.toContain('authority()');
    expect(SCRIPTS.poll).toContain('job_runs()');
    expect(SCRIPTS.poll).not.toContain('read_layout()');
    expect(SCRIPTS.observe).toContain('read_layout()');
  });
});
