import { describe, expect, test } from 'vitest';
import { LEASES, POD, SHOP, type Asker } from './api-asker.ts';
import type { Answer } from './api-client.ts';

export function describeLeases({ call, patched }: Asker): void {
  describe('leases', () => {
    test('times have exactly six digits after the second', async () => {
      await call('POST', LEASES, { body: { metadata: { name: 'times' }, spec: {} } });
      for (const renewTime of ['2026-11-23T08:42:10.234Z', '2026-11-23T08:42:10Z']) {
        expect([400, 422]).toContain((await patched(`${LEASES}/times`, { spec: { renewTime } })).code);
      }
      const good = await patched(`${LEASES}/times`, { spec: { renewTime: '2026-11-23T08:42:10.234000Z' } });
      expect(good.code).toBe(200);
    });

    test('a PUT makes one, and replaces one only with its resourceVersion', async () => {
      const put = (metadata: object): Promise<Answer> => {
        const body = { metadata: { name: 'put', ...metadata }, spec: { holderIdentity: 'x' } };
        return call('PUT', `${LEASES}/put`, { body });
      };
      expect((await put({ uid: '1c8a8d2e-0000-4000-8000-000000000000' })).json).toMatchObject({
        code: 409,
        reason: 'Conflict',
      });
      const made = await put({ resourceVersion: '55' });
      expect(made.code).toBe(201);
      expect((await put({})).json).toMatchObject({ code: 422, reason: 'Invalid' });
      const resourceVersion = made.json.metadata?.resourceVersion ?? '';
      expect((await put({ resourceVersion, annotations: { a: 'b' } })).code).toBe(200);
      expect((await put({ resourceVersion })).code).toBe(409);
    });

    test('a deletion can name the uid and the version that it means', async () => {
      const made = await call('POST', LEASES, { body: { metadata: { name: 'del' }, spec: {} } });
      const remove = (preconditions: object): Promise<Answer> => {
        const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions };
        return call('DELETE', `${LEASES}/del`, { body });
      };
      expect((await remove({ uid: 'other' })).json).toMatchObject({ code: 409, reason: 'Conflict' });
      expect((await remove({ resourceVersion: '1' })).json).toMatchObject({ code: 409, reason: 'Conflict' });
      const gone = await remove({ uid: made.json.metadata?.uid });
      expect([gone.code, gone.json.status]).toEqual([200, 'Success']);
    });
  });
}

export function describeEvictions({ bed, call, patched }: Asker): void {
  /** Makes a Pod that is deleted at once, since no kubelet is there to end it. */
  const addPod = async (pod: string, labels: Record<string, string>): Promise<void> => {
    const body = {
      metadata: { name: pod, labels },
      spec: { ...POD.spec, terminationGracePeriodSeconds: 0, nodeName: 'n' },
    };
    expect((await call('POST', `${SHOP}/pods`, { body })).code).toBe(201);
    const status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    expect((await patched(`${SHOP}/pods/${pod}/status`, { status })).code).toBe(200);
  };
  const budgets = (): string => `/apis/policy/${bed().policy}/namespaces/shop/poddisruptionbudgets`;
  const addBudget = async (budget: string, app: string, allowed: number): Promise<void> => {
    const spec = { minAvailable: 3, selector: { matchLabels: { app } } };
    expect((await call('POST', budgets(), { body: { metadata: { name: budget }, spec } })).code).toBe(201);
    const counts = { currentHealthy: 3, desiredHealthy: 3, expectedPods: 3, observedGeneration: 1 };
    const status = { ...counts, disruptionsAllowed: allowed };
    expect((await patched(`${budgets()}/${budget}/status`, { status })).code).toBe(200);
  };
  const evict = (pod: string, query = ''): Promise<Answer> => {
    const metadata = { name: pod, namespace: 'shop' };
    const body = { apiVersion: `policy/${bed().policy}`, kind: 'Eviction', metadata };
    return call('POST', `${SHOP}/pods/${pod}/eviction${query}`, { body });
  };
  describe('evictions', () => {
    test('that the budget does not allow are 429, with its name and counts', async () => {
      await addPod('held', { app: 'held' });
      await addBudget('held', 'held', 0);
      const expected = {
        ...{ code: 429, reason: 'TooManyRequests' },
        message: "Cannot evict pod as it would violate the pod's disruption budget.",
        details: {
          causes: [
            {
              reason: 'DisruptionBudget',
              message: 'The disruption budget held needs 3 healthy pods and has 3 currently',
            },
          ],
        },
      };
      expect((await evict('held', '?dryRun=All')).json).toMatchObject(expected);
      expect((await evict('held')).json).toMatchObject(expected);
    });

    test('that it allows are 201, and each takes one from the budget; dry runs take none', async () => {
      await addPod('a-1', { app: 'a' });
      await addPod('a-2', { app: 'a' });
      await addBudget('a', 'a', 1);
      for (const pod of ['a-1', 'a-2'])
        expect((await evict(pod, '?dryRun=All')).json).toMatchObject({ status: 'Success', code: 201 });
      expect((await evict('a-1')).json).toMatchObject({ status: 'Success', code: 201 });
      expect((await call('GET', `${SHOP}/pods/a-1`)).code).toBe(404);
      expect((await evict('a-2')).code).toBe(429);
    });

    test('under two budgets are a 500', async () => {
      await addPod('two', { app: 'two' });
      await addBudget('two-1', 'two', 1);
      await addBudget('two-2', 'two', 1);
      const { json } = await evict('two');
      expect(json.code).toBe(500);
      expect(json.message).toMatch(/^This pod has more than one PodDisruptionBudget/);
    });

    test('of no pod, or of another pod than the path names', async () => {
      expect((await evict('nope')).json).toMatchObject({ code: 404, message: 'pods "nope" not found' });
      const body = { apiVersion: `policy/${bed().policy}`, kind: 'Eviction', metadata: { name: 'other' } };
      expect((await call('POST', `${SHOP}/pods/held/eviction`, { body })).code).toBe(400);
      expect((await call('GET', `${SHOP}/pods/held/eviction`)).code).toBe(405);
    });
  });
}

export function describeDeletions({ call, patched }: Asker): void {
  describe('deletions of pods', () => {
    const make = (pod: string, more: object, spec: object = {}): Promise<Answer> =>
      call('POST', `${SHOP}/pods`, {
        body: { metadata: { name: pod, ...more }, spec: { ...POD.spec, nodeName: 'n', ...spec } },
      });

    test('leave it there for its grace period; a shorter one later counts, a longer one does not', async () => {
      await make('slow', {});
      expect((await call('DELETE', `${SHOP}/pods/slow`)).json.metadata).toMatchObject({
        deletionGracePeriodSeconds: 30,
      });
      const longer = await call('DELETE', `${SHOP}/pods/slow?gracePeriodSeconds=60`);
      expect(longer.json.metadata).toMatchObject({ deletionGracePeriodSeconds: 30 });
      await call('DELETE', `${SHOP}/pods/slow?gracePeriodSeconds=0`);
      expect((await call('GET', `${SHOP}/pods/slow`)).code).toBe(404);
    });

    test('wait for finalizers', async () => {
      await make('final', { finalizers: ['example.org/hold'] }, { terminationGracePeriodSeconds: 0 });
      await call('DELETE', `${SHOP}/pods/final`);
      expect((await call('GET', `${SHOP}/pods/final`)).json.metadata?.deletionTimestamp).toBeDefined();
      expect((await patched(`${SHOP}/pods/final`, { metadata: { finalizers: null } })).code).toBe(200);
      expect((await call('GET', `${SHOP}/pods/final`)).code).toBe(404);
    });
  });
}

export function describeLists({ call }: Asker): void {
  describe('lists', () => {
    test('are paged by limit and continue', async () => {
      for (const item of ['p-1', 'p-2', 'p-3']) {
        await call('POST', LEASES, { body: { metadata: { name: item, labels: { page: 'x' } }, spec: {} } });
      }
      const seen: string[] = [];
      let next = '';
      do {
        const query = `?labelSelector=page%3Dx&limit=2${next === '' ? '' : `&continue=${encodeURIComponent(next)}`}`;
        const { json } = await call('GET', `${LEASES}${query}`);
        expect(json.items?.length).toBeLessThanOrEqual(2);
        seen.push(...(json.items ?? []).map((item) => item.metadata?.name ?? ''));
        next = json.metadata?.continue ?? '';
      } while (next !== '');
      expect(seen).toEqual(['p-1', 'p-2', 'p-3']);
    });

    test.each([
      ['labelSelector=tier%20in%20(a%2Cb)', ['s-1', 's-2']],
      ['labelSelector=tier%20notin%20(a)%2Ctier', ['s-2', 's-3']],
      ['labelSelector=!tier%2Ctrack', ['s-4']],
      ['labelSelector=tier!%3Da%2Ctrack', ['s-4']],
      ['fieldSelector=metadata.name%3Ds-3', ['s-3']],
    ])('%s', async (query, names) => {
      const labels: Record<string, object> = {
        's-1': { tier: 'a' },
        's-2': { tier: 'b' },
        's-3': { tier: 'c' },
        's-4': { track: 'x' },
      };
      for (const [item, has] of Object.entries(labels)) {
        await call('POST', LEASES, { body: { metadata: { name: item, labels: has }, spec: {} } });
      }
      const { json } = await call('GET', `${LEASES}?${query}`);
      expect((json.items ?? []).map((item) => item.metadata?.name)).toEqual(names);
    });
  });
}
