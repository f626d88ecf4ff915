/**
 * GRUB's environment block, read and written by GRUB's own rules (grub-core/lib/envblk.c): a fixed signature line,
 * then `name=value` lines in which a backslash protects a backslash or a line feed, then `#` up to the full size.
 */
const SIGNATURE = '# GRUB Environment Block\n';

/** GRUB's tools make and expect exactly this many bytes. */
export const GRUBENV_BYTES = 1024;

/** A block that holds these variables, in this order. Throws a RangeError where they do not fit. */
export function makeGrubenv(variables: Iterable<readonly [string, string]>): Buffer {
  const body = SIGNATURE + [...variables].map(([name, value]) => `${name}=${escape(value)}\n`).join('');
  const bytes = Buffer.from(body, 'latin1');
  if (bytes.length > GRUBENV_BYTES) throw new RangeError('the GRUB environment block is full');
  return Buffer.concat([bytes, Buffer.alloc(GRUBENV_BYTES - bytes.length, '#')]);
}

/** The block's variables, in order; undefined where GRUB would not accept it (another size, no signature). */
export function readGrubenv(block: Buffer): Map<string, string> | undefined {
  if (block.length !== GRUBENV_BYTES) return undefined;
  const text = block.toString('latin1');
  if (!text.startsWith(SIGNATURE)) return undefined;
  const variables = new Map<string, string>();
  for (const line of splitLines(text.slice(SIGNATURE.length))) {
    const equals = line.indexOf('=');
    if (line.startsWith('#') || equals < 0) continue;
    variables.set(line.slice(0, equals), unescape(line.slice(equals + 1)));
  }
  return variables;
}

/** Splits at line feeds that no backslash protects. */
function splitLines(text: string): string[] {
  return text.match(/(?:\\[\s\S]|[^\\\n])+/g) ?? [];
}

function escape(value: string): string {
  return value.replace(/[\\\n]/g, '\\$&');
}

function unescape(value: string): string {
  return value.replace(/\\([\s\S])/g, '$1');
}
