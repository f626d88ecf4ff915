import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SYSTEM_TOOLS, sha256OfFile } from '../../src/lab/system-image.ts';
import { type ScriptArguments, composeScript } from '../../src/remote/compose.ts';
import { SCRIPT_EXITS, type ScriptExit } from '../../src/remote/script-exits.ts';
import { SCRIPTS, type StepScript } from '../../src/remote/scripts/index.ts';

const VERSION = 'KubeOS 1.1.0';
const HERE = path.dirname(new URL(import.meta.url).pathname);

/** All that a file system keeps of a tree: facts, devices, attributes, capabilities, links, and the files' bytes. */
const SHOW = `cd "$1"
find . ! -path './lost+found*' \\( -type d -printf 'd %m %U %G %p\\n' -o -printf '%y %m %U %G %n %s %T@ %p -> %l\\n' \\) | sort
find . \\( -type c -o -type b \\) -exec stat -c '%n %t:%T' {} + | sort
find . -type f -links +1 -exec stat -c '%i %n' {} + | sort | awk '$1 == last { print "one file:", name, $2 } { last = $1; name = $2 }'
getfattr --recursive --no-dereference --physical --dump --match=- . | grep -v SGI_ACL | sort
find . -type f -exec sha256sum {} + | sort`;

/** A root with every kind of member that a tar keeps, and names that would fool a careless reader of lists. */
const MAKE_TREE = `cd "$1"
mkdir -p boot usr/bin usr/sbin usr/lib/systemd etc dev var/empty opt/deep/er persist "opt/a b"
ln -s usr/bin usr/sbin usr/lib .
echo 'kernel' >boot/vmlinuz
echo 'initramfs' >boot/initramfs.img
cp -L /usr/bin/env usr/lib/systemd/systemd
ln -s ../lib/systemd/systemd usr/sbin/init
for tool in ${SYSTEM_TOOLS.join(' ')}; do echo tool >"usr/bin/$tool"; done
echo 'PRETTY_NAME="${VERSION}"' >usr/lib/os-release
ln -s /usr/lib/os-release etc/os-release
ln -s /proc/self/mounts etc/mtab
ln -s '../../../../../../etc/mtab' opt/climbing
echo secret >etc/shadow
chmod 0 etc/shadow
cp -L /usr/bin/env usr/bin/ping
chown 12:34 usr/bin/ping
chmod 4755 usr/bin/ping
setcap cap_net_raw+ep usr/bin/ping
ln usr/bin/ping usr/bin/ping4
echo owned >opt/owned
chown 4242:2147483000 opt/owned opt/deep
chown -h 77:88 etc/mtab
chmod 1777 var/empty
chmod 2750 opt/deep/er
setfattr -n user.origin -v 'https://example/' opt/owned
setfattr -n trusted.note -v deep opt/deep
setfacl -m u:99:r opt/owned
mknod dev/null c 1 3
mknod dev/disk b 8 17
mkfifo opt/pipe
truncate -s 40M opt/sparse
printf x | dd of=opt/sparse bs=1 seek=20M conv=notrunc status=none
printf 'a\\nb' >"opt/$(printf 'line\\nbreak')"
echo x >'opt/a b/arrow -> nowhere'
ln -s 'x" -> "y' 'opt/a "quoted" link'
echo x >'opt/back\\\\slash *?[x]'
echo x >"opt/$(printf 'tab\\there')"
echo x >"opt/$(printf 'caf\\303\\251')"
touch -d '1999-12-31 23:59:59.123456789' opt/owned`;

interface Ended {
  /** The name of the exit code, `ok` for 0, else the code. */
  ended: string;
  stdout: string;
  stderr: string;
}

let yard: string;
let tree: string;
let expected: string;
let count = 0;

const sh = (text: string, ...args: string[]): string => {
  const ran = spawnSync('sh', ['-eu', '-c', text, 'sh', ...args], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  if (ran.status !== 0) throw new Error(ran.stderr);
  return ran.stdout;
};

/** Why no test here can run; undefined where they can. */
function lacking(): string | undefined {
  if (process.getuid?.() !== 0) return 'they need root, for loop devices and mounts of their own';
  const probe = 'd=$(mktemp) && truncate -s 1M "$d" && l=$(losetup -f --show "$d") && losetup -d "$l" && rm "$d"';
  const ran = spawnSync('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', probe], { encoding: 'utf8' });
  return ran.status === 0 ? undefined : `loop devices cannot be used: ${ran.stderr.trim()}`;
}

const why = lacking();
if (why !== undefined) process.stderr.write(`NOT RUN  real disks: ${why}\n`);

beforeAll(async () => {
  yard = await mkdtemp(path.join(tmpdir(), 'kubeos-disk-'));
  await chmod(yard, 0o755);
  if (why !== undefined) return;
  tree = path.join(yard, 'tree');
  await mkdir(tree);
  await chmod(tree, 0o755);
  sh(MAKE_TREE, tree);
  expected = sh(SHOW, tree);
});

afterAll(async () => {
  await rm(yard, { recursive: true, force: true });
});

type Act = readonly [StepScript, ScriptArguments] | { host: string } | { node: string };

interface NodeOptions {
  /** Of each slot, as truncate has it. */
  slotSize?: string;
  /** Goes before each script. */
  before?: string;
}

/** Runs steps in a node of its own that has the image staged. */
async function inNode(
  type: 'ext4' | 'xfs',
  image: string,
  acts: readonly Act[],
  { slotSize, before = '' }: NodeOptions = {},
): Promise<readonly Ended[]> {
  count += 1;
  const folder = path.join(yard, `node-${count}`);
  await mkdir(path.join(folder, 'steps'), { recursive: true });
  sh('ln "$1" "$2"', image, path.join(folder, 'update.img'));
  const names = acts.map((act, index) => `${String(index).padStart(2, '0')}${'host' in act ? '.host' : ''}`);
  for (const [index, act] of acts.entries()) {
    const text =
      'host' in act
        ? act.host
        : 'node' in act
          ? act.node
          : before +
            composeScript(SCRIPTS[act[0]], act[0] === 'observe' ? act[1] : { run: 'run-1', token: 1, ...act[1] });
    await writeFile(path.join(folder, 'steps', names[index] ?? ''), text);
  }
  const script = path.join(HERE, 'private-node.sh');
  // Of its own processes too: elsewhere a disk of the same name may be mounted.
  const unshare = ['--mount', '--propagation', 'private', '--pid', '--fork', 'sh', script, folder, type];
  const ran = spawnSync('unshare', [...unshare, ...(slotSize === undefined ? [] : [slotSize])], { encoding: 'utf8' });
  if (ran.status !== 0) throw new Error(ran.stderr);
  const ended = names.map(async (name) => {
    const read = (what: string): Promise<string> => readFile(path.join(folder, 'ended', `${name}.${what}`), 'utf8');
    return { ended: nameOf(Number(await read('rc'))), stdout: await read('out'), stderr: await read('err') };
  });
  const all = await Promise.all(ended);
  await rm(folder, { recursive: true, force: true });
  return all;
}

const nameOf = (code: number): string =>
  code === 0 ? 'ok' : (Object.entries(SCRIPT_EXITS).find(([, number]) => number === code)?.[0] ?? String(code));

const MOUNTED = { ext4: 'ro,noload', xfs: 'ro,norecovery' };
/** What mkfs.ext4 takes into a small image: all that a boot needs. */
function plainTree(): string {
  const folder = path.join(yard, 'plain');
  sh('rm -rf "$2"\ncp -a "$1" "$2"\nrm -r "$2/opt" "$2/dev"', tree, folder);
  return folder;
}

const show = (type: 'ext4' | 'xfs'): Act => ({
  host: `mount -o ${MOUNTED[type]} "$SLOT" "$SEEN"\n(set -- "$SEEN"\n${SHOW}\n)\numount "$SEEN"`,
});

async function wayOf(image: string): Promise<{ sha256: string; steps: readonly Act[] }> {
  const sha256 = await sha256OfFile(image);
  const assignment = { version: VERSION, sha256, target: 'B' };
  return {
    sha256,
    steps: [
      ['begin', { ...assignment, operation: 'upgrade', replaced: 'KubeOS 1.0.0', from: 'A' }],
      ['stage', { url: 'http://nobody/', sha256, flagsafe: true }],
      ['write', { target: 'B' }],
      ['verify', { ...assignment, operation: 'upgrade' }],
      ['arm', { target: 'B', version: VERSION }],
    ],
  };
}

/** The image as kubeos sends it, on the script's descriptor 3; it is removed as the stream begins, and still read. */
async function streaming(image: string, sha256: string): Promise<Act> {
  const args = { run: 'run-1', token: 1, target: 'B', via: 'ssh', sha256, bytes: (await stat(image)).size };
  const call = composeScript(SCRIPTS.stream, args);
  return { node: call.replace(/(?= <\/dev\/null; \}\n$)/, ' 3</persist/KubeOS-Update/update.img') };
}

/** Where a folder has that name, in the file behind slot B. */
const EACH_NAME = 'grep -abo initramfs.img "$FOLDER/b.img" | cut -d : -f 1';

const NOTHING: Act = { host: ':' };

const back: readonly Act[] = [
  ['close', { outcome: 'aborted' }],
  ['begin', { operation: 'rollback', version: VERSION, replaced: 'KubeOS 1.0.0', sha256: '', from: 'A', target: 'B' }],
  ['verify', { operation: 'rollback', version: VERSION, sha256: '', target: 'B' }],
];

const allEnded = (ends: readonly Ended[]): readonly string[] =>
  ends.map(({ ended, stderr }) => (ended === 'ok' ? ended : `${ended}: ${stderr}`));

describe.skipIf(why !== undefined)('on a real disk', () => {
  it.each([
    ['ext4', 'staged'],
    ['xfs', 'staged'],
    ['ext4', 'streamed'],
  ] as const)('a tar leaves on %s what it was made of, %s, and its digest outlives it', async (type, how) => {
    const tar = path.join(yard, 'root.tar.zst');
    sh('tar -C "$1" --xattrs --xattrs-include="*" --acls --sparse --numeric-owner --zstd -cf "$2" .', tree, tar);
    const { sha256, steps } = await wayOf(tar);
    const begun: readonly Act[] =
      how === 'staged' ? steps : [steps[0]!, await streaming(tar, sha256), NOTHING, ...steps.slice(3)];
    const ends = await inNode(type, tar, [
      ...begun,
      ['observe', {}],
      show(type),
      { host: 'grub-fstest "$SLOT" -- cat "(loop0)/boot/vmlinuz"' },
      ...back,
      // The same length, the same facts, another byte: only the file's content tells.
      {
        host: 'mount "$SLOT" "$SEEN"\nfile=$SEEN/boot/initramfs.img\ntouch -r "$file" "$SEEN/../time"\nprintf I | dd of="$file" bs=1 conv=notrunc status=none\ntouch -r "$SEEN/../time" "$file"\numount "$SEEN"',
      },
      ['observe', {}],
      ['verify', { operation: 'rollback', version: VERSION, sha256: '', target: 'B' }],
    ]);
    expect(allEnded(ends.slice(0, -1)).filter((end) => end !== 'ok')).toEqual([]);
    const [, , , verified, , observed, shown, loaded, , , rolledBack, , changed, refused] = ends;
    expect(verified?.stdout).toBe(`version=${VERSION}\nbasis=files\n`);
    expect(observed?.stdout).toContain(`B.record_sha256=${sha256}`);
    expect(observed?.stdout).toContain('B.label=ROOT-B\n');
    expect(observed?.stdout).toContain('B.record_holds=yes\n');
    expect(shown?.stdout).toBe(expected);
    // By GRUB's own code, as it would load it.
    expect(loaded?.stdout).toBe('kernel\n');
    expect(rolledBack?.stdout).toBe(`version=${VERSION}\nbasis=recorded-digest\n`);
    expect(changed?.stdout).toContain('B.record_holds=no\n');
    expect(refused).toMatchObject({
      ended: 'read-back-mismatch' satisfies ScriptExit,
      stderr: expect.stringContaining('was changed since it was verified') as string,
    });
  });

  it.each(['ext4', 'xfs'] as const)(
    'an %s whose journal is to be replayed is looked into, and not written to',
    async (type) => {
      const tar = path.join(yard, 'dirty.tar');
      sh('tar -C "$1" --numeric-owner -cf "$2" .', tree, tar);
      const { steps } = await wayOf(tar);
      const digest: Act = { host: 'blockdev --flushbufs "$SLOT"\nsha256sum <"$SLOT"' };
      const ends = await inNode(type, tar, [
        ...steps,
        // As a power cut would leave it.
        {
          host: `mount "$SLOT" "$SEEN"\necho x >"$SEEN/etc/new"\nsync -f "$SEEN"\ncp "$FOLDER/b.img" "$FOLDER/cut.img"\numount "$SEEN"
dd if="$FOLDER/cut.img" of="$SLOT" bs=1M conv=fsync status=none`,
        },
        { node: 'rm /persist/kubeos/slot-B\n' },
        digest,
        ...back,
        ['observe', {}],
        digest,
        // It is one that a mount for writing would change.
        { host: 'mount "$SLOT" "$SEEN"\numount "$SEEN"' },
        digest,
      ]);
      expect(allEnded(ends).filter((end) => end !== 'ok')).toEqual([]);
      const [before, , , looked, observed, after, , replayed] = ends.slice(-8);
      expect(looked?.stdout).toBe(`version=${VERSION}\nbasis=content\n`);
      expect(observed?.stdout).toContain(`B.version=${VERSION}\n`);
      expect(after?.stdout).toBe(before?.stdout);
      expect(replayed?.stdout).not.toBe(before?.stdout);
    },
  );

  it('a tar whose names alone fill 20 MiB is brought there by programs of no more than 32 MiB each', async () => {
    const many = path.join(yard, 'many');
    // Five folders with the longest names that there are, in each other.
    sh(
      `cp -a "$1" "$2"; cd "$2"; rm -r opt
name=$(printf '%0250d' 7)
for level in 1 2 3 4 5; do mkdir "$name"; cd "$name"; done
seq -f '%0250g' 16000 | xargs touch
cd "$2"; tar --numeric-owner -cf "$2.tar" .; rm -r "$2"`,
      tree,
      many,
    );
    const { steps } = await wayOf(`${many}.tar`);
    const ends = await inNode('ext4', `${many}.tar`, steps, { slotSize: '400M', before: 'ulimit -v 32768\n' });
    expect(allEnded(ends).filter((end) => end !== 'ok')).toEqual([]);
    expect(ends[3]?.stdout).toBe(`version=${VERSION}\nbasis=files\n`);
  });

  it('a plain image becomes a file system only once it was read back, with the label of its slot', async () => {
    const image = path.join(yard, 'ext4.img');
    // No multiple of 4 KiB, nor of the pieces that it is copied in.
    sh(
      'truncate -s 20481K "$1"\nmkfs.ext4 -q -b 1024 -L ROOT-A -O ^metadata_csum_seed -d "$2" "$1"',
      image,
      plainTree(),
    );
    const { steps } = await wayOf(image);
    const grub = { host: 'grub-fstest "$SLOT" -- ls -l "(loop0)"' };
    const ends = await inNode('ext4', image, [...steps.slice(0, 3), grub, ...steps.slice(3), grub, ...back]);
    expect(allEnded(ends).filter((end) => end !== 'ok')).toEqual([]);
    const [, , , headless, verified, , labelled] = ends;
    expect(headless?.stdout).toContain('No known filesystem');
    expect(verified?.stdout).toBe(`version=${VERSION}\nbasis=bytes\n`);
    expect(labelled?.stdout).toContain("Label `ROOT-B'");
    expect(ends.at(-1)?.stdout).toBe(`version=${VERSION}\nbasis=recorded-digest\n`);
  });

  it.each([
    ['a plain image', 'basis=bytes', 'echo 20000000'],
    ['a tar', 'basis=files', EACH_NAME],
    ['a tar that was streamed', 'basis=files', EACH_NAME],
  ] as const)('of %s counts what the disk holds, not what the kernel remembers of it', async (what, basis, places) => {
    const image = path.join(yard, 'remembered.img');
    sh('rm -f "$1"', image);
    if (what !== 'a plain image') sh('tar -C "$1" --numeric-owner -cf "$2" .', tree, image);
    else sh('truncate -s 20481K "$1"\nmkfs.ext4 -q -L ROOT-A -O ^metadata_csum_seed -d "$2" "$1"', image, plainTree());
    // What nobody has open is forgotten.
    const hold: Act = { host: 'sleep infinity <"$SLOT" >/dev/null 2>&1 &\necho "$!" >"$FOLDER/holder"' };
    // Behind the kernel's back.
    const change: Act = {
      host: `cat "$SLOT" >/dev/null\nfor place in $(${places}); do
  printf '#' | dd of="$FOLDER/b.img" bs=1 seek="$place" conv=notrunc status=none\ndone`,
    };
    const letGo: Act = { host: 'kill "$(cat "$FOLDER/holder")"' };
    const { sha256, steps } = await wayOf(image);
    const [begin, staged, written, verify] = steps as [Act, Act, Act, Act];
    const streamed = what === 'a tar that was streamed' ? await streaming(image, sha256) : undefined;
    const bring: Act = { host: 'cp "$FOLDER/update.img" "$FOLDER/root/persist/KubeOS-Update/"' };
    const [stage, write] = streamed === undefined ? [staged, written] : [bring, streamed];
    const ends = await inNode('ext4', image, [
      ...[hold, begin, stage, write, change, verify],
      ...[stage, write, verify, ...back.slice(0, 2), change, back[2]!, letGo],
    ]);
    const refusals = [ends[5], ends.at(-2)];
    expect(allEnded(ends.filter((end) => !refusals.includes(end))).filter((end) => end !== 'ok')).toEqual([]);
    expect(ends[8]?.stdout).toBe(`version=${VERSION}\n${basis}\n`);
    expect(refusals.map((end) => end?.ended)).toEqual(['read-back-mismatch', 'read-back-mismatch']);
  });

  it('what came out of a container image is written as what it is, under the image’s name', async () => {
    const tar = path.join(yard, 'os.tar');
    sh('tar -C "$1" --numeric-owner -cf "$2" .', tree, tar);
    const sha256 = 'c'.repeat(64);
    const assignment = { version: VERSION, sha256, target: 'B' };
    // As stage-container leaves it.
    const staged = (digest: string): Act => ({
      host: `state=$FOLDER/root/persist/kubeos; file=$FOLDER/root/persist/KubeOS-Update/update.img
        printf '%s=%s\\n' sha256 ${sha256} bytes "$(stat -c %s "$file")" mtime "$(stat -c %Y "$file")" \\
          data_sha256 "$(sha256sum <"$file" | cut -c -64)" digest ${digest} >"$state/artifact"`,
    });
    const longer: Act = { host: 'head -c 10240 /dev/zero >>"$FOLDER/root/persist/KubeOS-Update/update.img"' };
    const begin: Act = ['begin', { ...assignment, operation: 'upgrade', replaced: 'KubeOS 1.0.0', from: 'A' }];
    const verify: Act = ['verify', { ...assignment, operation: 'upgrade' }];
    const write: Act = ['write', { target: 'B' }];
    const ends = await inNode('ext4', tar, [
      ...[begin, staged('d'.repeat(64)), write, verify, write, ['observe', {}] as const],
      // The tag was moved: the same name, another content.
      ...[longer, staged('e'.repeat(64)), write, ['observe', {}] as const, verify],
      ...[['close', { outcome: 'aborted' }] as const, ['observe', {}] as const],
    ]);
    expect(allEnded(ends).filter((end) => end !== 'ok')).toEqual([]);
    const [first, second, last] = ends.filter(({ stdout }) => stdout.includes('os_version='));
    expect(ends[3]?.stdout).toBe(`version=${VERSION}\nbasis=files\n`);
    expect(first?.stdout).toContain(`B.record_sha256=${sha256}`);
    expect(first?.stdout).toContain('B.content=bootable');
    expect(second?.stdout).toContain('B.content=dirty');
    expect(second?.stdout).toContain(`artifact.sha256=${sha256}`);
    expect(last?.stdout).not.toContain('artifact.sha256');
    expect(last?.stdout).toContain('B.content=bootable');
  });

  it('a compressed XFS image is written, checked, labelled and read back', async () => {
    const image = path.join(yard, 'xfs.img');
    sh(
      'truncate -s 64M "$1"\nmkfs.xfs --unsupported -q -m bigtime=0 "$1" || mkfs.xfs -q -m bigtime=0 "$1"\nunshare --mount --propagation private sh -euc \'mkdir "$1.at"; mount -o loop "$1" "$1.at"; tar -C "$2" -cf - . | tar -C "$1.at" -xpf -; umount "$1.at"; rmdir "$1.at"\' sh "$1" "$2"\nzstd -q "$1"',
      image,
      tree,
    );
    const { steps } = await wayOf(`${image}.zst`);
    const ends = await inNode('xfs', `${image}.zst`, [...steps, ['observe', {}], ...back]);
    expect(allEnded(ends).filter((end) => end !== 'ok')).toEqual([]);
    expect(ends[3]?.stdout).toBe(`version=${VERSION}\nbasis=bytes\n`);
    expect(ends[5]?.stdout).toContain('B.label=ROOT-B\n');
    expect(ends.at(-1)?.stdout).toBe(`version=${VERSION}\nbasis=recorded-digest\n`);
  });
});
