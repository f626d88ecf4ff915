import { stringify } from 'yaml';

/** Data as YAML. A file of its own, so that the library is loaded only where it is asked for. */
export const yamlText = (data: unknown): string => stringify(data, { lineWidth: 0, aliasDuplicateObjects: false });
