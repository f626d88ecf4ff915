import type { Step } from '../rollout/steps.ts';
import type { Display } from './display.ts';
import { groupBy, someNames } from './groups.ts';
import { field, fields, hanging, paragraph, table, type Cell } from './layout.ts';
import { penFor, type Pen } from './pen.ts';
import { joinSections } from './plan-screen.ts';
import { sharedFields, shareFindings } from './shared-findings.ts';
import type { LastRun, SlotStatus, StatusReport, StatusRow } from './status.ts';
import { roughDuration, shortDigest } from './units.ts';

export interface StatusScreenOptions {
  /** More columns; then the table is as wide as it needs to be. */
  wide: boolean;
  /** `--no-ssh`: what only SSH can tell was not asked for. */
  ssh: boolean;
}

/** Every node as a table, then what needs more words, then the last run. */
export function renderStatus(report: StatusReport, display: Display, options: StatusScreenOptions): string[] {
  const pen = penFor(options.wide ? { ...display, columns: Infinity } : display);
  const notes = penFor(display);
  if (report.nodes.length === 0) return ['The cluster has no nodes.'];
  const now = Date.parse(report.at);
  return joinSections([
    statusTable(report, options, pen),
    [...marks(report.nodes), ...(options.ssh ? [] : ['? not asked for: --no-ssh'])],
    detailLines(report.nodes, now, options, notes),
    ...problemLines(report.nodes, notes),
    report.lastRun === undefined ? [] : lastRunLines(report.lastRun, now, notes),
  ]);
}

const NARROW = ['NODE', 'READY', 'OS', 'SLOT', 'OTHER SLOT', 'NEXT BOOT'];
const WIDE = ['STATE', 'FALLBACK', 'KERNEL', 'ARCH', 'DEVICE', 'IMAGE', 'OTHER DEVICE', 'OTHER IMAGE'];

function statusTable(report: StatusReport, { wide }: StatusScreenOptions, pen: Pen): string[] {
  const headers = [...NARROW, ...(wide ? WIDE : []), 'NOTE'].map((header) => ({ header }));
  const rows = report.nodes.map((row) => [
    ...narrowCells(row, pen),
    ...(wide ? wideCells(row) : []),
    noteCell(row, pen),
  ]);
  return table(headers, rows, pen);
}

function narrowCells(row: StatusRow, pen: Pen): Cell[] {
  return [
    { text: row.node, paint: pen.bold },
    row.ready ? { text: 'yes' } : { text: 'no', paint: pen.bad },
    { text: row.osVersion },
    { text: row.active ?? '?' },
    { text: otherSlotText(row.otherSlot) },
    { text: row.nextBoot ?? '?' },
  ];
}

function wideCells(row: StatusRow): Cell[] {
  return [
    row.state,
    fallbackText(row),
    row.kernelVersion,
    row.architecture,
    row.activeSlot?.device ?? '?',
    image(row.activeSlot),
    row.otherSlot?.device ?? '?',
    image(row.otherSlot),
  ].map((text) => ({ text }));
}

/** By its digest; where it has none, by its name and tag, without the registry. */
function image(slot: SlotStatus | undefined): string {
  if (slot?.image !== undefined) return slot.image.split('/').at(-1) ?? '-';
  return slot?.sha256 ? shortDigest(slot.sha256) : '-';
}

/** A managed boot that is out of date is brought up to date by the next trial. */
const fallbackText = ({ fallback, managedBoot }: StatusRow): string =>
  `${fallback?.verdict ?? '?'}${managedBoot === undefined || managedBoot.state === 'no' ? '' : ', managed'}`;

function otherSlotText(slot: SlotStatus | undefined): string {
  if (slot === undefined) return '?';
  if (slot.content === 'dirty') return 'not verified';
  if (slot.failedTrial) return `${slot.version ?? 'unknown'}!`;
  if (isEmpty(slot)) return 'nothing';
  return slot.content === 'unbootable' ? `${slot.version ?? 'unknown'}*` : (slot.version ?? 'unknown');
}

/** As a fresh install leaves it: no system in it, so that there is nothing to explain. */
const isEmpty = ({ content, version, failedTrial }: SlotStatus): boolean =>
  content === 'unbootable' && version === undefined && !failedTrial;

function marks(rows: readonly StatusRow[]): string[] {
  const texts = rows.map((row) => otherSlotText(row.otherSlot));
  return [
    ...(texts.some((text) => text.endsWith('!')) ? ["! this slot's image failed its trial there"] : []),
    ...(texts.some((text) => text.endsWith('*')) ? ['* this slot may not be booted'] : []),
  ];
}

/** A few words for the table; whatever needs more of them stands below it. */
function noteCell(row: StatusRow, pen: Pen): Cell {
  const { run, problems } = row;
  const amiss = UNSETTLED.has(row.state) || problems.length > 0 || run?.live === false;
  const text = present([
    [row.controlPlane, 'control plane'],
    [row.cordoned, 'cordoned'],
    [run !== undefined, run === undefined ? '' : stepText(row, run)],
    [UNSETTLED.has(row.state), row.state],
    [row.journal?.phase === 'fell-back', 'fell back'],
    [row.unsupported !== undefined, 'unsupported'],
    [row.bootProblem !== undefined, 'boot environment'],
    [problems.length > 0 && row.active === undefined, 'no SSH'],
    [row.operatorUpgrading, 'operator'],
  ]).join(', ');
  return amiss ? { text, paint: pen.warn } : { text };
}

type RunOnNode = NonNullable<StatusRow['run']>;

function stepText(row: StatusRow, run: RunOnNode): string {
  if (run.live) return `at ${run.step}`;
  return isBegun(row, run) ? `left at ${run.step}` : 'not started';
}

/** A run marks all its nodes before its first change; what it begins on stands in the node's own journal. */
const isBegun = ({ active, journal }: StatusRow, { run, step }: RunOnNode): boolean =>
  !FIRST_STEPS.has(step) || active === undefined || journal?.run === run;

/** A way begins with one of these. */
const FIRST_STEPS: ReadonlySet<Step> = new Set(['stage', 'write', 'verify'] as const);

const UNSETTLED: ReadonlySet<StatusRow['state']> = new Set(['trial', 'armed', 'booted by hand'] as const);

/** The texts whose condition holds. */
const present = (texts: readonly (readonly [boolean, string])[]): string[] =>
  texts.flatMap(([holds, text]) => (holds ? [text] : []));

/** What needs more words than the table has room for; nodes of which the same is to be said share a line. */
function detailLines(rows: readonly StatusRow[], now: number, options: StatusScreenOptions, pen: Pen): string[] {
  const details = rows
    .map((row) => ({ node: row.node, text: sentencesOf(row, now, options).map(withoutStop).join('; ') }))
    .filter(({ text }) => text !== '');
  return groupBy(details, ({ text }) => text).flatMap((group) => {
    const [{ node, text }] = group;
    return group.length === 1 ? hanging(`${node}: `, text, pen) : paragraph(`${namesOf(group, pen)}: ${text}`, pen);
  });
}

const withoutStop = (sentence: string): string => sentence.replace(/\.$/, '');

const namesOf = (group: readonly { node: string }[], pen: Pen): string =>
  someNames(
    group.map(({ node }) => node),
    pen,
  );

function problemLines(rows: readonly StatusRow[], pen: Pen): string[][] {
  const found = rows.flatMap(({ node, problems }) => problems.map((finding) => ({ node, finding })));
  return shareFindings(found, pen).map((shared) => {
    const { nodes, what } = shared;
    const named = nodes.length === 1 && what.includes(nodes[0] ?? '');
    return [
      ...paragraph(named ? what : `${someNames(nodes, pen)}: ${what}`, pen),
      ...fields(sharedFields(shared), 4, pen),
    ];
  });
}

function sentencesOf(row: StatusRow, now: number, { wide }: StatusScreenOptions): string[] {
  const { run, journal, otherSlot: other, detached, notReadyBecause, bootProblem } = row;
  const sentences = [
    row.ready ? undefined : labelled('not Ready', notReadyBecause),
    stateSentence(row),
    // A run at work stands below all nodes, and its step in the table.
    run?.live === false ? runSentence(row, run) : undefined,
    journal && fallBackSentence(journal, run !== undefined, now),
    detached?.running === true ? `its detached step ${detached.step} runs` : undefined,
    other && (wide || !isEmpty(other)) ? labelled(`slot ${other.slot}`, other.problem) : undefined,
    row.unsupported,
    labelled('boot environment', bootProblem),
    noFallbackSentence(row),
    row.operatorUpgrading ? "KubeOS's own operator is upgrading it" : undefined,
  ];
  return sentences.filter((sentence) => sentence !== undefined);
}

/** A boot environment that cannot be trusted is told of as such. */
function noFallbackSentence({ fallback, bootProblem }: StatusRow): string | undefined {
  if (fallback?.verdict !== 'none' || bootProblem !== undefined) return undefined;
  return labelled('a trial that fails would not end by itself', fallback.because);
}

const labelled = (label: string, text: string | undefined): string | undefined =>
  text === undefined ? undefined : `${label}: ${text}`;

function fallBackSentence(
  { phase, updatedAt, reason }: NonNullable<StatusRow['journal']>,
  isLeft: boolean,
  now: number,
): string | undefined {
  const when = ago(updatedAt * 1000, now);
  if (phase === 'fell-back') return `fell back ${when}: ${reason}`;
  return phase === 'aborted' && isLeft ? `given up ${when}: ${reason}` : undefined;
}

function stateSentence({ state, active, nextBoot, deadManMs }: StatusRow): string | undefined {
  if (!UNSETTLED.has(state) || active === undefined || nextBoot === undefined) return undefined;
  if (state === 'armed') return `its next boot tries slot ${nextBoot}`;
  const how = state === 'trial' ? 'is on trial' : 'was booted by hand';
  const byItself =
    deadManMs === undefined ? '' : `; without a sign of life from kubeos, in ${roughDuration(deadManMs)}`;
  return `slot ${active} ${how}: a reset returns to slot ${nextBoot}${byItself}`;
}

/** What a run left behind. */
function runSentence(row: StatusRow, left: RunOnNode): string {
  const { operation, version, step, cordon, run } = left;
  const what = `the ${operation} to ${version} was ${isBegun(row, left) ? `left at ${step}` : 'not started'}`;
  const cordons = { ours: ', which cordoned it', found: ', which found it cordoned', none: '' };
  return `${what} by run ${run}${cordons[cordon]}`;
}

function lastRunLines(last: LastRun, now: number, pen: Pen): string[] {
  const since = last.acquiredAt === undefined ? '' : `, began ${ago(Date.parse(last.acquiredAt), now)}`;
  const seen =
    last.renewedAt === undefined || last.silentMs !== undefined
      ? ''
      : `, last sign of life ${ago(Date.parse(last.renewedAt), now)}`;
  const silent = last.silentMs === undefined ? undefined : `No sign of life for ${roughDuration(last.silentMs)}: `;
  return [
    ...hanging(silent ?? (last.running ? 'Running: ' : 'Last run: '), `${last.what}, by ${last.holder}`, pen),
    ...fields(
      [
        field('run', `${last.run}${since}${seen}`),
        last.running ? undefined : field('left', last.unfinished.join(', ')),
        field('next', last.next),
      ],
      2,
      pen,
    ),
  ];
}

/** The node's clock may be ahead of ours: then it was just now. */
function ago(then: number, now: number): string {
  if (!Number.isFinite(then)) return 'at an unknown time';
  return now - then < 60_000 ? 'just now' : `${roughDuration(now - then)} ago`;
}
