import { spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** One thing that is done to a node. */
export interface Step {
  /** A name for people; several steps may have the same. */
  name: string;
  text: string;
  /** It is run beside the node, with FOLDER, SLOT and SEEN as private-node.sh sets them. */
  beside?: boolean;
}

export interface NodeOptions {
  /** A new folder; its file system must hold both slots and /persist. */
  folder: string;
  slotMib: number;
  persistMib: number;
  /** Told as soon as a step begins, with the process that runs it or its parent. */
  onBegin?: (step: Step, pid: number) => void;
  onEnd?: (step: Step, ms: number) => void;
}

/** Runs steps one after the other on a node of loop devices (test/scripts/private-node.sh). Rejects where one fails. */
export async function runOnNode(steps: readonly Step[], options: NodeOptions): Promise<void> {
  const { folder, slotMib, persistMib, onBegin, onEnd } = options;
  await mkdir(join(folder, 'steps'), { recursive: true });
  const files = new Map<string, Step>();
  for (const [index, step] of steps.entries()) {
    const file = `${String(index).padStart(4, '0')}${step.beside === true ? '.host' : ''}`;
    files.set(file, step);
    await writeFile(join(folder, 'steps', file), step.text);
  }
  const command = [
    '--mount',
    '--propagation',
    'private',
    '--pid',
    '--fork',
    'sh',
    'test/scripts/private-node.sh',
    folder,
    'ext4',
  ];
  const child = spawn('unshare', [...command, `${slotMib}M`, `${persistMib}M`], { stdio: ['ignore', 'pipe', 'pipe'] });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(-4000)));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    const [what, file = '', code, nanoseconds] = line.split(' ');
    const step = files.get(file);
    if (step === undefined) throw new Error(`unexpected: ${line}`);
    if (what === 'begin') onBegin?.(step, child.pid ?? 0);
    else if (code === '0') onEnd?.(step, Number(nanoseconds) / 1e6);
    else
      throw new Error(
        `${step.name} ended with ${code}: ${await readFile(join(folder, 'ended', `${file}.err`), 'utf8')}`,
      );
  }
  if ((await ended) !== 0) throw new Error(`the node could not be made: ${words}`);
}
