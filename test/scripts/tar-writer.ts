/** A member of a tar, as strange as a test wants it. */
export interface Member {
  name: string;
  /** POSIX's type flags (ustar): 0 a file, 1 a hard link, 2 a link, 5 a folder, V GNU's volume label; 0 unless told. */
  type?: '0' | '1' | '2' | '5' | 'V';
  link?: string;
  content?: string | Buffer;
}

const BLOCK = 512;

/** An archive of these members in this order, written without any of the care that tar takes. */
export function tarOf(members: readonly Member[], owner: { uid: number; gid: number }): Buffer {
  return Buffer.concat([...members.flatMap((member) => blocksOf(member, owner)), Buffer.alloc(2 * BLOCK)]);
}

function blocksOf(
  { name, type = '0', link = '', content = '' }: Member,
  owner: { uid: number; gid: number },
): Buffer[] {
  const header = Buffer.alloc(BLOCK);
  const bytes = Buffer.from(content);
  const octal = (value: number, at: number, length: number): void =>
    void header.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
  header.write(name, 0, 100, 'latin1');
  octal(type === '5' ? 0o755 : 0o644, 100, 8);
  octal(owner.uid, 108, 8);
  octal(owner.gid, 116, 8);
  octal(bytes.length, 124, 12);
  octal(1_600_000_000, 136, 12);
  header.write(type, 156, 'latin1');
  header.write(link, 157, 100, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  // The sum is taken with blanks in its own place.
  header.write(' '.repeat(8), 148, 'latin1');
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  header.writeUInt8(0, 154);
  return [header, bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)];
}
