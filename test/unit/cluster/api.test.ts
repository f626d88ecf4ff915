import { afterEach, describe, expect, test } from 'vitest';
import * as z from 'zod';
import { Absence } from '../../../src/cluster/absence.ts';
import { Api } from '../../../src/cluster/api.ts';
import { ApiError } from '../../../src/cluster/api-error.ts';
import { ApiUnreachableError, PreflightError, type KubeosError } from '../../../src/errors.ts';
import { FakeServer, hangUp, json, quickClock, refusal, text, type Answer } from './fake-server.ts';

let server: FakeServer | undefined;
afterEach(() => server?.stop());

async function apiWith(...answers: Answer[]) {
  server = await FakeServer.start(answers);
  const clock = quickClock();
  return { clock, seen: server.seen, api: new Api({ address: server.address, clock, retryForMs: 60_000 }) };
}

const REQUEST = { doing: 'read it', path: '/it', answer: z.object({ ok: z.boolean() }) };
const OK = json(200, { ok: true, more: 'ignored' });
const failureOf = async (sent: Promise<unknown>): Promise<KubeosError> =>
  sent.then(
    () => expect.fail('it was answered'),
    (error: unknown) => error as KubeosError,
  );

describe('a request', () => {
  test('goes to localhost, the only host that kubectl proxy answers', async () => {
    const { api, seen } = await apiWith(OK);
    expect(await api.send({ ...REQUEST, query: { a: 'b c' } })).toEqual({ ok: true });
    expect(seen[0]).toMatchObject({ method: 'GET', path: '/it', host: 'localhost' });
    expect(seen[0]?.query.get('a')).toBe('b c');
  });

  test.each<[string, Answer]>([
    ['500 of the server', refusal(500, 'InternalError', 'etcdserver: leader changed')],
    ['503', refusal(503, 'ServiceUnavailable', 'starting')],
    ['502 of the proxy', text(502, 'Bad Gateway')],
    ['500 of the proxy', text(500, 'dial tcp: connection refused')],
    ['a cut connection', hangUp],
  ])('that meets %s is sent again', async (_what, answer) => {
    const { api, seen } = await apiWith(answer, answer, OK);
    expect(await api.send(REQUEST)).toEqual({ ok: true });
    expect(seen).toHaveLength(3);
  });

  test.each<[number, string]>([
    [401, 'Unauthorized'],
    [403, 'Forbidden'],
  ])(
    'refused with %i by a server that has just come back is sent again, for a minute at most',
    async (code, reason) => {
      server = await FakeServer.start([hangUp, refusal(code, reason, 'not yet'), refusal(code, reason, 'not yet'), OK]);
      const clock = quickClock();
      const absence = new Absence(clock, () => undefined);
      const api = new Api({ address: server.address, clock, retryForMs: 600_000, absence });
      expect(await api.send(REQUEST)).toEqual({ ok: true });
      await server.stop();

      server = await FakeServer.start([hangUp, refusal(code, reason, 'never')]);
      const strict = new Api({ address: server.address, clock, retryForMs: 600_000, absence });
      await failureOf(strict.send(REQUEST));
      const waited = clock.slept.reduce((sum, ms) => sum + ms, 0);
      expect(waited).toBeGreaterThan(30_000);
      expect(waited).toBeLessThan(90_000);
    },
  );

  test('waits as long as a 429 asks', async () => {
    const { api, clock } = await apiWith(refusal(429, 'TooManyRequests', 'slow down', { 'retry-after': '7' }), OK);
    await api.send(REQUEST);
    expect(clock.slept).toEqual([7_000]);
  });

  test('gives up on an API that stays away, after its time and with exit code 10', async () => {
    const { api, clock } = await apiWith(text(500, 'dial tcp 10.0.0.1:6443: connection refused'));
    const error = await failureOf(api.send(REQUEST));
    expect(error).toBeInstanceOf(ApiUnreachableError);
    expect(error.reason).toContain('10.0.0.1:6443');
    const waited = clock.slept.reduce((sum, ms) => sum + ms, 0);
    expect(waited).toBeGreaterThan(45_000);
    expect(waited).toBeLessThanOrEqual(60_000);
  });

  test('can be called off while it waits', async () => {
    const { api } = await apiWith(hangUp);
    const stop = new Error('enough');
    await expect(api.send({ ...REQUEST, signal: AbortSignal.abort(stop) })).rejects.toBe(stop);
  });

  test('can be called off while the server is silent', async () => {
    const stopper = new AbortController();
    const stop = new Error('enough');
    const { api } = await apiWith(() => stopper.abort(stop));
    await expect(api.send({ ...REQUEST, signal: stopper.signal })).rejects.toBe(stop);
  });

  test.each<[number, string, new (...args: never[]) => Error, number]>([
    [401, 'Unauthorized', ApiUnreachableError, 10],
    [403, 'Forbidden', PreflightError, 4],
    [404, 'NotFound', ApiError, 3],
    [409, 'Conflict', ApiError, 3],
    [422, 'Invalid', ApiError, 3],
  ])('refused with %i is not sent again', async (code, reason, type, exitCode) => {
    const { api, seen } = await apiWith(refusal(code, reason, 'the words of the server'));
    const error = await failureOf(api.send(REQUEST));
    expect(error).toBeInstanceOf(type);
    expect(error.exitCode).toBe(exitCode);
    expect(error.reason).toContain('the words of the server');
    expect(error.next).toBeDefined();
    expect(seen).toHaveLength(1);
  });

  test.each([
    ['no JSON', text(200, '<html>')],
    ['another thing', json(200, { kind: 'Wrong' })],
  ])('answered with %s is told as such', async (_what, answer) => {
    const { api } = await apiWith(answer);
    expect((await failureOf(api.send(REQUEST))).message).toContain('the answer of the API is not understood');
  });
});

describe('a list', () => {
  const page = (items: number[] | null, version: string, next?: string): Answer =>
    json(200, { metadata: { resourceVersion: version, ...(next === undefined ? {} : { continue: next }) }, items });
  const LIST = { doing: 'read them', path: '/them', item: z.number() };

  test('is read in pages', async () => {
    const { api, seen } = await apiWith(page([1, 2], '9', 'next'), page([3], '9'));
    expect(await api.list({ ...LIST, query: { fieldSelector: 'f' } })).toEqual({
      items: [1, 2, 3],
      resourceVersion: '9',
    });
    expect(seen.map(({ query }) => [query.get('limit'), query.get('continue'), query.get('fieldSelector')])).toEqual([
      ['500', null, 'f'],
      ['500', 'next', 'f'],
    ]);
  });

  test('begins again when its pages have expired', async () => {
    const gone = refusal(410, 'Expired', 'the continue token is too old');
    const { api } = await apiWith(page([1, 2], '9', 'next'), gone, page([1], '12', 'more'), page([5], '12'));
    expect(await api.list(LIST)).toEqual({ items: [1, 5], resourceVersion: '12' });
  });

  test('may be null where it is empty', async () => {
    const { api } = await apiWith(page(null, '3'));
    expect(await api.list(LIST)).toEqual({ items: [], resourceVersion: '3' });
  });
});
