import { setMaxListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { CommanderError, type Command } from 'commander';
import type { Deps, Io } from './commands/deps.ts';
import { clusterWords, shownBy, type ShownFlags } from './commands/given-command.ts';
import { findCommand, usageError, withNext } from './commands/usage.ts';
import { InterruptedError, KubeosError, PreflightError, UsageError } from './errors.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { systemClock } from './local/clock.ts';
import { unsetEmpty } from './local/settings.ts';
import { outliveReaders } from './local/streams.ts';
import { UncaughtErrors } from './local/uncaught.ts';
import { createProgram } from './program.ts';

/**
 * Runs one command line: the composition root, and the only place that maps an error to an exit code.
 * @param argv the arguments after the program's name
 * @param given where to read and write; without it the command has this process to itself
 */
export async function main(argv: readonly string[], given?: Io): Promise<ExitCode> {
  // All nodes in flight, and all connections in the making, listen to the same few signals: more than ten of them are no
  // leak for Node.js to warn of.
  setMaxListeners(0);
  const version = packageVersion();
  const lost: LostOutput = {};
  const io = withoutEmpty(given ?? processIo(lost));
  const uncaught = new UncaughtErrors();
  let code: ExitCode = EXIT.done;
  const program = createProgram(createDeps(argv, io, version, uncaught), version, (finished) => (code = finished));
  const failed = (error: unknown): Promise<ExitCode> => fail(error, findCommand(program, argv), io, version);
  if (given === undefined) uncaught.listen(process, (error) => failed(asBug(error)), EXIT.bug);
  const run = async (): Promise<ExitCode> => {
    await program.parseAsync([...argv], { from: 'user' });
    if (uncaught.first === undefined) return code;
    await show(asBug(uncaught.first.error), findCommand(program, argv), io, version);
    return EXIT.bug;
  };
  const ended = await run().catch((error: unknown) => {
    // What a bug interrupted tells of the bug.
    if (uncaught.first !== undefined && error instanceof InterruptedError) return failed(asBug(uncaught.first.error));
    if (!(error instanceof CommanderError)) return failed(error);
    if (SHOWN_HELP.has(error.code)) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    return failed(usageError(error, findCommand(program, argv)));
  });
  // A write that fails is told of behind what else is due.
  await new Promise(setImmediate);
  if (lost.error === undefined) return ended;
  const changes = changesNodes(findCommand(program, argv));
  await show(unwritten(lost.error, changes), findCommand(program, argv), io, version);
  return ended === EXIT.done && !changes ? EXIT.refused : ended;
}

/** Why the system did not take what was written to standard output, where it did not. */
interface LostOutput {
  error?: NodeJS.ErrnoException;
}

function unwritten(error: NodeJS.ErrnoException, changes: boolean): PreflightError {
  const why = getSystemErrorMap().get(error.errno ?? 0)?.[1] ?? error.message;
  return new PreflightError(`standard output cannot be written: ${why}`, {
    next: changes
      ? 'where the nodes stand is shown by:\n  kubeos status'
      : 'send it elsewhere, or mend that; then give the same command again',
    cause: error,
  });
}

/** The exit code of a command that asks before it changes nodes tells of those, whatever becomes of what it prints. */
const changesNodes = (command: Command): boolean => command.options.some(({ long }) => long === '--yes');

/** Variables that are empty count as not set; commander looks at the process's own. */
function withoutEmpty(io: Io): Io {
  const env = { ...io.env };
  unsetEmpty(env);
  unsetEmpty(process.env);
  return { ...io, env };
}

/** A failure that nobody waited for is a bug, however well it explains itself. */
const asBug = (error: unknown): unknown =>
  error instanceof KubeosError ? new Error(`nobody waited for: ${error.message}`, { cause: error }) : error;

function createDeps(argv: readonly string[], io: Io, version: string, uncaught: UncaughtErrors): Deps {
  return {
    io,
    argv,
    version,
    uncaught,
    clock: systemClock,
    connectCluster: async (settings) => (await import('./cluster/index.ts')).connectCluster(settings),
    createRemote: async (settings, hooks) => (await import('./remote/index.ts')).createRemote(settings, hooks),
  };
}

/** What commander has printed already: what was asked for, or the help where no command was given. */
const SHOWN_HELP: ReadonlySet<string> = new Set(['commander.helpDisplayed', 'commander.version', 'commander.help']);

async function fail(problem: unknown, command: Command, io: Io, version: string): Promise<ExitCode> {
  const error = problem instanceof UsageError ? withNext(problem, command) : problem;
  const { errorToJson, formatData } = await import('./report/index.ts');
  const flags: ShownFlags & { output?: unknown } = command.opts();
  const code = error instanceof KubeosError ? error.exitCode : EXIT.bug;
  if (flags.output === 'json')
    io.stdout.write(await formatData(errorToJson(error, code, version), 'json', clusterWords(flags)));
  await show(error, command, io, version);
  return code;
}

async function show(error: unknown, command: Command, io: Io, version: string): Promise<void> {
  const { renderError } = await import('./report/index.ts');
  const { displayOptions } = await import('./report/display.ts');
  const display = displayOptions(io.env, io.stderr, shownBy(command.opts()));
  for (const line of renderError(error, display, version)) io.stderr.write(`${line}\n`);
}

function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return version;
}

function processIo(lost: LostOutput): Io {
  outliveReaders(process.stdout, (error) => (lost.error ??= error));
  // Of a lost standard error nobody can be told.
  outliveReaders(process.stderr, () => undefined);
  return { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, env: process.env };
}
