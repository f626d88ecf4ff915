import { expect, it } from 'vitest';
import { inodeOf } from '../../src/lab/client-node.ts';

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
const line = (local: string, remote: string, state: string, inode: number): string =>
  `  12: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0000000000000000 20 4 30 10 -1`;
const CLIENT = { address: '::ffff:127.0.0.1', port: 0xafc8, serverPort: 0x1f90 };

it('finds the socket of a client among connections that share its port', () => {
  const table = [
    HEAD,
    line('0100007F:1F90', '0100007F:AFC8', '01', 1111),
    line('0100007F:AFC8', '0100007F:18EB', '06', 0),
    line('0100007F:AFC8', '0100007F:1F91', '01', 2222),
    line('0100007F:AFC8', '0100007F:1F90', '01', 3333),
  ];
  expect(inodeOf(CLIENT, table.join('\n'))).toBe('3333');
  expect(inodeOf(CLIENT, table.slice(0, 4).join('\n'))).toBeUndefined();
});
