import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { request as requestPlain } from 'node:http';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, test } from 'vitest';
import { freePort } from './free-port.ts';

/**
 * Runs `suite` for each folder of binaries that KUBEBUILDER_ASSETS names (the convention of envtest; several, for
 * several versions, are separated as in PATH), under the title `a real vX.Y.Z`, which test/run.js counts. Without any,
 * one skipped test says what was not checked.
 */
export function onRealVersions(what: string, suite: (assets: string) => void): void {
  for (const assets of assetFolders(what)) describe(`a real ${versionOf(assets)}`, () => suite(assets));
}

/** The same with all versions at once, for what mostly waits; the tests of one version still follow one another. */
export function onRealVersionsAtOnce(what: string, suite: (assets: string) => void): void {
  for (const assets of assetFolders(what)) atOnce(`a real ${versionOf(assets)}`, what, () => suite(assets));
}

/** The same with the lab as each age of KubeOS clusters: with policy/v1beta1 only, and with policy/v1 only. */
export function onLabVersionsAtOnce(what: string, suite: (version: string) => void): void {
  for (const version of ['v1.20.2', 'v1.34.4']) atOnce(`the lab as ${version}`, what, () => suite(version));
}

function atOnce(title: string, what: string, suite: () => void): void {
  describe.concurrent(title, () => {
    describe(what, { concurrent: false }, suite);
  });
}

/** The newest API server that KUBEBUILDER_ASSETS names; undefined where it names none. */
export function newestRealApi(): { assets: string; version: string } | undefined {
  const assets = namedFolders()
    .sort((one, other) => minorOf(one) - minorOf(other))
    .at(-1);
  return assets === undefined ? undefined : { assets, version: versionOf(assets) };
}

const namedFolders = (): string[] =>
  (process.env['KUBEBUILDER_ASSETS'] ?? '').split(delimiter).filter((folder) => folder !== '');

function assetFolders(what: string): readonly string[] {
  const folders = namedFolders();
  if (folders.length === 0) test.skip(`${what}: NOT CHECKED, KUBEBUILDER_ASSETS names no real API server`);
  return folders;
}

const TOKENS = { admin: 'admin-token', nobody: 'nobody-token', least: 'least-token', expired: 'no-such-token' };
type Login = keyof typeof TOKENS;

/** A real etcd and kube-apiserver from a folder of binaries (KUBEBUILDER_ASSETS, the convention of envtest). */
export interface RealApi {
  readonly url: string;
  /** The bearer token of one of the logins. */
  token(login: Login): string;
  /** A kubeconfig file for one of the logins. */
  kubeconfig(login: Login): Promise<string>;
  stopApi(): Promise<void>;
  startApi(): Promise<void>;
  /** etcd forgets all that was before now, as the API server has it do every five minutes. */
  compact(): Promise<void>;
  close(): Promise<void>;
}

export interface RealApiOptions {
  /** kube-controller-manager and kube-scheduler run too, and all admission plugins that are on by default. */
  controllers?: boolean;
  /** How long a kubelet may be silent until its node is Unknown; 20 s by default. */
  nodeGraceSeconds?: number;
  /** A file with the certificates of those who may issue client certificates; none are taken without. */
  clientCa?: string;
}

/** Everything that was started, and where it keeps its files. */
interface Parts {
  assets: string;
  folder: string;
  etcdUrl: string;
  port: number;
  /** Of Kubernetes 1.x. */
  minor: number;
  options: RealApiOptions;
}

export async function startRealApi(assets: string, options: RealApiOptions = {}): Promise<RealApi> {
  const folder = await mkdtemp(join(tmpdir(), 'envtest-'));
  const etcdUrl = `http://127.0.0.1:${await freePort()}`;
  const parts: Parts = { assets, folder, etcdUrl, port: await freePort(), minor: minorOf(assets), options };
  await writeKeys(folder);
  const kubeconfig = async (login: Login): Promise<string> => {
    const file = join(folder, `kubeconfig-${login}`);
    await writeFile(file, kubeconfigText(parts.port, TOKENS[login]), { mode: 0o600 });
    return file;
  };
  const running: ChildProcess[] = [await start(parts, 'etcd', etcdArguments(parts, await freePort()))];
  let api: ChildProcess | undefined;
  const startApi = async (): Promise<void> => {
    api = await start(parts, 'kube-apiserver', apiArguments(parts));
    await until(parts, api, 'becomes ready', () => answers(parts, '/readyz'));
  };
  const close = async (): Promise<void> => {
    for (const child of [...running.slice(1), api, running[0]]) await end(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await startApi();
    if (options.controllers === true) running.push(...(await startControllers(parts, await kubeconfig('admin'))));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    url: `https://127.0.0.1:${parts.port}`,
    token: (login) => TOKENS[login],
    kubeconfig,
    // It would wait for open watches on SIGTERM; its state is all in etcd.
    stopApi: () => end(api),
    startApi,
    compact: () => compact(etcdUrl),
    close,
  };
}

/** Starts the controllers; resolves once the API server would take a pod. */
async function startControllers(parts: Parts, kubeconfig: string): Promise<ChildProcess[]> {
  const common = [`--kubeconfig=${kubeconfig}`, '--leader-elect=false', '--authentication-skip-lookup=true'];
  const serve = async (): Promise<string[]> => [
    ...['--bind-address=127.0.0.1', `--secure-port=${await freePort()}`, `--cert-dir=${parts.folder}`],
    // Without TLS it listened too, until 1.24.
    ...(parts.minor < 24 ? ['--port=0'] : []),
  ];
  const manager = await start(parts, 'kube-controller-manager', [
    ...[...common, ...(await serve()), ...managerArguments(parts)],
  ]);
  const scheduler = await start(parts, 'kube-scheduler', [...common, ...(await serve())]);
  const account = '/api/v1/namespaces/default/serviceaccounts/default';
  await until(parts, manager, 'makes the default service account', () => answers(parts, account));
  return [manager, scheduler];
}

const CONTROLLERS = [
  ...['disruption', 'replicaset', 'deployment', 'daemonset', 'statefulset', 'replicationcontroller', 'job'],
  ...['serviceaccount', 'serviceaccount-token', 'root-ca-cert-publisher', 'namespace'],
  ...['nodelifecycle', 'garbagecollector', 'podgc'],
];

function managerArguments({ folder, minor, options }: Parts): string[] {
  // A controller of its own since 1.29.
  const controllers = minor < 29 ? CONTROLLERS : [...CONTROLLERS, 'taint-eviction-controller'];
  return [
    ...[`--controllers=${controllers.join(',')}`, '--node-monitor-period=1s'],
    `--node-monitor-grace-period=${options.nodeGraceSeconds ?? 20}s`,
    `--service-account-private-key-file=${join(folder, 'sa.key')}`,
    // The API server's own certificate, signed by itself.
    `--root-ca-file=${join(folder, 'apiserver.crt')}`,
  ];
}

function etcdArguments({ folder, etcdUrl }: Parts, peerPort: number): string[] {
  const peerUrl = `http://127.0.0.1:${peerPort}`;
  return [
    ...['--name', 'e', '--data-dir', join(folder, 'etcd'), '--log-level', 'error', '--logger', 'zap'],
    ...['--listen-client-urls', etcdUrl, '--advertise-client-urls', etcdUrl, '--unsafe-no-fsync'],
    ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl, '--initial-cluster', `e=${peerUrl}`],
  ];
}

function apiArguments({ folder, etcdUrl, port, options }: Parts): string[] {
  return [
    ...[`--etcd-servers=${etcdUrl}`, '--bind-address=127.0.0.1', `--secure-port=${port}`, `--cert-dir=${folder}`],
    ...['--advertise-address=127.0.0.1', '--endpoint-reconciler-type=none', '--service-cluster-ip-range=10.0.0.0/24'],
    ...[`--token-auth-file=${join(folder, 'tokens.csv')}`, '--authorization-mode=RBAC', '--anonymous-auth=true'],
    ...[
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${join(folder, 'sa.pub')}`,
    ],
    ...[`--service-account-signing-key-file=${join(folder, 'sa.key')}`, '--allow-privileged=true'],
    ...(options.clientCa === undefined ? [] : [`--client-ca-file=${options.clientCa}`]),
    // Without controllers nobody makes the default service accounts or takes taints off.
    ...(options.controllers === true ? [] : ['--disable-admission-plugins=ServiceAccount,TaintNodesByCondition']),
  ];
}

/** `v1.34.4`. */
function versionOf(assets: string): string {
  const said = execFileSync(join(assets, 'kube-apiserver'), ['--version'], { encoding: 'utf8' });
  return /v\d+\.\d+\.\d+/.exec(said)?.[0] ?? said;
}

const minorOf = (assets: string): number => Number(versionOf(assets).split('.')[1]);

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

const logOf = (folder: string, name: string): string => join(folder, `${name}.log`);

async function start({ assets, folder }: Parts, name: string, args: readonly string[]): Promise<ChildProcess> {
  const log = await open(logOf(folder, name), 'a');
  const child = spawn(join(assets, name), args, { stdio: ['ignore', log.fd, log.fd] });
  await log.close();
  return child;
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
}

/** Waits until the child has done something; where it ends instead, its last words are in the error. */
async function until(parts: Parts, child: ChildProcess, what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1200; tries++) {
    if (await isSo()) return;
    if (child.exitCode !== null) break;
    await sleep(50);
  }
  const name = child.spawnfile.split('/').at(-1) ?? '';
  const log = await readFile(logOf(parts.folder, name), 'utf8');
  throw new Error(`no ${name} that ${what}; its log ends with:\n${log.slice(-2000)}`);
}

function answers({ port }: Parts, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${TOKENS.admin}` };
    const call = request({ host: '127.0.0.1', port, path, headers, rejectUnauthorized: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    call.on('error', () => resolve(false));
    call.end();
  });
}

/** Through etcd's own JSON gateway: asks for the latest revision, and compacts up to it. */
async function compact(etcdUrl: string): Promise<void> {
  const latest = (await postToEtcd(`${etcdUrl}/v3/kv/range`, { key: 'AA==' })) as { header: { revision: string } };
  await postToEtcd(`${etcdUrl}/v3/kv/compaction`, { revision: latest.header.revision, physical: true });
}

function postToEtcd(url: string, body: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const call = requestPlain(url, { method: 'POST' }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => (text += part));
      answer.on('error', reject).on('end', () => {
        if (answer.statusCode === 200) resolve(JSON.parse(text));
        else reject(new Error(`${url}: HTTP ${answer.statusCode ?? 0}: ${text}`));
      });
    });
    call.on('error', reject);
    call.end(JSON.stringify(body));
  });
}
