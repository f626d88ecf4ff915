import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { textSetting } from './settings.ts';

/**
 * Where a run's logs go: `FLAG/RUN`, or `kubeos/runs/RUN` in the user's state folder: XDG_STATE_HOME, which the XDG Base
 * Directory Specification wants absolute, else ~/.local/state.
 */
export function runLogDir(
  run: string,
  flag: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  home: string = homedir(),
): string {
  if (flag !== undefined) return resolve(flag, run);
  const state = textSetting(env, 'XDG_STATE_HOME');
  const root = state !== undefined && isAbsolute(state) ? state : join(home, '.local', 'state');
  return join(root, 'kubeos', 'runs', run);
}
