/** The bytes as text, or what is wrong with them and at which offset of the text as far as it could be read. */
export type Decoded = { text: string } | { text: string; offset: number; rule: string; message: string; mend: string };

/** `yaml` needs half a minute for a flat map of 2 MB; a spec is 2 KB. */
const LARGEST_BYTES = 256 * 1024;

/** Text from a file: UTF-8, a byte order mark dropped, nothing in it that YAML or a terminal would stumble over. */
export function decode(input: string | Uint8Array): Decoded {
  const size = typeof input === 'string' ? Buffer.byteLength(input) : input.byteLength;
  if (size > LARGEST_BYTES) {
    const message = `the file has more than ${LARGEST_BYTES / 1024} KiB, the most that a spec may have`;
    return { text: '', offset: 0, rule: 'file-size', message, mend: 'check that -f names the spec, not the image' };
  }
  const decoded = typeof input === 'string' ? { text: input } : fromUtf8(input);
  if ('rule' in decoded) return decoded;
  const text = decoded.text.startsWith('\ufeff') ? decoded.text.slice(1) : decoded.text;
  return strangeCharacter(text) ?? { text };
}

function fromUtf8(bytes: Uint8Array): Decoded {
  if (isUtf16(bytes)) {
    return {
      text: '',
      offset: 0,
      rule: 'encoding',
      message: 'the file is UTF-16, not UTF-8',
      mend: 'save it as UTF-8 (PowerShell: Out-File -Encoding utf8)',
    };
  }
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    if (bytes.includes(0)) return binary('', 0);
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
    return {
      text,
      offset: firstDifference(text, bytes),
      rule: 'encoding',
      message: 'the file is not UTF-8 text from here on',
      mend: 'check that it is a YAML file, and save it as UTF-8',
    };
  }
}

/** By its byte order mark, or by the zeros of its first two characters, which YAML goes by too (YAML 1.2 §5.2). */
const isUtf16 = (bytes: Uint8Array): boolean =>
  /^(?:\xff\xfe|\xfe\xff|(?:[\n\r -~]\0){2}|(?:\0[\n\r -~]){2})/.test(
    Buffer.from(bytes.subarray(0, 4)).toString('latin1'),
  );

/** The first offset in `text` whose character was not encoded so in `bytes`. */
function firstDifference(text: string, bytes: Uint8Array): number {
  let offset = 0;
  let position = 0;
  for (const character of text) {
    const encoded = Buffer.from(character);
    if (!encoded.equals(bytes.subarray(position, position + encoded.length))) return offset;
    offset += character.length;
    position += encoded.length;
  }
  return offset;
}

/** YAML 1.2 §5.1 allows none of these in a file; a lone carriage return would hide lines from the reader. */
function strangeCharacter(text: string): Decoded | undefined {
  const nul = text.indexOf('\0');
  if (nul >= 0) return binary(text, nul);
  const offset = text.search(/[\u0001-\u0008\u000b\u000c\u000e-\u001f\u007f]|\r(?!\n)/);
  if (offset < 0) return undefined;
  const code = text.charCodeAt(offset);
  if (code === 0x0d) {
    const message = 'a line ends with a carriage return alone';
    return { text, offset, rule: 'line-end', message, mend: 'save the file with LF or CRLF line ends' };
  }
  const name = `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
  const mend = 'remove it; it may have come along with copied text';
  return { text, offset, rule: 'control-character', message: `an invisible control character (${name})`, mend };
}

const binary = (text: string, offset: number): Decoded => ({
  text,
  offset,
  rule: 'binary',
  message: 'the file is binary, not YAML',
  mend: 'check that -f names the spec, not the image',
});
