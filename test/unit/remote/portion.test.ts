import { describe, expect, it } from 'vitest';
import { Portion } from '../../../src/remote/portion.ts';

const KIB = 1024;

describe('what is written at once', () => {
  it('is little at first, much over a quick link, and little again over a slow one', () => {
    const portion = new Portion();
    expect(portion.bytes).toBe(64 * KIB);
    for (let times = 0; times < 10; times++) portion.took(20);
    expect(portion.bytes).toBe(256 * KIB);
    portion.took(500);
    expect(portion.bytes).toBe(256 * KIB);
    for (let times = 0; times < 10; times++) portion.took(2000);
    expect(portion.bytes).toBe(64 * KIB);
  });
});
