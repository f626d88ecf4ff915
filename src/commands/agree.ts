import { UsageError } from '../errors.ts';
import { createPrompter } from '../local/index.ts';
import type { Deps } from './deps.ts';

interface Question {
  question: string;
  /** In a line, what is agreed to: whoever sends standard error elsewhere has not seen the plan. */
  about: string;
  signal: AbortSignal;
}

/**
 * Asks before nodes are changed. Without a terminal nobody is asked: a pipeline that gives the command means it.
 * @throws UsageError where somebody sits at a terminal and cannot be asked: that they said nothing is no yes
 */
export async function agreedTo(deps: Deps, { yes }: { yes: boolean }, asked: Question): Promise<boolean> {
  const prompter = createPrompter(deps.io);
  deps.io.stderr.write('\n');
  if (yes) return true;
  if (prompter.canAsk) return prompter.confirm(asked.question, asked);
  if (!prompter.attended) return true;
  throw new UsageError('there is no way to ask you: nothing was changed', {
    reason: 'standard input is a terminal, standard error is not, and /dev/tty cannot be opened',
    next: `if you agree to this, say so: --yes\n${asked.about}`,
  });
}
