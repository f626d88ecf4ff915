/** A part of a text: from `start` up to, not including, `end`. */
interface Span {
  start: number;
  end: number;
}

/** A URL as it may be shown: without user, password, and values that look like a signature or a token. */
export const redactUrl = (url: string): string => redactUrls(url);

/**
 * Any text with the secrets of all its URLs replaced by `***`: what stands before the `@` of an address, and query
 * values whose name or look says signature, key or token. Rather hides too much than too little.
 */
export const redactUrls = (text: string): string => replaceSecrets(text, () => '***');

/** The same, but each secret keeps its length, so that a caret below the line still points where it should. */
export const maskUrls = (text: string): string => replaceSecrets(text, (secret) => '*'.repeat(secret.length));

function replaceSecrets(text: string, replacement: (secret: string) => string): string {
  // Nearly every text has neither; this keeps long logs cheap.
  if (!text.includes('@') && !text.includes('?') && !text.includes('#')) return text;
  return text
    .split('\n')
    .map((line) => replaceSpans(line, secretSpans(line), replacement))
    .join('\n');
}

function replaceSpans(line: string, spans: readonly Span[], replacement: (secret: string) => string): string {
  let shown = '';
  let from = 0;
  for (const { start, end } of spans) {
    if (end <= from) continue;
    const begin = Math.max(start, from);
    shown += line.slice(from, begin) + replacement(line.slice(begin, end));
    from = end;
  }
  return shown + line.slice(from);
}

function secretSpans(line: string): Span[] {
  const spans: Span[] = [];
  const lastAt = line.lastIndexOf('@');
  for (const match of line.matchAll(/\S+/g)) {
    const word = { start: match.index, end: match.index + match[0].length };
    spans.push(...userInfoSpans(line, word, lastAt), ...querySpans(line, word));
  }
  return spans.filter((span) => span.end > span.start).sort((one, other) => one.start - other.start);
}

/** `user:password` before an `@`: after each `://` (`:\/\/` in JSON), or at the start of a word without one. */
function userInfoSpans(line: string, word: Span, lastAt: number): Span[] {
  if (lastAt < word.start) return [];
  const text = line.slice(word.start, word.end);
  const authorities = [...text.matchAll(/:(?:\/\/|\\\/\\\/)/g)].map((match) => match.index + match[0].length);
  if (authorities.length === 0) return bareUserInfo(text, word.start);
  const spans: Span[] = [];
  for (const [index, from] of authorities.entries()) {
    const segment = text.slice(from, authorities[index + 1]);
    const authority = segment.slice(0, orEnd(segment.search(/[/?#\\]/), segment));
    const at = authority.lastIndexOf('@');
    const start = word.start + from;
    if (at >= 0) spans.push({ start, end: start + at });
    // `user:pa/ss@host`: no port looks like this, so a password with a character that ends an address is likely.
    else if (/:[^:]*[^0-9:\]][^:]*$/.test(authority) && lastAt >= start) spans.push({ start, end: lastAt });
  }
  return spans;
}

/** `user:password@host` without a scheme; `name:tag@sha256:…` is an image, not an address. */
function bareUserInfo(text: string, offset: number): Span[] {
  const at = text.lastIndexOf('@');
  if (at < 0 || /^sha\d+:/.test(text.slice(at + 1))) return [];
  const start = text.search(/[^"'`(<{[/]/);
  return start >= 0 && /^[^/@:]+:/.test(text.slice(start, at)) ? [{ start: offset + start, end: offset + at }] : [];
}

const SECRET_NAME = /sig|token|key|secret|pass|pwd|auth|cred|polic|hmac|jwt|session|security|sas|access/i;

function querySpans(line: string, word: Span): Span[] {
  const spans: Span[] = [];
  const text = line.slice(word.start, word.end);
  const from = text.search(/[?#]/);
  if (from < 0) return spans;
  let start = word.start + from + 1;
  for (const parameter of text.slice(from + 1).split(/[&;?#]/)) {
    const equals = parameter.indexOf('=');
    const name = equals < 0 ? '' : parameter.slice(0, equals);
    const value = upToQuote(parameter.slice(equals + 1));
    const valueStart = start + equals + 1;
    if (SECRET_NAME.test(decode(name)) || looksRandom(value)) {
      spans.push({ start: valueStart, end: valueStart + value.length });
    }
    start += parameter.length + 1;
  }
  return spans;
}

/** A quote in the middle ends the URL that the text quotes; at the start it belongs to a value that is odd anyway. */
function upToQuote(value: string): string {
  const end = value.slice(1).search(/["<>`]|'(?:[,;.)\]}]|$)/);
  return end < 0 ? value : value.slice(0, end + 1);
}

/** Long, of the characters that base64, hex and percent-encoding use, letters and digits mixed. */
const looksRandom = (value: string): boolean =>
  value.length >= 20 && /^[\w+/=%~-]+$/.test(value) && /[a-z]/i.test(value) && /\d/.test(value);

function decode(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

const orEnd = (index: number, text: string): number => (index < 0 ? text.length : index);
