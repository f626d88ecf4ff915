import { randomBytes } from 'node:crypto';
import { readFile, readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { handOver } from '../../src/lab/node-tree.ts';
import { type Pki, makePki } from '../../src/lab/pki.ts';
import { sha256OfFile } from '../../src/lab/system-image.ts';
import type { ScriptArguments } from '../../src/remote/compose.ts';
import { BAD_SERVERS, type BadServer, certificatesOf } from './bad-servers.ts';
import { type Answering, type ImageServer, file, serve } from './image-server.ts';
import { copyNode } from './kill.ts';
import { type Answer, MIB, type Node, makeBin, makeImage, makeNode, makeYard, toolPath } from './node-bed.ts';

const WAYS = ['curl', 'wget'] as const;
const AT_ONCE = '#!/bin/sh\nexit 0\n';

let yard: Awaited<ReturnType<typeof makeYard>>;
let image: string;
let bytes: Buffer;
let sha256: string;
let pki: Pki;
let certificates: ReturnType<typeof certificatesOf>;
let template: Node;
let node: Node;
let nodes = 0;
const servers: ImageServer[] = [];

beforeAll(async () => {
  yard = await makeYard();
  image = path.join(yard.dir, 'update.img');
  bytes = randomBytes(MIB);
  await writeFile(image, bytes);
  sha256 = await sha256OfFile(image);
  pki = await makePki(path.join(yard.dir, 'pki'));
  certificates = certificatesOf(pki, await makePki(path.join(yard.dir, 'strangers')));
  // The arguments and the settings of both are kept: no secret may be among the first, and the limit is among the others.
  const kept = async (tool: string, settings: string): Promise<string> =>
    [
      '#!/bin/sh',
      `echo "${tool} $*" >>"$KUBEOS_LAB_NODE/state/arguments"`,
      `${settings} | ${await toolPath(tool)} "$@"`,
      '',
    ].join('\n');
  const curl = await kept('curl', 'tee -a "$KUBEOS_LAB_NODE/state/settings"');
  const ofWget =
    '{ stat -c "# mode %a" "${1#--config=}"; cat "${1#--config=}"; } >>"$KUBEOS_LAB_NODE/state/settings"; cat';
  const wget = await kept('wget', `{ [ "$1" = --version ] || { ${ofWget}; }; }`);
  const tools = { sleep: AT_ONCE, curl, wget };
  const bin = await makeBin(path.join(yard.dir, 'bin'), 'dash', tools);
  const system = await makeImage(yard.dir, 'KubeOS 1.0.0', { sizeBytes: 2 * MIB });
  template = await makeNode(yard.dir, bin, system, { slotBytes: 2 * MIB });
  const named = { 'ca.crt': pki.ca, 'client.crt': pki.client.cert, 'client.key': pki.client.key };
  for (const [name, text] of Object.entries(named)) {
    await writeFile(path.join(template.machine.root, 'etc/KubeOS/certs', name), text);
  }
});

afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

afterAll(() => yard.remove());

beforeEach(async () => {
  nodes += 1;
  node = await copyNode(template, path.join(yard.dir, `copy-${nodes}`));
});

async function start(answer: Answering, tls?: Parameters<typeof serve>[1]): Promise<ImageServer> {
  const server = await serve(answer, tls);
  servers.push(server);
  return server;
}

const stage = (url: string, more: ScriptArguments = {}): Promise<Answer> =>
  node.run('stage', { url, sha256, flagsafe: true, ...more });
const rooted = (name: string): string => path.join(node.machine.root, name);
const argumentsGiven = (): Promise<string> => readFile(path.join(node.machine.stateDir, 'arguments'), 'utf8');

describe.each(WAYS)('by %s, an image', (via) => {
  it.each(BAD_SERVERS)('from $name: arrives whole, or the failure says what it was', async (bad) => {
    const insecure = await start(file(image));
    const { url } = await start(bad.answer(bytes, `${insecure.url}/update.img`), await tlsOf(bad));
    if (bad.stalls === true) node.edit = (script) => script.replace('STALL_SECONDS=60', 'STALL_SECONDS=1');
    const secure = bad.certificate === undefined ? {} : { cacert: 'ca.crt', flagsafe: false };
    const answer = await stage(`${url}/update.img`, { via, ...secure });
    expect(insecure.requests).toEqual([]);
    const arrived = rooted('persist/KubeOS-Update/update.img');
    if (bad.words === undefined) {
      expect(answer).toMatchObject({ ended: 'ok', values: { bytes: String(MIB) } });
      expect(await sha256OfFile(arrived)).toBe(sha256);
      return;
    }
    expect(answer.stderr).toContain(typeof bad.words === 'string' ? bad.words : bad.words[via]);
    expect(answer.ended).toBe(bad.ended);
    await expect(stat(arrived)).rejects.toThrow('ENOENT');
  });

  it('goes on where an earlier download stopped, and asks for no byte twice', async () => {
    const asked: (string | undefined)[] = [];
    const server = await start((request, response) => {
      if (request.method === 'GET') asked.push(request.headers.range);
      file(image)(request, response);
    });
    await node.must('claim');
    await stage('http://127.0.0.1:1/none', { via });
    await writeFile(rooted('persist/kubeos/part'), sha256);
    await writeFile(rooted('persist/KubeOS-Update/update.img.part'), bytes.subarray(0, 400_000));
    await handOver(node.machine.root, node.machine.identity);
    expect((await stage(server.url, { via })).ended).toBe('ok');
    expect(asked).toEqual(['bytes=400000-']);
  });

  it('goes on after the node lost its power amid a download', async () => {
    const asked: (string | undefined)[] = [];
    const server = await start((request, response) => {
      if (request.method === 'GET') asked.push(request.headers.range);
      if (request.method === 'GET' && asked.length === 1) {
        response.writeHead(200, { 'Content-Length': bytes.length });
        response.write(bytes.subarray(0, 300_000), () => request.socket.destroySoon());
      } else file(image)(request, response);
    });
    // With the file as it broke off, the script waits before it goes on.
    const { bin } = node;
    node.bin = await makeBin(path.join(yard.dir, `bin-dying-${via}`), 'dash', {
      ...{
        curl: `#!/bin/sh\nexec ${await toolPath('curl')} "$@"\n`,
        wget: `#!/bin/sh\nexec ${await toolPath('wget')} "$@"\n`,
      },
      sleep: '#!/bin/sh\n[ "$1" = 0.1 ] || kill -KILL 0\n',
    });
    expect(await stage(server.url, { via })).toMatchObject({ ended: 'SIGKILL' });
    const left = (await stat(rooted('persist/KubeOS-Update/update.img.part'))).size;
    expect(left).toBeGreaterThan(0);
    node.bin = bin;
    expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: 'A' });
    expect(await stage(server.url, { via })).toMatchObject({ ended: 'ok' });
    expect(asked).toEqual([undefined, `bytes=${left}-`]);
  });

  it('comes with a certificate for the client, whose key and whose signed URL stand in no argument and no message', async () => {
    const server = await start(file(image), await certificates('mutual'));
    const mutual = { cacert: 'ca.crt', clientcert: 'client.crt', clientkey: 'client.key', flagsafe: false, via };
    const url = `https://me:hidden@${new URL(server.url).host}/a.img?signature=hidden%2Fx`;
    const answer = await stage(url, mutual);
    expect(answer.ended).toBe('ok');
    const seen = [answer.stderr, await argumentsGiven(), await readFile(rooted('var/log/messages'), 'utf8')];
    for (const text of seen) expect(text).not.toMatch(/hidden|client\.key/);
    const settings = await readFile(path.join(node.machine.stateDir, 'settings'), 'utf8');
    expect(settings).toMatch(/^(?:capath|ca_directory) = "?.*\/run\/kubeos\/nobody"?$/m);
    // A login for the proxy may stand in it.
    expect([...new Set(settings.match(/^# mode .*$/gm))]).toEqual(via === 'wget' ? ['# mode 600'] : []);
    expect(await readdir(rooted('run/kubeos/nobody'))).toEqual([]);
    expect(await argumentsGiven()).toMatch(new RegExp(`^${via} `, 'm'));
    expect(await readdir(rooted('run/kubeos'))).not.toContain('byte');
  });

  it('comes through no proxy that the environment names, and through the one that was given', async () => {
    const proxied: string[] = [];
    const proxy = await start((request, response) => {
      proxied.push(request.url ?? '');
      file(image)(request, response);
    });
    await writeFile(rooted('etc/wgetrc'), `http_proxy = ${proxy.url}\n`);
    const server = await start(file(image));
    expect((await stage(`${server.url}/a.img`, { via })).ended).toBe('ok');
    expect(proxied).toEqual([]);
    node = await copyNode(template, path.join(yard.dir, `copy-${nodes}-proxy`));
    expect((await stage('http://images.invalid/a.img', { via, proxy: proxy.url })).ended).toBe('ok');
    expect(new Set(proxied)).toEqual(new Set(['http://images.invalid/a.img']));
  });

  it('comes no faster than it may', async () => {
    const server = await start(file(image));
    expect((await stage(server.url, { via, limit: 70_000_000 })).ended).toBe('ok');
    const settings = await readFile(path.join(node.machine.stateDir, 'settings'), 'utf8');
    expect(settings).toContain(via === 'curl' ? 'limit-rate = 70000000' : 'limit_rate = 70000000');
  });

  it('is looked at by its first bytes', async () => {
    const server = await start(file(image), await certificates('good'));
    const look = await node.ask('look', { url: server.url, cacert: 'ca.crt', via });
    expect(look.values).toMatchObject({ found: 'yes', ranges: 'yes', bytes: String(MIB), content: 'unknown' });
    const plain = await start((request, response) => {
      delete request.headers.range;
      file(image)(request, response);
    });
    const whole = await node.ask('look', { url: plain.url, flagsafe: true, via });
    expect(whole.values).toMatchObject({ found: 'yes', ranges: 'no', bytes: String(MIB) });
    const gone = await start((_, response) => response.writeHead(404).end());
    const none = await node.ask('look', { url: gone.url, flagsafe: true, via });
    expect(none.values).toMatchObject({ found: 'no', blame: 'server' });
  });
});

async function tlsOf({ certificate }: BadServer): Promise<Parameters<typeof serve>[1]> {
  return certificate === undefined ? undefined : certificates(certificate);
}

describe('a node', () => {
  const withTools = async (name: string, tools: Readonly<Record<string, string>>): Promise<void> => {
    node.bin = await makeBin(path.join(yard.dir, `bin-${name}`), 'dash', { sleep: AT_ONCE, ...tools });
  };
  const wget = async (): Promise<string> => `#!/bin/sh\nexec ${await toolPath('wget')} "$@"\n`;
  const busybox = async (): Promise<string> => `#!/bin/sh\nexec ${await toolPath('busybox')} wget "$@"\n`;

  it('without curl fetches by wget, where nobody says how', async () => {
    await withTools('wget', { curl: '', wget: await wget() });
    expect(await node.observe()).toMatchObject({ has_curl: 'no', has_wget: 'yes' });
    expect((await stage((await start(file(image))).url)).ended).toBe('ok');
  });

  it('with the wget of BusyBox alone has none: it checks no certificate of a server', async () => {
    await withTools('busybox', { curl: '', wget: await busybox() });
    expect(await node.observe()).toMatchObject({ has_curl: 'no', has_wget: 'no' });
    const server = await start(file(image));
    expect((await stage(server.url)).stderr).toContain('the node has no curl');
    expect(await stage(server.url, { via: 'wget' })).toMatchObject({ ended: 'missing-tool' });
    expect(server.requests).toEqual([]);
  });
});
