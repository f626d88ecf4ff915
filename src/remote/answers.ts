import * as z from 'zod';
import { KubeosError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { cleanText } from './clean-text.ts';
import { ANSWER_MARK } from './compose.ts';

/** What a script answered: `key=value` lines. A key that comes several times keeps every value, in order. */
export type Answers = ReadonlyMap<string, readonly string[]>;

/** What follows the mark on a script's standard output; undefined where the script was never run. */
export function afterMark(stdout: string): string | undefined {
  const mark = `${ANSWER_MARK}\n`;
  // What a login shell prints of its own may lack its last line break.
  const at = stdout.indexOf(mark);
  return at < 0 ? undefined : stdout.slice(at + mark.length);
}

/** Reads `key=value` lines; other lines are passed over. */
export function parseAnswers(text: string): Answers {
  const answers = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const match = /^([A-Za-z0-9_.-]+)=(.*)$/.exec(line);
    if (match === null) continue;
    const [, key = '', value = ''] = match;
    const values = answers.get(key);
    if (values === undefined) answers.set(key, [cleanText(value)]);
    else values.push(cleanText(value));
  }
  return answers;
}

/** The answers whose key begins with `prefix`, without it. */
export function under(answers: Answers, prefix: string): Answers {
  const entries = [...answers].filter(([key]) => key.startsWith(prefix));
  return new Map(entries.map(([key, values]) => [key.slice(prefix.length), values]));
}

/**
 * Checks answers by a schema over their single values; empty ones count as left out (docs/node-protocol.md).
 * @throws KubeosError where the node answered something else
 */
export function readAnswers<T>(answers: Answers, schema: z.ZodType<T>, script: string, node: string): T {
  const parsed = schema.safeParse(singleValues(answers));
  if (parsed.success) return parsed.data;
  throw new KubeosError(`its answer to ${script} is not understood`, EXIT.incomplete, {
    node,
    step: script,
    reason: parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('\n'),
    next: 'this is a mistake of kubeos: please report it with these lines',
    logTail: [...answers].flatMap(([key, values]) => values.map((value) => `${key}=${value}`)).slice(0, 60),
  });
}

/** The last value of each key, the empty ones left out. */
export function singleValues(answers: Answers): Record<string, string> {
  const values = [...answers].map(([key, all]) => [key, all.at(-1) ?? ''] as const);
  return Object.fromEntries(values.filter(([, value]) => value !== ''));
}

export const wholeNumber = z
  .string()
  .regex(/^\d{1,15}$/, 'is no whole number')
  .transform(Number);
export const yesOrNo = z.enum(['yes', 'no']).transform((value) => value === 'yes');
export const slotName = z.enum(['A', 'B']);
