import { readFileSync } from 'node:fs';
import { CommanderError, type Command } from 'commander';
import type { Deps, Io } from './commands/deps.ts';
import { commandPath, findCommand, usageError } from './commands/usage.ts';
import { KubeosError, UsageError } from './errors.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { systemClock } from './local/clock.ts';
import { outliveReaders } from './local/streams.ts';
import { createProgram } from './program.ts';

/**
 * Runs one command line: the composition root, and the only place that maps an error to an exit code.
 * @param argv the arguments after the program's name
 */
export async function main(argv: readonly string[], io: Io = processIo()): Promise<ExitCode> {
  const version = packageVersion();
  let code: ExitCode = EXIT.done;
  const program = createProgram(createDeps(argv, io, version), version, (finished) => (code = finished));
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (error) {
    const called = findCommand(program, argv);
    if (!(error instanceof CommanderError)) return await fail(error, called, io, version);
    if (SHOWN_HELP.has(error.code)) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    return await fail(usageError(error, called), called, io, version);
  }
}

function createDeps(argv: readonly string[], io: Io, version: string): Deps {
  return {
    io,
    argv,
    version,
    clock: systemClock,
    connectCluster: async (settings) => (await import('./cluster/index.ts')).connectCluster(settings),
    createRemote: async (settings, hooks) => (await import('./remote/index.ts')).createRemote(settings, hooks),
  };
}

/** What commander has printed already: what was asked for, or the help where no command was given. */
const SHOWN_HELP: ReadonlySet<string> = new Set(['commander.helpDisplayed', 'commander.version', 'commander.help']);

async function fail(error: unknown, command: Command, io: Io, version: string): Promise<ExitCode> {
  const { errorToJson, renderError } = await import('./report/index.ts');
  const { displayOptions } = await import('./report/display.ts');
  const flags: { output?: unknown; ascii?: unknown } = command.opts();
  const code = error instanceof KubeosError ? error.exitCode : EXIT.bug;
  if (flags.output === 'json') io.stdout.write(`${JSON.stringify(errorToJson(error, code, version), null, 2)}\n`);
  const display = displayOptions(io.env, io.stderr, { ascii: flags.ascii === true });
  for (const line of renderError(error, display, version)) io.stderr.write(`${line}\n`);
  if (error instanceof UsageError && error.next === undefined)
    io.stderr.write(`(${commandPath(command)} --help shows the flags)\n`);
  return code;
}

function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return version;
}

function processIo(): Io {
  outliveReaders([process.stdout, process.stderr]);
  return { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, env: process.env };
}
