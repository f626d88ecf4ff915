import type { YAMLError } from 'yaml';
import type { SourceText } from './source-text.ts';

interface Said {
  message: string;
  mend: string;
}

/** What a YAML syntax error means to the person who wrote the file. */
export function syntaxMessage(error: YAMLError, source: SourceText): Said {
  const at = source.text.slice(error.pos[0], error.pos[0] + 2);
  return byCode(error, at) ?? { message: `broken YAML: ${plainWords(error.message)}`, mend: GENERAL_MEND };
}

const GENERAL_MEND = 'check colons, quotes and the indentation here and on the line above';

function byCode({ code, message }: YAMLError, at: string): Said | undefined {
  switch (code) {
    case 'TAB_AS_INDENT':
      return { message: 'a tab is used for indentation', mend: 'YAML allows spaces only: use two for each level' };
    case 'RESOURCE_EXHAUSTION':
      return { message: 'the file is nested far deeper than a spec', mend: 'check that -f names the right file' };
    case 'BLOCK_AS_IMPLICIT_KEY':
      return {
        message: 'a colon makes a key of this value',
        mend: 'put the value in quotes, or each key on a line of its own, equally indented',
      };
    case 'MULTILINE_IMPLICIT_KEY':
      return {
        message: 'this value runs on into the next line',
        mend: 'indent the next line like this one, and close quotes that are open',
      };
    case 'BAD_SCALAR_START':
      return { message: `a value may not begin with ${at.slice(0, 1)}`, mend: 'put the value in double quotes' };
    case 'BAD_DQ_ESCAPE':
      return { message: 'an unknown escape in double quotes', mend: 'use single quotes, or double each backslash' };
    case 'KEY_OVER_1024_CHARS':
      return { message: 'a key of more than 1024 characters', mend: 'check that -f names the right file' };
    case 'MISSING_CHAR':
      return missing(message);
    case 'BAD_INDENT':
      return { message: 'the indentation does not fit the lines above', mend: 'indent all fields of a map equally' };
    case 'UNEXPECTED_TOKEN':
      return { message: 'this does not belong here', mend: GENERAL_MEND };
    default:
      return undefined;
  }
}

function missing(message: string): Said | undefined {
  if (message.includes('quote')) {
    return { message: 'the closing quote is missing', mend: 'close the quote at the end of the value' };
  }
  if (message.includes('map values')) {
    return { message: 'a key without a colon', mend: 'write: key: value' };
  }
  return undefined;
}

/** The parser's own words, without position and full stop. */
const plainWords = (message: string): string => (message.split('\n')[0] ?? '').replace(/\.$/, '').slice(0, 120);
