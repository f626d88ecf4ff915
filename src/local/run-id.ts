import { randomBytes } from 'node:crypto';

/**
 * A name for a run: the time in UTC, so that names sort by age, and 24 random bits, so that two runs of one second
 * differ: `20261123-120344-7f3a9c`. Fit for a file name, an annotation and a script's argument.
 * @param now milliseconds since 1970
 */
export function newRunId(now: number, random: Uint8Array = randomBytes(3)): string {
  const [day = '', time = ''] = new Date(now).toISOString().split('T');
  return `${digits(day)}-${digits(time).slice(0, 6)}-${Buffer.from(random).toString('hex')}`;
}

const digits = (text: string): string => text.replace(/\D/g, '');
