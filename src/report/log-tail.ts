/** More lines of a log than this hide what they explain; `kubeos logs` shows them all. */
const MOST_LINES = 4;

/** What a shorter text has in common with a log line may be chance. */
const SHORTEST_FACT = 16;

/**
 * The last lines of a log for the field `log`, with how to see all of it. Of kubeos's own lines in a node's syslog only
 * time and text are left, and none that says what is told beside it already.
 * @param whole where all of it is, as a file or a command; undefined where nowhere
 * @param told what the same block of text says otherwise
 * @param run whose lines are wanted, where the log says when it began
 */
export function logLines(
  whole: string | undefined,
  logTail: readonly string[],
  told: readonly (string | undefined)[] = [],
  run?: string,
): string[] {
  const began = run === undefined ? -1 : logTail.findLastIndex((line) => line.endsWith(`, run ${run}`));
  const facts = told.flatMap((text) => text?.split('\n') ?? []).filter((fact) => fact.length >= SHORTEST_FACT);
  const lines = logTail
    .slice(began + 1)
    .map(withoutOrigin)
    .filter((line) => !facts.some((fact) => line.includes(fact)));
  if (lines.length === 0) return [];
  return [...lines.slice(-MOST_LINES), ...(whole === undefined ? [] : [`(all of it: ${whole})`])];
}

/**
 * `Nov 23 12:21:07 worker-3 kubeos: text` and `2026-11-23T12:21:07.120+01:00 worker-3 kubeos[812]: text`, the two forms
 * in which rsyslog and journald print a line, become `12:21:07 text`.
 */
const withoutOrigin = (line: string): string => line.replace(ORIGIN, '$1 ');

const ORIGIN = /^(?:[A-Z][a-z]{2} [ \d]\d |\d{4}-\d\d-\d\d[T ])(\d\d:\d\d:\d\d)\S* \S+ kubeos(?:\[\d+\])?: */;
