import { describe, expect, it } from 'vitest';
import { parseJumpHosts } from '../../../src/commands/option-parsers.ts';
import { UsageError } from '../../../src/errors.ts';
import { parseJump, showJumpHost } from '../../../src/remote/jump-hosts.ts';

describe('jump hosts', () => {
  it.each([
    ['b', [{ name: 'b' }]],
    ['u@b', [{ name: 'b', user: 'u' }]],
    ['u@b:22', [{ name: 'b', user: 'u', port: 22 }]],
    ['ssh://u@b:22/', [{ name: 'b', user: 'u', port: 22 }]],
    ['u@[fd00::1]:2', [{ name: 'fd00::1', user: 'u', port: 2 }]],
    ['[fe80::1%eth0.100]', [{ name: 'fe80::1%eth0.100' }]],
    ['u@realm@b', [{ name: 'b', user: 'u@realm' }]],
    ['DOM\\u@b', [{ name: 'b', user: 'DOM\\u' }]],
    ['b1, ops@b2:2022 ,10.0.0.1', [{ name: 'b1' }, { name: 'b2', user: 'ops', port: 2022 }, { name: '10.0.0.1' }]],
    ['none', []],
    ['NONE', []],
  ])('are read from %j', (text, hops) => {
    expect(parseJump(text)).toEqual(hops);
    expect(parseJump(hops.map(showJumpHost).join(',') || 'none')).toEqual(hops);
  });

  it.each([
    ...['', ',', 'b,', ',b', 'b:', 'b:0', 'b:99999', 'b:ssh', 'fd00::1', '[fd00::1', '[]', '@b', 'u@', 'a b'],
    ...[
      '-oProxyCommand=x',
      'u@-x',
      '-l@b',
      '[-x]',
      'b/x',
      'b;x',
      'b$x',
      '$u@b',
      'u;x@b',
      '`u`@b',
      'u b@c',
      'ssh://b/p',
      'b\n',
    ],
  ])('are not read from %j', (text) => {
    const read = text === 'b\n' ? parseJump(`${text}x`) : parseJump(text);
    expect(read).toBeUndefined();
  });

  it('say how they are written where a flag holds none', () => {
    expect(() => parseJumpHosts('fd00::1')).toThrow(UsageError);
    expect(() => parseJumpHosts('fd00::1')).toThrow('"fd00::1" names no jump hosts');
  });
});
