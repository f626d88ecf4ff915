import { UsageError } from '../errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Never handed to another program: it would stand in that program's environment for anyone to read. */
const SECRETS = ['KUBEOS_SSH_PASSPHRASE', 'KUBEOS_SSH_PASSWORD', 'KUBEOS_SUDO_PASSWORD', 'KUBEOS_PROXY'] as const;

/** An environment variable that is empty counts as not set, as with the tools that people know. */
export function textSetting(env: Environment, name: string): string | undefined {
  const value = env[name];
  return value === undefined || value === '' ? undefined : value;
}

/** Takes the variables of kubeos that are empty out of an environment: they count as not set, as `textSetting` says. */
export function unsetEmpty(env: Record<string, string | undefined>): void {
  for (const [name, value] of Object.entries(env)) {
    if (value === '' && name.startsWith('KUBEOS_')) Reflect.deleteProperty(env, name);
  }
}

/**
 * An environment variable that says yes or no; undefined where it is not set.
 * @throws UsageError for anything else: a misspelt `ture` must not pass for no
 */
export function flagSetting(env: Environment, name: string): boolean | undefined {
  const value = textSetting(env, name);
  if (value === undefined) return undefined;
  const meaning = MEANINGS.get(value.toLowerCase());
  if (meaning === undefined) {
    throw new UsageError(`${name} is neither yes nor no: ${JSON.stringify(value.slice(0, 40))}`, {
      next: `set it to true or false, or unset it`,
    });
  }
  return meaning;
}

/**
 * A password in an environment variable; undefined where it is not set.
 * @throws UsageError where it holds a line break or another control character, which no password prompt can be given;
 *   the value itself is not shown
 */
export function secretSetting(env: Environment, name: (typeof SECRETS)[number]): string | undefined {
  const value = textSetting(env, name);
  if (value === undefined || !/\p{Cc}/u.test(value)) return value;
  throw new UsageError(`${name} holds a line break or another control character`, {
    next: `set it without; from a file: ${name}="$(cat FILE)"`,
  });
}

/** The environment for programs that kubeos runs. */
export function childEnvironment(env: Environment): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !SECRETS.some((secret) => secret === name)));
}

const MEANINGS: ReadonlyMap<string, boolean> = new Map([
  ...['1', 'true', 'yes', 'on'].map((word) => [word, true] as const),
  ...['0', 'false', 'no', 'off'].map((word) => [word, false] as const),
]);
