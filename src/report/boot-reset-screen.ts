import type { BootResetNode, BootResetPlan, BootResetResult } from '../rollout/boot-reset.ts';
import type { Display } from './display.ts';
import { field, fields, hanging, table } from './layout.ts';
import { penFor, type Pen } from './pen.ts';

const DOES = { 'take out': 'to be taken out', none: 'none', blocked: 'stays' } as const;

/** What `kubeos node reset-boot` is about to do. */
export function renderBootResetPlan({ entries, nobody }: BootResetPlan, display: Display): string[] {
  const pen = penFor(display);
  if (nobody !== undefined) return findingLines('', nobody, pen);
  const rows = entries.map(({ node, now, does }) => [
    { text: node, paint: pen.bold },
    { text: now },
    does === 'blocked' ? { text: DOES[does], paint: pen.warn } : { text: DOES[does] },
  ]);
  return [
    ...table([{ header: 'NODE' }, { header: 'RUNS' }, { header: 'MANAGED BOOT' }], rows, pen),
    ...entries.flatMap(({ node, finding }) => (finding === undefined ? [] : ['', ...findingLines(node, finding, pen)])),
  ];
}

/** What it did, node by node. */
export function renderBootReset({ nodes }: BootResetResult, display: Display): string[] {
  const pen = penFor(display);
  return nodes.flatMap((one) => (one.outcome === 'not done' ? undone(one, pen) : doneLine(one, pen)));
}

const doneLine = ({ node, outcome }: BootResetNode, pen: Pen): string[] =>
  hanging(
    `${node}: `,
    outcome === 'taken out' ? 'the managed boot is taken out' : 'it has no managed boot: nothing to do',
    pen,
  );

const undone = ({ node, what = 'it was not done', reason, next }: BootResetNode, pen: Pen): string[] =>
  findingLines(node, { what, reason, next }, pen);

function findingLines(
  node: string,
  { what, reason, next }: { what: string; reason?: string | undefined; next?: string | undefined },
  pen: Pen,
): string[] {
  return [
    ...hanging(node === '' ? '' : `${node}: `, what, pen).map(pen.warn),
    ...fields([field('cause', reason), field('next', next)], 4, pen),
  ];
}
