import type { Slot } from '../rollout/facts.ts';

/** What a custom.cfg changes of the boot that `variables` describe. */
export interface CustomBoot {
  /** The entry that is booted, where it is one of the file's own: which slot it boots, with which arguments. */
  own?: { slot: Slot; kernelArguments: string };
  /** Where GRUB goes on when that entry cannot be loaded. */
  fallback?: Slot;
}

interface OwnEntry {
  id: string;
  lines: string[];
}

/**
 * Follows a custom.cfg as GRUB does, as far as kubeos writes it: comparisons of variables joined by -a, assignments,
 * entries. Throws an Error that quotes the first line of anything else: what GRUB would make of that is not known here.
 * @param variables the environment, with `default` as grub.cfg set it
 */
export function followCustomConfig(text: string, variables: ReadonlyMap<string, string>): CustomBoot {
  const reader = new Reader(variables);
  for (const line of text.split('\n').map((one) => one.trim())) {
    if (line !== '' && !line.startsWith('#')) reader.take(line);
  }
  return reader.end();
}

class Reader {
  readonly #values: Map<string, string>;
  readonly #entries: OwnEntry[] = [];
  /** The entry that is not over yet. */
  #entry: OwnEntry | undefined;
  /** Inside a condition: whether it holds. */
  #holds: boolean | undefined;

  constructor(variables: ReadonlyMap<string, string>) {
    this.#values = new Map(variables);
  }

  take(line: string): void {
    if (this.#entry !== undefined) this.#takeIntoEntry(this.#entry, line);
    else if (line === 'fi' && this.#holds !== undefined) this.#holds = undefined;
    else if (!this.#takeEntry(line) && !this.#takeAssignment(line) && !this.#takeCondition(line)) {
      throw new Error(`not understood: ${line}`);
    }
  }

  end(): CustomBoot {
    if (this.#entry !== undefined || this.#holds !== undefined) throw new Error('it ends too soon');
    return bootOf(this.#entries, this.#values);
  }

  #takeIntoEntry(entry: OwnEntry, line: string): void {
    if (line !== '}') entry.lines.push(line);
    else {
      if (this.#holds !== false) this.#entries.push(entry);
      this.#entry = undefined;
    }
  }

  #takeEntry(line: string): boolean {
    const id = /^menuentry '[^']*' --unrestricted --id (\S+) \{$/.exec(line)?.[1];
    if (id !== undefined) this.#entry = { id, lines: [] };
    return id !== undefined;
  }

  #takeAssignment(line: string): boolean {
    const [, name, value] = /^set (\w+)=(\S*)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) return false;
    if (this.#holds !== false) this.#values.set(name, value);
    return true;
  }

  #takeCondition(line: string): boolean {
    const condition = /^if \[ (.+) \]; then$/.exec(line)?.[1];
    if (condition === undefined || this.#holds !== undefined) return false;
    this.#holds = condition.split(' -a ').every((comparison) => {
      const compared = /^"\$\{(\w+)\}" = "([^"]*)"$/.exec(comparison);
      if (compared === null) throw new Error(`not understood: ${line}`);
      return (this.#values.get(compared[1] ?? '') ?? '') === compared[2];
    });
    return true;
  }
}

function bootOf(entries: readonly OwnEntry[], values: ReadonlyMap<string, string>): CustomBoot {
  const own = entries.find(({ id }) => id === values.get('default'));
  const fallback = values.get('fallback');
  return {
    ...(own === undefined ? {} : { own: { slot: slotOf(own), kernelArguments: kernelLine(own) } }),
    // Only places are understood, as GRUB 2.06 does.
    ...(fallback === '0' ? { fallback: 'A' } : fallback === '1' ? { fallback: 'B' } : {}),
  };
}

const kernelLine = ({ lines }: OwnEntry): string => lines.find((line) => line.startsWith('linux ')) ?? '';

function slotOf({ id, lines }: OwnEntry): Slot {
  const found = lines.map((line) => /--label ROOT-([AB])$|,(?:gpt|msdos)([23])'$/.exec(line)).find(Boolean);
  const named = found?.[1] ?? (found?.[2] === '2' ? 'A' : found?.[2] === '3' ? 'B' : undefined);
  if (named !== 'A' && named !== 'B') throw new Error(`the entry ${id} names no slot`);
  return named;
}
