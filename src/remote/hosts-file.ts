import { LineCounter, parseDocument } from 'yaml';
import * as z from 'zod';
import { UsageError } from '../errors.ts';
import { JUMP_FORM, parseJump } from './jump-hosts.ts';
import type { HostEntry } from './settings.ts';

const EXAMPLE = ['- name: worker-1', '  address: 10.0.0.11', '  user: root'].join('\n');
const MAX_BYTES = 4 * 1024 * 1024;

const line = z
  .string()
  .min(1)
  .regex(/^[^\p{Cc}]+$/u, 'has a control character');
const entrySchema = z.strictObject({
  name: line.refine((name) => isNodeName(name), 'is no node name (letters, digits, . and -)'),
  address: line
    .refine((address) => /^[\w.:%-]+$/.test(address) && !address.startsWith('-'), 'is no host name or IP address')
    .optional(),
  port: z.int().min(1).max(65_535).optional(),
  user: line.refine((user) => !user.startsWith('-'), 'is no user name').optional(),
  identity: line.optional(),
  jump: line.refine((jump) => parseJump(jump) !== undefined, `is not ${JUMP_FORM}`).optional(),
});
const fileSchema = z.array(entrySchema).min(1, 'names no node');

/** Kubernetes names nodes as DNS subdomains (RFC 1123), which is also what is safe as an argument of ssh. */
export function isNodeName(name: string): boolean {
  return name.length <= 253 && /^[a-z0-9][a-z0-9.-]*$/i.test(name);
}

/**
 * Reads the YAML of `--hosts FILE`: a list of nodes, or a mapping with that list under `hosts`.
 * @param file the name that errors show
 * @throws UsageError that lists everything that is wrong, each with its line
 */
export function parseHostsFile(text: string, file: string): HostEntry[] {
  if (text.length > MAX_BYTES) refuse(file, [`the file is larger than ${String(MAX_BYTES / 1024 / 1024)} MiB`]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  if (document.errors.length > 0) {
    refuse(
      file,
      document.errors.map((error) => `line ${String(lines.linePos(error.pos[0]).line)}: ${firstLine(error.message)}`),
    );
  }
  const under = document.has('hosts') ? ['hosts'] : [];
  const value = toPlain(document, file);
  const parsed = fileSchema.safeParse(under.length > 0 ? (value as { hosts: unknown }).hosts : value);
  const where = (path: readonly PropertyKey[]) => placeOf(document, lines, [...under, ...path]);
  if (!parsed.success)
    refuse(
      file,
      parsed.error.issues.map((issue) => `${where(issue.path)}${describe(issue)}`),
    );
  const seen = new Set<string>();
  const doubled = parsed.data.flatMap((entry, index) => {
    const again = seen.has(entry.name);
    seen.add(entry.name);
    return again ? [`${where([index])}${entry.name} is listed twice`] : [];
  });
  if (doubled.length > 0) refuse(file, doubled);
  return parsed.data.map(withoutUndefined);
}

type Yaml = ReturnType<typeof parseDocument>;

// Aliases that multiply are refused by the yaml package itself, as an error of this call.
function toPlain(document: Yaml, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    return refuse(file, [error instanceof Error ? firstLine(error.message) : 'the aliases cannot be resolved']);
  }
}

function placeOf(document: Yaml, lines: LineCounter, path: readonly PropertyKey[]): string {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true) as { range?: [number, number, number] } | undefined;
    if (node?.range) return `line ${String(lines.linePos(node.range[0]).line)}: `;
  }
  return '';
}

function describe(issue: z.core.$ZodIssue): string {
  const field = issue.path.at(-1);
  if (issue.code === 'unrecognized_keys') {
    return `unknown field ${issue.keys.join(', ')}; the fields are ${Object.keys(entrySchema.shape).join(', ')}`;
  }
  if (issue.code === 'invalid_type' && issue.path.length === 0) return 'a list of nodes is expected';
  const what = typeof field === 'string' ? field : 'an entry';
  return issue.code === 'custom' ? `${what} ${issue.message}` : `${what}: ${issue.message}`;
}

function refuse(file: string, problems: readonly string[]): never {
  throw new UsageError(
    `${file}: ${problems.length === 1 ? 'a mistake' : `${String(problems.length)} mistakes`} in the hosts file`,
    {
      reason: problems.join('\n'),
      next: `mend it; an entry looks like this, all but the name may be left out (port, identity, jump too):\n${EXAMPLE}`,
    },
  );
}

function firstLine(text: string): string {
  return text.split('\n')[0]?.replace(/:$/, '') ?? '';
}

function withoutUndefined(entry: z.infer<typeof entrySchema>): HostEntry {
  return {
    name: entry.name,
    ...(entry.address !== undefined && { address: entry.address }),
    ...(entry.port !== undefined && { port: entry.port }),
    ...(entry.user !== undefined && { user: entry.user }),
    ...(entry.identity !== undefined && { identity: entry.identity }),
    ...(entry.jump !== undefined && { jump: parseJump(entry.jump) ?? [] }),
  };
}
