import { EXIT, EXIT_MEANINGS, type ExitCode } from '../exit-codes.ts';
import { exitForPlan } from '../rollout/plan-exit.ts';
import { rebootAhead, UNKNOWN_VERSION } from '../rollout/standing.ts';
import type { Finding, LiveRun, Plan, PlanEntry } from '../rollout/plan-types.ts';
import type { Display } from './display.ts';
import { groupBy, someNames } from './groups.ts';
import { decompressed, streams, ways } from './image-way.ts';
import { commandLines, field, fields, hanging, paragraph, table, type Cell, type Field } from './layout.ts';
import { drainText, footnoteLines, footnotes, type Footnote } from './obstacles.ts';
import { pace } from './pace.ts';
import { penFor, type Pen } from './pen.ts';
import { sharedFields, shareFindings } from './shared-findings.ts';
import { slotTrust } from './slot-trust.ts';
import { plural } from './text.ts';
import { bytes, roughDuration, shortDigest } from './units.ts';

export interface PlanScreenOptions {
  /** `kubeos plan`: nothing is changed, and this is said. */
  dryRun: boolean;
  /** The command that would do it: `kubeos upgrade -f upgrade.yaml`. */
  command?: string;
  /** What `kubeos plan` ends with. */
  exitCode?: ExitCode;
  /** How long this command waits for another run's lock, in milliseconds; 0: for ever; missing: not at all. */
  lockWaitMs?: number;
}

/** The plan as lines: another run that is at work first, then what refuses it, then what will happen to which node, then what stands in a node's way. */
export function renderPlan(plan: Plan, display: Display, options: PlanScreenOptions): string[] {
  const pen = penFor(display);
  const notes = footnotes(plan.entries);
  const sections = [
    liveRunLines(plan.liveRun, options, pen),
    ...plan.refusals.map((refusal) => finding(refusal, `${pen.symbols.bad} Refused: `, pen.bad, pen)),
    [...headline(plan, pen), ...(plan.entries.length > 0 ? conditions(plan, pen) : [])],
    plan.entries.length > 0 ? entryTable(plan, notes, pen) : [],
    nodeNotes(plan, pen),
    others(plan, pen),
    notes.flatMap((note) => footnoteLines(note, pen)),
    ...notStarted(plan, pen),
    ...warnings(plan, pen),
    ...plan.notes.map((note) => finding(note, `${pen.symbols.warning} `, pen.warn, pen)),
    closing(plan, options, pen),
  ];
  return joinSections(sections);
}

function liveRunLines(live: LiveRun | undefined, options: PlanScreenOptions, pen: Pen): string[] {
  if (live === undefined) return [];
  const nodes = live.nodes.map(({ node }) => node);
  const where = nodes.length === 0 ? '' : `, at work here now: ${someNames(nodes, pen)}`;
  return [
    ...paragraph(`${pen.symbols.warning} Another run holds the lock: ${live.what}`, pen).map(pen.warn),
    ...fields(
      [field('who', live.holder), field('run', `${live.run}${where}`), field('next', nextToLiveRun(options))],
      4,
      pen,
    ),
  ];
}

function nextToLiveRun({ dryRun, lockWaitMs }: PlanScreenOptions): string {
  if (dryRun) return 'this plan changes with what that run does; to see how far it is: kubeos status';
  if (lockWaitMs === undefined)
    return 'unless that run is over by then, this command ends with exit 11; to wait for it: --lock-wait 30m';
  const atMost = lockWaitMs === 0 ? '' : `, at most ${roughDuration(lockWaitMs)}`;
  return `that run is waited for${atMost}; then the plan is made anew`;
}

/** The question before a rollout, on one line; it ends where the answer is typed. */
export function renderConfirm(plan: Plan): string {
  const all = plan.entries.length;
  const reboots = plan.entries.filter(isRebooted).length;
  const given = plan.entries.filter(({ stream, loses }) => stream === true && loses !== undefined).length;
  const over = given === 0 ? '' : `Stream over ${plural(given, 'old image')}, w`;
  const acts = plan.operation === 'upgrade' ? `${over || 'W'}rite, drain and reboot` : 'Drain and reboot';
  const what = reboots > 0 ? `${acts} ${plural(reboots, 'node')}` : `Tidy up ${plural(all, 'node')}`;
  const rest = reboots > 0 && reboots < all ? `, tidy up ${all - reboots} more` : '';
  return `${what}${rest}${reboots > 1 ? `, ${plan.maxUnavailable} at a time` : ''}? [y/N] `;
}

/** In a line what a rollout with work to do does: to how many nodes, from which version to which. */
export const renderTitle = (plan: Plan): string => title(plan).join('');

/** Its way leads through the other slot; the others are only brought to the end of what they stand in. */
const isRebooted = ({ adopt, fellBackEarlier, firstStep }: PlanEntry): boolean =>
  !adopt && !fellBackEarlier && rebootAhead(firstStep);

/** Sections with an empty line between them; empty sections leave no trace. */
export function joinSections(sections: readonly (readonly string[])[]): string[] {
  return sections
    .filter((section) => section.length > 0)
    .flatMap((section, index) => (index === 0 ? section : ['', ...section]));
}

const VERBS = { upgrade: 'Upgrade', downgrade: 'Downgrade', reinstall: 'Reinstall', rollback: 'Roll back' } as const;

function headline(plan: Plan, pen: Pen): string[] {
  const { entries, already, notStarted, version } = plan;
  const chosen = already.length + notStarted.length;
  if (entries.length > 0) return hanging(...title(plan), pen).map(pen.bold);
  if (notStarted.length > 0 && version === '')
    return hanging('', `No node can be started: none of ${chosen} could be asked what to go back to.`, pen);
  if (notStarted.length > 0)
    return hanging('', `No node can be started: ${notStarted.length} of ${chosen} should become ${version}.`, pen);
  if (already.length === 0) return plan.refusals.length > 0 ? [] : ['Nothing to do: no node is selected.'];
  const who = already.length === 1 ? 'the selected node runs' : `the ${already.length} selected nodes run`;
  return hanging('', `Nothing to do: ${who} ${version}.`, pen);
}

function title({ entries, already, notStarted, leftOut, version, direction }: Plan): [who: string, versions: string] {
  const all = entries.length + already.length + notStarted.length + leftOut.length;
  const from = versionsBefore(entries, version);
  const versions = from === '' ? version : `${from} -> ${version}`;
  return [`${VERBS[direction]} ${entries.length} of ${plural(all, 'node')}: `, versions];
}

/** What the run leads away from; a node that is on trial runs the version already, and came from what that replaced. */
function versionsBefore(entries: readonly PlanEntry[], version: string): string {
  const changing = entries.filter(isRebooted);
  const before = (changing.length > 0 ? changing : entries).map(({ now, assignment }) =>
    now === version ? assignment.replaced : now,
  );
  const versions = [...new Set(before)].filter((one) => one !== version && one !== UNKNOWN_VERSION);
  return versions.length > 2 ? `${versions.length} versions` : versions.join(', ');
}

function conditions(plan: Plan, pen: Pen): string[] {
  return fields(
    [
      field('image', imageLines(plan.image)),
      field('via', [...ways(plan.entries, pen), ...decompressed(plan.entries, pen)]),
      field('stream', streams(plan.entries, pen)),
      field('pace', pace(plan)),
      field('slot', slotTrust(plan.entries, pen)),
      field('lost', losses(plan.entries)),
      field('back', waysBack(plan.entries, pen)),
      field('boot', managedBoots(plan.entries, pen)),
    ],
    2,
    pen,
  );
}

function imageLines(image: Plan['image']): string[] {
  if (image === undefined) return [];
  const size = image.seen?.sizeBytes;
  const name = image.type === 'disk' ? 'sha256' : 'digest sha256';
  const known = image.trusted === 'tag' ? 'trusted by its tag alone' : `${name} ${shortDigest(image.sha256)}`;
  const facts = [image.type, known, ...(size === undefined ? [] : [bytes(size)])];
  return [image.shownUrl, facts.join(', ')];
}

function losses(entries: readonly PlanEntry[]): string[] {
  const counts = new Map<string, number>();
  for (const { loses } of entries) if (loses !== undefined) counts.set(loses, (counts.get(loses) ?? 0) + 1);
  return [...counts].map(
    ([what, count]) =>
      `${what} in the inactive ${count === 1 ? 'slot of 1 node' : `slots of ${count} nodes`}: no way back to it`,
  );
}

const WAYS_BACK = {
  none: 'does not end by itself',
  likely: 'most likely ends by itself: no boot has shown yet that GRUB can clear next_entry',
  proven: 'ends by itself: GRUB was seen to clear next_entry',
} as const;

/** What a failed trial ends in; nothing to tell where all is well. */
function waysBack(entries: readonly PlanEntry[], pen: Pen): string[] {
  const all = entries.filter((entry) => isRebooted(entry) && entry.fallback !== undefined);
  if (all.every(({ fallback }) => fallback === 'proven')) return [];
  return (['none', 'likely', 'proven'] as const).flatMap((verdict) => {
    const nodes = all.filter(({ fallback }) => fallback === verdict).map(({ node }) => node);
    if (nodes.length === 0) return [];
    const where = nodes.length === all.length ? '' : `, on ${someNames(nodes, pen)}`;
    return [`a trial that fails ${WAYS_BACK[verdict]}${where}`];
  });
}

/** Which trials lead back from more than a panic. */
function managedBoots(entries: readonly PlanEntry[], pen: Pen): string | undefined {
  const managed = entries.filter(({ managedBoot }) => managedBoot === true).map(({ node }) => node);
  if (managed.length === 0) return undefined;
  const where = managed.length === entries.filter(isRebooted).length ? '' : ` on ${someNames(managed, pen)}`;
  return `managed${where}: a slot that GRUB cannot load leads back too, and an initramfs that halts`;
}

function entryTable(plan: Plan, notes: readonly Footnote[], pen: Pen): string[] {
  const columns = [
    { header: '#', align: 'end' as const },
    ...['NODE', 'RUNS', 'SLOT', 'DRAIN', 'NOTE'].map((header) => ({ header })),
  ];
  const rows = plan.entries.map((entry, index): Cell[] => [
    { text: String(index + 1) },
    { text: entry.node, paint: pen.bold },
    { text: entry.now },
    { text: slots(entry) },
    drainCell(entry, notes, pen),
    { text: entryMarks(plan, entry).join(', ') },
  ]);
  return table(columns, rows, pen, 2);
}

function slots(entry: PlanEntry): string {
  const { from, target } = entry.assignment;
  if (isRebooted(entry) && from !== target) return `${from} -> ${target}`;
  return entry.fellBackEarlier ? from : target;
}

function drainCell(entry: PlanEntry, notes: readonly Footnote[], pen: Pen): Cell {
  const text = drainText(entry, notes);
  return entry.drain.obstacles.length > 0 ? { text, paint: pen.warn } : { text };
}

function entryMarks(plan: Plan, entry: PlanEntry): string[] {
  const way = wayMark(plan, entry);
  return [
    ...(entry.canary ? ['canary'] : []),
    ...(entry.alreadyDown ? ['down already'] : []),
    ...(way === undefined ? [] : [way]),
  ];
}

/** How its way differs from the whole one; where another run is in the midst of it, nothing is known of that. */
function wayMark(plan: Plan, { node, adopt, fellBackEarlier, firstStep }: PlanEntry): string | undefined {
  const now = plan.liveRun?.nodes.find((one) => one.node === node);
  if (now !== undefined) return `at ${now.step} now`;
  if (adopt) return 'commit only';
  if (fellBackEarlier) return 'fell back earlier';
  if (firstStep === 'uncordon') return 'only tidied up';
  const begins = plan.operation === 'upgrade' ? 'stage' : 'verify';
  return firstStep === begins || firstStep === 'stage' ? undefined : `resumes at ${firstStep}`;
}

function nodeNotes(plan: Plan, pen: Pen): string[] {
  const noted = [...plan.entries, ...plan.already].filter(({ notes }) => notes.length > 0);
  return fields(
    noted.map(({ node, notes }): Field => ({ label: node, text: notes })),
    2,
    pen,
  );
}

function others(plan: Plan, pen: Pen): string[] {
  const leftOut = groupBy(plan.leftOut, ({ because }) => because).map((group) => {
    const names = group.map(({ node }) => node);
    return `${someNames(names, pen)}: ${group[0].because}`;
  });
  const already = someNames(
    plan.already.map(({ node }) => node),
    pen,
  );
  return fields([field(`already ${plan.version}`, already), field('left out', leftOut)], 2, pen);
}

/** Nodes that the same keeps from being started share a block. */
function notStarted(plan: Plan, pen: Pen): string[][] {
  const found = plan.notStarted.flatMap(({ node, findings }) => findings.map((finding) => ({ node, finding })));
  return shareFindings(found, pen).map((shared) => [
    ...paragraph(`${pen.symbols.bad} ${someNames(shared.nodes, pen)} cannot be started: ${shared.what}`, pen).map(
      pen.bad,
    ),
    ...fields(sharedFields(shared), 4, pen),
  ]);
}

const MOST_REASONS = 5;

/** What many nodes are warned of is said once; where only the reason differs, it is named by node. */
function warnings(plan: Plan, pen: Pen): string[][] {
  const found = plan.entries.flatMap(({ node, warnings: own = [] }) => own.map((one) => ({ node, one })));
  return groupBy(found, ({ one }) => JSON.stringify([one.what, one.next])).map((group) => {
    const [{ one }] = group;
    const nodes = [...new Set(group.map(({ node }) => node))];
    const whole = { ...one, ...reasonOf(group, pen) };
    return finding(whole, `${pen.symbols.warning} ${someNames(nodes, pen)}: `, pen.warn, pen);
  });
}

function reasonOf(group: readonly { node: string; one: Finding }[], pen: Pen): Pick<Finding, 'reason'> {
  const reasons = groupBy(group, ({ one }) => one.reason ?? '');
  if (reasons.length < 2) return {};
  const named = reasons.map((same) => {
    const names = same.map(({ node }) => node);
    return `${someNames(names, pen)}: ${same[0].one.reason ?? ''}`;
  });
  const left = named.length - MOST_REASONS;
  const shown = left > 0 ? [...named.slice(0, MOST_REASONS), `and ${left} more`] : named;
  return { reason: shown.join('\n') };
}

function finding({ what, reason, next }: Finding, prefix: string, paint: Pen['bad'], pen: Pen): string[] {
  return [
    ...paragraph(`${prefix}${what}`, pen).map(paint),
    ...fields([field('cause', reason), field('next', next)], 4, pen),
  ];
}

/** How the command ends where no node is started; for a mere plan, that nothing was changed and how to do it. */
function closing(plan: Plan, { dryRun, command, exitCode }: PlanScreenOptions, pen: Pen): string[] {
  if (!startsNode(plan)) {
    const code = exitForPlan(plan, false);
    const meaning = EXIT_MEANINGS.get(code) ?? '';
    return code === EXIT.done ? [] : paragraph(`Exit ${code}: ${meaning}.`, pen).map(pen.bold);
  }
  if (!dryRun) return [];
  return [...todo(plan, command, pen), ...partly(plan, exitCode, pen)];
}

/** Why `kubeos plan` does not end with 0, though there is a way for some. */
function partly({ notStarted }: Plan, exitCode: ExitCode | undefined, pen: Pen): string[] {
  if (exitCode === undefined || exitCode === EXIT.done) return [];
  const why =
    exitCode === EXIT.changesFound
      ? 'there are changes to make'
      : `${plural(notStarted.length, 'node')} cannot be started`;
  return [pen.bold(`Exit ${exitCode}: ${why}.`)];
}

function todo(plan: Plan, command: string | undefined, pen: Pen): string[] {
  return command === undefined
    ? ['Nothing was changed.']
    : commandLines(
        `Nothing was changed. To do it${plan.liveRun === undefined ? '' : ' after that run'}:`,
        command,
        pen,
      );
}

const startsNode = (plan: Plan): boolean => plan.entries.length > 0 && plan.refusals.length === 0;
