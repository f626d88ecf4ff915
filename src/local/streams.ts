/** As much of process.stdout as is needed. */
interface ErrorSource {
  on(event: 'error', listener: (error: NodeJS.ErrnoException) => void): unknown;
}

/**
 * Keeps the process alive where what it writes is lost: nodes may be on their way. A reader that went away, as in
 * `kubeos status | head`, is no failure of ours, nor is a terminal that was closed, as by a lost login. Any other error
 * that is not the system's is thrown.
 * @param onLost is told each time the system refuses a write for another reason, as a full disk
 */
export function outliveReaders(stream: ErrorSource, onLost: (error: NodeJS.ErrnoException) => void): void {
  stream.on('error', (error) => {
    if (GONE.has(error.code ?? '')) return;
    if (error.syscall === undefined) throw error;
    onLost(error);
  });
}

/** What Node.js says of pipes and terminals without a reader, and of a stream that it has given up since. */
const GONE: ReadonlySet<string> = new Set(['EPIPE', 'EIO', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_WRITE_AFTER_END']);
