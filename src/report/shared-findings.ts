import { isIP } from 'node:net';
import type { Finding } from '../rollout/plan-types.ts';
import { groupBy, someNames } from './groups.ts';
import { field, type Field } from './layout.ts';
import type { Pen } from './pen.ts';

/** What was found on one node. */
export interface Found {
  node: string;
  finding: Finding;
}

/** What was found on several nodes, said once. */
export interface Shared {
  nodes: readonly string[];
  what: string;
  /** The servers that the text would name for each node, where that is all that its texts differ in. */
  where?: string | undefined;
  reason?: string | readonly string[] | undefined;
  next?: string | readonly string[] | undefined;
}

/**
 * Findings of which one text tells for all their nodes: those that are the same but for whom they name, which is a node,
 * its SSH server or that one's key. A refused login or an unknown host key is told once then, and not once a node.
 */
export function shareFindings(found: readonly Found[], pen: Pen): readonly Shared[] {
  return groupBy(found, keyOf).map((group) => share(group, pen));
}

/** The fields of it, below its first line. */
export const sharedFields = ({ where, reason, next }: Shared): (Field | undefined)[] => [
  field('where', where),
  field('cause', reason),
  field('next', next),
];

function share(group: readonly [Found, ...Found[]], pen: Pen): Shared {
  const [{ finding, node }] = group;
  const nodes = [...new Set(group.map((one) => one.node))];
  const whats = new Set(group.map((one) => one.finding.what));
  // A jump host, say, that all of them name.
  const common = namedByAll(group);
  const servers = group.flatMap((one) => {
    return serversIn(one.finding.what)
      .filter(({ shown }) => !common.has(shown))
      .slice(0, 1);
  });
  return {
    nodes,
    what: whats.size === 1 ? finding.what : masked(finding.what, node, finding.what, common),
    ...(whats.size > 1 && servers.length > 0
      ? {
          where: someNames(
            servers.map(({ shown }) => shown),
            pen,
          ),
        }
      : {}),
    reason: joined(group, 'reason', (one, text) => `${one.node}: ${text}`),
    next: joined(group, 'next', (_one, text) => text),
  };
}

/** The servers that each of the texts names. */
function namedByAll([first, ...others]: readonly [Found, ...Found[]]): ReadonlySet<string> {
  const names = ({ finding }: Found): string[] => serversIn(finding.what).map(({ shown }) => shown);
  return new Set(names(first).filter((name) => others.every((other) => names(other).includes(name))));
}

const MOST = 20;

/** Where all say the same, that; else what is the same in each stands once, and each other line once for each node. */
function joined(
  group: readonly Found[],
  part: 'reason' | 'next',
  own: (found: Found, line: string) => string,
): string | readonly string[] | undefined {
  const texts = group.map(({ finding }) => finding[part] ?? '');
  const [first = ''] = texts;
  if (texts.every((text) => text === first)) return first === '' ? undefined : first;
  const shown = group.slice(0, MOST);
  const lines = first.split('\n').flatMap((line, index) => {
    const each = shown.map((one) => ({ one, line: one.finding[part]?.split('\n')[index] ?? '' }));
    if (each.every((other) => other.line === line)) return [line];
    return each.map((other) => own(other.one, other.line));
  });
  const left = group.length - shown.length;
  return left > 0 ? [...lines, `and ${left} more`] : lines;
}

function keyOf({ node, finding }: Found): string {
  const { what, reason, next } = finding;
  return JSON.stringify([what, reason, next].map((text) => (text === undefined ? '' : masked(text, node, what))));
}

const FINGERPRINT = /\bSHA256:[\w+/]+=*/g;
const ITS = 'the node';

/** The text without what tells one node from another. @param what where its server is named @param kept servers that stay */
function masked(text: string, node: string, what: string, kept: ReadonlySet<string> = new Set()): string {
  const names = serversIn(what)
    .filter(({ shown }) => !kept.has(shown))
    .flatMap(({ shown, host, port }) => [shown, host, ...(port === undefined ? [] : [port])]);
  const isKept = (name: string): boolean => [...kept].some((server) => server.includes(name));
  return [...names.filter((name) => !isKept(name)), node]
    .sort((one, other) => other.length - one.length)
    .reduce(withoutName, text.replace(FINGERPRINT, 'SHA256'));
}

/** Only where it stands as a name of its own: `w-1` is no part of `w-10`, but the beginning of `w-1.example`. */
const withoutName = (text: string, name: string): string =>
  text.replace(
    new RegExp(`(?<![\\w.-])${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?:\\.[\\w-]+)*(?![\\w-])`, 'g'),
    ITS,
  );

interface Server {
  shown: string;
  host: string;
  port?: string | undefined;
}

/** `root@10.1.0.16:22`, `[fd00::1]:22`, `10.1.0.16`: as src/remote shows servers. */
function serversIn(text: string): Server[] {
  return text.split(/[\s,;]+/).flatMap((shown): Server[] => {
    if (isIP(shown) !== 0) return [{ shown, host: shown }];
    const { user, bracketed, plain, port } = SERVER.exec(shown)?.groups ?? {};
    const host = bracketed ?? plain;
    return host !== undefined && (user !== undefined || port !== undefined) ? [{ shown, host, port }] : [];
  });
}

const SERVER = /^(?:(?<user>[^@]+)@)?(?:\[(?<bracketed>[^\]]+)\]|(?<plain>[^:[\]]+))(?::(?<port>\d+))?$/;
