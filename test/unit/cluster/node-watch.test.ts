import { afterEach, expect, test, vi } from 'vitest';
import { Api } from '../../../src/cluster/api.ts';
import { NodeWatch } from '../../../src/cluster/node-watch.ts';
import type { ClusterNode } from '../../../src/rollout/facts.ts';
import { FakeServer, hangUp, json, quickClock, refusal, type Answer } from './fake-server.ts';

let server: FakeServer | undefined;
let stop: (() => void) | undefined;
afterEach(async () => {
  stop?.();
  await server?.stop();
});

const node = (name: string, version: string, unschedulable = false): object => ({
  metadata: { name, uid: `uid-${name}`, resourceVersion: version },
  spec: { unschedulable },
});
const list = (version: string, ...names: string[]): Answer =>
  json(200, { metadata: { resourceVersion: version }, items: names.map((name) => node(name, version)) });
const events =
  (end: 'open' | 'closed' | 'cut', ...given: object[]): Answer =>
  (_seen, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.write(given.map((event) => `${JSON.stringify(event)}\n`).join(''), () => {
      if (end === 'closed') response.end();
      if (end === 'cut') response.destroy();
    });
  };
const added = (name: string, version: string): object => ({ type: 'ADDED', object: node(name, version) });

/** Watches a server that answers so; what the caller was told, and what the server was asked. */
async function watching(...answers: Answer[]) {
  server = await FakeServer.start(answers);
  const clock = quickClock();
  const watch = new NodeWatch(new Api({ address: server.address, clock, retryForMs: 0 }), server.address, clock);
  const told: string[][] = [];
  const onChange = (nodes: ReadonlyMap<string, ClusterNode>): void => void told.push([...nodes.keys()]);
  stop = watch.add(onChange);
  const { seen } = server;
  const versions = (): (string | null)[] => seen.map(({ query }) => query.get('resourceVersion'));
  return { told, versions, clock };
}

const idle = events('open');

test('goes on from where a cut watch was, without listing again', async () => {
  const { told, versions } = await watching(
    list('5', 'a'),
    events('cut', added('b', '6')),
    events('open', added('c', '7')),
  );
  await vi.waitFor(() => expect(told.at(-1)).toEqual(['a', 'b', 'c']), 10_000);
  expect(versions()).toEqual([null, '5', '6']);
});

test('takes the version of a bookmark', async () => {
  const bookmark = { type: 'BOOKMARK', object: { metadata: { resourceVersion: '90' } } };
  const { versions } = await watching(list('5', 'a'), events('closed', bookmark), idle);
  await vi.waitFor(() => expect(versions()).toEqual([null, '5', '90']), 10_000);
});

test.each<[string, Answer]>([
  ['an event', events('open', { type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })],
  ['an answer', refusal(410, 'Expired', 'too old resource version')],
])('lists anew when %s says that its version has expired', async (_what, expired) => {
  const { told, versions } = await watching(list('5', 'a', 'b'), expired, list('50', 'b'), idle);
  await vi.waitFor(() => expect(told.at(-1)).toEqual(['b']), 10_000);
  await vi.waitFor(() => expect(versions()).toEqual([null, '5', null, '50']), 10_000);
});

test('outlasts an API server that is away, and asks it less and less often', async () => {
  const away = Array.from({ length: 8 }, () => hangUp);
  const { told, clock } = await watching(...away, list('5', 'a'), idle);
  await vi.waitFor(() => expect(told).toEqual([['a']]), 10_000);
  expect(clock.slept.slice(0, 6)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 15_000]);
});

test('tells nothing where nothing changed that matters', async () => {
  const { told, versions } = await watching(
    list('5', 'a'),
    events('closed', { type: 'MODIFIED', object: node('a', '6') }),
    events('closed', { type: 'MODIFIED', object: node('a', '7', true) }),
    idle,
  );
  await vi.waitFor(() => expect(versions()).toEqual([null, '5', '6', '7']), 10_000);
  expect(told).toEqual([['a'], ['a']]);
});

test('forgets nodes that are deleted, and copes with nonsense by listing', async () => {
  const { told } = await watching(
    list('5', 'a', 'b'),
    events('closed', { type: 'DELETED', object: node('a', '6') }),
    events('open', { type: 'WHAT' }),
    list('9', 'c'),
    idle,
  );
  await vi.waitFor(() => expect(told).toEqual([['a', 'b'], ['b'], ['c']]), 10_000);
});
