import { describe, expect, it } from 'vitest';
import { displayOptions } from '../../../src/report/display.ts';
import { renderPlan } from '../../../src/report/plan-screen.ts';
import { samplePlan } from './fixtures.ts';

const UTF8 = { LANG: 'en_US.UTF-8', TERM: 'xterm-256color' };
const terminal = { isTTY: true, columns: 120, rows: 40, write: () => true };
const pipe = { write: () => true };

describe('how output looks', () => {
  it('on a terminal: colour, one frame, its own size', () => {
    expect(displayOptions(UTF8, terminal)).toEqual({
      colour: true,
      ascii: false,
      columns: 120,
      rows: 40,
      mode: 'terminal',
    });
  });

  it('in a pipe: no colour, plain lines, 80 columns', () => {
    expect(displayOptions(UTF8, pipe)).toEqual({ colour: false, ascii: false, columns: 80, rows: 24, mode: 'plain' });
  });

  it.each([
    ['NO_COLOR', { NO_COLOR: '1' }, terminal, false],
    ['an empty NO_COLOR', { NO_COLOR: '' }, terminal, true],
    ['FORCE_COLOR in a pipe', { FORCE_COLOR: '1' }, pipe, true],
    ['FORCE_COLOR=0', { FORCE_COLOR: '0' }, terminal, false],
    ['both', { NO_COLOR: '1', FORCE_COLOR: '1' }, terminal, false],
    ['a dumb terminal', { TERM: 'dumb' }, terminal, false],
  ])('heeds %s', (_what, env, stream, colour) => {
    expect(displayOptions({ ...UTF8, ...env }, stream).colour).toBe(colour);
  });

  it.each([
    ['no locale at all', {}, true],
    ['the C locale', { LANG: 'C' }, true],
    ['Latin-1', { LANG: 'de_DE.ISO-8859-1' }, true],
    ['C.UTF-8', { LANG: 'C.UTF-8' }, false],
    ['utf8', { LANG: 'de_DE.utf8' }, false],
    ['LC_ALL over LANG', { LC_ALL: 'C', LANG: 'C.UTF-8' }, true],
    ['LC_CTYPE over LANG', { LC_CTYPE: 'UTF-8', LANG: 'C' }, false],
    ['an empty LC_ALL', { LC_ALL: '', LANG: 'C.UTF-8' }, false],
  ])('with %s', (_what, env, ascii) => {
    expect(displayOptions(env, terminal).ascii).toBe(ascii);
  });

  it.each([
    ['a dumb terminal', { TERM: 'dumb' }],
    ['a pipeline with a pseudo-terminal', { CI: 'true' }],
  ])('rewrites nothing on %s', (_what, env) => {
    expect(displayOptions({ ...UTF8, ...env }, terminal).mode).toBe('plain');
  });

  it('does what flags say, whatever the environment says', () => {
    const flags = { ascii: true, colour: false, progress: 'none' } as const;
    expect(displayOptions({ ...UTF8, FORCE_COLOR: '1' }, terminal, flags)).toMatchObject({
      ascii: true,
      colour: false,
      mode: 'none',
    });
  });

  it('does not believe a terminal of no width', () => {
    expect(displayOptions(UTF8, { ...terminal, columns: 0, rows: 0 })).toMatchObject({ columns: 80, rows: 24 });
  });
});

describe('a screen in ASCII', () => {
  it('has nothing beyond it, and means the same', () => {
    const lines = renderPlan(samplePlan(), { colour: false, ascii: true, columns: 80 }, { dryRun: true });
    expect(lines.join('\n')).toMatch(/^[\x20-\x7e\n]*$/);
    expect(lines.join('\n')).toContain('sha256 9f2c40d1...7be841aa');
    expect(lines.join('\n')).toContain('x worker-6 cannot be started');
  });
});

describe('a screen in colour', () => {
  it('says the same words', async () => {
    const { stripVTControlCharacters } = await import('node:util');
    const coloured = renderPlan(samplePlan(), { colour: true, ascii: false, columns: 80 }, { dryRun: true });
    const plain = renderPlan(samplePlan(), { colour: false, ascii: false, columns: 80 }, { dryRun: true });
    expect(coloured).not.toEqual(plain);
    expect(coloured.map(stripVTControlCharacters)).toEqual(plain);
  });
});
