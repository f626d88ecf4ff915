import { quote } from './quote.ts';

/** Arguments of a node script; undefined ones are left out. */
export type ScriptArguments = Readonly<Record<string, string | number | boolean | undefined>>;

/** Printed before a script's answers, so that what a login shell prints of its own is told apart from them. */
export const ANSWER_MARK = 'kubeos-answer:';

/** A script with its library and its call in one piece, as docs/node-protocol.md says. */
export function composeScript(script: string, args: ScriptArguments): string {
  return `${withNewline(script)}${callOfMain(args, '')}`;
}

/** The same for a script whose answers come straight back: they follow a line with `ANSWER_MARK`. */
export function composeCall(script: string, args: ScriptArguments): string {
  return `${withNewline(script)}${callOfMain(args, `echo ${ANSWER_MARK}; `)}`;
}

/**
 * The same for a script that reads on from the channel, as its descriptor 3. The shell ends with it: what it left unread
 * is no script.
 */
export function composeFedCall(script: string, args: ScriptArguments): string {
  return `${withNewline(script)}${callOfMain(args, `echo ${ANSWER_MARK}; `, '3<&0 ', ' exit;')}`;
}

// A shell reads a braced group to its end before it runs any of it, so a call that was cut off, be it between two
// arguments, runs nothing.
function callOfMain(args: ScriptArguments, before: string, input = '', after = ''): string {
  const words = Object.entries(args)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => quote(`${key}=${String(value)}`));
  return `{ ${before}${['main', ...words].join(' ')} ${input}</dev/null;${after} }\n`;
}

function withNewline(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}
