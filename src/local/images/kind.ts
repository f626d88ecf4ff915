import type { ImageContent } from '../../rollout/preflight-types.ts';

/** So many bytes tell what an image is. */
export const KIND_BYTES = 2048;

/**
 * What an image is by its first bytes, as image_kind of lib-fetch.sh tells it on a node: RFC 1952, the xz file format
 * 1.2, RFC 8878, bzip2; XFS at 0, POSIX ustar at 257, ext4 at 1080; GPT in the second sector, the MBR's mark in the first.
 */
export function kindOf(head: Buffer): ImageContent {
  if (head.length === 0) return 'empty';
  const known = MARKS.find(({ at, hex }) => head.subarray(at, at + hex.length / 2).toString('hex') === hex);
  if (known !== undefined) return known.kind;
  return isWebPage(head) ? 'web-page' : 'unknown';
}

const MARKS: readonly { at: number; hex: string; kind: ImageContent }[] = [
  { at: 0, hex: '1f8b', kind: 'gzip' },
  { at: 0, hex: 'fd377a585a00', kind: 'xz' },
  { at: 0, hex: '28b52ffd', kind: 'zstd' },
  { at: 0, hex: '425a68', kind: 'bzip2' },
  { at: 0, hex: '58465342', kind: 'xfs' },
  { at: 257, hex: '7573746172', kind: 'tar' },
  { at: 1080, hex: '53ef', kind: 'ext4' },
  { at: 512, hex: '4546492050415254', kind: 'disk' },
  { at: 510, hex: '55aa', kind: 'disk' },
];

/** A sign-in page or the like was delivered instead. */
export const isWebPage = (head: Buffer): boolean => /^<(?:!doctype html|html)/i.test(head.toString('latin1'));
