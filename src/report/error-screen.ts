import { inspect } from 'node:util';
import { KubeosError } from '../errors.ts';
import type { Display } from './display.ts';
import { field, fields, hanging } from './layout.ts';
import { logLines } from './log-tail.ts';
import { penFor } from './pen.ts';
import { cleanLine } from './text.ts';

/**
 * What stopped kubeos, as lines: what, where, why, what next, and the log's tail. Anything but a KubeosError is a bug,
 * shown with its stack and how to report it.
 * @param version of kubeos
 */
export function renderError(error: unknown, display: Display, version: string): string[] {
  return error instanceof KubeosError ? expected(error, display) : bug(error, display, version);
}

/** `TypeError: message`, for anything that can be thrown; one safe line. */
function describeThrown(error: unknown): string {
  if (error instanceof Error) return cleanLine(`${error.name}: ${error.message}`);
  return cleanLine(
    typeof error === 'string'
      ? error
      : `something that is no error was thrown: ${inspect(error, { depth: 1, breakLength: Infinity })}`,
  );
}

/** The stack without its first lines, which repeat the message; causes follow. Bounded: a cause may be itself. */
export function stackLines(error: unknown, depth = 0): string[] {
  if (!(error instanceof Error) || depth > 4) return [];
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s*at /.test(line));
  const causes = error.cause === undefined ? [] : [`caused by ${describeThrown(error.cause)}`];
  return [...frames.map((line) => line.trim()), ...causes, ...stackLines(error.cause, depth + 1)];
}

function expected(error: KubeosError, display: Display): string[] {
  const pen = penFor(display);
  const named = error.node !== undefined && !error.message.includes(error.node);
  const whole = error.node === undefined ? undefined : pen.advice(`kubeos logs ${error.node}`);
  const what = `${pen.symbols.bad} ${named ? `${error.node}: ` : ''}${error.message}`;
  return [
    ...hanging('', what, pen).map(pen.bad),
    ...fields(
      [
        field('step', error.step),
        field('cause', error.reason),
        field('log', logLines(whole, error.logTail, [error.message, error.reason])),
        field('next', error.next),
      ],
      4,
      pen,
    ),
  ];
}

function bug(error: unknown, display: Display, version: string): string[] {
  const pen = penFor(display);
  const next = [
    'give the same command again: a run carries on where it stands, and kubeos status shows where that is. ' +
      `Then report this screen, with kubeos ${version}, node ${process.version} on ${process.platform} ${process.arch}`,
  ];
  return [
    ...hanging('', `${pen.symbols.bad} a bug in kubeos: ${describeThrown(error)}`, pen).map(pen.bad),
    ...fields([field('stack', stackLines(error)), field('next', next)], 4, pen),
  ];
}
