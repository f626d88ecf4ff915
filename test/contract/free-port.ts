import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below the ports that Linux gives to whoever asks for any (ip(7): ip_local_port_range, from 32768 unless told otherwise). */
const FIRST = 10_000;
const END = 32_768;

/**
 * A port that nobody listens on. It stays its server's own while that is down: no other server of the tests, and no
 * connection, is given it by chance.
 */
export async function freePort(address = '127.0.0.1'): Promise<number> {
  const port = randomInt(FIRST, END);
  return (await isFree(port, address)) ? port : freePort(address);
}

function isFree(port: number, address: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    server.listen(port, address, () => server.close(() => resolve(true)));
  });
}
