import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below the ports that Linux gives to whoever asks for any (ip(7): ip_local_port_range, from 32768 unless told otherwise). */
const FIRST = 10_000;
const END = 32_768;

/**
 * A port that nobody listens on. It stays free while its server is down: no connection, and no server that asks for any
 * port, is given it. Drawn, so that two callers hardly ever get the same.
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
