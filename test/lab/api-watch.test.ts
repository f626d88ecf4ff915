import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ask, startLabServer, watch, worker, type LabServer, type OpenWatch } from './api-client.ts';

const NODES = '/api/v1/nodes';
let lab: LabServer;
const open: OpenWatch[] = [];
beforeEach(async () => {
  lab = await startLabServer({ controllers: false, historyLimit: 20, bookmarkMs: 50 });
});
afterEach(async () => {
  for (const one of open.splice(0)) one.close();
  await lab.close();
});

const follow = async (query: string, accept?: string): Promise<OpenWatch> => {
  const opened = await watch(lab.endpoint, `${NODES}?watch=1&${query}`, accept);
  open.push(opened);
  return opened;
};
const told = ({ events }: OpenWatch): string[] =>
  events.map(({ type, object }) => `${type} ${object.metadata?.name ?? ''}`);
const label = (node: string, labels: Record<string, string | null>) =>
  ask(lab.endpoint, 'PATCH', `${NODES}/${node}`, {
    body: { metadata: { labels } },
    type: 'application/merge-patch+json',
  });
const version = async (): Promise<string> =>
  (await ask(lab.endpoint, 'GET', NODES)).json.metadata?.resourceVersion ?? '';

describe('a watch', () => {
  test('without a resourceVersion begins with what is there', async () => {
    lab.api.addNode(worker('w-1'));
    const seen = await follow('');
    await vi.waitFor(() => expect(told(seen)).toEqual(['ADDED w-1']), 10_000);
  });

  test('from a resourceVersion tells what came after it, then everything new', async () => {
    lab.api.addNode(worker('w-1'));
    const before = await version();
    lab.api.addNode(worker('w-2'));
    const seen = await follow(`resourceVersion=${before}`);
    await label('w-1', { a: 'b' });
    lab.api.removeNode('w-2');
    await vi.waitFor(() => expect(told(seen)).toEqual(['ADDED w-2', 'MODIFIED w-1', 'DELETED w-2']), 10_000);
  });

  test('with a selector sees objects come and go as they begin and cease to match', async () => {
    lab.api.addNode(worker('w-1'));
    const seen = await follow(`resourceVersion=${await version()}&labelSelector=pool%3Da`);
    await label('w-1', { pool: 'a' });
    await label('w-1', { more: 'x' });
    await label('w-1', { pool: 'b' });
    await vi.waitFor(() => expect(told(seen)).toEqual(['ADDED w-1', 'MODIFIED w-1', 'DELETED w-1']), 10_000);
  });

  test('sends bookmarks to those who ask, also when its time is up', async () => {
    const seen = await follow(`resourceVersion=${await version()}&allowWatchBookmarks=true&timeoutSeconds=1`);
    expect(await seen.ended).toBe('end');
    expect(seen.events.length).toBeGreaterThan(1);
    expect(new Set(seen.events.map(({ type }) => type))).toEqual(new Set(['BOOKMARK']));
    expect(seen.events.at(-1)?.object.metadata?.resourceVersion).toBe(await version());
  });

  test('from a state that is no longer remembered is 410 Expired, inside the stream', async () => {
    lab.api.addNode(worker('w-1'));
    const old = await version();
    for (let i = 0; i < 40; i++) await label('w-1', { n: String(i) });
    const seen = await follow(`resourceVersion=${old}`);
    expect(await seen.ended).toBe('end');
    expect(seen.events).toMatchObject([{ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } }]);
  });

  test('can be cut and can be made to expire', async () => {
    const from = await version();
    const cut = await follow(`resourceVersion=${from}`);
    lab.api.cutWatches();
    expect(await cut.ended).not.toBe('end');
    lab.api.addNode(worker('w-1'));
    const again = await follow(`resourceVersion=${from}`);
    await vi.waitFor(() => expect(told(again)).toEqual(['ADDED w-1']), 10_000);
    lab.api.expireWatches();
    expect(await again.ended).toBe('end');
    expect(again.events.at(-1)).toMatchObject({ type: 'ERROR', object: { code: 410 } });
    const late = await follow(`resourceVersion=${from}`);
    expect(await late.ended).toBe('end');
    expect(late.events.at(-1)).toMatchObject({ type: 'ERROR', object: { code: 410 } });
    expect(lab.api.watchCount).toBe(0);
  });

  test('as a Table has its headings in the first event only', async () => {
    lab.api.addNode(worker('w-1'));
    lab.api.addNode(worker('w-2'));
    const seen = await follow('', 'application/json;as=Table;v=v1;g=meta.k8s.io');
    await vi.waitFor(() => expect(seen.events).toHaveLength(2), 10_000);
    expect(seen.events.map(({ object }) => object.columnDefinitions === null)).toEqual([false, true]);
    expect(seen.events[1]?.object.rows?.[0]?.cells[0]).toBe('w-2');
  });
});

describe('an API that is away', () => {
  test('refuses connections, breaks the open ones off, and comes back with all it knew', async () => {
    lab.api.addNode(worker('w-1'));
    const seen = await follow('');
    await lab.api.pause();
    expect(await seen.ended).not.toBe('end');
    await expect(ask(lab.endpoint, 'GET', NODES)).rejects.toThrow('ECONNREFUSED');
    await lab.api.resume();
    const { json } = await ask(lab.endpoint, 'GET', NODES);
    expect(json.items?.map((item) => item.metadata?.name)).toEqual(['w-1']);
  });
});
