/** Data for programs, as text that ends with a line break. */
export async function formatData(data: unknown, format: 'json' | 'yaml'): Promise<string> {
  if (format === 'json') return `${JSON.stringify(data, null, 2)}\n`;
  // Our own file stands between: imported by name when it is called, a bundled CommonJS package shows no names.
  const { yamlText } = await import('./yaml-text.ts');
  return yamlText(data);
}
