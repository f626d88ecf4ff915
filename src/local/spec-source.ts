import { open } from 'node:fs/promises';
import { UsageError } from '../errors.ts';

/** One byte more than a spec may have (256 KiB): enough for the check of its size to refuse it. */
export const MOST_BYTES = 256 * 1024 + 1;

export interface SpecSource {
  /** What diagnostics call it: the path as it was given, or `<stdin>`. */
  file: string;
  content: Uint8Array;
}

/**
 * Reads a spec: a file, `-` for standard input; pipes and `<(…)` work too. Reads at most MOST_BYTES.
 * @throws UsageError where there is nothing to read
 */
export async function readSpecSource(path: string, stdin: AsyncIterable<Uint8Array | string>): Promise<SpecSource> {
  if (path === '-') return { file: '<stdin>', content: await take(stdin, 'standard input') };
  try {
    const file = await open(path, 'r');
    try {
      return { file: path, content: await take(file.createReadStream({ autoClose: false }), path) };
    } finally {
      await file.close();
    }
  } catch (error) {
    throw unreadable(path, error);
  }
}

async function take(source: AsyncIterable<Uint8Array | string>, name: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of source) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      chunks.push(bytes);
      size += bytes.length;
      if (size >= MOST_BYTES) break;
    }
  } catch (error) {
    throw unreadable(name, error);
  }
  return Buffer.concat(chunks).subarray(0, MOST_BYTES);
}

function unreadable(path: string, error: unknown): unknown {
  if (error instanceof UsageError || !(error instanceof Error) || !('code' in error)) return error;
  const { what, next } = EXPLANATIONS.get(String(error.code)) ?? { what: 'cannot be read', next: undefined };
  return new UsageError(`the spec ${path} ${what}`, {
    reason: error.message,
    cause: error,
    ...(next === undefined ? {} : { next }),
  });
}

const EXPLANATIONS: ReadonlyMap<string, { what: string; next: string }> = new Map([
  ['ENOENT', { what: 'does not exist', next: 'check the path after -f, or give - to read standard input' }],
  ['ENOTDIR', { what: 'does not exist', next: 'check the path after -f: a part of it is a file, not a folder' }],
  ['EISDIR', { what: 'is a folder', next: 'give -f the path of the YAML file in it' }],
  ['EACCES', { what: 'may not be read', next: 'give yourself the right to read it, or run kubeos as its owner' }],
]);
