import type { ClusterFlags } from './option-types.ts';

/** How the command that is told differs from the one that was given. */
interface Changes {
  /** Another verb: `upgrade` for `plan`. */
  verb?: string;
  /** Flags without a value that are left out. */
  without?: readonly string[];
}

/**
 * The command line as it was given, every word quoted as a shell needs it, for the screens that tell to give it again.
 * A spec that was piped in cannot be read twice: FILE stands for it, and a comment says so.
 * @param argv the arguments after the program's name
 */
export function givenCommand(argv: readonly string[], changes: Changes = {}): string {
  const words = argv.filter((word) => changes.without?.includes(word) !== true);
  const verb = words.findIndex((word) => !word.startsWith('-'));
  const named = words.map((word, index) => (index === verb ? (changes.verb ?? word) : word));
  const repeatable = named.map((word, index) => withRealFile(word, named[index - 1]));
  const command = ['kubeos', ...repeatable.map(shellWord)].join(' ');
  return repeatable.some((word, index) => word !== named[index])
    ? `${command}  # FILE: the spec that was piped in`
    : command;
}

/** What the command line says of how output looks, and of where the commands in it lead. */
export type ShownFlags = Pick<ClusterFlags, 'kubeconfig' | 'context'> & { ascii?: boolean };

/** The same, for src/report. */
export function shownBy({ ascii, ...flags }: ShownFlags): { ascii: boolean; toCluster?: string } {
  const toCluster = clusterWords(flags);
  return { ascii: ascii === true, ...(toCluster === undefined ? {} : { toCluster }) };
}

/** The flags that lead kubectl, and kubeos too, to the cluster that was named; undefined where none was. */
export function clusterWords({ kubeconfig, context }: ShownFlags): string | undefined {
  const words = [
    ...(kubeconfig === undefined ? [] : [`--kubeconfig=${kubeconfig}`]),
    ...(context === undefined ? [] : [`--context=${context}`]),
  ];
  return words.length === 0 ? undefined : words.map(shellWord).join(' ');
}

/** A file name in a command that a person copies; what reads a pipe becomes FILE. */
export const fileWord = (file: string): string => (isPiped(file) ? 'FILE' : shellWord(file));

/** One word of a POSIX shell, quoted only where that is needed. */
export const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;

function withRealFile(word: string, before: string | undefined): string {
  if ((before === '-f' || before === '--file') && isPiped(word)) return 'FILE';
  const [, flag = '', file = ''] = /^(--file=|-f)(.+)$/.exec(word) ?? [];
  return isPiped(file) ? `${flag}FILE` : word;
}

/** Standard input, and what a shell's `<(…)` gives. */
const isPiped = (file: string): boolean => file === '-' || /^\/(?:dev\/(?:fd\/|stdin$)|proc\/self\/fd\/)/.test(file);
