import { readFileSync } from 'node:fs';
import { CommanderError, type Command } from 'commander';
import type { Deps, Io } from './commands/deps.ts';
import { KubeosError, UsageError } from './errors.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { systemClock } from './local/clock.ts';
import { createProgram } from './program.ts';

/**
 * Runs one command line: the composition root, and the only place that maps an error to an exit code.
 * @param argv the arguments after the program's name
 */
export async function main(argv: readonly string[], io: Io = processIo()): Promise<ExitCode> {
  const version = packageVersion();
  let code: ExitCode = EXIT.done;
  let called: Command | undefined;
  const program = createProgram(createDeps(io, version), version, (finished) => (code = finished));
  program.hook('preAction', (_program, command) => {
    called = command;
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    return await fail(error, called, io, version);
  }
}

function createDeps(io: Io, version: string): Deps {
  return {
    io,
    version,
    clock: systemClock,
    connectCluster: async (settings) => (await import('./cluster/index.ts')).connectCluster(settings),
    createRemote: async (settings, hooks) => (await import('./remote/index.ts')).createRemote(settings, hooks),
  };
}

async function fail(error: unknown, command: Command | undefined, io: Io, version: string): Promise<ExitCode> {
  const { errorToJson, renderError } = await import('./report/index.ts');
  const { displayOptions } = await import('./report/display.ts');
  const flags: { output?: unknown; ascii?: unknown } = command?.opts() ?? {};
  const code = error instanceof KubeosError ? error.exitCode : EXIT.bug;
  if (flags.output === 'json') io.stdout.write(`${JSON.stringify(errorToJson(error, code, version), null, 2)}\n`);
  const display = displayOptions(io.env, io.stderr, { ascii: flags.ascii === true });
  for (const line of renderError(error, display, version)) io.stderr.write(`${line}\n`);
  if (error instanceof UsageError)
    io.stderr.write(`(kubeos ${command?.name() ?? ''} --help shows the flags)\n`.replace('  ', ' '));
  return code;
}

function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return version;
}

function processIo(): Io {
  // A reader that went away, as in `kubeos status | head`, is no failure of ours.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  return { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, env: process.env };
}
