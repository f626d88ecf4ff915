import { expect, test } from 'vitest';
import type { Ways } from '../../../src/rollout/artifacts.ts';
import { refuseVia, viaOf } from '../../../src/rollout/via.ts';
import { seen as observation } from './fixtures.ts';

const HERE: Ways = { here: true };

test.each<[string, { curl: boolean; wget: boolean }, Ways | undefined, boolean, string | undefined]>([
  ['curl, where the node has it', { curl: true, wget: true }, undefined, false, 'curl'],
  ['else GNU wget', { curl: false, wget: true }, HERE, false, 'wget'],
  ['else this machine', { curl: false, wget: false }, HERE, false, 'ssh'],
  ['none, where this machine cannot fetch it', { curl: false, wget: false }, undefined, false, undefined],
  ['this machine, where the node does not get to the server', { curl: true, wget: true }, HERE, true, 'ssh'],
  ['curl all the same, where this machine cannot', { curl: true, wget: true }, undefined, true, 'curl'],
  ['wget, where that was asked for', { curl: true, wget: true }, { via: 'wget', here: true }, false, 'wget'],
  [
    'none, where what was asked for is not there',
    { curl: true, wget: false },
    { via: 'wget', here: true },
    false,
    undefined,
  ],
  ['this machine, where that was asked for', { curl: true, wget: true }, { via: 'ssh', here: true }, false, 'ssh'],
])('the image comes by %s', (_name, has, ways, noWay, expected) => {
  const seen = observation({ hasCurl: has.curl, hasWget: has.wget });
  expect(viaOf(seen, ways, noWay)).toBe(expected);
  expect(refuseVia(seen, ways)).toHaveLength(expected === undefined ? 1 : 0);
});

test('a tool that was asked for and is missing is named, with the flag', () => {
  const [finding] = refuseVia(observation({ hasWget: false }), { via: 'wget', here: false });
  expect(finding?.what).toBe('it has no GNU wget to fetch the image with (--via wget)');
});

test('this machine is not offered where it does not get the image', () => {
  const [finding] = refuseVia(observation({ hasCurl: false }), { here: false, notHere: 'no route' });
  expect(finding?.what).toContain('and this machine does not get it from its server');
  expect([finding?.reason, finding?.next]).toEqual(['no route', expect.not.stringContaining('--via ssh')]);
});
