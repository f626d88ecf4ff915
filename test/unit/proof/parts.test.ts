import { expect, test } from 'vitest';
import { withPart } from '../../proof/parts.ts';

test('a part of a page takes the place of the one with its title, and leaves the others alone', () => {
  const page = '# One\n\nold\n\n## Below\n\n# Two\n\ntext\n';
  expect(withPart(page, '# One\n\nnew\n')).toBe('# One\n\nnew\n\n# Two\n\ntext\n');
  expect(withPart(page, '# Two\n\nnew\n')).toBe('# One\n\nold\n\n## Below\n\n# Two\n\nnew\n');
});

test('a part that the page does not have yet comes last', () => {
  expect(withPart('# One\n\ntext\n', '# Two\n\ntext\n')).toBe('# One\n\ntext\n\n# Two\n\ntext\n');
});
