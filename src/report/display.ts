/** How text may look where it is going. */
export interface Display {
  colour: boolean;
  /** Only ASCII, symbols included. */
  ascii: boolean;
  /** The width that text is laid out for. */
  columns: number;
  /** The flags that lead a command which is shown to the same cluster, as a shell needs them; missing for none. */
  toCluster?: string;
}

/** `terminal` redraws one frame in place, `plain` prints a line a change, `none` is silent. */
export type ProgressMode = 'terminal' | 'plain' | 'none';

export interface DisplayOptions extends Display {
  rows: number;
  mode: ProgressMode;
}

/** As much of a tty.WriteStream as this layer needs; `isTTY` and the sizes are missing for pipes and files. */
export interface OutputStream {
  write(text: string): boolean;
  isTTY?: boolean;
  columns?: number;
  rows?: number;
}

/** What the user asked for on the command line; it goes before the environment. */
export interface DisplayFlags {
  ascii?: boolean;
  colour?: boolean;
  progress?: ProgressMode;
  toCluster?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

export const DEFAULT_COLUMNS = 80;
const DEFAULT_ROWS = 24;

/**
 * The one place that decides how output looks: from flags, then NO_COLOR and FORCE_COLOR, TERM, CI and the locale, then
 * the stream itself. NO_COLOR (https://no-color.org: set and not empty) goes before FORCE_COLOR.
 */
export function displayOptions(env: Environment, stream: OutputStream, flags: DisplayFlags = {}): DisplayOptions {
  const terminal = stream.isTTY === true && env['TERM'] !== 'dumb';
  return {
    colour: flags.colour ?? colourWanted(env, terminal),
    ascii: flags.ascii === true || !localeIsUtf8(env),
    columns: positive(stream.columns) ?? positive(Number(env['COLUMNS'])) ?? DEFAULT_COLUMNS,
    rows: positive(stream.rows) ?? DEFAULT_ROWS,
    mode: flags.progress ?? (terminal && isUnset(env['CI']) ? 'terminal' : 'plain'),
    ...(flags.toCluster === undefined ? {} : { toCluster: flags.toCluster }),
  };
}

function colourWanted(env: Environment, terminal: boolean): boolean {
  if (!isUnset(env['NO_COLOR'])) return false;
  const force = env['FORCE_COLOR'];
  if (force !== undefined) return force !== '0' && force !== 'false';
  return terminal;
}

/** POSIX: the first of these that is set and not empty decides; none of them means the C locale, which is ASCII. */
function localeIsUtf8(env: Environment): boolean {
  const locale = [env['LC_ALL'], env['LC_CTYPE'], env['LANG']].find((value) => !isUnset(value)) ?? 'C';
  return /utf-?8/i.test(locale);
}

const isUnset = (value: string | undefined): boolean => value === undefined || value === '';

/** Some pseudo-terminals claim a width of 0. */
const positive = (value: number | undefined): number | undefined =>
  value !== undefined && Number.isInteger(value) && value > 0 ? value : undefined;
