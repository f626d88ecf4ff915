/** Data for programs, as text that ends with a line break. */
export async function formatData(data: unknown, format: 'json' | 'yaml'): Promise<string> {
  if (format === 'json') return `${JSON.stringify(data, null, 2)}\n`;
  const { stringify } = await import('yaml');
  return stringify(data, { lineWidth: 0, aliasDuplicateObjects: false });
}
