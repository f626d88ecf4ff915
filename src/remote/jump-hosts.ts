/** One hop on the way to a node: `[user@]host[:port]`. */
export interface JumpHost {
  name: string;
  user?: string;
  port?: number;
}

export const JUMP_FORM = 'user@host:port,second; an IPv6 address in brackets: [fd00::1]:22; none: no jump host';

/**
 * Reads `user@host:port,second,…` as `ssh -J` takes it (ssh(1)); `none` is an empty list. Undefined where it cannot be
 * understood, or could be taken for an option.
 */
export function parseJump(text: string): readonly JumpHost[] | undefined {
  if (text.trim().toLowerCase() === 'none') return [];
  const hops: JumpHost[] = [];
  for (const part of text.split(',')) {
    const hop = parseHop(part.trim());
    if (hop === undefined) return undefined;
    hops.push(hop);
  }
  return hops;
}

/** `ops@b1:2022`, as it is written. */
export function showJumpHost({ user, name, port }: JumpHost): string {
  const place = name.includes(':') ? `[${name}]` : name;
  return `${user === undefined ? '' : `${user}@`}${place}${port === undefined ? '' : `:${String(port)}`}`;
}

function parseHop(text: string): JumpHost | undefined {
  const plain = text.replace(/^ssh:\/\//, '').replace(/\/$/, '');
  const at = plain.lastIndexOf('@');
  const place = parsePlace(plain.slice(at + 1));
  if (place === undefined || at < 0) return place;
  const user = plain.slice(0, at);
  return isJumpUser(user) ? { ...place, user } : undefined;
}

function parsePlace(text: string): JumpHost | undefined {
  const [, bracketed, bare, portText] = /^(?:\[([\w.:%-]+)\]|([\w.%-]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const name = bracketed ?? bare;
  if (name === undefined || name.startsWith('-')) return undefined;
  if (portText === undefined) return { name };
  const port = Number(portText);
  return port > 0 && port <= 65_535 ? { name, port } : undefined;
}

// What ssh takes as a remote user's name (`valid_ruser` of its ssh.c), less white space.
function isJumpUser(user: string): boolean {
  return /^[^\s\p{Cc}'"`;&<>|(){}$-][^\s\p{Cc}'"`;&<>|(){}]*$/u.test(user) && !user.endsWith('\\');
}
