import { test } from 'vitest';
import { CASES } from './cases.ts';

const only = process.env['ONLY'] ?? '';
for (const one of CASES.filter(({ name }) => name.includes(only))) test(one.name, () => one.play());
