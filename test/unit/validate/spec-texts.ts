import { validateSpec, type Diagnostic } from '../../../src/validate/index.ts';

export const HEAD = 'apiVersion: upgrade.openeuler.org/v1alpha1\nkind: OS\nmetadata:\n  name: os-sample\nspec:\n';
export const SHA256 = '9f2c5d0e7b1a4c3f8e6d2b9a0c7f4e1d3b5a8c6e9f0d2b4a7c1e3f5d8b6a41aa';

/** Fields of a spec as they stand in the file, in order from line 6; undefined leaves one out. */
export type Fields = Readonly<Record<string, string | undefined>>;

const DISK: Fields = {
  imagetype: 'disk',
  opstype: 'upgrade',
  osversion: 'KubeOS 2.0.0',
  maxunavailable: '2',
  dockerimage: '""',
  imageurl: 'https://192.168.122.15/update.img',
  checksum: SHA256,
  flagSafe: 'false',
  mtls: 'false',
  cacert: 'ca.crt',
};

const DOCKER: Fields = {
  ...DISK,
  imagetype: 'docker',
  dockerimage: 'registry.example.com/kubeos/kubeos:2.0.0',
  imageurl: '""',
  checksum: '""',
  cacert: undefined,
};

const ROLLBACK: Fields = { ...DOCKER, imagetype: '""', opstype: 'rollback', dockerimage: '""' };

export const diskSpec = (changes: Fields = {}): string => specText({ ...DISK, ...changes });
export const dockerSpec = (changes: Fields = {}): string => specText({ ...DOCKER, ...changes });
export const rollbackSpec = (changes: Fields = {}): string => specText({ ...ROLLBACK, ...changes });

/** `error type 9:19 message = mend`, one for each finding. */
export const findingsOf = (text: string | Uint8Array): string[] =>
  validateSpec(text, 'os.yaml').diagnostics.map(described);

function described({ severity, rule, line, column, message, mend }: Diagnostic): string {
  return `${severity} ${rule} ${line ?? '-'}:${column ?? '-'} ${message}${mend === undefined ? '' : ` = ${mend}`}`;
}

function specText(fields: Fields): string {
  const lines = Object.entries(fields).filter(([, value]) => value !== undefined);
  return HEAD + lines.map(([name, value]) => `  ${name}: ${value ?? ''}\n`).join('');
}
