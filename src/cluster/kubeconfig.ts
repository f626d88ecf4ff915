import { existsSync } from 'node:fs';
import { delimiter } from 'node:path';
import * as z from 'zod';
import { ApiUnreachableError } from '../errors.ts';
import { parseJson, type Finished, type Kubectl } from './kubectl.ts';

/** How the user of a context signs in. */
export type SignIn =
  | { by: 'plugin'; command: string }
  | { by: 'certificate'; file?: string }
  | { by: 'token'; file?: string }
  | { by: 'other' }
  | { by: 'nothing' };

/** Where the kubeconfig leads, without any secret. */
export interface Destination {
  context: string;
  server: string;
  /** Through which the server is reached. */
  proxyUrl?: string;
  user: string;
  signIn: SignIn;
}

const text = z.string().default('');
const userSchema = z.looseObject({
  exec: z.object({ command: z.string() }).nullish(),
  token: text,
  tokenFile: text,
  'client-certificate': text,
  'client-certificate-data': text,
});
const list = <T>(of: z.ZodType<T>) =>
  z
    .array(of)
    .nullish()
    .transform((items) => items ?? []);

/** `kubectl config view` in JSON, where secrets are left out. */
const viewSchema = z.object({
  'current-context': text,
  contexts: list(z.object({ name: z.string(), context: z.object({ cluster: text, user: text }) })),
  clusters: list(z.object({ cluster: z.object({ server: text, 'proxy-url': text }) })),
  users: list(z.object({ user: userSchema })),
});
type View = z.infer<typeof viewSchema>;

const VIEW = ['config', 'view', '--output=json'];

/** Asks kubectl for the part of its kubeconfig that it uses. Throws PreflightError where kubectl cannot be run. */
export const askForDestination = (kubectl: Kubectl): Promise<Finished> => kubectl.capture([...VIEW, '--minify']);

/**
 * What kubectl makes of its kubeconfig; asks no server. Undefined where there is none because kubectl runs in a pod and
 * takes the pod's own account. Throws ApiUnreachableError where the kubeconfig leads nowhere.
 * @param used the answer to askForDestination
 */
export async function readDestination(kubectl: Kubectl, used: Finished): Promise<Destination | undefined> {
  const view = viewOf(used);
  if (view === undefined) {
    requirePod(kubectl, used, await kubectl.capture(VIEW));
    return undefined;
  }
  const destination = destinationOf(view);
  const { context, server, signIn } = destination;
  if (server === '') throw unusableKubeconfig(kubectl, `context ${context} leads to no server`);
  // Without TLS kubectl sends no login; with it, it would ask for a name and a password, which no server takes any more.
  if (signIn.by === 'nothing' && server.startsWith('https:')) throw noLogin(destination);
  return destination;
}

function destinationOf(view: View): Destination {
  const cluster = view.clusters[0]?.cluster;
  const proxyUrl = cluster?.['proxy-url'] ?? '';
  return {
    context: view['current-context'],
    server: cluster?.server ?? '',
    user: view.contexts[0]?.context.user ?? '',
    signIn: signInOf(view.users[0]?.user),
    ...(proxyUrl === '' ? {} : { proxyUrl }),
  };
}

function viewOf({ code, stdout }: Finished): View | undefined {
  return code === 0 ? viewSchema.safeParse(parseJson(stdout)).data : undefined;
}

function signInOf(user: z.infer<typeof userSchema> | undefined): SignIn {
  if (user === undefined) return { by: 'nothing' };
  const { exec, token, tokenFile, 'client-certificate': certificate, 'client-certificate-data': data } = user;
  if (exec !== undefined && exec !== null) return { by: 'plugin', command: exec.command };
  // kubectl reads the file where both are given.
  if (tokenFile !== '') return { by: 'token', file: tokenFile };
  if (token !== '') return { by: 'token' };
  if (data !== '') return { by: 'certificate' };
  if (certificate !== '') return { by: 'certificate', file: certificate };
  return ['username', 'auth-provider'].some((way) => way in user) ? { by: 'other' } : { by: 'nothing' };
}

/** kubectl finds no context to use: because of the file, of the names in it, or because there is none. */
function requirePod(kubectl: Kubectl, used: Finished, all: Finished): void {
  const { context: wanted, kubeconfig, environment } = kubectl.settings;
  const view = viewOf(all);
  if (view === undefined) throw unusableKubeconfig(kubectl, all.stderr);
  const names = view.contexts.map(({ name }) => name);
  if (names.length === 0) {
    const inPod = kubeconfig === undefined && (environment['KUBERNETES_SERVICE_HOST'] ?? '') !== '';
    if (inPod && wanted === undefined) return;
    throw new ApiUnreachableError('there is no kubeconfig that leads to a cluster', {
      reason: whereItLooked(kubectl),
      next: 'name one: --kubeconfig FILE, or KUBECONFIG',
    });
  }
  const context = wanted ?? view['current-context'];
  if (names.includes(context)) throw unusableKubeconfig(kubectl, used.stderr);
  throw new ApiUnreachableError(`the kubeconfig has no ${context === '' ? 'current context' : `context ${context}`}`, {
    reason: `it has ${names.sort().join(', ')}`,
    next: 'name one of these: --context NAME',
  });
}

function whereItLooked({ settings }: Kubectl): string {
  const files = settings.environment['KUBECONFIG'] ?? '';
  if (settings.kubeconfig !== undefined) return lacking([settings.kubeconfig]);
  if (files !== '') return `KUBECONFIG: ${lacking(files.split(delimiter).filter((file) => file !== ''))}`;
  return 'neither --kubeconfig nor KUBECONFIG is given, and ~/.kube/config names no context';
}

function lacking(files: readonly string[]): string {
  return files.map((file) => `${file} ${existsSync(file) ? 'names no context' : 'does not exist'}`).join(', ');
}

/** kubectl can do nothing with its kubeconfig, or with a file that this names. */
export const unusableKubeconfig = (kubectl: Kubectl, reason: string): ApiUnreachableError =>
  new ApiUnreachableError('the kubeconfig cannot be used', {
    reason,
    next: `mend it, or name another (--kubeconfig FILE, KUBECONFIG), until this works:\n  ${kubectl.shown('get --raw=/version')}`,
  });

const noLogin = ({ context, user }: Destination): ApiUnreachableError =>
  new ApiUnreachableError('the kubeconfig has no login for this cluster', {
    reason:
      user === ''
        ? `context ${context} names no user`
        : `user ${user} of context ${context} has no token, no client certificate and no login plugin`,
    next: 'get a kubeconfig with a login from whoever runs the cluster, or name another context: --context NAME',
  });
