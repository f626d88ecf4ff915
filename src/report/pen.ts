import { Chalk } from 'chalk';
import type { Display } from './display.ts';
import { ledTo } from './led.ts';
import { cleanLine, cleanLines, toAscii } from './text.ts';

interface Symbols {
  good: string;
  bad: string;
  warning: string;
  neutral: string;
  ellipsis: string;
  spinner: readonly string[];
}

type Paint = (text: string) => string;

/** What every renderer writes with: the one place for colours, symbols and for making foreign text safe. */
export interface Pen {
  readonly columns: number;
  readonly symbols: Symbols;
  /** One safe line, in ASCII where that is asked for. Everything that is shown goes through here once. */
  readonly line: Paint;
  /** The same for text of several lines. */
  lines(text: string): string[];
  /** Advice, with its commands led to the cluster that kubeos was led to. */
  readonly advice: Paint;
  readonly good: Paint;
  readonly bad: Paint;
  readonly warn: Paint;
  readonly dim: Paint;
  readonly bold: Paint;
}

const UNICODE: Symbols = {
  good: '✓',
  bad: '✗',
  warning: '!',
  neutral: '-',
  ellipsis: '…',
  spinner: ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'],
};

const ASCII: Symbols = {
  good: '+',
  bad: 'x',
  warning: '!',
  neutral: '-',
  ellipsis: '...',
  spinner: ['-', '\\', '|', '/'],
};

export function penFor(display: Display): Pen {
  const chalk = new Chalk({ level: display.colour ? 1 : 0 });
  const encode = display.ascii ? toAscii : (text: string): string => text;
  return {
    columns: display.columns,
    symbols: display.ascii ? ASCII : UNICODE,
    line: (text) => encode(cleanLine(text)),
    lines: (text) => cleanLines(text).map(encode),
    advice: (text) => ledTo(display.toCluster, text),
    good: (text) => chalk.green(text),
    bad: (text) => chalk.red(text),
    warn: (text) => chalk.yellow(text),
    dim: (text) => chalk.dim(text),
    bold: (text) => chalk.bold(text),
  };
}
