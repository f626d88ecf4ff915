/** As much of process.stdout as is needed. */
interface ErrorSource {
  on(event: 'error', listener: (error: NodeJS.ErrnoException) => void): unknown;
}

/**
 * Keeps the process alive where nobody reads any more what it writes: a reader that went away, as in
 * `kubeos status | head`, is no failure of ours, nor is a terminal that was closed, as by a lost login: its nodes are
 * still on their way. Any other error is thrown.
 */
export function outliveReaders(streams: readonly ErrorSource[]): void {
  for (const stream of streams) {
    stream.on('error', (error) => {
      if (!GONE.has(error.code ?? '')) throw error;
    });
  }
}

/** What Node.js says of pipes and terminals without a reader, and of a stream that it has given up since. */
const GONE: ReadonlySet<string> = new Set(['EPIPE', 'EIO', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_WRITE_AFTER_END']);
