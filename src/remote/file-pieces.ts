import { open, type FileHandle } from 'node:fs/promises';

/**
 * Reads a file from `offset` to its end. The next piece is read while one is looked at; there are two buffers in all, so
 * a piece holds only until the next one is asked for. Fresh buffers cost a quarter of a sender's processor time (seen).
 * Rejects with the system's error.
 */
export async function* piecesOf(path: string, offset: number, pieceBytes: number): AsyncGenerator<Buffer> {
  const file = await open(path);
  try {
    let [buffer, other] = [Buffer.allocUnsafe(pieceBytes), Buffer.allocUnsafe(pieceBytes)];
    let at = offset;
    let reading = read(file, buffer, at);
    for (;;) {
      const { bytesRead } = await reading;
      if (bytesRead === 0) return;
      at += bytesRead;
      const piece = buffer.subarray(0, bytesRead);
      [buffer, other] = [other, buffer];
      reading = read(file, buffer, at);
      yield piece;
    }
  } finally {
    await file.close();
  }
}

function read(file: FileHandle, buffer: Buffer, at: number): Promise<{ bytesRead: number }> {
  const reading = file.read(buffer, 0, buffer.length, at);
  // Where nobody asks for it any more, nobody is told of its failure.
  reading.catch(() => undefined);
  return reading;
}
