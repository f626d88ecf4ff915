import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rename, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FaultKind } from '../../src/lab/faults.ts';
import { writeInside } from '../../src/lab/inside.ts';
import { makePki } from '../../src/lab/pki.ts';
import { type ImageServer, file, serve } from '../scripts/image-server.ts';
import { type CliBed, type Doc, type SpecChanges, must, nodeOf, runMain, startCliBed } from './cli-bed.ts';

// Nothing here starts a node, so one lab serves all: at the end no node has changed.
let bed: CliBed;
const ALL = ['worker-1', 'worker-2', 'worker-3'];
const NEW = 'KubeOS 1.1.0';
const servers: ImageServer[] = [];

beforeAll(async () => {
  bed = await startCliBed({ workers: 3 });
});

afterEach(async () => {
  for (const name of ALL) {
    await bed.lab.clearFault(name);
    expect(bed.stepOf(name)).toBeUndefined();
    expect(bed.isCordoned(name)).toBe(false);
    expect(await readdir(path.join(bed.lab.node(name).machine.root, 'persist'))).toEqual([]);
  }
  expect(bed.lab.api.get('leases', 'kube-system', 'kubeos')).toBeUndefined();
});

afterAll(async () => {
  for (const server of servers) await server.close();
  await bed.stop();
});

interface FindingDoc {
  what: string;
  reason?: string;
  next?: string;
}

type Planned = Omit<Doc, 'entries' | 'notStarted'> & {
  entries: { node: string; via?: string; warnings?: FindingDoc[] }[];
  notStarted: { node: string; findings: FindingDoc[] }[];
  image: { seen?: Record<string, unknown> };
};

const asData = async (args: readonly string[]): Promise<Planned> => {
  const { code, stdout } = await runMain([...args, '-o', 'json'], bed.env);
  const doc = JSON.parse(stdout) as Planned;
  expect(doc.exitCode).toBe(code);
  return doc;
};

const plan = async (changes?: SpecChanges, ...flags: readonly string[]): Promise<Planned> =>
  asData(['plan', '-f', changes === undefined ? bed.lab.paths.spec : await bed.spec(NEW, changes), ...flags]);

/** Its exit code, and all that a command printed, on one line. */
const words = async (args: readonly string[]): Promise<[number | null, string]> => {
  const { code, stdout, stderr } = await runMain(args, bed.env);
  return [code, `${stdout} ${stderr}`.replaceAll(/\s+/g, ' ')];
};

const containing = (text: string): string => expect.stringContaining(text) as string;

async function withFaults(faults: Readonly<Record<string, FaultKind>>): Promise<void> {
  for (const [node, kind] of Object.entries(faults)) await bed.lab.setFault(node, kind);
}

const names = ({ entries }: Planned): string[] => entries.map(({ node }) => node);
const findingsOn = ({ notStarted }: Planned, name: string) =>
  must(notStarted.find(({ node }) => node === name)).findings;
const mutual = { mtls: true, clientcert: 'client.crt', clientkey: 'client.key' };

describe('a node that something certain stands in the way of is not started, and the others go on (exit 3)', () => {
  it.each([
    ['persist-read-only', {}, /\/persist is mounted read-only/, /remount,rw/],
    ['disk-full', {}, /too little room in \/persist for the image 0 bytes free, 14\.0 MiB needed/, /make room/],
    ['missing-tool', {}, /no curl and no GNU wget/, /--via ssh/],
    ['expired-certificate', {}, /cacert \/etc\/KubeOS\/certs\/ca\.crt has expired: notAfter=/, /certs on the node/],
    ['old-kernel', mutual, /mTLS \(mtls: true\) only in openEuler 22\.09 or later.*oe2203/, /without mTLS/],
  ] as const)('%s', async (kind, changes, what, next) => {
    await withFaults({ 'worker-2': kind });
    const made = await plan(changes);
    expect(made.exitCode).toBe(3);
    expect(names(made)).toEqual(['worker-1', 'worker-3']);
    const [finding, ...more] = findingsOn(made, 'worker-2');
    expect(more).toEqual([]);
    expect(`${finding?.what ?? ''} ${finding?.reason ?? ''}`).toMatch(what);
    expect(finding?.next).toMatch(next);
    // Of a single node none is left: 4, and the screen says the same words.
    const spec = await bed.spec(NEW, changes);
    const alone = await words(['upgrade', '-y', '-f', spec, '--nodes', 'worker-2']);
    expect(alone).toEqual([4, containing(`worker-2 cannot be started: ${finding?.what ?? ''}`.slice(0, 60))]);
  });

  it('an old kernel is none where the seed does not ask for a newer one', async () => {
    await withFaults({ 'worker-2': 'old-kernel' });
    expect(names(await plan())).toEqual(ALL);
  });

  it('--strict refuses the whole run instead (exit 4); a warning never does', async () => {
    await withFaults({ 'worker-2': 'persist-read-only' });
    const made = await plan(undefined, '--strict');
    expect(made.exitCode).toBe(4);
    expect(made.refusals).toEqual([
      expect.objectContaining({ what: 'a node cannot be started (--strict)', reason: 'worker-2' }),
    ]);
    const refused = await asData(['upgrade', '-y', '-f', bed.lab.paths.spec, '--strict']);
    expect([refused.exitCode, ...refused.nodes.map(({ outcome }) => outcome)]).toEqual([
      4,
      ...ALL.map(() => 'not started'),
    ]);
    expect(nodeOf(refused, 'worker-2').what).toBe('/persist is mounted read-only');
    await bed.lab.clearFault('worker-2');
    await withFaults({ 'worker-2': 'clock-skew' });
    expect((await plan(undefined, '--strict')).exitCode).toBe(0);
  });

  it('none that can be reached ends with 10, with --strict too', async () => {
    await withFaults({ 'worker-1': 'ssh-refused', 'worker-2': 'ssh-refused', 'worker-3': 'ssh-refused' });
    expect((await plan()).exitCode).toBe(10);
    expect((await plan(undefined, '--strict')).exitCode).toBe(10);
  });
});

describe('what is only told', () => {
  it('a clock that differs: by how much, from whose, and how to mend it; the node goes on (exit 0)', async () => {
    await withFaults({ 'worker-1': 'clock-skew', 'worker-3': 'clock-skew' });
    const made = await plan();
    expect([made.exitCode, ...names(made)]).toEqual([0, ...ALL]);
    const [first, second, third] = made.entries;
    expect(first?.warnings).toEqual([
      {
        what: "its clock differs by more than 30s from the API server's",
        reason: expect.stringMatching(/^it is at least 9m 5\ds ahead$/) as string,
        next: expect.stringContaining('chronyc') as string,
      },
    ]);
    expect(second?.warnings).toBeUndefined();
    expect(third?.warnings).toHaveLength(1);
    const [, screen] = await words(['plan', '-f', bed.lab.paths.spec]);
    expect(screen).toContain("! worker-1, worker-3: its clock differs by more than 30s from the API server's");
  });

  it('that the only control plane takes the API away with it', async () => {
    const made = await plan(undefined, '--include-control-plane');
    expect(made.notes.map(({ what }) => what)).toEqual([
      "cp-1 is the only control plane: the cluster's API is away while it reboots",
    ]);
    expect((await plan()).notes).toEqual([]);
  });
});

describe('machines of two architectures', () => {
  it('are refused together, named, and each kind can go alone', async () => {
    await withFaults({ 'worker-2': 'other-architecture' });
    const made = await plan();
    expect(made.exitCode).toBe(4);
    expect(made.refusals).toEqual([
      {
        what: 'the nodes are of 2 architectures, and an image fits one',
        reason: 'x86_64: worker-1, worker-3\naarch64: worker-2',
        next: expect.stringContaining('--nodes') as string,
      },
    ]);
    expect((await plan(undefined, '--exclude', 'worker-2')).exitCode).toBe(0);
  });
});

async function served(name: string, content: Buffer): Promise<SpecChanges> {
  await writeFile(path.join(bed.lab.paths.images, name), content);
  return {
    imageurl: `${bed.lab.images.urls.https}/${name}`,
    checksum: createHash('sha256').update(content).digest('hex'),
  };
}

const bzip2 = (): Promise<SpecChanges> => served('update.img.bz2', Buffer.from(`BZh9${'x'.repeat(8192)}`));
const nowhere = (): Promise<SpecChanges> => Promise.resolve({ imageurl: `${bed.lab.images.urls.https}/none.img` });

describe('the image on its server, seen from one node', () => {
  it('is told with its size; one small request is all', async () => {
    const made = await plan();
    expect(made.image.seen).toEqual({
      from: 'worker-1',
      sizeBytes: bed.lab.update.bytes,
      ranges: true,
      content: 'ext4',
    });
  });

  it.each([
    ['compressed with bzip2', bzip2, 'the image is compressed with bzip2, which kubeos does not write'],
    [
      'no KubeOS image at all',
      async () => served('no.img', Buffer.concat([await readFile(bed.lab.paths.spec), Buffer.alloc(8192)])),
      'the image is neither a file system nor a tar, which kubeos does not write',
    ],
    ['not there', nowhere, 'the image server does not deliver the image: the server has no such file (HTTP 404)'],
  ] as const)('%s: plan and upgrade end with 4, and no node fetches anything', async (_what, changes, what) => {
    const spec = await bed.spec(NEW, await changes());
    expect(await words(['validate', '-f', spec])).toEqual([0, expect.not.stringContaining(what)]);
    const made = await asData(['plan', '-f', spec]);
    expect([made.exitCode, made.refusals]).toEqual([4, [expect.objectContaining({ what })]]);
    expect(await words(['upgrade', '-y', '-f', spec])).toEqual([4, containing(`Refused: ${what}`)]);
  });

  it('that no node gets to: refused, with what each node met', async () => {
    const gone = await serve(file(bed.lab.update.path));
    await gone.close();
    const made = await plan({ imageurl: `${gone.url}/a.img`, flagSafe: true, cacert: undefined });
    expect(made.exitCode).toBe(4);
    expect(made.refusals).toEqual([
      {
        what: 'the nodes do not get the image from its server',
        reason: `${ALL.join(', ')}, this machine: the server refuses the connection, or cannot be reached`,
        next: expect.stringContaining('check the image server') as string,
      },
    ]);
  });

  describe.each(['worker-1', 'worker-3'])('that %s does not get to, but others do', (name) => {
    const others = ALL.filter((one) => one !== name);
    const reason = 'the certificate of the server is not signed by cacert';
    let foreign: string;

    /** A CA of its own, in date: only the handshake tells. */
    async function put(pem: string): Promise<void> {
      const { root, identity } = bed.lab.node(name).machine;
      await writeInside(root, 'etc/KubeOS/certs/ca.crt', pem, { owner: identity, mode: 0o600 });
    }

    beforeAll(async () => {
      foreign = path.join(bed.folder, `pki-of-${name}`);
      await put(await readFile((await makePki(foreign)).caFile, 'utf8'));
    });

    afterAll(() => put(bed.lab.pki.ca));

    it('is not started', async () => {
      const made = await plan();
      expect([made.exitCode, ...names(made)]).toEqual([3, ...others]);
      expect(made.image.seen).toMatchObject({ from: others[0] });
      expect(findingsOn(made, name)).toEqual([
        expect.objectContaining({
          what: 'it does not get the image from its server, though another node does',
          reason: containing(reason),
        }),
      ]);
    });

    it('gets the image from this machine, where that may fetch it', async () => {
      const made = await plan(undefined, '--certs-dir', bed.lab.paths.pki);
      expect(made.exitCode).toBe(0);
      expect(made.entries.map(({ node, via }) => [node, via])).toEqual(
        ALL.map((node) => [node, node === name ? 'ssh' : 'curl']),
      );
    });

    it('is not started where this machine does not get to it either, nor is a node without curl', async () => {
      const bare = must(others[0]);
      await withFaults({ [bare]: 'missing-tool' });
      const made = await plan(undefined, '--certs-dir', foreign);
      expect([made.exitCode, ...names(made)]).toEqual([3, ...others.slice(1)]);
      expect(findingsOn(made, name)[0]?.reason).toMatch(new RegExp(`^${reason}.*\nthis machine: ${reason}`));
      expect(findingsOn(made, bare)[0]).toMatchObject({
        what: containing('and this machine does not get it from its server'),
        reason: containing(reason),
      });
    });
  });

  it('that is bigger than the slots, or than what is free, keeps each such node out; without ranges it is told', async () => {
    const huge = async (bytes: number): Promise<Planned> => {
      const server = await serve((_, response) => {
        response.writeHead(200, { 'content-length': bytes });
        void readFile(bed.lab.update.path).then((content) => response.end(content));
      });
      servers.push(server);
      return plan({ imageurl: `${server.url}/huge.img`, flagSafe: true, cacert: undefined });
    };
    const made = await huge(10 * 1024 ** 3);
    expect(made.exitCode).toBe(4);
    expect(findingsOn(made, 'worker-3').map(({ what }) => what)).toEqual([
      'too little room in /persist for the image',
      'the image is bigger than slot B',
    ]);
    expect(findingsOn(made, 'worker-3')[0]?.reason).toBe('8.0 GiB free, 10.0 GiB needed');
    const fits = await huge(bed.lab.update.bytes);
    expect([fits.exitCode, ...fits.notes.map(({ what }) => what)]).toEqual([
      0,
      'the image server does not answer ranges: a download that breaks off begins anew',
    ]);
  });
});

describe('the image on its server, seen from this machine, which is to send it', () => {
  const FROM_HERE = 'seen from this machine';
  const viaSsh = (): string[] => ['--via', 'ssh', '--certs-dir', bed.lab.paths.pki];
  const compressed = async (): Promise<SpecChanges> =>
    served('packed.img.zst', await readFile(path.join(bed.lab.paths.images, 'kubeos-1.1.0.img.zst')));

  /** As long as this lasts, no node has the tool. */
  async function without(tool: string, look: () => Promise<void>): Promise<void> {
    const place = path.join(bed.lab.paths.bin, tool);
    await rename(place, `${place}.away`);
    try {
      await look();
    } finally {
      await rename(`${place}.away`, place);
    }
  }

  it('is told with its size, to nodes that could not ask', async () => {
    await withFaults({ 'worker-1': 'missing-tool', 'worker-2': 'missing-tool', 'worker-3': 'missing-tool' });
    const made = await plan(undefined, ...viaSsh());
    expect([made.exitCode, ...names(made)]).toEqual([0, ...ALL]);
    const sizeBytes = bed.lab.update.bytes;
    expect(made.image.seen).toEqual({ from: 'this machine', sizeBytes, ranges: true, content: 'ext4' });
  });

  it.each([
    ['compressed with bzip2', bzip2, 'the image is compressed with bzip2', FROM_HERE],
    ['not there', nowhere, 'the image server does not deliver the image', 'asked from this machine'],
  ])('%s: plan and upgrade end with 4, and nothing is fetched', async (_what, changes, what, reason) => {
    const spec = await bed.spec(NEW, await changes());
    const made = await asData(['plan', '-f', spec, ...viaSsh()]);
    expect([made.exitCode, made.refusals]).toEqual([
      4,
      [expect.objectContaining({ what: containing(what), reason: containing(reason) })],
    ]);
    expect(await words(['upgrade', '-y', '-f', spec, ...viaSsh()])).toEqual([4, containing(`Refused: ${what}`)]);
  });

  it('a tar: keeps out every node that lacks GNU tar', async () => {
    const packed = await readFile(path.join(bed.lab.paths.images, 'kubeos-1.2.0.tar.gz'));
    const spec = await bed.spec('KubeOS 1.2.0', await served('plain.tar', gunzipSync(packed)));
    const planned = (): Promise<Planned> => asData(['plan', '-f', spec, ...viaSsh()]);
    await without('tar', async () => {
      const made = await planned();
      expect([made.exitCode, made.image.seen?.['content']]).toEqual([4, 'tar']);
      for (const name of ALL) {
        expect(findingsOn(made, name).map(({ what }) => what)).toEqual(['it has no GNU tar, which this image needs']);
      }
    });
    expect((await planned()).exitCode).toBe(0);
  });

  it('compressed: is decompressed here, and keeps the nodes out where neither has the tool', async () => {
    const spec = await bed.spec(NEW, await compressed());
    const args = ['plan', '-f', spec, ...viaSsh(), '-o', 'json'];
    await without('zstd', async () => {
      const here = JSON.parse((await runMain(args, bed.env)).stdout) as Doc;
      expect(here.entries).toEqual(ALL.map((node) => expect.objectContaining({ node, decompress: 'zstd' }) as unknown));
      const bare = await runMain(args, { ...bed.env, PATH: await pathWithout('zstd') });
      expect(bare.code).toBe(4);
      for (const name of ALL) {
        expect(findingsOn(JSON.parse(bare.stdout) as Planned, name)).toEqual([
          expect.objectContaining({
            what: 'it has no zstd, and the image is compressed with it',
            reason: 'nor has this machine zstd',
          }),
        ]);
      }
    });
  });
});

/** What this machine has, but for one tool. */
async function pathWithout(tool: string): Promise<string> {
  const folder = path.join(bed.folder, `without-${tool}`);
  await mkdir(folder);
  for (const place of (process.env['PATH'] ?? '').split(path.delimiter)) {
    for (const name of await readdir(place).catch(() => [])) {
      if (name !== tool) await symlink(path.join(place, name), path.join(folder, name)).catch(() => undefined);
    }
  }
  return folder;
}
