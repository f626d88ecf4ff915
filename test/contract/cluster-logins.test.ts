import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runMain } from '../lab/cli-bed.ts';
import type { Finished } from '../lab/lab-bed.ts';
import { onRealVersions } from './envtest.ts';
import { type LoginBed, startConnectProxy, startLoginBed } from './login-bed.ts';

const TOKEN = 'token: admin-token';

onRealVersions('logins', (assets) => {
  let bed: LoginBed;
  beforeAll(async () => {
    bed = await startLoginBed(assets);
  });
  afterAll(() => bed.close());

  /** `kubeos status` as a program runs it, without a terminal. */
  const status = (env: Readonly<Record<string, string>>, ...flags: string[]): Promise<Finished> =>
    runMain(['status', ...flags], { ...bed.env, ...env });

  describe('kubeos reaches a cluster', () => {
    const reached = async (kubeconfig: string, ...flags: string[]): Promise<void> => {
      const { code, stderr, stdout } = await status({ KUBECONFIG: kubeconfig }, ...flags);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toContain('The cluster has no nodes.');
    };

    test('by a token, in the kubeconfig or in a file of its own', async () => {
      await reached(await bed.kubeconfig('token', { user: TOKEN }));
      const file = await bed.file('a-token', 'admin-token\n');
      await reached(await bed.kubeconfig('token-file', { user: `tokenFile: ${file}` }));
    });

    test('by a client certificate, in the kubeconfig or in files beside it', async () => {
      const { certFile, keyFile, cert, key } = bed.certificate;
      await reached(await bed.kubeconfig('files', { user: `client-certificate: ${certFile}, client-key: ${keyFile}` }));
      const base64 = (text: string): string => Buffer.from(text).toString('base64');
      const data = `client-certificate-data: ${base64(cert)}, client-key-data: ${base64(key)}`;
      await reached(await bed.kubeconfig('data', { user: data }));
    });

    test('by several files in KUBECONFIG, and another of their contexts', async () => {
      const staging = await bed.kubeconfig('staging', {
        context: 'staging',
        server: 'https://127.0.0.1:9',
        user: TOKEN,
      });
      const prod = await bed.kubeconfig('prod', { user: TOKEN });
      const files = [staging, path.join(bed.folder, 'not-there'), prod].join(path.delimiter);
      await reached(files, '--context', 'prod');
      // The first file says which one is the current.
      expect(await status({ KUBECONFIG: files })).toMatchObject({ code: 10 });
      await reached([prod, staging].join(path.delimiter));
    });

    test('by what kubectl finds at home, or is given by --kubeconfig', async () => {
      const home = path.join(bed.folder, 'other-home');
      await mkdir(path.join(home, '.kube'), { recursive: true });
      await bed.kubeconfig('other-home/.kube/config', { user: TOKEN });
      expect(await status({ HOME: home })).toMatchObject({ code: 0 });
      expect(await status({}, '--kubeconfig', path.join(home, '.kube/config'))).toMatchObject({ code: 0 });
    });

    test('through the proxy that the kubeconfig names', async () => {
      const proxy = await startConnectProxy();
      const cluster = `proxy-url: ${proxy.url}, ${bed.trusted}`;
      await reached(await bed.kubeconfig('proxied', { cluster, user: TOKEN }));
      proxy.close();
      expect(new Set(proxy.asked)).toEqual(new Set([new URL(bed.api.url).host]));
    });

    test('by a login plugin that answers without a terminal', async () => {
      await reached(await plugin('answers', [GIVES]));
    });
  });

  describe('kubeos says in 80 columns why it does not reach a cluster, and what to do', () => {
    interface Said {
      code: number;
      what: string;
      cause: RegExp;
      next: RegExp;
    }
    /** Reads the screen as a person does. */
    const expectSaid = async (ended: Promise<Finished>, said: Said): Promise<void> => {
      const { code, stderr, stdout } = await ended;
      expect({ code, stdout }).toEqual({ code: said.code, stdout: '' });
      for (const line of stderr.split('\n').filter((one) => one.includes(' '))) {
        // Only what has no blank to break at may be longer.
        if (line.trim().includes(' ')) expect(line.length).toBeLessThanOrEqual(80);
      }
      const words = stderr.replaceAll(/\s+/g, ' ');
      expect(words).toContain(`✗ ${said.what}`);
      const [, cause = '', next = ''] = /cause (.*) next (.*)/.exec(words) ?? [];
      expect(cause).toMatch(said.cause);
      expect(next).toMatch(said.next);
      for (const secret of ['admin-token', 'no-such-token', 'hush']) expect(stderr).not.toContain(secret);
    };
    /** The command that would change something: it must not come so far. */
    const upgrade = async (env: Readonly<Record<string, string>>, ...flags: string[]): Promise<Finished> => {
      const spec = await readFile('examples/upgrade-disk.yaml', 'utf8');
      const file = await bed.file('upgrade.yaml', spec);
      const ended = await runMain(['upgrade', '-y', '-f', file, ...flags], { ...bed.env, ...env });
      const { items } = JSON.parse(await bed.kubectl('get', 'leases', '-A', '-o', 'json')) as {
        items: { metadata: { name: string } }[];
      };
      expect(items.map(({ metadata }) => metadata.name)).not.toContain('kubeos');
      return ended;
    };
    const withUser = async (user: string): Promise<Finished> =>
      upgrade({ KUBECONFIG: await bed.kubeconfig('tried', { user }) });
    const withCluster = async (cluster: string, server = bed.api.url): Promise<Finished> =>
      upgrade({ KUBECONFIG: await bed.kubeconfig('tried', { cluster, server, user: TOKEN }) });
    const refused = (cause: RegExp, next = /get a new login into the kubeconfig/): Said => ({
      ...{ code: 10, what: 'the cluster refuses the login', cause, next },
    });

    test('a token that was revoked, in the kubeconfig or in a file', async () => {
      await expectSaid(withUser('token: no-such-token'), refused(/does not accept the token of user prod-user/));
      const file = await bed.file('revoked-token', 'no-such-token');
      await expectSaid(withUser(`tokenFile: ${file}`), refused(/the token in \S+revoked-token of user prod-user/));
    });

    test('a token that has expired, with its time', async () => {
      const token = await bed.tokenUntil(Date.UTC(2024, 4, 1) / 1000);
      await expectSaid(withUser(`token: ${token}`), refused(/which expired on 2024-05-01 00:00 UTC/));
    });

    test('a client certificate that has expired, with its time', async () => {
      const { certFile, keyFile, cert, key } = bed.expiredCertificate;
      const day = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
      const expired = new RegExp(`client certificate in \\S+former\\.crt of user prod-user .* expired on ${day}`);
      await expectSaid(withUser(`client-certificate: ${certFile}, client-key: ${keyFile}`), refused(expired));
      const base64 = (text: string): string => Buffer.from(text).toString('base64');
      const data = `client-certificate-data: ${base64(cert)}, client-key-data: ${base64(key)}`;
      await expectSaid(withUser(data), refused(new RegExp(`client certificate of user .* expired on ${day}`)));
    });

    test('no login at all, and one whose files are not there', async () => {
      await expectSaid(withUser(''), {
        code: 10,
        what: 'the kubeconfig has no login for this cluster',
        cause: /user prod-user of context prod has no token, no client certificate and no login plugin/,
        next: /get a kubeconfig with a login/,
      });
      const unusable = { code: 10, what: 'the kubeconfig cannot be used', next: /kubectl get --raw=\/version/ };
      await expectSaid(withUser('tokenFile: /nowhere/token'), { ...unusable, cause: /\/nowhere\/token/ });
      const missing = 'client-certificate: /nowhere/crt, client-key: /nowhere/key';
      await expectSaid(withUser(missing), { ...unusable, cause: /\/nowhere\/crt/ });
    });

    test('a login plugin that fails, with its own words; one that is not there', async () => {
      const what = 'the login plugin gives no login, or the API cannot be reached';
      const next = /sign in, or mend the connection, until this works: kubectl get --raw=\/version/;
      const fails = ['echo "your session has ended: corp login" >&2', 'exit 1'];
      await expectSaid(upgrade({ KUBECONFIG: await plugin('fails', fails) }), {
        ...{ code: 10, what, next },
        cause: /your session has ended: corp login .*failed with exit code 1 plugin \S+fails server https:/,
      });
      // Each of its attempts may be a browser window, or count as one wrong password.
      expect((await readFile(path.join(bed.folder, 'fails.calls'), 'utf8')).split('\n').length).toBeLessThanOrEqual(8);
      const missing =
        'exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: corp-login, installHint: ask IT}';
      await expectSaid(withUser(missing), { code: 10, what, next, cause: /corp-login not found.* ask IT/ });
      const asks = 'interactiveMode: Always';
      const always = await plugin('always', [GIVES], asks);
      await expectSaid(upgrade({ KUBECONFIG: always }), { code: 10, what, next, cause: /interactive/ });
    });

    test('an API server with an unknown CA, one that is away, a proxy that is away', async () => {
      const what = "the cluster's API cannot be reached";
      const next = /mend the connection until this works: kubectl get --raw=\/version/;
      const said = (cause: RegExp): Said => ({ code: 10, what, next, cause });
      await expectSaid(
        withCluster(''),
        said(/certificate signed by unknown authority server https:\S+ \(context prod\)/),
      );
      await expectSaid(
        withCluster(bed.trusted, 'https://127.0.0.1:9'),
        said(/refused server https:\/\/127\.0\.0\.1:9/),
      );
      const proxied = withCluster(`proxy-url: "http://me:hush@127.0.0.1:9", ${bed.trusted}`);
      await expectSaid(proxied, said(/refused server .* proxy http:\/\/127\.0\.0\.1:9$/));
    });

    test('a kubeconfig that is not there, empty, or no kubeconfig', async () => {
      const none = { code: 10, what: 'there is no kubeconfig that leads to a cluster', next: /--kubeconfig FILE/ };
      const empty = await bed.file('empty', '');
      await expectSaid(upgrade({}), { ...none, cause: /neither --kubeconfig nor KUBECONFIG is given/ });
      await expectSaid(upgrade({ KUBECONFIG: '/nowhere/config' }), {
        ...none,
        cause: /KUBECONFIG: \/nowhere\/config does not exist/,
      });
      await expectSaid(upgrade({}, '--kubeconfig', '/nowhere/config'), {
        ...none,
        cause: /\/nowhere\/config does not exist/,
      });
      await expectSaid(upgrade({ KUBECONFIG: empty }), { ...none, cause: /empty names no context/ });
      await expectSaid(upgrade({ KUBECONFIG: await bed.file('broken', 'clusters: [') }), {
        ...{ code: 10, what: 'the kubeconfig cannot be used', cause: /broken/, next: /mend it, or name another/ },
      });
    });

    test('a context that is not there, or not named', async () => {
      const KUBECONFIG = await bed.kubeconfig('tried', { user: TOKEN });
      await expectSaid(upgrade({ KUBECONFIG }, '--context', 'staging'), {
        ...{ code: 10, what: 'the kubeconfig has no context staging', cause: /it has prod/, next: /--context NAME/ },
      });
      await expectSaid(upgrade({ KUBECONFIG: await bed.kubeconfig('tried', { user: TOKEN, current: '' }) }), {
        ...{ code: 10, what: 'the kubeconfig has no current context', cause: /it has prod/, next: /--context NAME/ },
      });
    });

    test('no kubectl, one that is too old, something that is none', async () => {
      const KUBECONFIG = await bed.kubeconfig('tried', { user: TOKEN });
      const another = /--kubectl PATH/;
      await expectSaid(upgrade({ KUBECONFIG, PATH: '/nowhere' }), {
        ...{ code: 4, what: 'kubectl was not found: kubectl', cause: /through kubectl only/, next: another },
      });
      const old = await bed.file('old', `#!/bin/sh\necho '{"clientVersion": {"gitVersion": "v1.18.3"}}'\n`, 0o755);
      await expectSaid(upgrade({ KUBECONFIG, KUBEOS_KUBECTL: old }), {
        ...{ code: 4, what: 'kubectl is too old: v1.18.3', cause: /kubeos needs 1\.20 or newer/, next: another },
      });
      await expectSaid(upgrade({ KUBECONFIG, KUBEOS_KUBECTL: '/bin/true' }), {
        ...{ code: 4, what: '/bin/true does not say its version', cause: /ended with 0/, next: another },
      });
    });

    test('as data too', async () => {
      const { code, stdout } = await upgrade({}, '-o', 'json');
      expect([code, JSON.parse(stdout)]).toEqual([
        10,
        expect.objectContaining({
          kind: 'Error',
          exitName: 'unreachable',
          error: expect.objectContaining({ name: 'ApiUnreachableError' }) as unknown,
        }),
      ]);
    });
  });

  describe('at a terminal', () => {
    test('a login plugin may ask at the first call, and answers from its cache then', async () => {
      const cache = path.join(bed.folder, 'cache');
      const KUBECONFIG = await plugin('asks', [`[ -e ${cache} ] || { ${ASKS} && : >${cache}; } || exit 1`, GIVES]);
      const { code, stdout } = await bed.atTerminal('status', { KUBECONFIG }, ['4711']);
      expect(existsSync(cache)).toBe(true);
      expect(stdout).toContain('Code: ');
      expect(stdout).toContain('The cluster has no nodes.');
      expect(code).toBe(0);
    });

    test('one that keeps nothing cannot serve a run: told before anything', async () => {
      const KUBECONFIG = await plugin('forgets', [`${ASKS} || exit 1`, GIVES]);
      const { code, stdout } = await bed.atTerminal('status', { KUBECONFIG }, ['4711', '4711', '4711']);
      const words = stdout.replaceAll(/\s+/g, ' ');
      expect(words).toMatch(/✗ the login plugin \S+forgets cannot answer without the terminal/);
      expect(words).toMatch(/next .*have the plugin keep its login.* kubectl get --raw=\/version <\/dev\/null/);
      expect(code).toBe(10);
    });

    test('one that fails there has said why already', async () => {
      const KUBECONFIG = await plugin('refuses', [`${ASKS} || exit 1`, 'echo "wrong code" >&2', 'exit 1']);
      const { code, stdout } = await bed.atTerminal('status', { KUBECONFIG }, ['1', '1', '1']);
      expect(stdout).toMatch(/wrong code(.|\r|\n)*✗ the login plugin gives no login/);
      expect(stdout).toContain('in the lines above');
      expect(code).toBe(10);
    });

    test('versions of kubectl and the server that lie apart are nothing to warn of', async () => {
      const KUBECONFIG = await bed.kubeconfig('token', { user: TOKEN });
      const { code, stdout } = await bed.atTerminal('status', { KUBECONFIG }, []);
      expect(stdout.toLowerCase()).not.toContain('warning');
      expect(code).toBe(0);
    });
  });

  const credential = (version: string): string =>
    JSON.stringify({ apiVersion: version, kind: 'ExecCredential', status: { token: 'admin-token' } });
  // Both a kubectl of today and one of 1.20 know it.
  const VERSION = 'client.authentication.k8s.io/v1beta1';
  const GIVES = `echo '${credential(VERSION)}'`;
  const ASKS = '{ [ -t 0 ] && printf "Code: " >&2 && read -r code; }';

  /** A kubeconfig whose login is this shell script. */
  async function plugin(
    name: string,
    lines: readonly string[],
    more = 'interactiveMode: IfAvailable',
  ): Promise<string> {
    const script = ['#!/bin/sh', `echo called >>${path.join(bed.folder, `${name}.calls`)}`, ...lines, ''];
    const command = await bed.file(name, script.join('\n'), 0o755);
    const user = `exec: {apiVersion: ${VERSION}, ${more}, command: ${command}}`;
    return bed.kubeconfig(`${name}-config`, { user });
  }
});
