import type { Deps } from './deps.ts';

/** Notices of a command that draws no progress: a line each on standard error. */
export const noticeOn =
  (deps: Deps) =>
  (message: string, node?: string): void => {
    deps.io.stderr.write(`note: ${node === undefined ? '' : `${node}: `}${message}\n`);
  };
