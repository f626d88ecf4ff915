import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Deny } from '../../src/lab/api/index.ts';
import { type CliBed, type Doc, nodeOf, runMain, startCliBed } from './cli-bed.ts';

// Everything here is refused, so one lab serves all: at the end no node has changed.
let bed: CliBed;
let deny: Deny = () => false;

beforeAll(async () => {
  bed = await startCliBed({ deny: (...attempt) => deny(...attempt) });
});

afterEach(async () => {
  deny = () => false;
  for (const name of ['worker-1', 'worker-2']) {
    expect(bed.stepOf(name)).toBeUndefined();
    expect(bed.isCordoned(name)).toBe(false);
    expect(bed.lab.node(name).status()).toMatchObject({ slot: 'A', version: 'KubeOS 1.0.0' });
    expect(await persisted(name)).toEqual([]);
  }
  expect(bed.lab.api.get('leases', 'kube-system', 'kubeos')).toBeUndefined();
});

afterAll(async () => {
  await bed.stop();
});

async function persisted(name: string): Promise<string[]> {
  const { readdir } = await import('node:fs/promises');
  return readdir(path.join(bed.lab.node(name).machine.root, 'persist'));
}

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> =>
  runMain(args, { ...bed.env, ...env });

/** All that it printed, on one line. */
const words = ({ stdout, stderr }: Ended): string => `${stdout} ${stderr}`.replaceAll(/\s+/g, ' ');

const asData = async (args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Doc> => {
  const { code, stdout } = await run([...args, '-o', 'json'], env);
  const doc = JSON.parse(stdout) as Doc;
  expect(doc.exitCode).toBe(code);
  return doc;
};

const upgrade = (...flags: readonly string[]): string[] => ['upgrade', '-f', bed.lab.paths.spec, '-y', ...flags];

describe('a selection that cannot be meant', () => {
  it.each([
    ['--nodes worker-9', ['--nodes', 'worker-9'], 2, 'worker-9, which the cluster does not have'],
    ['--exclude worker-9', ['--exclude', 'worker-9'], 2, 'worker-9, which the cluster does not have'],
    ['a control plane by name', ['--nodes', 'cp-1'], 2, 'add --include-control-plane'],
    ['nobody left', ['--exclude', 'worker-1,worker-2'], 4, 'no node is selected'],
    ['a label that nobody has', ['-l', 'pool=gold'], 4, 'no node is selected'],
    ['a selector that is none', ['-l', 'pool in (a'], 2, 'selector'],
  ])('%s', async (_what, flags, code, said) => {
    for (const command of [upgrade(...flags), ['plan', '-f', bed.lab.paths.spec, ...flags]]) {
      const ended = await run(command);
      expect(ended.code).toBe(code);
      expect(words(ended)).toContain(said);
    }
  });

  it('narrows by --nodes, --exclude and -l, and says what left each node out', async () => {
    const plan = async (...flags: string[]): Promise<Doc> => asData(['plan', '-f', bed.lab.paths.spec, ...flags]);
    const names = ({ entries }: Doc): string[] => entries.map(({ node }) => node);
    const one = await plan('--nodes', 'worker-2');
    expect(names(one)).toEqual(['worker-2']);
    expect(one.leftOut).toContainEqual({ node: 'worker-1', because: 'not in --nodes' });
    expect(names(await plan('--exclude', 'worker-2'))).toEqual(['worker-1']);
    expect(names(await plan('-l', 'kubernetes.io/hostname in (worker-2)'))).toEqual(['worker-2']);
    expect(names(await plan('--include-control-plane'))).toEqual(['cp-1', 'worker-1', 'worker-2']);
    expect((await plan('--maxunavailable', '50%')).maxUnavailable).toBe(1);
    expect((await plan('--canary', '2')).entries.map(({ canary }) => canary)).toEqual([true, true]);
  });
});

describe('http without flagSafe', () => {
  const insecure = async (): Promise<string> => {
    const imageurl = `${bed.lab.images.urls.http}/kubeos-1.1.0.img?X-Signature=hush`;
    return bed.spec('KubeOS 1.1.0', { imageurl, flagSafe: false, cacert: undefined });
  };

  it('is an invalid spec for validate and plan', async () => {
    const spec = await insecure();
    for (const command of ['validate', 'plan']) {
      const ended = await run([command, '-f', spec]);
      expect(ended.code).toBe(2);
      expect(ended.stderr).toContain('flagSafe: true');
      expect(ended.stderr + ended.stdout).not.toContain('hush');
    }
  });

  it('is told by upgrade to the log of each node, and nodes that could not be told are named (exit 4)', async () => {
    const spec = await insecure();
    await bed.lab.setFault('worker-2', 'ssh-refused');
    const doc = (await asData(['upgrade', '-f', spec, '-y'])) as Doc & {
      told: string[];
      unreached: { node: string }[];
    };
    await bed.lab.clearFault('worker-2');
    expect(doc).toMatchObject({ exitCode: 4, told: ['worker-1'], unreached: [{ node: 'worker-2' }] });
    const messages = await readFile(path.join(bed.lab.node('worker-1').machine.root, 'var/log/messages'), 'utf8');
    expect(messages).toMatch(/kubeos.*insecure/);
    expect(messages).not.toContain('hush');
    const logs = await run(['logs', 'worker-1']);
    expect([logs.code, logs.stdout]).toEqual([0, expect.stringContaining('insecure')]);

    const shown = await run(['upgrade', '-f', spec]);
    expect(shown.code).toBe(4);
    expect(shown.stderr).toMatch(/Nothing was downloaded(.|\n)*written to the log of worker-1, worker-2/);
  });

  it('with flagSafe is accepted, with the advice to use https', async () => {
    const imageurl = `${bed.lab.images.urls.http}/kubeos-1.1.0.img`;
    const ended = await run([
      'plan',
      '-f',
      await bed.spec('KubeOS 1.1.0', { imageurl, flagSafe: true, cacert: undefined }),
    ]);
    expect(ended.code).toBe(0);
    expect(ended.stderr).toMatch(/warning:.*https/s);
  });
});

describe('the cluster', () => {
  it('without a kubectl, or with none that works, says so (exit 4)', async () => {
    const missing = await run(upgrade('--kubectl', '/nowhere/kubectl'));
    expect([missing.code, missing.stderr]).toEqual([4, expect.stringContaining('/nowhere/kubectl')]);
    const none = await run(['status'], { PATH: bed.folder });
    expect(none.code).toBe(4);
    expect(words(none)).toMatch(/kubectl.*(not found|install)/i);
  });

  it('that cannot be reached, or refuses the login, is exit 10', async () => {
    const kubeconfig = await readFile(bed.lab.paths.kubeconfig, 'utf8');
    const write = async (name: string, text: string): Promise<string> => {
      const file = path.join(bed.folder, name);
      await writeFile(file, text);
      return file;
    };
    const away = await write('away', kubeconfig.replace(/(127\.0\.0\.1):\d+/, '$1:9'));
    const stranger = await write('stranger', kubeconfig.replace(/token: .*/, 'token: wrong'));
    for (const [file, said] of [
      [away, /cannot be reached|refused/i],
      [stranger, /login|Unauthorized|signed in/i],
    ] as const) {
      const ended = await run(['status', '--kubeconfig', file]);
      expect(ended.code).toBe(10);
      expect(ended.stderr).toMatch(said);
    }
    const data = await asData(upgrade('--kubeconfig', away));
    expect(data).toMatchObject({ kind: 'Error', exitName: 'unreachable' });
    expect(data.error.next).not.toBe('');
  });

  it('of a kubeconfig that is none, or a context that it lacks: a clear refusal', async () => {
    const none = await run(['status', '--kubeconfig', '/nowhere/config']);
    expect([none.code, none.stderr]).toEqual([10, expect.stringContaining('/nowhere/config')]);
    const other = await run(['status', '--context', 'elsewhere']);
    expect([other.code, other.stderr]).toEqual([10, expect.stringContaining('elsewhere')]);
  });

  it.each([
    ['patch', 'nodes'],
    ['create', 'pods/eviction'],
    ['create', 'leases'],
  ])('that does not allow to %s %s: exit 4 before anything, with the right by name', async (verb, resource) => {
    deny = (_user, wanted, on) => wanted === verb && on === resource;
    const refused = await asData(upgrade());
    expect(refused).toMatchObject({ exitCode: 4, stopped: 'the cluster does not allow what this command needs' });
    expect(nodeOf(refused, 'worker-1').outcome).toBe('not started');
    expect(words(await run(upgrade()))).toContain(`${verb} ${resource}`);
    // A plan only reads.
    expect((await run(['plan', '-f', bed.lab.paths.spec])).code).toBe(0);
  });
});

describe('a host key', () => {
  const knownHosts = async (name: string, text: string): Promise<string> => {
    const file = path.join(bed.folder, name);
    await writeFile(file, text);
    return file;
  };

  it('that is not known is refused, with its fingerprint and the command that mends it (exit 10)', async () => {
    const file = await knownHosts('empty', '');
    const ended = await run(upgrade(), { KUBEOS_KNOWN_HOSTS: file });
    expect(ended.code).toBe(10);
    expect(words(ended)).toMatch(
      /host key of the node is not known where \[127\.77\.0\.11\]:\d+, \[127\.77\.0\.12\]:\d+ cause/,
    );
    expect(words(ended)).toMatch(/SHA256:/);
    expect(words(ended)).toMatch(/ssh-keyscan .*127\.77\.0\.11.*>> /);
    expect(words(ended)).toContain('--accept-new-host-keys');
    expect(await readFile(file, 'utf8')).toBe('');
    // status still shows what the cluster knows.
    expect(await run(['status'], { KUBEOS_KNOWN_HOSTS: file })).toMatchObject({ code: 0 });
  });

  it('is remembered at the first contact where that is asked for', async () => {
    const file = await knownHosts('remembered', '');
    const ended = await run(['plan', '-f', bed.lab.paths.spec, '--accept-new-host-keys'], { KUBEOS_KNOWN_HOSTS: file });
    expect(ended.code).toBe(0);
    expect((await readFile(file, 'utf8')).trimEnd().split('\n')).toHaveLength(2);
    expect(await run(['plan', '-f', bed.lab.paths.spec], { KUBEOS_KNOWN_HOSTS: file })).toMatchObject({ code: 0 });
  });

  it('that has changed is refused whatever is asked for (exit 10)', async () => {
    const known = (await readFile(bed.lab.paths.knownHosts, 'utf8')).trimEnd().split('\n');
    const keys = known.map((line) => line.split(' ').slice(1).join(' '));
    const swapped = known.map((line, index) => `${line.split(' ')[0] ?? ''} ${keys[(index + 1) % keys.length] ?? ''}`);
    const file = await knownHosts('changed', `${swapped.join('\n')}\n`);
    const ended = await run(upgrade('--accept-new-host-keys'), { KUBEOS_KNOWN_HOSTS: file });
    expect(ended.code).toBe(10);
    expect(words(ended)).toMatch(/changed/i);
    expect(words(ended)).toMatch(/ssh-keygen .*-R/);
    expect(await readFile(file, 'utf8')).toBe(`${swapped.join('\n')}\n`);
  });

  it('and a login that the node refuses: exit 10, with the keys that were tried', async () => {
    const ended = await asData(upgrade('--ssh-user', 'nobody', '--hosts', await hostsWithoutUser()));
    expect(ended.exitCode).toBe(10);
    expect(nodeOf(ended, 'worker-1').what).toMatch(/nobody/);
  });

  const hostsWithoutUser = async (): Promise<string> => {
    const text = (await readFile(bed.lab.paths.hosts, 'utf8')).replaceAll(/^ {2}user: .*\n/gm, '');
    const file = path.join(bed.folder, 'hosts.yaml');
    await writeFile(file, text);
    return file;
  };
});

describe('a container image, for nodes without an engine, as the lab’s are', () => {
  it.each([
    ['docker', 'docker'],
    ['containerd', 'ctr'],
  ])('%s validates, and plan and upgrade say what the nodes lack (exit 4)', async (imagetype, tool) => {
    const spec = await bed.spec('KubeOS 1.1.0', {
      imagetype,
      dockerimage: 'example/kubeos:1.1.0',
      imageurl: '""',
      checksum: '""',
    });
    expect((await run(['validate', '-f', spec])).code).toBe(0);
    for (const command of ['plan', 'upgrade']) {
      const doc = await asData([command, '-f', spec]);
      expect(doc.exitCode).toBe(4);
    }
    const refused = words(await run(['upgrade', '-f', spec]));
    expect(refused).toContain(`it has no ${tool}, which an image of type ${imagetype} needs`);
    expect(refused).toContain('use a disk image');
  });
});

describe('a node whose mounts show that', () => {
  /** Others are mounted there, for as long as the test looks. */
  async function remounted(from: string, to: string, look: () => Promise<void>): Promise<void> {
    const file = path.join(bed.lab.node('worker-1').machine.root, 'proc/self/mountinfo');
    const text = await readFile(file, 'utf8');
    expect(text).toContain(from);
    await writeFile(file, text.replaceAll(from, to));
    await look().finally(() => writeFile(file, text));
  }
  const only = (...flags: readonly string[]): string[] => ['-f', bed.lab.paths.spec, '--nodes', 'worker-1', ...flags];

  it('its root is on dm-verity is refused, with the reason, and told of another way (exit 4)', () =>
    remounted('/dev/vda2', '/dev/mapper/kubeos-root', async () => {
      for (const command of [['plan'], ['upgrade', '-y']]) {
        const refused = await run([...command, ...only()]);
        expect(refused.code).toBe(4);
        expect(words(refused)).toContain(
          'the root is on dm-verity (/dev/mapper/kubeos-root): boot, root and hash change together there, ' +
            "which kubeos does not do next leave it to KubeOS's own operator, with a container image " +
            '(imagetype docker or containerd), or put a node that has the wanted system in its place, ' +
            'and leave this one out: --exclude',
        );
      }
    }));

  it('GRUB cannot clear what it boots once is refused, but for --allow-no-fallback', () =>
    remounted('- vfat ', '- btrfs ', async () => {
      const refused = await asData(['plan', ...only()]);
      expect(refused).toMatchObject({
        exitCode: 4,
        notStarted: [
          {
            node: 'worker-1',
            findings: [
              {
                what: 'a trial that fails would not end by itself: each reset would lead to it again',
                reason: expect.stringMatching(/grubenv lies on btrfs: kubeos trusts GRUB to write on/) as string,
                next: 'mend that, or insist, with somebody at the console: --allow-no-fallback',
              },
            ],
          },
        ],
      });
      expect((await run(upgrade('--nodes', 'worker-1'))).code).toBe(4);
      const insisted = await asData(['plan', ...only('--allow-no-fallback')]);
      expect(insisted).toMatchObject({ exitCode: 0, entries: [{ node: 'worker-1', fallback: 'none' }] });
    }));
});

describe('nothing to go back to', () => {
  it('is told with the reason: never upgraded, no other system (exit 4)', async () => {
    for (const way of ['--to-previous', '--to-other-slot']) {
      const refused = await asData(['rollback', way, '-y']);
      expect(refused.exitCode).toBe(4);
      expect(words(await run(['rollback', way, '-y']))).toContain('there is no previous system to go back to');
    }
  });
});

describe('KubeOS’s own operator', () => {
  it('that is told another version, or is at work, is not interfered with (exit 4)', async () => {
    bed.lab.api.addNamespace('default');
    const kubectl = async (args: readonly string[], input = ''): Promise<void> => {
      const { spawn } = await import('node:child_process');
      const child = spawn('kubectl', args, { env: bed.env, stdio: ['pipe', 'ignore', 'inherit'] });
      child.stdin.end(input);
      expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
    };
    const os = (await readFile(bed.lab.paths.spec, 'utf8')).replace('KubeOS 1.1.0', 'KubeOS 1.0.9');
    await kubectl(['apply', '--validate=false', '-f', '-'], os);
    const refused = await run(upgrade());
    expect(refused.code).toBe(4);
    expect(words(refused)).toMatch(/os-sample: opstype upgrade, osversion KubeOS 1\.0\.9.*kubectl delete os os-sample/);
    await kubectl(['delete', 'os', 'os-sample']);

    await kubectl(['label', 'node', 'worker-1', 'upgrade.openeuler.org/upgrading=']);
    const busy = await run(upgrade());
    expect([busy.code, words(busy)]).toEqual([
      4,
      expect.stringContaining('kubectl label node worker-1 upgrade.openeuler.org/upgrading-'),
    ]);
    await kubectl(['label', 'node', 'worker-1', 'upgrade.openeuler.org/upgrading-']);
  });
});
