import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { ApiUnreachableError } from '../errors.ts';
import type { Api } from './api.ts';
import { LoginRefusedError } from './api-error.ts';
import { askForDestination, readDestination, unusableKubeconfig, type Destination } from './kubeconfig.ts';
import { parseJson, requireVersion, type Kubectl } from './kubectl.ts';
import { ProxyStartError } from './proxy.ts';

/** A failure of the first request is told at once: the user is still there to mend it, and a plugin asks only once. */
const FIRST_RETRY_FOR_MS = 0;

export interface Versions {
  /** As `kubectl version` prints them: `v1.32.4`. */
  kubectl: string;
  server: string;
}

/** What is known of the login once kubectl itself has been asked. */
export interface Introduced {
  kubectl: string;
  /** Undefined in a pod, whose own account is taken. */
  to: Destination | undefined;
  /** The login plugin has answered kubectl while it had the terminal. */
  askedOnTerminal: boolean;
}

/**
 * Everything that comes before the proxy: kubectl's version and kubeconfig and, where a login plugin may want to ask
 * something, a first call to the cluster that keeps the terminal. What the plugin asks for then is in its cache when
 * the calls behind guards, which have no terminal, need it.
 * Throws PreflightError where kubectl is missing or too old; ApiUnreachableError where the kubeconfig leads nowhere or
 * the plugin gives no login.
 */
export async function introduce(kubectl: Kubectl): Promise<Introduced> {
  const [version, used] = await Promise.all([kubectl.version(), askForDestination(kubectl)]);
  const to = await readDestination(kubectl, used);
  const terminal = process.stdin.isTTY || process.stderr.isTTY;
  if (!terminal || to?.signIn.by !== 'plugin') return { kubectl: version, to, askedOnTerminal: false };
  // Not `kubectl version`, which warns on the terminal of versions that lie apart.
  const { code } = await kubectl.onTerminal(['get', '--raw=/version']);
  if (code !== 0) throw noAnswer(kubectl, to, 'kubectl says why in the lines above');
  return { kubectl: version, to, askedOnTerminal: true };
}

const serverVersionSchema = z.object({ gitVersion: z.string() });

/**
 * Greets the API server through the proxy.
 * @param said what the proxy and a login plugin under it wrote to standard error
 * Throws ApiUnreachableError where it is away or refuses the login, PreflightError where it is too old.
 */
export async function greet(api: Api, kubectl: Kubectl, login: Introduced, said: () => string): Promise<Versions> {
  const version = await api
    .send({
      doing: "read the API server's version",
      path: '/version',
      answer: serverVersionSchema,
      retryForMs: FIRST_RETRY_FOR_MS,
    })
    .catch(async (error: unknown) => {
      if (error instanceof LoginRefusedError) throw await refused(kubectl, login.to, error);
      throw error instanceof ApiUnreachableError ? away(kubectl, login, error, said()) : error;
    });
  requireVersion('the API server', version.gitVersion, 'upgrade Kubernetes first');
  return { kubectl: login.kubectl, server: version.gitVersion };
}

/** 401: the API server was reached, and does not know who this is. */
async function refused(
  kubectl: Kubectl,
  to: Destination | undefined,
  error: LoginRefusedError,
): Promise<ApiUnreachableError> {
  const said = error.reason ?? '';
  if (to === undefined) return new ApiUnreachableError(error.message, { reason: said, next: NEW_LOGIN, cause: error });
  const expiry = await expiryOf(kubectl, to.signIn).catch(() => undefined);
  const now = kubectl.settings.clock.now();
  const expired = expiry === undefined || expiry > now ? '' : `, which expired on ${minute(expiry)}`;
  return new ApiUnreachableError(error.message, {
    reason: `${to.server} does not accept ${described(to)}${expired}: ${said}`,
    next:
      to.signIn.by === 'plugin'
        ? `sign in anew with the plugin, until this works:\n  ${kubectl.shown('get --raw=/version')}`
        : NEW_LOGIN,
    cause: error,
  });
}

const NEW_LOGIN = 'get a new login into the kubeconfig, then give the same command again';

function described({ user, context, signIn }: Destination): string {
  const whose = `of user ${user} (context ${context})`;
  if (signIn.by === 'plugin')
    return `what the login plugin ${signIn.command} gave for user ${user} (context ${context})`;
  const from = 'file' in signIn ? ` in ${signIn.file}` : '';
  return `the ${signIn.by === 'certificate' ? 'client certificate' : signIn.by === 'token' ? 'token' : 'login'}${from} ${whose}`;
}

/** `2026-11-25 18:00 UTC` */
const minute = (ms: number): string => `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`;

/** Milliseconds since 1970; undefined where the login does not say. The login itself goes no further than here. */
async function expiryOf(kubectl: Kubectl, signIn: Destination['signIn']): Promise<number | undefined> {
  if (signIn.by !== 'certificate' && signIn.by !== 'token') return undefined;
  const field = signIn.by === 'certificate' ? 'client-certificate-data' : 'token';
  const raw =
    signIn.file === undefined
      ? (await kubectl.capture(['config', 'view', '--minify', '--raw', `--output=jsonpath={.users[0].user.${field}}`]))
          .stdout
      : await readFile(signIn.file, 'utf8');
  if (signIn.by === 'token') return expiryOfToken(raw.trim());
  const pem = signIn.file === undefined ? Buffer.from(raw, 'base64') : raw;
  return Date.parse(new X509Certificate(pem).validTo);
}

/** A ServiceAccount's token is a JWT (RFC 7519): its second part says `exp`, in seconds since 1970. */
function expiryOfToken(token: string): number | undefined {
  const claims = parseJson(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
  const { exp } = z.object({ exp: z.number() }).safeParse(claims).data ?? {};
  return exp === undefined ? undefined : exp * 1000;
}

/** The API server was not reached, or there was nothing to sign in with. */
function away(kubectl: Kubectl, login: Introduced, error: ApiUnreachableError, said: string): ApiUnreachableError {
  const { to } = login;
  const reason = [...said.split('\n').filter(notIn(error.reason)), error.reason ?? ''].join('\n');
  if (error instanceof ProxyStartError) return unusableKubeconfig(kubectl, reason);
  if (to === undefined) return new ApiUnreachableError(UNREACHED, { reason, next: error.next ?? '', cause: error });
  if (to.signIn.by !== 'plugin') {
    return new ApiUnreachableError(UNREACHED, {
      reason: [reason, ...way(to)].join('\n'),
      next: `mend the connection until this works:\n  ${kubectl.shown('get --raw=/version')}`,
      cause: error,
    });
  }
  return login.askedOnTerminal
    ? needsTerminal(kubectl, to.signIn.command, error, reason)
    : noAnswer(kubectl, to, reason);
}

/** The proxy logs its answer too, and kubectl says some things several times. */
function notIn(reason = ''): (line: string, at: number, all: readonly string[]) => boolean {
  const known = new Set(reason.split('\n').map((line) => line.trim()));
  return (line, at, all) => line.trim() !== '' && !known.has(line.trim()) && all.indexOf(line) === at;
}

const UNREACHED = "the cluster's API cannot be reached";

const way = ({ server, proxyUrl, context }: Destination): string[] => [
  `server  ${server} (context ${context})`,
  ...(proxyUrl === undefined ? [] : [`proxy   ${withoutPassword(proxyUrl)}`]),
];

/** A proxy's URL may carry its own login. */
function withoutPassword(url: string): string {
  try {
    const parsed = new URL(url);
    return `${parsed.protocol}//${parsed.host}`;
  } catch {
    return 'as the kubeconfig says';
  }
}

/** kubectl cannot tell in a way that a program understands whether the plugin failed or the server. */
const noAnswer = (kubectl: Kubectl, to: Destination, reason: string): ApiUnreachableError =>
  new ApiUnreachableError('the login plugin gives no login, or the API cannot be reached', {
    reason: [reason, `plugin  ${to.signIn.by === 'plugin' ? to.signIn.command : ''}`, ...way(to)].join('\n'),
    next: `sign in, or mend the connection, until this works:\n  ${kubectl.shown('get --raw=/version')}`,
  });

/** kubectl reached the API a moment ago with the terminal; the proxy, which has none, does not. */
const needsTerminal = (kubectl: Kubectl, plugin: string, cause: Error, reason: string): ApiUnreachableError =>
  new ApiUnreachableError(`the login plugin ${plugin} cannot answer without the terminal`, {
    reason: `kubectl just reached the API with the terminal; its proxy, which has none, does not:\n${reason}`,
    next:
      'a run lasts long and signs in anew for each drain: have the plugin keep its login, or take another login, until this works:\n' +
      `  ${kubectl.shown('get --raw=/version')} </dev/null`,
    cause,
  });
