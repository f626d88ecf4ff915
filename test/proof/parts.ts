/**
 * The page with this part in the place of the one that has the same title, a line `# …`; at the end where there is
 * none. Several commands write a part each of docs/proof.md.
 */
export function withPart(page: string, part: string): string {
  const titleOf = (text: string): string => text.slice(0, text.indexOf('\n'));
  const parts = page.split(/^(?=# )/m).filter((text) => text !== '');
  const others = parts.map((text) => (titleOf(text) === titleOf(part) ? part : text));
  const all = others.includes(part) ? others : [...others, part];
  return all.map((text) => `${text.trimEnd()}\n`).join('\n');
}
