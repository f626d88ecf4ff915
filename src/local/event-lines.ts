import { stripVTControlCharacters } from 'node:util';
import type { NodeResult, RolloutEvent } from '../rollout/events.ts';
import { redactUrls } from '../validate/redact.ts';

/**
 * An event of one node as lines of its log file, each with its time in UTC and a line break; none for run events.
 * @param advice what becomes of a text that tells what to do
 */
export function eventLines(event: RolloutEvent, advice: (text: string) => string): string[] {
  const time = new Date(event.at).toISOString();
  return texts(event, advice).map((text) => `${time} ${safe(text)}\n`);
}

function texts(event: RolloutEvent, advice: (text: string) => string): string[] {
  switch (event.type) {
    case 'node-started':
      return [`started, towards slot ${event.slot}`];
    case 'step-started':
      return [`${event.step}: started${event.slot === undefined ? '' : `, slot ${event.slot}`}`];
    case 'step-progress':
      return [`${event.step}: ${event.doneBytes} of ${event.totalBytes ?? 'an unknown number of'} bytes`];
    case 'step-waiting':
      return [`${event.step}: waits for ${event.for}`];
    case 'step-done':
      return [`${event.step}: ${event.skipped ? 'done before' : `done in ${event.tookMs} ms`}: ${event.detail}`];
    case 'notice':
      return [`notice: ${event.message}`];
    case 'node-done':
      return resultTexts(event.result, advice);
    default:
      return [];
  }
}

function resultTexts(result: NodeResult, advice: (text: string) => string): string[] {
  const { outcome, from, now, slot, step, what, reason, left, next, logTail, tookMs, unavailableMs } = result;
  const facts = [
    ['step', step],
    ['what', what],
    ['cause', reason],
    ['left', left],
    ['next', next === undefined ? undefined : advice(next)],
    ['unavailable', unavailableMs === undefined ? undefined : `${unavailableMs} ms`],
  ].flatMap(([label, text]) => (text === undefined ? [] : [`  ${label ?? ''}: ${text}`]));
  return [
    `${outcome}: was ${from}, now ${now ?? 'unknown'}, slot ${slot ?? 'unknown'}, after ${tookMs} ms`,
    ...facts.flatMap((fact) => fact.split('\n')),
    ...logTail.map((line) => `  log: ${line}`),
  ];
}

/** One line, whatever the node sent. */
const safe = (text: string): string =>
  redactUrls(stripVTControlCharacters(text))
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/\p{Cf}/gu, '');
