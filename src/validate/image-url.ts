import { show } from './findings.ts';

/** An address from which nodes can fetch a disk image, or what is wrong with it. */
export type ImageUrl = { url: string; scheme: 'http' | 'https' } | { message: string; mend: string };

/** Longer than any signed address of the known object stores; far below what curl refuses. */
const LONGEST = 8192;
const EXAMPLE = 'for example: imageurl: https://192.168.122.15/update.img';

/**
 * Reads imageurl. Stricter than the URL standard, which repairs blanks, backslashes and missing slashes: what this
 * machine would repair, curl on a node might take for another address.
 */
export function readImageUrl(value: string): ImageUrl {
  if (value.length > LONGEST) {
    return { message: `imageurl is longer than ${LONGEST} characters`, mend: `write it, ${EXAMPLE}` };
  }
  const scheme = /^([a-z][a-z0-9+.-]{0,30}):/i.exec(value)?.[1]?.toLowerCase();
  const rest = /^https?:\/\/(?![/\\])(.*)$/is.exec(value)?.[1];

  const strange = /[\s\u0000-\u001f\u007f-\u009f\\"<>^`{|}]/u.exec(value);
  if (strange !== null && (scheme === 'http' || scheme === 'https')) {
    const message = `imageurl must not hold ${show(strange[0])}`;
    return { message, mend: 'remove it, or write it percent-encoded' };
  }
  if (rest === undefined) return { message: schemeMessage(scheme), mend: `write the whole address, ${EXAMPLE}` };
  if (!hasHost(value)) return { message: 'imageurl names no valid host and port', mend: `write it, ${EXAMPLE}` };
  const kind = scheme === 'https' ? 'https' : 'http';
  return { url: `${kind}://${rest}`, scheme: kind };
}

function schemeMessage(scheme: string | undefined): string {
  // `server:8080/x` has the form of a scheme, but means a port.
  if (scheme === undefined || scheme.includes('.')) return 'imageurl must begin with http:// or https://';
  return scheme === 'http' || scheme === 'https'
    ? `imageurl must have exactly two slashes after ${scheme}:`
    : `imageurl must begin with http:// or https://, not ${scheme}:`;
}

function hasHost(value: string): boolean {
  return URL.canParse(value) && new URL(value).hostname !== '';
}
