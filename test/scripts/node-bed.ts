import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DOUBLES, OPTIONAL_TOOLS, REAL_TOOLS } from '../../src/lab/doubles/index.ts';
import { type Machine, type MachineOptions, createMachine } from '../../src/lab/machine.ts';
import { type SystemImage, type SystemImageOptions, buildSystemImage } from '../../src/lab/system-image.ts';
import { findTool } from '../../src/lab/tools.ts';
import { type ScriptArguments, composeScript } from '../../src/remote/compose.ts';
import { SCRIPT_EXITS } from '../../src/remote/script-exits.ts';
import { SCRIPTS, type StepScript } from '../../src/remote/scripts/index.ts';
import { runTool } from '../../src/lab/tools.ts';

export const MIB = 1024 * 1024;

/** The shells that nodes have as /bin/sh; BusyBox brings its own dd, od, stat and so on. */
export const SHELLS = ['dash', 'bash', 'busybox'] as const;
export type Shell = (typeof SHELLS)[number];

export interface Answer {
  code: number | null;
  /** The name of the exit code, `ok` for 0, else the code or the signal. */
  ended: string;
  stdout: string;
  stderr: string;
  /** The last value of each key. */
  values: Readonly<Record<string, string>>;
}

/** A folder for machines and images that the nodes' uid may enter; `remove` takes it away with all that runs in it. */
export async function makeYard(): Promise<{ dir: string; remove: () => Promise<void> }> {
  const dir = await mkdtemp(path.join(tmpdir(), 'kubeos-scripts-'));
  await chmod(dir, 0o755);
  return { dir, remove: () => rm(dir, { recursive: true, force: true, maxRetries: 3 }) };
}

/** A folder for PATH, as the lab makes it, with this shell as `sh`. `more` adds or replaces tools; '' removes one. */
export async function makeBin(dir: string, shell: Shell, more: Readonly<Record<string, string>> = {}): Promise<string> {
  await mkdir(dir, { recursive: true });
  const applets = shell === 'busybox' ? await busyboxApplets() : new Set<string>();
  const shellTool = await toolPath(shell);
  for (const name of [...REAL_TOOLS, ...OPTIONAL_TOOLS]) {
    if (more[name] !== undefined) continue;
    const ofShell = name === 'sh' || (applets.has(name) && !GNU_TOOLS.has(name));
    const target = ofShell ? shellTool : await toolPath(name);
    await symlink(target, path.join(dir, name));
  }
  for (const [name, text] of Object.entries({ ...DOUBLES, ...more })) {
    // Never through a link: it leads to this machine's own tool.
    if (text !== '') await writeFile(path.join(dir, name), text, { mode: 0o755, flag: 'wx' });
  }
  return dir;
}

/** Of these a tar needs the GNU ones; the scripts refuse others. */
const GNU_TOOLS: ReadonlySet<string> = new Set(['tar', 'find']);

async function busyboxApplets(): Promise<Set<string>> {
  // Otherwise its mount would be this machine's own, whatever lies on PATH.
  const { stdout: found } = await runTool('busybox', ['sh', '-c', 'command -v mount']);
  if (!found.includes('/')) {
    throw new Error(
      "this BusyBox's shell prefers its own tools to those on PATH: these tests need Debian's busybox, not busybox-static",
    );
  }
  const { stdout } = await runTool('busybox', ['--list']);
  return new Set(stdout.toString().split('\n'));
}

export async function toolPath(name: string): Promise<string> {
  const found = await findTool(name);
  if (found === undefined) throw new Error(`these tests need ${name}`);
  return found;
}

/** A machine with the PATH that its scripts run with. */
export class Node {
  readonly machine: Machine;
  bin: string;
  /** The run that the scripts carry. */
  by: { run: string; token: number } = { run: 'run-1', token: 1 };
  /** What a test changes in each script before it is sent, a time that is too long for it say. */
  edit: (script: string) => string = (script) => script;
  /** What starts the shell, as root, where that is done in namespaces of the test's own; ends with the uid's arguments. */
  inside: readonly string[] = [];

  constructor(machine: Machine, bin: string) {
    this.machine = machine;
    this.bin = bin;
  }

  /** Runs a script that changes nothing. */
  async ask(step: StepScript, args: ScriptArguments = {}): Promise<Answer> {
    return this.#run(composeScript(this.edit(SCRIPTS[step]), args), step !== 'logs');
  }

  /** Runs a script that changes something, with the run and its token. */
  async run(step: StepScript, args: ScriptArguments = {}): Promise<Answer> {
    return this.ask(step, { ...this.by, ...args });
  }

  /** The same, and throws where it does not end well. */
  async must(step: StepScript, args: ScriptArguments = {}): Promise<Answer> {
    const answer = await this.run(step, args);
    if (answer.code !== 0) throw new Error(`${step} ended with ${answer.ended}: ${answer.stderr}`);
    return answer;
  }

  async observe(): Promise<Readonly<Record<string, string>>> {
    const answer = await this.ask('observe');
    if (answer.code !== 0) throw new Error(`observe ended with ${answer.ended}: ${answer.stderr}`);
    return answer.values;
  }

  /** Runs any text as a script. */
  async #run(text: string, answersInPairs: boolean): Promise<Answer> {
    const { machine } = this;
    const [program, ...args] = [...this.inside, path.join(this.bin, 'sh'), '-s'];
    const child = spawn(program, args, {
      env: machine.env(this.bin),
      cwd: machine.root,
      detached: true,
      ...(this.inside.length > 0 ? {} : machine.identity),
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('latin1').on('data', (piece: string) => (stdout += piece));
    child.stderr.setEncoding('latin1').on('data', (piece: string) => (stderr += piece));
    child.stdin.on('error', () => undefined);
    child.stdin.end(text);
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        resolve({ code, ended: nameOf(code, signal), stdout, stderr, values: answersInPairs ? valuesOf(stdout) : {} });
      });
    });
  }
}

function nameOf(code: number | null, signal: string | null): string {
  if (code === 0) return 'ok';
  const known = Object.entries(SCRIPT_EXITS).find(([, number]) => number === code);
  return known?.[0] ?? signal ?? String(code);
}

function valuesOf(stdout: string): Record<string, string> {
  const pairs = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const equals = line.indexOf('=');
      if (equals < 1) throw new Error(`not key=value: ${line}`);
      return [line.slice(0, equals), line.slice(equals + 1)] as const;
    });
  return Object.fromEntries(pairs);
}

let count = 0;

export async function makeNode(
  yard: string,
  bin: string,
  system: SystemImage,
  options: Partial<MachineOptions> = {},
): Promise<Node> {
  count += 1;
  const machine = await createMachine({
    dir: path.join(yard, `node-${count}`),
    system,
    slotBytes: 4 * MIB,
    ...options,
  });
  const booted = await machine.boot();
  if (booted.kind !== 'up') throw new Error(booted.message);
  return new Node(machine, bin);
}

export async function makeImage(
  yard: string,
  version: string,
  options: Partial<SystemImageOptions> = {},
): Promise<SystemImage> {
  count += 1;
  return buildSystemImage({ version, out: path.join(yard, `image-${count}`), sizeBytes: 3 * MIB, ...options });
}
