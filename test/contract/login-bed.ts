import { spawn, execFile } from 'node:child_process';
import { createPrivateKey, sign } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { makePki, type KeyPair } from '../../src/lab/pki.ts';
import type { Finished } from '../lab/lab-bed.ts';
import { startRealApi, type RealApi } from './envtest.ts';

/** What differs between two kubeconfigs; YAML in one line. */
export interface KubeconfigParts {
  /** Fields of the cluster beside its server. */
  cluster?: string;
  server?: string;
  user: string;
  context?: string;
  /** '' for none. */
  current?: string;
}

/** A real API server that knows people by token and by client certificate, and a folder to make kubeconfigs in. */
export interface LoginBed {
  readonly api: RealApi;
  readonly folder: string;
  /** The environment of kubeos, without any kubeconfig. */
  readonly env: Readonly<Record<string, string>>;
  /** Of someone who may do everything. */
  readonly certificate: KeyPair;
  readonly expiredCertificate: KeyPair;
  /** The field of a kubeconfig's cluster that trusts the API server. */
  readonly trusted: string;
  /** Writes a file, and tells its path. */
  file(name: string, text: string, mode?: number): Promise<string>;
  kubeconfig(name: string, parts: KubeconfigParts): Promise<string>;
  /** A ServiceAccount's token that the API server itself would have signed, valid until then (seconds since 1970). */
  tokenUntil(seconds: number): Promise<string>;
  /** Runs the built kubeos as a person would at a terminal of 80 columns, who types these lines. */
  atTerminal(command: string, env: Readonly<Record<string, string>>, typed: readonly string[]): Promise<Finished>;
  kubectl(...args: string[]): Promise<string>;
  close(): Promise<void>;
}

export async function startLoginBed(assets: string): Promise<LoginBed> {
  const folder = await mkdtemp(path.join(tmpdir(), 'logins-'));
  const home = path.join(folder, 'home');
  await mkdir(home);
  const pki = await makePki(path.join(folder, 'pki'));
  const api = await startRealApi(assets, { clientCa: pki.caFile });
  const admin = await api.kubeconfig('admin');
  const apiFolder = path.dirname(admin);
  const env = { PATH: process.env['PATH'] ?? '', HOME: home, TMPDIR: tmpdir(), LANG: 'C.UTF-8', XDG_STATE_HOME: home };
  const kubectl = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)('kubectl', [`--kubeconfig=${admin}`, ...args], { env })).stdout;
  await kubectl('create', 'clusterrolebinding', 'people', '--clusterrole=cluster-admin', '--user=client');
  // The API server's own certificate, which it has signed itself.
  const trusted = `certificate-authority: ${path.join(apiFolder, 'apiserver.crt')}`;
  const file = async (name: string, text: string, mode = 0o600): Promise<string> => {
    const at = path.join(folder, name);
    await writeFile(at, text, { mode });
    await chmod(at, mode);
    return at;
  };
  return {
    ...{ api, folder, env, trusted, file, kubectl },
    certificate: pki.client,
    expiredCertificate: await pki.issue({ name: 'former', purpose: 'client', expired: true }),
    kubeconfig: (name, parts) => file(name, kubeconfigText({ cluster: trusted, server: api.url, ...parts })),
    tokenUntil: async (seconds) => {
      const key = createPrivateKey(await readFile(path.join(apiFolder, 'sa.key')));
      const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
      const issuer = 'https://kubernetes.default.svc';
      const claims = {
        iss: issuer,
        aud: [issuer],
        sub: 'system:serviceaccount:default:ci',
        exp: seconds,
        iat: 0,
        nbf: 0,
      };
      const signed = `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}`;
      return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
    },
    atTerminal: (command, more, typed) => atTerminal(command, { ...env, ...more }, typed),
    close: async () => {
      await api.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function kubeconfigText(parts: KubeconfigParts): string {
  const { cluster = '', server = '', user, context = 'prod', current = context } = parts;
  return [
    'apiVersion: v1',
    'kind: Config',
    `clusters: [{name: ${context}, cluster: {server: "${server}", ${cluster}}}]`,
    `users: [{name: ${context}-user, user: {${user}}}]`,
    `contexts: [{name: ${context}, context: {cluster: ${context}, user: ${context}-user}}]`,
    ...(current === '' ? [] : [`current-context: ${current}`]),
    '',
  ].join('\n');
}

/** `script` gives a terminal of its own; what is typed waits there until someone reads it. */
function atTerminal(
  command: string,
  env: Readonly<Record<string, string>>,
  typed: readonly string[],
): Promise<Finished> {
  const line = `stty cols 80; node bin/kubeos.js ${command}`;
  const child = spawn('script', ['-qec', line, '/dev/null'], { env: { ...env, TERM: 'xterm' }, stdio: 'pipe' });
  child.stdin.on('error', () => undefined);
  child.stdin.write(typed.map((text) => `${text}\n`).join(''));
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr: '' }));
  });
}

/** A proxy for `proxy-url`, which knows CONNECT alone. */
export interface ConnectProxy {
  readonly url: string;
  /** What it was asked to connect to. */
  readonly asked: readonly string[];
  close(): void;
}

export async function startConnectProxy(): Promise<ConnectProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((_request, response) => response.writeHead(405).end());
  server.on('connection', (socket) => sockets.add(socket));
  server.on('connect', (request, client) => {
    const [host = '', port = ''] = (request.url ?? '').split(':');
    asked.push(request.url ?? '');
    const far = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      far.pipe(client).pipe(far);
    });
    sockets.add(far);
    for (const end of [far, client]) end.on('error', () => [far, client].forEach((one) => one.destroy()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
