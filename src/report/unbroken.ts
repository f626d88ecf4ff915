import { KUBECTL_VERBS } from './led.ts';
import { width, wrap } from './text.ts';

/** Commands that messages tell to run, up to the end of the line or of the bracket, `, ` or `; `. */
const COMMAND = new RegExp(
  String.raw`(?<![\w./-])(?:` +
    [
      `kubectl (?:-n [^ ]+ |(?:'--[^']*'|--[^' ]+) )*(?:${KUBECTL_VERBS}) `,
      'kubeos (?:validate|plan|upgrade|rollback|status|logs|lock|lab)(?![\\w-])',
      'ssh-key(?:gen|scan) -',
      'systemctl [a-z-]+',
      'chronyc [a-z]+',
      'mount -o ',
    ].join('|') +
    String.raw`)(?:(?![,;] |\)|[,;]$).)*`,
  'g',
);

/** A space that no line is broken at while text is laid out; private use (Unicode, 23.5), so that no text has it. */
const GLUE = '\ue000';

/**
 * As `wrap`, but never breaks a command that a person copies: one that does not fit begins a line of its own, and is as
 * wide there as it is.
 */
export function wrapUnbroken(text: string, columns: number): string[] {
  if (width(text) <= columns) return [text];
  const glued = text.replace(COMMAND, (command) => command.trimEnd().replaceAll(' ', GLUE));
  if (glued === text) return wrap(text, columns);
  const tooWide = glued.split(' ').find((word) => word.includes(GLUE) && width(word) > columns);
  if (tooWide === undefined) return wrap(glued, columns).map(loosened);
  const at = glued.indexOf(tooWide);
  const parts = [glued.slice(0, at).trimEnd(), tooWide, glued.slice(at + tooWide.length).trimStart()];
  return parts.flatMap((part) =>
    part === '' ? [] : part === tooWide ? [loosened(part)] : wrapUnbroken(loosened(part), columns),
  );
}

const loosened = (line: string): string => line.replaceAll(GLUE, ' ');
