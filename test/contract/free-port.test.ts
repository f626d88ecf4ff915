import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { freePort } from './free-port.ts';

it('the port of a server that goes away for a while is none that another server is given meanwhile', async () => {
  const [first] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split('\t').map(Number);
  expect(await freePort()).toBeLessThan(first!);
});
