import { CommanderError, type Command } from 'commander';
import { describe, expect, it } from 'vitest';
import type { Deps } from '../../../src/commands/deps.ts';
import { commandPath, findCommand, usageError, withNext } from '../../../src/commands/usage.ts';
import { UsageError } from '../../../src/errors.ts';
import { UncaughtErrors } from '../../../src/local/uncaught.ts';
import { EXIT_MEANINGS } from '../../../src/exit-codes.ts';
import { createProgram } from '../../../src/program.ts';

function program(): { program: Command; shown: () => string } {
  let shown = '';
  const stream = { write: (text: string) => ((shown += text), true) };
  const io = { stdin: process.stdin, stdout: stream, stderr: stream, env: {} };
  const deps: Deps = {
    io,
    argv: [],
    version: '0.1.0',
    uncaught: new UncaughtErrors(),
    clock: { now: () => 0, sleep: () => Promise.resolve() },
    connectCluster: () => Promise.reject(new Error('no cluster in this test')),
    createRemote: () => Promise.reject(new Error('no node in this test')),
  };
  return { program: createProgram(deps, '0.1.0', () => undefined), shown: () => shown };
}

/** What a command line that cannot be meant is answered with. */
async function complaint(argv: readonly string[]): Promise<string[]> {
  const { program: tree } = program();
  try {
    await tree.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    const usage = error instanceof CommanderError ? usageError(error, findCommand(tree, argv)) : error;
    if (!(usage instanceof UsageError)) throw usage;
    const { message, next } = withNext(usage, findCommand(tree, argv));
    return [message, ...(next?.split('\n') ?? [])];
  }
  throw new Error('nothing was wrong with it');
}

describe('a command line that cannot be meant', () => {
  it.each([
    [['upgrade'], ['kubeos upgrade needs a spec', 'kubeos upgrade -f FILE']],
    [
      ['plan'],
      [
        'plan of what?',
        'what a spec leads to: kubeos plan -f FILE',
        'a rollback without a spec: kubeos plan --to-previous, or --to-other-slot',
      ],
    ],
    [
      ['plan', '--to-previous', '--to-other-slot'],
      [
        'one way at a time: not --to-previous and --to-other-slot together',
        'what a spec leads to: kubeos plan -f FILE',
        'a rollback without a spec: kubeos plan --to-previous, or --to-other-slot',
      ],
    ],
    [
      ['plan', '--to-previous', '--via', 'ssh'],
      ['--via is for upgrades: a rollback brings no image', 'leave it out'],
    ],
    [
      ['validate', '-f', 'a.yaml', '--file', 'b.yaml'],
      [
        '--file: "a.yaml" and "b.yaml" are two specs',
        'give one -f; to check or roll out several, one command for each',
      ],
    ],
    [
      ['rollback', '-f', ''],
      ['--file: "" is no file', 'give the path of the spec, or - to read standard input'],
    ],
    [
      ['upgrade', '--nodez', 'a'],
      ["unknown option '--nodez'", 'did you mean --nodes?', 'kubeos upgrade --help shows the flags'],
    ],
    [
      ['upgrade', 'my spec.yaml'],
      [
        'kubeos upgrade takes no argument "my spec.yaml"',
        "if it is the spec: kubeos upgrade -f 'my spec.yaml'",
        'kubeos upgrade --help shows the flags',
      ],
    ],
    [['upgrad'], ["unknown command 'upgrad'", 'did you mean upgrade?', 'kubeos --help shows the commands']],
    [
      ['status', '-o', 'jsn'],
      ['--output: "jsn" is none of these: text, wide, json, yaml', 'did you mean json?'],
    ],
    [
      ['upgrade', '-f', 'a', '--via', 'ftp'],
      ['--via: "ftp" is none of these: curl, wget, ssh', 'kubeos upgrade --help shows the flags'],
    ],
    [
      ['help', 'upgrad'],
      ["unknown command 'upgrad'", 'did you mean upgrade?', 'kubeos --help shows the commands'],
    ],
    [
      ['help', 'lab', 'nonsense'],
      ["unknown command 'nonsense'", 'kubeos lab --help shows the commands'],
    ],
    [
      ['help', 'status', 'x'],
      ["unknown command 'x'", 'kubeos status --help shows the flags'],
    ],
    [['logs'], ["missing required argument 'node'", 'kubeos logs --help shows the flags']],
    [
      ['lab', 'fault', 'a', 'b', 'c'],
      ['kubeos lab fault takes no argument "c"', 'kubeos lab fault --help shows the flags'],
    ],
    [
      ['status', '--ssh-port', 'x'],
      ['--ssh-port: "x" is not a whole number of at least 1', 'kubeos status --help shows the flags'],
    ],
    [
      ['upgrade', '-f', 'a', '--lock-duration', '90'],
      ['--lock-duration: "90" is not a duration', 'write it like 60s, 90s or 2m; 15s at least'],
    ],
    [
      ['upgrade', '-f', 'a', '--drain-timeout', '10'],
      ['--drain-timeout: "10" is not a duration', 'write it like 90s, 10m or 1h30m; 0 waits for ever'],
    ],
  ])('%j', async (argv, expected) => {
    expect(await complaint(argv)).toEqual(expected);
  });
});

describe('the help', () => {
  const leaves = (command: Command): Command[] =>
    command.commands.length === 0 ? [command] : [command, ...command.commands.flatMap(leaves)];
  const all = leaves(program().program);

  it.each(all.map((command) => [commandPath(command), command] as const))('of %s fits 80 columns', (_path, command) => {
    let help = '';
    command.configureOutput({ writeOut: (text) => (help += text) });
    command.outputHelp();
    expect(help.split('\n').filter((line) => line.length > 80)).toEqual([]);
    expect(help).not.toContain('default: false');
  });

  const helpOf = (path: string): string => {
    const { program: tree, shown } = program();
    findCommand(tree, path.split(' ')).outputHelp();
    return shown();
  };

  it.each(all.filter(({ commands, parent }) => commands.length === 0 && parent !== null).map(commandPath))(
    'of %s is in the style of all: a sentence, an example, the exit codes',
    (whole) => {
      const help = helpOf(whole.replace('kubeos ', ''));
      if (whole === 'kubeos lab run') return;
      expect(help).toMatch(/^Usage: kubeos [^\n]+\n\n[A-Z][^]*\.\n\n/);
      expect(help).toMatch(/\nExamples:\n {2}# [^\n]+\n {2}kube[^]*\n\nExit codes:\n {4}0 {2}/);
    },
  );

  it('of a command below another is shown by its whole name', async () => {
    const { program: tree, shown } = program();
    await expect(tree.parseAsync(['help', 'lab', 'start'], { from: 'user' })).rejects.toMatchObject({ exitCode: 0 });
    expect(shown()).toMatch(/^Usage: kubeos lab start /);
  });

  it('says what every code means that a command ends with', () => {
    for (const name of ['validate', 'plan', 'upgrade', 'rollback', 'logs']) {
      expect(helpOf(name)).toContain(`\nExit codes:\n    0  ${EXIT_MEANINGS.get(0) ?? ''}\n`);
    }
    for (const name of ['status', 'lock status']) {
      expect(helpOf(name)).toContain('\nExit codes:\n    0  shown, whatever it shows\n');
      expect(helpOf(name)).toContain("\n   10  the cluster's API cannot be reached or refuses the login\n");
    }
    const { program: tree, shown } = program();
    tree.outputHelp();
    for (const [code, meaning] of EXIT_MEANINGS) expect(shown()).toContain(`${String(code).padStart(5)}  ${meaning}`);
  });
});
