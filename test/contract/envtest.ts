import { spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A real etcd and kube-apiserver from a folder of binaries (KUBEBUILDER_ASSETS, the convention of envtest). */
export interface RealApi {
  /** A kubeconfig file for one of the logins below. */
  kubeconfig(login: 'admin' | 'nobody' | 'least' | 'expired'): Promise<string>;
  stopApi(): Promise<void>;
  startApi(): Promise<void>;
  close(): Promise<void>;
}

const TOKENS = { admin: 'admin-token', nobody: 'nobody-token', least: 'least-token', expired: 'no-such-token' };

export async function startRealApi(assets: string): Promise<RealApi> {
  const folder = await mkdtemp(join(tmpdir(), 'envtest-'));
  const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()];
  await writeKeys(folder);
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  const peerUrl = `http://127.0.0.1:${peerPort}`;
  const etcd = await start(folder, join(assets, 'etcd'), [
    ...['--name', 'e', '--data-dir', join(folder, 'etcd'), '--log-level', 'error', '--logger', 'zap'],
    ...['--listen-client-urls', etcdUrl, '--advertise-client-urls', etcdUrl, '--unsafe-no-fsync'],
    ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl, '--initial-cluster', `e=${peerUrl}`],
  ]);
  let api: ChildProcess | undefined;
  const startApi = async (): Promise<void> => {
    api = await start(folder, join(assets, 'kube-apiserver'), [
      ...[`--etcd-servers=${etcdUrl}`, '--bind-address=127.0.0.1', `--secure-port=${port}`, `--cert-dir=${folder}`],
      ...['--advertise-address=127.0.0.1', '--endpoint-reconciler-type=none', '--service-cluster-ip-range=10.0.0.0/24'],
      ...[`--token-auth-file=${join(folder, 'tokens.csv')}`, '--authorization-mode=RBAC', '--anonymous-auth=true'],
      ...[
        '--service-account-issuer=https://kubernetes.default.svc',
        `--service-account-key-file=${join(folder, 'sa.pub')}`,
      ],
      ...[`--service-account-signing-key-file=${join(folder, 'sa.key')}`],
      // No controller makes the default service accounts or takes taints off here.
      '--disable-admission-plugins=ServiceAccount,TaintNodesByCondition',
    ]);
    await untilReady(port, api);
  };
  await startApi();
  return {
    kubeconfig: async (login) => {
      const file = join(folder, `kubeconfig-${login}`);
      await writeFile(file, kubeconfigText(port, TOKENS[login]), { mode: 0o600 });
      return file;
    },
    // It would wait for open watches on SIGTERM; its state is all in etcd.
    stopApi: () => end(api),
    startApi,
    async close() {
      await end(api);
      await end(etcd);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function writeKeys(folder: string): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  await writeFile(join(folder, 'sa.key'), privateKey.export({ type: 'pkcs1', format: 'pem' }), { mode: 0o600 });
  await writeFile(join(folder, 'sa.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
  const rows = [`${TOKENS.admin},admin,1,"system:masters"`, `${TOKENS.nobody},nobody,2`, `${TOKENS.least},least,3`];
  await writeFile(join(folder, 'tokens.csv'), `${rows.join('\n')}\n`, { mode: 0o600 });
}

const kubeconfigText = (port: number, token: string): string => `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:${port}", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: ${token}}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`;

async function start(folder: string, command: string, args: readonly string[]): Promise<ChildProcess> {
  const log = await open(join(folder, 'log'), 'a');
  const child = spawn(command, args, { stdio: ['ignore', log.fd, log.fd] });
  await log.close();
  return child;
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
}

async function untilReady(port: number, api: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 1200; tries++) {
    if (api.exitCode !== null) throw new Error(`kube-apiserver ended with ${api.exitCode}`);
    if (await isReady(port)) return;
    await sleep(50);
  }
  throw new Error('kube-apiserver does not become ready');
}

function isReady(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${TOKENS.admin}` };
    const call = request({ host: '127.0.0.1', port, path: '/readyz', headers, rejectUnauthorized: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    call.on('error', () => resolve(false));
    call.end();
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
