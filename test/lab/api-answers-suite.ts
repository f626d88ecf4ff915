import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask, type Answer, type Call, type Endpoint } from './api-client.ts';

export interface AnswerBed {
  endpoint: Endpoint;
  /** A login without any right. */
  nobody: Endpoint;
  /** `v1` or `v1beta1`: the version of the group policy. */
  policy: string;
  close(): Promise<void>;
}

const MERGE = 'application/merge-patch+json';
const STRATEGIC = 'application/strategic-merge-patch+json';
const JSON_PATCH = 'application/json-patch+json';
const LEASES = '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases';
const SHOP = '/api/v1/namespaces/shop';
const POD = { spec: { containers: [{ name: 'c', image: 'i' }] } };

/** What clients rely on, asked of the lab's API and of a real server alike: codes, reasons and the words that matter. */
export function describeAnswers(name: string, makeBed: () => Promise<AnswerBed>): void {
  describe(`answers of ${name}`, () => {
    let bed: AnswerBed;
    const call = (method: string, path: string, given: Call = {}): Promise<Answer> =>
      ask(bed.endpoint, method, path, given);
    const patched = (path: string, body: unknown, type = MERGE): Promise<Answer> => call('PATCH', path, { body, type });
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
    const budgets = (): string => `/apis/policy/${bed.policy}/namespaces/shop/poddisruptionbudgets`;
    const addBudget = async (budget: string, app: string, allowed: number): Promise<void> => {
      const spec = { minAvailable: 3, selector: { matchLabels: { app } } };
      expect((await call('POST', budgets(), { body: { metadata: { name: budget }, spec } })).code).toBe(201);
      const counts = { currentHealthy: 3, desiredHealthy: 3, expectedPods: 3, observedGeneration: 1 };
      const status = { ...counts, disruptionsAllowed: allowed };
      expect((await patched(`${budgets()}/${budget}/status`, { status })).code).toBe(200);
    };
    const evict = (pod: string, query = ''): Promise<Answer> => {
      const metadata = { name: pod, namespace: 'shop' };
      const body = { apiVersion: `policy/${bed.policy}`, kind: 'Eviction', metadata };
      return call('POST', `${SHOP}/pods/${pod}/eviction${query}`, { body });
    };
    beforeAll(async () => {
      bed = await makeBed();
      for (const namespace of ['shop', 'kube-system']) {
        await call('POST', '/api/v1/namespaces', { body: { metadata: { name: namespace } } });
      }
    });
    afterAll(() => bed.close());

    describe('refusals', () => {
      test.each([
        ['GET', '/api/v1/nodes/nope', 404, 'NotFound', 'nodes "nope" not found'],
        ['GET', '/api/v1/nopes', 404, 'NotFound', 'the server could not find the requested resource'],
        ['GET', '/api/v1/pods/x', 404, 'NotFound', 'the server could not find the requested resource'],
        ['GET', `${LEASES}/nope`, 404, 'NotFound', 'leases.coordination.k8s.io "nope" not found'],
        ['DELETE', `${SHOP}/pods/nope`, 404, 'NotFound', 'pods "nope" not found'],
        ['POST', '/api/v1/nodes/n', 405, 'MethodNotAllowed', 'the server does not allow this method'],
        ['PUT', '/api/v1/nodes', 405, 'MethodNotAllowed', 'the server does not allow this method'],
        ['GET', '/api/v1/nodes?fieldSelector=spec.foo%3D1', 400, 'BadRequest', 'spec.foo'],
        ['GET', '/api/v1/nodes?labelSelector=a%3D%3D%2C%2Cb', 400, 'BadRequest', 'found'],
        ['GET', '/api/v1/nodes?limit=1&continue=xx', 400, 'BadRequest', 'continue'],
      ])('%s %s: %d %s', async (method, path, code, reason, message) => {
        const { json, ...answer } = await call(
          method,
          path,
          method === 'GET' || method === 'DELETE' ? {} : { body: {} },
        );
        expect(answer.code).toBe(code);
        expect(json).toMatchObject({ kind: 'Status', status: 'Failure', reason, code });
        expect(json.message).toContain(message);
      });

      test('a group, version or path that is not there is 404, as plain text or (1.20) as a Status', async () => {
        for (const path of ['/apis/no.such.group/v1', '/apis/apps/v9/deployments', '/no-such-path']) {
          expect((await call('GET', path)).code).toBe(404);
        }
      });

      test('a form that is not served is 406, a body in another form 415', async () => {
        expect((await call('GET', '/api/v1/nodes', { accept: 'text/html' })).code).toBe(406);
        const posted = await call('POST', '/api/v1/nodes', { body: 'x', type: 'text/plain' });
        expect([posted.code, posted.json.reason]).toEqual([415, 'UnsupportedMediaType']);
        expect((await call('POST', LEASES, { body: { metadata: { name: 'patch-me' }, spec: {} } })).code).toBe(201);
        expect((await patched(`${LEASES}/patch-me`, {}, 'application/json')).code).toBe(415);
      });

      test('a body that is no JSON, or another kind, is 400', async () => {
        expect((await call('POST', '/api/v1/nodes', { body: '{' })).json.reason).toBe('BadRequest');
        const other = await call('POST', LEASES, { body: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'q' } } });
        expect([other.code, other.json.message]).toEqual([
          400,
          expect.stringContaining('cannot be handled as a Lease'),
        ]);
      });

      test('a login without rights is told which right it lacks', async () => {
        const nodes = await ask(bed.nobody, 'GET', '/api/v1/nodes');
        expect(nodes.json).toMatchObject({
          ...{ code: 403, reason: 'Forbidden', details: { kind: 'nodes' } },
          message:
            'nodes is forbidden: User "nobody" cannot list resource "nodes" in API group "" at the cluster scope',
        });
        const eviction = await ask(bed.nobody, 'POST', `${SHOP}/pods/x/eviction`, { body: {} });
        expect(eviction.json.message).toBe(
          'pods "x" is forbidden: User "nobody" cannot create resource "pods/eviction" in API group "" in the namespace "shop"',
        );
        const review = { spec: { resourceAttributes: { verb: 'list', resource: 'nodes' } } };
        const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
        const body = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', ...review };
        expect((await ask(bed.nobody, 'POST', path, { body })).json.status).toMatchObject({ allowed: false });
        expect((await call('POST', path, { body })).json.status).toMatchObject({ allowed: true });
      });

      test('a token that nobody has is 401', async () => {
        const answer = await ask({ ...bed.endpoint, token: 'no-such-token' }, 'GET', '/api/v1/nodes');
        expect(answer.json).toMatchObject({ code: 401, reason: 'Unauthorized', message: 'Unauthorized' });
      });
    });

    describe('writes', () => {
      test('a name that is taken, missing or malformed', async () => {
        const body = { metadata: { name: 'taken' } };
        expect((await call('POST', '/api/v1/nodes', { body })).code).toBe(201);
        expect((await call('POST', '/api/v1/nodes', { body })).json).toMatchObject({
          ...{ code: 409, reason: 'AlreadyExists', message: 'nodes "taken" already exists' },
        });
        expect((await call('POST', '/api/v1/nodes', { body: {} })).json).toMatchObject({
          code: 422,
          reason: 'Invalid',
        });
        const wrong = { metadata: { name: 'Bad_Name' } };
        expect((await call('POST', '/api/v1/nodes', { body: wrong })).json).toMatchObject({
          code: 422,
          reason: 'Invalid',
        });
      });

      test('a namespace that is missing, or not the one of the path', async () => {
        const body = { metadata: { name: 'x' }, ...POD };
        expect((await call('POST', '/api/v1/namespaces/zzz/pods', { body })).json).toMatchObject({
          ...{ code: 404, reason: 'NotFound', message: 'namespaces "zzz" not found' },
        });
        const other = { ...body, metadata: { name: 'x', namespace: 'default' } };
        expect((await call('POST', `${SHOP}/pods`, { body: other })).json).toMatchObject({
          code: 400,
          reason: 'BadRequest',
        });
      });

      test('a resourceVersion makes a PUT and every kind of PATCH conditional', async () => {
        const made = await call('POST', '/api/v1/nodes', { body: { metadata: { name: 'cond' } } });
        const version = made.json.metadata?.resourceVersion ?? '';
        const node = '/api/v1/nodes/cond';
        const change = (resourceVersion: string) => ({
          metadata: { resourceVersion, labels: { [`v${version}`]: 'x' } },
        });
        const stale = await patched(node, change('1'));
        expect(stale.json).toMatchObject({ code: 409, reason: 'Conflict', details: { name: 'cond', kind: 'nodes' } });
        expect((await patched(node, change('1'), STRATEGIC)).code).toBe(409);
        expect((await call('PUT', node, { body: { metadata: { name: 'cond', resourceVersion: '1' } } })).code).toBe(
          409,
        );
        expect(
          (await patched(node, [{ op: 'test', path: '/metadata/resourceVersion', value: '1' }], JSON_PATCH)).code,
        ).toBe(422);
        const fresh = await patched(node, change(version));
        expect(fresh.code).toBe(200);
        expect(fresh.json.metadata?.resourceVersion).not.toBe(version);
        expect((await patched(node, change(version))).code).toBe(409);
      });

      test('a patch that changes nothing keeps the resourceVersion', async () => {
        await call('POST', '/api/v1/nodes', { body: { metadata: { name: 'same', labels: { a: 'b' } } } });
        const before = (await call('GET', '/api/v1/nodes/same')).json.metadata?.resourceVersion;
        const after = await patched('/api/v1/nodes/same', { metadata: { labels: { a: 'b' } } });
        expect([after.code, after.json.metadata?.resourceVersion]).toEqual([200, before]);
      });

      test('null removes what a merge patch set, and an uncordoned node has no field for it', async () => {
        const node = '/api/v1/nodes/cordoned';
        await call('POST', '/api/v1/nodes', { body: { metadata: { name: 'cordoned' } } });
        const on = await patched(node, { metadata: { annotations: { a: 'b' } }, spec: { unschedulable: true } });
        expect([on.json.metadata?.annotations, on.json.spec?.['unschedulable']]).toEqual([{ a: 'b' }, true]);
        const off = await patched(node, { metadata: { annotations: { a: null } }, spec: { unschedulable: false } });
        expect([off.json.metadata?.annotations, off.json.spec?.['unschedulable']]).toEqual([undefined, undefined]);
      });

      test('taints are replaced whole, conditions merged by type', async () => {
        const node = '/api/v1/nodes/tainted';
        await call('POST', '/api/v1/nodes', { body: { metadata: { name: 'tainted' } } });
        const taint = (key: string) => ({ spec: { taints: [{ key, effect: 'PreferNoSchedule' }] } });
        await patched(node, taint('a'), STRATEGIC);
        const answer = await patched(node, taint('b'), STRATEGIC);
        const keys = (answer.json.spec?.['taints'] as { key: string }[]).map(({ key }) => key);
        expect(keys.filter((key) => ['a', 'b'].includes(key))).toEqual(['b']);
        const condition = (type: string) => ({ status: { conditions: [{ type, status: 'True' }] } });
        await patched(`${node}/status`, condition('Ready'), STRATEGIC);
        const merged = await patched(`${node}/status`, condition('DiskPressure'), STRATEGIC);
        const { conditions } = merged.json.status as { conditions: { type: string }[] };
        expect(conditions.map(({ type }) => type).sort()).toEqual(['DiskPressure', 'Ready']);
      });

      test('a status is changed through its own path only', async () => {
        const node = '/api/v1/nodes/split';
        await call('POST', '/api/v1/nodes', { body: { metadata: { name: 'split' } } });
        const both = { spec: { unschedulable: true }, status: { nodeInfo: { osImage: 'KubeOS 2.0.0' } } };
        expect((await patched(node, both)).json.status).not.toMatchObject({ nodeInfo: { osImage: 'KubeOS 2.0.0' } });
        await patched(node, { spec: { unschedulable: null } });
        const status = await patched(`${node}/status`, both);
        expect(status.json.status).toMatchObject({ nodeInfo: { osImage: 'KubeOS 2.0.0' } });
        expect(status.json.spec?.['unschedulable']).toBeUndefined();
      });

      test('values of the wrong type are refused', async () => {
        await call('POST', '/api/v1/nodes', { body: { metadata: { name: 'typed' } } });
        const node = '/api/v1/nodes/typed';
        expect([400, 422]).toContain((await patched(node, { metadata: { annotations: { a: 1 } } })).code);
        expect([400, 422]).toContain((await patched(node, { spec: { unschedulable: 'yes' } })).code);
        expect((await patched(node, { metadata: { labels: { a: 'b c' } } })).code).toBe(422);
        expect((await patched(node, { metadata: { name: 'other' } })).code).toBe(400);
        expect([400, 422]).toContain((await patched(node, [1])).code);
        expect([400, 422]).toContain((await patched(node, '{x')).code);
      });

      test('a dry run changes nothing; another word for it is refused', async () => {
        const body = { metadata: { name: 'dry' } };
        expect((await call('POST', '/api/v1/nodes?dryRun=All', { body })).code).toBe(201);
        expect((await call('GET', '/api/v1/nodes/dry')).code).toBe(404);
        expect((await call('POST', '/api/v1/nodes', { body })).code).toBe(201);
        const labels = { metadata: { labels: { a: 'b' } } };
        const dry = await call('PATCH', '/api/v1/nodes/dry?dryRun=All', { body: labels, type: MERGE });
        expect(dry.json.metadata?.labels).toMatchObject({ a: 'b' });
        expect((await call('GET', '/api/v1/nodes/dry')).json.metadata?.labels?.['a']).toBeUndefined();
        expect((await call('POST', '/api/v1/nodes?dryRun=some', { body })).json).toMatchObject({
          code: 422,
          reason: 'Invalid',
        });
      });
    });

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
        const body = { apiVersion: `policy/${bed.policy}`, kind: 'Eviction', metadata: { name: 'other' } };
        expect((await call('POST', `${SHOP}/pods/held/eviction`, { body })).code).toBe(400);
        expect((await call('GET', `${SHOP}/pods/held/eviction`)).code).toBe(405);
      });
    });

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
  });
}
