import { describe, expect, test } from 'vitest';
import { LEASES, MERGE, POD, SHOP, type Asker } from './api-asker.ts';
import { ask } from './api-client.ts';

const STRATEGIC = 'application/strategic-merge-patch+json';
const JSON_PATCH = 'application/json-patch+json';

export function describeRefusals({ bed, call, patched }: Asker): void {
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
      const { json, ...answer } = await call(method, path, method === 'GET' || method === 'DELETE' ? {} : { body: {} });
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
      expect([other.code, other.json.message]).toEqual([400, expect.stringContaining('cannot be handled as a Lease')]);
    });

    test('a login without rights is told which right it lacks', async () => {
      const nodes = await ask(bed().nobody, 'GET', '/api/v1/nodes');
      expect(nodes.json).toMatchObject({
        ...{ code: 403, reason: 'Forbidden', details: { kind: 'nodes' } },
        message: 'nodes is forbidden: User "nobody" cannot list resource "nodes" in API group "" at the cluster scope',
      });
      const eviction = await ask(bed().nobody, 'POST', `${SHOP}/pods/x/eviction`, { body: {} });
      expect(eviction.json.message).toBe(
        'pods "x" is forbidden: User "nobody" cannot create resource "pods/eviction" in API group "" in the namespace "shop"',
      );
      const review = { spec: { resourceAttributes: { verb: 'list', resource: 'nodes' } } };
      const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
      const body = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', ...review };
      expect((await ask(bed().nobody, 'POST', path, { body })).json.status).toMatchObject({ allowed: false });
      expect((await call('POST', path, { body })).json.status).toMatchObject({ allowed: true });
    });

    test('a token that nobody has is 401', async () => {
      const answer = await ask({ ...bed().endpoint, token: 'no-such-token' }, 'GET', '/api/v1/nodes');
      expect(answer.json).toMatchObject({ code: 401, reason: 'Unauthorized', message: 'Unauthorized' });
    });
  });
}

export function describeWrites({ call, patched }: Asker): void {
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
      expect((await call('PUT', node, { body: { metadata: { name: 'cond', resourceVersion: '1' } } })).code).toBe(409);
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
      // Seen on v1.20.2: a patch that is no JSON is a 500.
      expect([400, 500]).toContain((await patched(node, '{x')).code);
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
}
