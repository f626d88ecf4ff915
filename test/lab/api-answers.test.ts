import { readFile } from 'node:fs/promises';
import { describe } from 'vitest';
import { onRealVersions, startRealApi } from '../contract/envtest.ts';
import { ask, startLabServer, type Endpoint } from './api-client.ts';
import { describeAnswers } from './api-answers-suite.ts';

describe.each(['v1.20.2', 'v1.34.4'])('the lab as %s', (version) => {
  describeAnswers("the lab's API", async () => {
    const deny = (user: string): boolean => user === 'nobody';
    const tokens = new Map([
      ['admin-token', 'admin'],
      ['nobody-token', 'nobody'],
    ]);
    const lab = await startLabServer({ version, deny, tokens, controllers: false });
    const nobody = { ...lab.endpoint, token: 'nobody-token' };
    return { endpoint: lab.endpoint, nobody, policy: await policyOf(lab.endpoint), close: () => lab.close() };
  });
});

onRealVersions("the lab's answers", (assets) => {
  describeAnswers('its API server', async () => {
    const api = await startRealApi(assets);
    const [endpoint, nobody] = await Promise.all(
      (['admin', 'nobody'] as const).map(async (login) => endpointOf(await api.kubeconfig(login))),
    );
    if (endpoint === undefined || nobody === undefined) throw new Error('a login is missing');
    return { endpoint, nobody, policy: await policyOf(endpoint), close: () => api.close() };
  });
});

async function endpointOf(kubeconfig: string): Promise<Endpoint> {
  const text = await readFile(kubeconfig, 'utf8');
  return { url: /https:[^"\s]+/.exec(text)?.[0] ?? '', token: /token: ([^}\s]+)/.exec(text)?.[1] ?? '' };
}

async function policyOf(endpoint: Endpoint): Promise<string> {
  const { code } = await ask(endpoint, 'GET', '/apis/policy/v1');
  return code === 200 ? 'v1' : 'v1beta1';
}
