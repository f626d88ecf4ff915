import { expect, test } from 'vitest';
import { lookFromNodes, refuseImage, type Look } from '../../../src/rollout/look.ts';
import type { Remote } from '../../../src/rollout/ports.ts';
import type { ImageNotSeen, ImageSeen } from '../../../src/rollout/preflight-types.ts';
import { clusterNode } from './fixtures.ts';

const SEEN: ImageSeen = { sizeBytes: 5, ranges: true, content: 'ext4' };
const AWAY: ImageNotSeen = { blame: 'way', reason: 'no route' };
const REFUSED: ImageNotSeen = { blame: 'server', reason: 'HTTP 403' };

/** Looks from n01, n02 and so on, which get these answers. */
async function look(...answers: readonly (ImageSeen | ImageNotSeen)[]): Promise<{ seen: Look; asked: string[] }> {
  const names = answers.map((_, index) => `n${String(index + 1).padStart(2, '0')}`);
  const asked: string[] = [];
  const lookAtImage: Remote['lookAtImage'] = ({ name }) => {
    asked.push(name);
    return Promise.resolve(answers[names.indexOf(name)]!);
  };
  const artifact = { url: 'https://server/a.img', sha256: 'a'.repeat(64), flagSafe: false };
  const seen = await lookFromNodes(
    { lookAtImage } as Remote,
    names.map((name) => clusterNode({ name })),
    artifact,
  );
  return { seen, asked };
}

const times = <T>(count: number, answer: T): T[] => Array.from({ length: count }, () => answer);

test('each node is asked, so that one of many without a way is found', async () => {
  const { seen, asked } = await look(...times(19, SEEN), AWAY);
  expect(asked).toHaveLength(20);
  expect(seen).toEqual({ seen: { ...SEEN, from: 'n01' }, noWay: new Map([['n20', 'no route']]) });
});

test('a fleet without a way waits for eight of its nodes at most', async () => {
  const { seen, asked } = await look(...times(20, AWAY));
  expect(asked).toEqual(['n01', 'n02', 'n03', 'n04', 'n05', 'n06', 'n07', 'n08']);
  expect(seen.noWay.size).toBe(20);
  expect(refuseImage(seen)[0]?.reason?.split('\n')).toEqual([
    'n01, n02, n03, n04, n05, n06, n07, n08: no route',
    expect.stringContaining('n09, n10, '),
  ]);
});

test('what the server refuses to the first node, or to all, is refused; what it refuses to another is not', async () => {
  expect((await look(REFUSED, SEEN)).seen).toEqual({ refused: { from: 'n01', reason: 'HTTP 403' }, noWay: new Map() });
  expect((await look(AWAY, REFUSED)).seen).toEqual({
    refused: { from: 'n02', reason: 'HTTP 403' },
    noWay: new Map([['n01', 'no route']]),
  });
  expect((await look(SEEN, REFUSED)).seen).toEqual({ seen: { ...SEEN, from: 'n01' }, noWay: new Map() });
});
