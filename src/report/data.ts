import { adviceLedTo } from './led.ts';

/**
 * Data for programs, as text that ends with a line break.
 * @param toCluster the flags that lead a command which is shown to the same cluster; undefined for none
 */
export async function formatData(data: unknown, format: 'json' | 'yaml', toCluster?: string): Promise<string> {
  const json = JSON.stringify(data, adviceLedTo(toCluster), 2);
  if (format === 'json') return `${json}\n`;
  // Our own file stands between: imported by name when it is called, a bundled CommonJS package shows no names.
  const { yamlText } = await import('./yaml-text.ts');
  return yamlText(JSON.parse(json));
}
