/** What the usage instructions' samples hold where a value of one's own belongs. */
const PLACEHOLDERS: ReadonlySet<string> = new Set([
  'edit.os.version',
  'edit.node.upgrade.number',
  'edit.image.url',
  'image.checksum',
  'imageurl.safety',
  'imageurl use mtls or not',
  'ca certificate',
  'client certificate',
  'client certificate key',
  'dockerimage like repository/name:tag',
  'KubeOS pervious version',
]);

export const isPlaceholder = (value: unknown): boolean =>
  typeof value === 'string' && PLACEHOLDERS.has(value.trim().replace(/\s+/g, ' '));

/** `${VERSION}` or `{{ version }}`: a template that nobody filled in. */
export const isTemplateVariable = (value: unknown): boolean =>
  typeof value === 'string' && (value.includes('${') || value.includes('{{'));
