import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { piecesOf } from '../../../src/remote/file-pieces.ts';

let dir: string;
let file: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kubeos-pieces-'));
  file = join(dir, 'file');
  await writeFile(file, '0123456789');
});

afterAll(() => rm(dir, { recursive: true, force: true }));

describe('the pieces of a file', () => {
  it('are all that follows the offset, in order, the last one shorter', async () => {
    const seen: string[] = [];
    for await (const piece of piecesOf(file, 1, 4)) seen.push(piece.toString());
    expect(seen).toEqual(['1234', '5678', '9']);
  });

  it('are none behind the end', async () => {
    for await (const piece of piecesOf(file, 10, 4)) expect.unreachable(piece.toString());
  });

  it('take two buffers, whatever the size of the file', async () => {
    const big = join(dir, 'big');
    await writeFile(big, Buffer.alloc(200_000));
    const buffers = new Set<ArrayBufferLike>();
    // Node.js takes small buffers out of a common one.
    for await (const piece of piecesOf(big, 0, 20_000)) buffers.add(piece.buffer);
    expect(buffers.size).toBe(2);
  });

  it('stay what they are until the next one is asked for, however long that takes', async () => {
    const seen: string[] = [];
    for await (const piece of piecesOf(file, 0, 3)) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      seen.push(piece.toString());
    }
    expect(seen.join('')).toBe('0123456789');
  });

  it('of a file that cannot be read end with the error of the system', async () => {
    const reading = async (): Promise<void> => {
      for await (const piece of piecesOf(join(dir, 'nothing'), 0, 4)) expect.unreachable(piece.toString());
    };
    await expect(reading()).rejects.toMatchObject({ syscall: 'open', code: 'ENOENT' });
  });
});
