import { show } from './findings.ts';
import { likelyMeant, type SpecField } from './names.ts';
import type { Entry } from './nodes.ts';
import { FIELD_KINDS } from './schema.ts';

interface Said {
  message: string;
  mend: string;
}

/** A value that is right for each field that must be given. */
export const EXAMPLES: Readonly<Partial<Record<SpecField, string>>> = {
  imagetype: 'disk',
  opstype: 'upgrade',
  osversion: 'KubeOS 2.0.0',
  maxunavailable: '1',
  dockerimage: 'registry.example.com/kubeos/kubeos:2.0.0',
  containerimage: 'registry.example.com/kubeos/kubeos:2.0.0',
  imageurl: 'https://192.168.122.15/update.img',
  checksum: '<the 64 hex digits that sha256sum prints for it>',
  flagSafe: 'false',
  mtls: 'false',
  cacert: 'ca.crt',
  clientcert: 'client.crt',
  clientkey: 'client.key',
};

/** What to say of a field whose value has the wrong type, or is none of its choices. */
export function typeMessage(field: SpecField, entry: Entry): Said {
  switch (FIELD_KINDS[field]) {
    case 'text':
      return textMessage(field, entry);
    case 'flag':
      return flagMessage(field, entry);
    case 'number':
      return field === 'maxunavailable' ? maxUnavailableMessage(entry) : numberMessage(field);
    case 'choice':
      return choiceMessage(field, entry);
  }
}

/** A value that YAML reads as a whole number, though it is not written in plain digits: 1e3, 0x10, 2.0, +2. */
export const isOddlyWritten = (entry: Entry): boolean =>
  typeof entry.value === 'number' && !/^[1-9]\d*$/.test(entry.raw);

export function oddNumberMessage({ value, raw }: Entry): Said {
  return {
    message: `maxunavailable must be written in plain digits, not ${raw.slice(0, 20)}`,
    mend: `write: maxunavailable: ${String(value)}`,
  };
}

function textMessage(field: SpecField, { value, raw }: Entry): Said {
  if (value === null) return { message: `${field} has no value`, mend: `write: ${field}: ${emptyOrExample(field)}` };
  if (typeof value === 'object') {
    return { message: `${field} must be text, not ${collection(value)}`, mend: `write: ${field}: ${exampleOf(field)}` };
  }
  const kind = typeof value === 'number' ? 'a number' : 'true or false';
  const quoted = raw.length <= 80 ? raw : '…';
  const short = raw.length <= 20 ? raw : `${raw.slice(0, 20)}…`;
  const message = `${field} must be text, but ${short} without quotes is ${kind}`;
  if (field !== 'osversion') return { message, mend: `put it in quotes: ${field}: "${quoted}"` };
  const version = typeof value === 'number' ? `"KubeOS ${quoted}"` : exampleOf(field);
  return { message, mend: `put it in quotes, as the nodes report it: osversion: ${version}` };
}

const MEANS_TRUE = /^(?:true|yes|on|y|1)$/i;
const MEANS_FALSE = /^(?:false|no|off|n|0)$/i;

function flagMessage(field: SpecField, { value, raw }: Entry): Said {
  const shown = typeof value === 'string' && value !== '' ? `, not the text ${show(value)}` : '';
  const message = value === null ? `${field} has no value` : `${field} must be true or false${shown}`;
  const word = raw.trim();
  if (MEANS_TRUE.test(word)) return { message, mend: `write it without quotes: ${field}: true` };
  if (MEANS_FALSE.test(word)) return { message, mend: `write it without quotes: ${field}: false` };
  return { message, mend: `write: ${field}: false (or true)` };
}

function maxUnavailableMessage({ value, raw }: Entry): Said {
  const word = raw.trim();
  if (typeof value === 'number' && value > Number.MAX_SAFE_INTEGER) {
    const mend = 'write a smaller number; one as large as the cluster means all nodes at once';
    return { message: 'maxunavailable is too large', mend };
  }
  const message = 'maxunavailable must be a whole number of at least 1';
  if (typeof value === 'string' && /^[1-9]\d{0,8}$/.test(word)) {
    return { message: `${message}, without quotes`, mend: `write: maxunavailable: ${word}` };
  }
  if (/^\d{1,3}\s*%$/.test(word)) {
    return { message, mend: `write a number here, and give the share on the command line: --maxunavailable ${word}` };
  }
  return { message, mend: 'write a number, for example: maxunavailable: 2' };
}

const numberMessage = (field: SpecField): Said => ({
  message: `${field} must be a whole number`,
  mend: `remove ${field}; it means nothing here`,
});

const CHOICES: Readonly<Partial<Record<SpecField, readonly string[]>>> = {
  imagetype: ['docker', 'disk', 'containerd'],
  opstype: ['upgrade', 'rollback'],
  executionmode: ['parallel', 'serial'],
};

function choiceMessage(field: SpecField, { value, raw }: Entry): Said {
  const choices = CHOICES[field] ?? [];
  const list = `${choices.slice(0, -1).join(', ')} or ${choices.at(-1) ?? ''}`;
  const shown = typeof value === 'object' || raw === '' ? '' : `, not ${show(raw)}`;
  const message = `${field} must be ${list}${shown}`;
  // Only one of these is supported, so the other is no help.
  if (field === 'executionmode') return { message, mend: 'write: executionmode: parallel' };
  const meant = likelyMeant(raw, choices);
  return {
    message,
    mend: `write${meant === undefined ? ', for example' : ''}: ${field}: ${meant ?? exampleOf(field)}`,
  };
}

const collection = (value: object): string => (Array.isArray(value) ? 'a list' : 'a map');

const exampleOf = (field: SpecField): string => EXAMPLES[field] ?? '""';

/** `""` where the field may be empty in some spec, which is the likely meaning of no value. */
const emptyOrExample = (field: SpecField): string => (field === 'osversion' ? exampleOf(field) : '""');
