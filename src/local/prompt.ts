import { closeSync, openSync, writeSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import { ReadStream } from 'node:tty';
import { InterruptedError } from '../errors.ts';

/** As much of a tty.ReadStream as questions need. */
export interface TerminalInput {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
  on(event: 'data', listener: (chunk: Uint8Array | string) => void): unknown;
  on(event: 'end' | 'error', listener: () => void): unknown;
  off(event: 'data', listener: (chunk: Uint8Array | string) => void): unknown;
  off(event: 'end' | 'error', listener: () => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

export interface PromptStreams {
  stdin: TerminalInput;
  /** A terminal here tells that somebody looks on, though both others are elsewhere (`-f - 2>log`). */
  stdout?: { readonly isTTY?: boolean };
  /** Questions go to standard error, so that results can be piped. */
  stderr: TerminalOutput & { readonly isTTY?: boolean };
  /** Opens the terminal itself where one of the two is a pipe (`-f -`, `2>&1 | tee`); undefined: there is none. */
  openTerminal?: () => OpenedTerminal | undefined;
}

interface TerminalOutput {
  write(text: string): unknown;
}

export interface OpenedTerminal extends TerminalOutput {
  readonly input: TerminalInput;
  close(): unknown;
}

export interface ConfirmOptions {
  /** What the question is about, for a terminal that does not show what went to standard error. */
  about?: string | undefined;
  signal?: AbortSignal;
}

/** Asks the person at the terminal. One question at a time, in the order in which they were put. */
export interface Prompter {
  /** Whether there is anyone to ask. Without a terminal every question is answered by no, at once. */
  readonly canAsk: boolean;
  /** Whether somebody sits at standard input, even where there is no way to show them a question. */
  readonly attended: boolean;
  /** A yes/no question; an empty answer and the end of input mean no. Rejects with the signal's reason when aborted. */
  confirm(question: string, options?: ConfirmOptions): Promise<boolean>;
  /** A line of text, typed with an echo; undefined where none was given. */
  text(question: string, signal?: AbortSignal): Promise<string | undefined>;
  /**
   * A secret, typed without an echo; undefined where none was given. Ctrl-C rejects with an InterruptedError: no signal
   * is sent while a terminal is read raw.
   */
  secret(question: string, signal?: AbortSignal): Promise<string | undefined>;
}

export function createPrompter(streams: PromptStreams): Prompter {
  const { stderr } = streams;
  let queue: Promise<unknown> = Promise.resolve();
  const ask = <T>(none: T, signal: AbortSignal | undefined, question: (place: Place) => Promise<T>): Promise<T> => {
    const turn = queue.then(async () => {
      const place = placeToAsk(streams);
      if (place === undefined) return none;
      try {
        signal?.throwIfAborted();
        return await question(place);
      } finally {
        place.close();
      }
    });
    queue = turn.catch(() => undefined);
    return turn;
  };
  return {
    get canAsk() {
      const place = placeToAsk(streams);
      place?.close();
      return place !== undefined;
    },
    attended: streams.stdin.isTTY === true,
    confirm: (question, { about, signal } = {}) =>
      ask(false, signal, ({ input, output }) => {
        if (about !== undefined && output !== stderr) output.write(`${about}\n`);
        return readYesOrNo(input, output, question, signal);
      }),
    text: (question, signal) =>
      ask(undefined, signal, ({ input, output }) => readLine(input, output, question, signal)),
    secret: (question, signal) =>
      ask(undefined, signal, ({ input, output }) => readSecret(input, output, question, signal)),
  };
}

interface Place {
  input: TerminalInput;
  output: TerminalOutput;
  close: () => unknown;
}

/** Where a question is seen and answered. A pipeline, which has a terminal at no end, must never hang on one. */
function placeToAsk({
  stdin,
  stdout,
  stderr,
  openTerminal = openControllingTerminal,
}: PromptStreams): Place | undefined {
  const isTyped = stdin.isTTY === true;
  const isSeen = stderr.isTTY === true;
  if (isTyped && isSeen) return { input: stdin, output: stderr, close: () => undefined };
  const isWatched = isTyped || isSeen || stdout?.isTTY === true;
  const terminal = isWatched ? openTerminal() : undefined;
  if (terminal === undefined) return undefined;
  return { input: terminal.input, output: isSeen ? stderr : terminal, close: () => terminal.close() };
}

/** A process without a controlling terminal, as in a pipeline, cannot open /dev/tty. */
function openControllingTerminal(): OpenedTerminal | undefined {
  try {
    const input = new ReadStream(openSync('/dev/tty', 'r'));
    const output = openSync('/dev/tty', 'w');
    const close = (): void => {
      input.destroy();
      closeSync(output);
    };
    return { input, write: (text) => writeSync(output, text), close };
  } catch {
    return undefined;
  }
}

async function readYesOrNo(
  input: TerminalInput,
  output: TerminalOutput,
  question: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  let typed = '';
  output.write(question);
  return reading(input, signal, output, (text, finish) => {
    if (text === undefined) {
      output.write('\n');
      finish(false);
      return;
    }
    typed += text;
    if (!/[\r\n]/.test(typed)) return;
    const answer = typed.trim().toLowerCase();
    typed = '';
    if (['', 'n', 'no'].includes(answer)) finish(false);
    else if (['y', 'yes'].includes(answer)) finish(true);
    else output.write('Please answer yes or no: ');
  });
}

async function readLine(
  input: TerminalInput,
  output: TerminalOutput,
  question: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  let typed = '';
  output.write(question);
  return reading<string | undefined>(input, signal, output, (text, finish) => {
    typed += text ?? '\n';
    const end = typed.search(/[\r\n]/);
    if (end < 0) return;
    if (text === undefined) output.write('\n');
    finish(end === 0 ? undefined : typed.slice(0, end));
  });
}

async function readSecret(
  input: TerminalInput,
  output: TerminalOutput,
  question: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  let typed: string[] = [];
  output.write(question);
  input.setRawMode?.(true);
  try {
    return await reading<string | undefined>(input, signal, output, (text, finish, fail) => {
      for (const key of keys(text)) {
        if (key === 'interrupt') fail(new InterruptedError('interrupted at a question'));
        else if (key === 'end') finish(typed.length > 0 ? typed.join('') : undefined);
        else if (key === 'erase') typed.pop();
        else if (key === 'erase all') typed = [];
        else if (key.length > 0) typed.push(key);
        if (key === 'interrupt' || key === 'end') return;
      }
    });
  } finally {
    input.setRawMode?.(false);
    if (signal?.aborted !== true) output.write('\n');
  }
}

/** What a raw terminal sends for a key: its character, or what it stands for; arrow keys and the like are left out. */
function keys(text: string | undefined): string[] {
  if (text === undefined) return ['end'];
  return Array.from(text.replace(/\u001b\[[0-9;]*[A-Za-z~]/g, '')).map((character) => KEYS.get(character) ?? character);
}

const KEYS: ReadonlyMap<string, string> = new Map([
  ['\u0003', 'interrupt'],
  ['\u0004', 'end'],
  ['\r', 'end'],
  ['\n', 'end'],
  ['\u007f', 'erase'],
  ['\b', 'erase'],
  ['\u0015', 'erase all'],
  ['\u001b', ''],
]);

type OnText<T> = (text: string | undefined, finish: (value: T) => void, fail: (error: Error) => void) => void;

/**
 * Reads until `onText` has finished; undefined is the end of input, or a terminal that was closed (reading it fails with
 * EIO). Leaves the input paused, without listeners.
 */
async function reading<T>(
  input: TerminalInput,
  signal: AbortSignal | undefined,
  output: TerminalOutput,
  onText: OnText<T>,
): Promise<T> {
  const decoder = new StringDecoder('utf8');
  const { promise, resolve, reject } = withResolvers<T>();
  const onData = (chunk: Uint8Array | string): void =>
    onText(typeof chunk === 'string' ? chunk : decoder.write(Buffer.from(chunk)), resolve, reject);
  const onEnd = (): void => onText(undefined, resolve, reject);
  const onAbort = (): void => {
    output.write('\n');
    reject(signal?.reason);
  };
  input.on('data', onData);
  input.on('end', onEnd);
  input.on('error', onEnd);
  signal?.addEventListener('abort', onAbort, { once: true });
  input.resume();
  try {
    return await promise;
  } finally {
    input.off('data', onData);
    input.off('end', onEnd);
    input.off('error', onEnd);
    signal?.removeEventListener('abort', onAbort);
    input.pause();
  }
}

/** Promise.withResolvers, which Node.js 20 lacks. */
function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (reason: unknown) => void } {
  let settle: { resolve: (value: T) => void; reject: (reason: unknown) => void } | undefined;
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject };
  });
  return { promise, resolve: (value) => settle?.resolve(value), reject: (reason) => settle?.reject(reason) };
}
