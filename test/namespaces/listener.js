// Listens where it runs, in a network namespace, for the process that started it: who gets each server, and with it all
// that connects to it.
import { createServer } from 'node:net';

process.on('message', ({ address, port }) => {
  const server = createServer();
  server.listen(port, address, () => process.send({}, server, () => server.close()));
});
// It lives as long as its parent.
process.on('disconnect', () => process.exit(0));
