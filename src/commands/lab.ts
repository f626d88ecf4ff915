import path from 'node:path';
import { UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import {
  type ControlledNode,
  FAULTS,
  FAULT_KINDS,
  askLab,
  assertLinux,
  defaultLabDir,
  findLab,
  isFaultKind,
  labPaths,
  noLab,
  runLab,
  startInBackground,
  stopLab,
} from '../lab/index.ts';
import { displayOptions } from '../report/display.ts';
import { fields } from '../report/layout.ts';
import { penFor } from '../report/pen.ts';
import type { Deps } from './deps.ts';
import { shellWord } from './given-command.ts';
import type { LabFaultFlags, LabFlags, LabStartFlags } from './option-types.ts';

/** `kubeos lab start`: a lab in the background, and what to try in it. */
export async function labStart(deps: Deps, flags: LabStartFlags): Promise<ExitCode> {
  const dir = labDir(flags);
  deps.io.stderr.write(`Starting a lab of ${count(flags.nodes, 'worker')} and a control plane in ${dir} ...\n`);
  const nodes = await startInBackground({ dir, workers: flags.nodes });
  deps.io.stdout.write(`${table(nodes)}\n${whatToTry(dir, flags.nodes)}`);
  return EXIT.done;
}

/** `kubeos lab fault`: lists the kinds, sets one, or clears one or all. */
export async function labFault(
  deps: Deps,
  node: string | undefined,
  kind: string | undefined,
  flags: LabFaultFlags,
): Promise<ExitCode> {
  if (node === undefined || (kind === undefined && !flags.clear)) {
    deps.io.stdout.write(kindList(deps));
    return EXIT.done;
  }
  if (kind !== undefined && !isFaultKind(kind)) {
    throw new UsageError(`there is no fault ${JSON.stringify(kind)}`, {
      next: `take one of these: ${FAULT_KINDS.join(', ')}`,
    });
  }
  const dir = await runningLab(flags);
  const socket = labPaths(dir).control;
  const which = kind === undefined ? {} : { kind };
  const nodes =
    flags.clear || kind === undefined
      ? await askLab(socket, { do: 'clear', node, ...which })
      : await askLab(socket, { do: 'fault', node, kind });
  deps.io.stdout.write(table(nodes.filter((one) => one.name === node)));
  return EXIT.done;
}

/** `kubeos lab status`: the lab's machines and their faults. */
export async function labStatus(deps: Deps, flags: LabFlags): Promise<ExitCode> {
  const dir = await runningLab(flags);
  deps.io.stdout.write(table(await askLab(labPaths(dir).control, { do: 'status' })));
  return EXIT.done;
}

/** `kubeos lab stop`: ends the lab, or what a dead one left, and removes its folder. */
export async function labStop(deps: Deps, flags: LabFlags): Promise<ExitCode> {
  const dir = labDir(flags);
  const stopped = await stopLab(dir);
  deps.io.stdout.write(stopped ? `The lab in ${dir} is gone.\n` : `There is no lab in ${dir}.\n`);
  return EXIT.done;
}

/** `kubeos lab run`, hidden: the lab itself, in the foreground. */
export async function labRun(deps: Deps, flags: LabStartFlags): Promise<ExitCode> {
  const log = (line: string): void => {
    deps.io.stderr.write(`${new Date().toISOString()} ${line}\n`);
  };
  await runLab({ dir: labDir(flags), workers: flags.nodes, log });
  return EXIT.done;
}

function labDir(flags: LabFlags): string {
  assertLinux();
  return path.resolve(flags.dir ?? defaultLabDir());
}

async function runningLab(flags: LabFlags): Promise<string> {
  const dir = labDir(flags);
  if ((await findLab(dir)).kind !== 'running') throw noLab(dir);
  return dir;
}

function table(nodes: readonly ControlledNode[]): string {
  const rows = nodes.map((node) => [
    node.name,
    node.state,
    node.slot ?? '?',
    node.version ?? '?',
    node.ssh,
    [node.trial === true ? 'on trial' : '', node.message ?? '', ...node.faults].filter(Boolean).join(', '),
  ]);
  const all = [['NODE', 'STATE', 'SLOT', 'OS', 'SSH', 'NOTE'], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`;
}

function kindList({ io }: Deps): string {
  const kinds = FAULT_KINDS.map((kind) => {
    const fault = FAULTS[kind];
    const times = 'times' in fault && fault.times > 1 ? ` (${fault.times} times)` : '';
    return { label: kind, text: `${fault.what}${times}` };
  });
  const lines = fields(kinds, 2, penFor(displayOptions(io.env, io.stdout)));
  return `What can go wrong on a node of the lab:\n${lines.join('\n')}\n\nSet one: kubeos lab fault NODE KIND\nUndo it: kubeos lab fault NODE [KIND] --clear\n`;
}

function whatToTry(dir: string, workers: number): string {
  const spec = shellWord(`${dir}/upgrade-disk.yaml`);
  const steps = [
    `. ${shellWord(`${dir}/env`)}`,
    'kubeos status',
    `kubeos plan -f ${spec}`,
    `kubeos lab fault worker-${Math.min(3, workers)} boot-fails`,
    `kubeos upgrade -f ${spec} --max-failures 2`,
    'kubeos rollback --to-previous',
    `kubeos upgrade -f ${shellWord(`${dir}/upgrade-tar.yaml`)}`,
    'kubeos lab stop',
  ];
  return `Try, one after the other:\n${steps.map((step) => `  ${step}\n`).join('')}`;
}

const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;
