import type { Input, Running } from './exec.ts';

/** Begins to send what a script reads on from its channel. `said` holds its answers so far. */
export type Feed = (running: Running, said: string) => void;

/** The line by which a script says that it reads on. */
const READY = /^ready=yes$/m;

/**
 * A script, and what follows it on the same channel. That is sent only once the script is ready for it: a shell may
 * read ahead of the command that it is at.
 */
export function fed(piece: string, feed: Feed): Input {
  return (running) => {
    const { channel } = running;
    let said = '';
    const listen = (chunk: Buffer): void => {
      said += chunk.toString('latin1');
      if (!READY.test(said)) return;
      channel.off('data', listen);
      feed(running, said);
    };
    channel.on('data', listen);
    channel.write(piece);
  };
}
