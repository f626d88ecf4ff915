import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { InterruptedError } from '../../../src/errors.ts';
import { createPrompter } from '../../../src/local/prompt.ts';

class FakeInput extends PassThrough {
  readonly isTTY: boolean;
  raw: boolean[] = [];
  destroyedByUs = false;
  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }
  setRawMode(raw: boolean): this {
    this.raw.push(raw);
    return this;
  }
}

interface Setting {
  stdinIsTerminal?: boolean;
  stdoutIsTerminal?: boolean;
  stderrIsTerminal?: boolean;
  terminal?: FakeInput;
}

function prompter(options: Setting = {}) {
  const stdin = new FakeInput(options.stdinIsTerminal ?? true);
  let asked = '';
  const stderr = { isTTY: options.stderrIsTerminal ?? true, write: (text: string) => (asked += text) };
  const stdout = { isTTY: options.stdoutIsTerminal ?? false };
  const { terminal } = options;
  let shown = '';
  const openTerminal = () =>
    terminal && { input: terminal, write: (text: string) => (shown += text), close: () => terminal.destroy() };
  return {
    stdin,
    asked: () => asked,
    shown: () => shown,
    ...wrap(createPrompter({ stdin, stdout, stderr, openTerminal })),
  };
}

const wrap = (ask: ReturnType<typeof createPrompter>) => ({ ask });

describe('a yes/no question', () => {
  it.each([
    ['y\n', true],
    ['YES\n', true],
    [' yes \r\n', true],
    ['\n', false],
    ['n\n', false],
    ['no\n', false],
    ['maybe\ny\n', true],
  ])('%j means %s', async (typed, expected) => {
    const { ask, stdin } = prompter();
    const answer = ask.confirm('Go on? ');
    for (const line of typed.match(/[^\n]*\n/g) ?? []) {
      stdin.write(line);
      await new Promise(setImmediate);
    }
    expect(await answer).toBe(expected);
  });

  it('is asked on standard error, and the end of input means no', async () => {
    const { ask, stdin, asked } = prompter();
    const answer = ask.confirm('Go on? [y/N] ');
    stdin.end();
    expect(await answer).toBe(false);
    expect(asked()).toBe('Go on? [y/N] \n');
  });

  it('a terminal that is closed meanwhile means no', async () => {
    const { ask, stdin } = prompter();
    const answer = ask.confirm('Go on? ');
    await new Promise(setImmediate);
    stdin.emit('error', Object.assign(new Error('read EIO'), { code: 'EIO' }));
    expect(await answer).toBe(false);
  });

  it('is never asked without a terminal', async () => {
    const terminal = new FakeInput(true);
    const pipeline = { stdinIsTerminal: false, stderrIsTerminal: false, terminal };
    for (const options of [{ stderrIsTerminal: false }, { stdinIsTerminal: false }, pipeline]) {
      const { ask, asked } = prompter(options);
      expect(ask.canAsk).toBe(false);
      expect(await ask.confirm('Go on? ')).toBe(false);
      expect(await ask.secret('Passphrase: ')).toBeUndefined();
      expect(asked()).toBe('');
    }
  });

  it('is asked at the terminal itself where the spec comes from standard input', async () => {
    const terminal = new FakeInput(true);
    const { ask } = prompter({ stdinIsTerminal: false, terminal });
    const answer = ask.confirm('Go on? ');
    terminal.write('y\n');
    expect(await answer).toBe(true);
    expect(terminal.destroyed).toBe(true);
  });

  it('is asked at the terminal itself, with what it is about, where standard error goes elsewhere', async () => {
    const terminal = new FakeInput(true);
    const { ask, asked, shown } = prompter({ stderrIsTerminal: false, terminal });
    expect(ask.attended).toBe(true);
    const answer = ask.confirm('Go on? ', { about: 'Upgrade 2 of 3 nodes' });
    await new Promise(setImmediate);
    terminal.write('n\n');
    expect(await answer).toBe(false);
    expect(terminal.destroyed).toBe(true);
    expect([asked(), shown()]).toEqual(['', 'Upgrade 2 of 3 nodes\nGo on? ']);
  });

  it('is asked at the terminal itself where standard output alone shows that somebody looks on', async () => {
    const terminal = new FakeInput(true);
    const { ask, shown } = prompter({
      stdinIsTerminal: false,
      stderrIsTerminal: false,
      stdoutIsTerminal: true,
      terminal,
    });
    const answer = ask.confirm('Go on? ', { about: 'Upgrade 2 of 3 nodes' });
    await new Promise(setImmediate);
    terminal.write('y\n');
    expect(await answer).toBe(true);
    expect(shown()).toBe('Upgrade 2 of 3 nodes\nGo on? ');
  });

  it('says what it is about only where that was not seen', async () => {
    const { ask, stdin, asked } = prompter();
    const answer = ask.confirm('Go on? ', { about: 'Upgrade 2 of 3 nodes' });
    stdin.write('y\n');
    expect(await answer).toBe(true);
    expect(asked()).toBe('Go on? ');
  });

  it('knows that somebody sits there who cannot be asked', () => {
    expect(prompter({ stderrIsTerminal: false }).ask).toMatchObject({ attended: true, canAsk: false });
    expect(prompter({ stdinIsTerminal: false }).ask).toMatchObject({ attended: false, canAsk: false });
  });

  it('ends with the reason of its signal', async () => {
    const { ask, stdin } = prompter();
    const stop = new AbortController();
    const answer = ask.confirm('Go on? ', { signal: stop.signal });
    await new Promise(setImmediate);
    stop.abort(new InterruptedError());
    await expect(answer).rejects.toBeInstanceOf(InterruptedError);
    expect(stdin.listenerCount('data')).toBe(0);
    expect(stdin.isPaused()).toBe(true);
  });

  it('waits for the one before it', async () => {
    const { ask, stdin, asked } = prompter();
    const first = ask.confirm('First? ');
    const second = ask.confirm('Second? ');
    await new Promise(setImmediate);
    expect(asked()).toBe('First? ');
    stdin.write('y\n');
    expect(await first).toBe(true);
    stdin.write('n\n');
    expect(await second).toBe(false);
    expect(asked()).toBe('First? Second? ');
  });
});

describe('a secret', () => {
  it.each([
    ['hunter2\r', 'hunter2'],
    ['größ日\r', 'größ日'],
    ['hunterr\u007f2\r', 'hunter2'],
    ['wrong\u0015right\r', 'right'],
    ['a\u001b[Db\r', 'ab'],
    ['\r', undefined],
    ['\u0004', undefined],
  ])('typed as %j is %j', async (typed, expected) => {
    const { ask, stdin, asked } = prompter();
    const answer = ask.secret('Passphrase: ');
    stdin.write(typed);
    expect(await answer).toBe(expected);
    expect(asked()).toBe('Passphrase: \n');
    expect(stdin.raw).toEqual([true, false]);
  });

  it('survives a character that arrives in two pieces', async () => {
    const { ask, stdin } = prompter();
    const answer = ask.secret('Passphrase: ');
    const [first, ...rest] = Buffer.from('ö\r');
    stdin.write(Buffer.from([first ?? 0]));
    await new Promise(setImmediate);
    stdin.write(Buffer.from(rest));
    expect(await answer).toBe('ö');
  });

  it('is interrupted by Ctrl-C, and the terminal echoes again', async () => {
    const { ask, stdin } = prompter();
    const answer = ask.secret('Passphrase: ');
    stdin.write('abc\u0003');
    await expect(answer).rejects.toBeInstanceOf(InterruptedError);
    expect(stdin.raw).toEqual([true, false]);
  });
});

describe('a question that is withdrawn', () => {
  it('leaves the terminal as it was, and makes room for the next one', async () => {
    const { ask, stdin, asked } = prompter();
    const stop = new AbortController();
    const answer = ask.secret('First: ', stop.signal);
    const next = ask.secret('Next: ');
    await new Promise(setImmediate);
    stop.abort(new Error('withdrawn'));
    await expect(answer).rejects.toThrow('withdrawn');
    stdin.write('b\r');
    expect(await next).toBe('b');
    expect(asked()).toBe('First: \nNext: \n');
    expect(stdin.raw).toEqual([true, false, true, false]);
  });

  it('before its turn came is never shown', async () => {
    const { ask, stdin, asked } = prompter();
    const stop = new AbortController();
    const first = ask.text('First: ');
    const answer = ask.secret('Next: ', stop.signal);
    stop.abort(new Error('withdrawn'));
    stdin.write('a\n');
    expect(await first).toBe('a');
    await expect(answer).rejects.toThrow('withdrawn');
    expect(asked()).toBe('First: ');
  });
});

describe('a line of text', () => {
  it.each([
    ['123456\n', '123456'],
    ['123456\r', '123456'],
    ['\n', undefined],
  ])('typed as %j is %j, and the terminal echoes it', async (typed, expected) => {
    const { ask, stdin, asked } = prompter();
    const answer = ask.text('Code: ');
    stdin.write(typed);
    expect(await answer).toBe(expected);
    expect(asked()).toBe('Code: ');
    expect(stdin.raw).toEqual([]);
  });

  it('is given up when the command ends meanwhile', async () => {
    const { ask } = prompter();
    const ending = new AbortController();
    const answer = ask.text('Code: ', ending.signal);
    ending.abort(new InterruptedError());
    await expect(answer).rejects.toBeInstanceOf(InterruptedError);
  });
});
