import { UsageError } from '../errors.ts';

export type Labels = Readonly<Record<string, string>>;

/** A label selector, ready to be asked. */
export type LabelSelector = (labels: Labels) => boolean;

/**
 * Reads a label selector as `kubectl -l` does: requirements joined by commas, each `key`, `!key`, `key=value`,
 * `key==value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key>1` or `key<1`. An empty text selects everything.
 * @throws UsageError where it cannot be read
 */
export function parseLabelSelector(text: string): LabelSelector {
  const reader = new Reader(text);
  const requirements: LabelSelector[] = [];
  while (!reader.atEnd()) {
    requirements.push(readRequirement(reader));
    if (reader.atEnd()) break;
    reader.expect(',');
    if (reader.atEnd()) reader.fail('it ends with a comma');
  }
  return (labels) => requirements.every((holds) => holds(labels));
}

function readRequirement(reader: Reader): LabelSelector {
  if (reader.take('!')) {
    const key = reader.key();
    return (labels) => !has(labels, key);
  }
  const key = reader.key();
  const next = reader.peek();
  if (next === undefined || next === ',') return (labels) => has(labels, key);
  reader.advance();
  switch (next) {
    case '=':
    case '==':
      return isOneOf(key, [reader.value()]);
    case '!=':
      return not(isOneOf(key, [reader.value()]));
    case 'in':
      return isOneOf(key, reader.values());
    case 'notin':
      return not(isOneOf(key, reader.values()));
    case '>':
    case '<':
      return ordered(key, next, reader.number());
    default:
      return reader.fail(`${JSON.stringify(next)} is no operator`);
  }
}

const has = (labels: Labels, key: string): boolean => Object.hasOwn(labels, key);

const isOneOf =
  (key: string, values: readonly string[]): LabelSelector =>
  (labels) =>
    has(labels, key) && values.includes(labels[key] ?? '');

/** As in kubectl, a node without the label satisfies `!=` and `notin`. */
const not =
  (selector: LabelSelector): LabelSelector =>
  (labels) =>
    !selector(labels);

function ordered(key: string, operator: '>' | '<', bound: number): LabelSelector {
  return (labels) => {
    const text = labels[key];
    if (text === undefined || !/^-?\d{1,15}$/.test(text)) return false;
    return operator === '>' ? Number(text) > bound : Number(text) < bound;
  };
}

const NAME = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const PREFIX = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;

class Reader {
  readonly #text: string;
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = text.match(/==|!=|[=!(),<>]|[^\s=!(),<>]+/g) ?? [];
  }

  atEnd(): boolean {
    return this.#at >= this.#tokens.length;
  }

  peek(): string | undefined {
    return this.#tokens[this.#at];
  }

  advance(): void {
    this.#at++;
  }

  take(token: string): boolean {
    if (this.peek() !== token) return false;
    this.#at++;
    return true;
  }

  expect(token: string): void {
    if (!this.take(token)) this.fail(`${JSON.stringify(token)} is missing ${this.#where()}`);
  }

  /** A label's key: `name` or `prefix/name` (Kubernetes' rule for qualified names). */
  key(): string {
    const key = this.peek() ?? '';
    const [name = '', prefix, ...more] = key.split('/').reverse();
    if (!NAME.test(name) || (prefix !== undefined && !PREFIX.test(prefix)) || more.length > 0) {
      this.fail(`a label's key is missing or malformed ${this.#where()}`);
    }
    this.#at++;
    return key;
  }

  /** A label's value; empty where none stands here. */
  value(): string {
    const value = this.peek();
    if (value === undefined || value === ',' || value === ')') return '';
    if (!NAME.test(value)) this.fail(`${JSON.stringify(value)} is not a label's value`);
    this.#at++;
    return value;
  }

  values(): readonly string[] {
    this.expect('(');
    const values = [this.value()];
    while (this.take(',')) values.push(this.value());
    this.expect(')');
    return values;
  }

  number(): number {
    const text = this.peek() ?? '';
    if (!/^-?\d{1,15}$/.test(text)) this.fail(`a whole number is missing ${this.#where()}`);
    this.#at++;
    return Number(text);
  }

  fail(why: string): never {
    throw new UsageError(`the label selector ${JSON.stringify(this.#text.slice(0, 200))} cannot be read: ${why}`, {
      next: 'write it as for kubectl -l, for example: zone=a,tier in (web,db),!legacy',
    });
  }

  #where(): string {
    const next = this.peek();
    return next === undefined ? 'at its end' : `before ${JSON.stringify(next)}`;
  }
}
