import { show } from './findings.ts';

/** The 64 lower-case hex digits of a SHA-256 digest, or what is wrong with it. */
export type Digest = { hex: string } | { message: string; mend: string };

const DIGITS = 64;

/** Reads a checksum; `prefix` tells whether `sha256:` may stand before it, as container tools write it. */
export function readDigest(field: string, value: string, prefix: 'allowed' | 'refused'): Digest {
  const bare = value.replace(/^sha256:/i, '');
  const hex = bare.toLowerCase();
  const problem = hexProblem(bare);
  if (problem !== undefined) {
    const mend = 'copy all 64 hex digits, and nothing else, from the output of sha256sum';
    return { message: `${field} ${problem}`, mend };
  }
  if (bare !== value && prefix === 'refused') {
    const mend = `write the digits alone: ${field}: ${hex}`;
    return { message: `${field} of a disk image stands without sha256:`, mend };
  }
  return { hex };
}

function hexProblem(text: string): string | undefined {
  const foreign = /[^0-9a-f]/iu.exec(text);
  if (foreign !== null) {
    const at = `(character ${foreign.index + 1})`;
    return `must be 64 hex digits, but holds ${show(foreign[0])} ${at}`;
  }
  return text.length === DIGITS ? undefined : `must be 64 hex digits, but has ${text.length}`;
}
