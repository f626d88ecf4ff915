// `npm test`: sets itself up in a fresh clone, builds, runs every tier, says which tier this machine cannot run and
// what it lacks, and ends with one line that counts tests. With CI=true a tier that cannot run is a failure.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tmpdir } from 'node:os';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);
process.env.PATH += `${delimiter}/usr/sbin${delimiter}/sbin`;

/** tier -> the commands it cannot do without, or files by their path, each with its Debian package */
const TIERS = {
  unit: { ssh: 'openssh-client' },
  sim: {},
  scripts: {
    dash: 'dash',
    bash: 'bash',
    busybox: 'busybox',
    shfmt: 'shfmt',
    curl: 'curl',
    wget: 'wget',
    openssl: 'openssl',
    'mkfs.ext4': 'e2fsprogs',
    ps: 'procps',
    xz: 'xz-utils',
    zstd: 'zstd',
    'mkfs.xfs': 'xfsprogs',
    setfacl: 'acl',
    setfattr: 'attr',
    setcap: 'libcap2-bin',
    'grub-editenv': 'grub-common',
    'grub-script-check': 'grub-common',
    'mkfs.vfat': 'dosfstools',
    sfdisk: 'fdisk',
    unshare: 'util-linux',
    dockerd: 'docker.io',
    containerd: 'containerd',
    'docker-registry': 'docker-registry',
  },
  contract: {
    kubectl: 'kubernetes-client',
    sshd: 'openssh-server',
    ssh: 'openssh-client',
    nc: 'netcat-openbsd',
    'grub-editenv': 'grub-common',
    'mkfs.ext4': 'e2fsprogs',
    openssl: 'openssl',
    sudo: 'sudo',
    dropbear: 'dropbear-bin',
    tcsh: 'tcsh',
    fish: 'fish',
    nft: 'nftables',
    ip: 'iproute2',
    unshare: 'util-linux',
  },
  namespaces: {
    kubectl: 'kubernetes-client',
    sshd: 'openssh-server',
    ssh: 'openssh-client',
    curl: 'curl',
    'grub-editenv': 'grub-common',
    'mkfs.ext4': 'e2fsprogs',
    sfdisk: 'fdisk',
    nft: 'nftables',
    ip: 'iproute2',
    unshare: 'util-linux',
  },
  lab: {
    kubectl: 'kubernetes-client',
    'mkfs.ext4': 'e2fsprogs',
    curl: 'curl',
    openssl: 'openssl',
    script: 'bsdutils',
    ssh: 'openssh-client',
    unshare: 'util-linux',
    zstd: 'zstd',
  },
  vm: {
    kubectl: 'kubernetes-client',
    ssh: 'openssh-client',
    sshd: 'openssh-server',
    bash: 'bash',
    curl: 'curl',
    openssl: 'openssl',
    'qemu-system-x86_64': 'qemu-system-x86',
    'qemu-img': 'qemu-utils',
    'grub-mkimage': 'grub-common',
    'grub-fstest': 'grub-common',
    'grub-editenv': 'grub-common',
    'mkfs.ext4': 'e2fsprogs',
    debugfs: 'e2fsprogs',
    sfdisk: 'fdisk',
    cpio: 'cpio',
    unshare: 'util-linux',
    'apt-get': 'apt',
    '/usr/lib/grub/i386-pc/boot.img': 'grub-pc-bin',
  },
};

if (!existsSync('node_modules/.package-lock.json')) step('npm', ['ci', '--no-fund', '--no-audit']);
step(process.execPath, ['build.js']);

const tiers = [];
const left = [];
for (const [tier, tools] of Object.entries(TIERS)) {
  const missing = Object.entries(tools).filter(([tool]) => !onPath(tool));
  if (missing.length === 0) tiers.push(tier);
  else left.push(`${tier}: lacks ${missing.map(([tool, from]) => `${tool} (Debian: ${from})`).join(', ')}`);
}

const out = mkdtempSync(join(tmpdir(), 'kubeos-test-'));
const report = join(out, 'report.json');
const chosen = process.argv.slice(2);
const run = spawnSync(
  process.execPath,
  [
    'node_modules/vitest/vitest.mjs',
    'run',
    ...tiers.flatMap((tier) => ['--project', tier]),
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...chosen,
  ],
  { stdio: 'inherit' },
);
const counted = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : {};
rmSync(out, { recursive: true, force: true });

const { numPassedTests: passed = 0, numFailedTests: failed = 0, numPendingTests: skipped = 0 } = counted;
for (const line of left) console.log(`NOT RUN  ${line}`);
console.log('NOT RUN  the whole matrix of virtual machines, which takes some 50 minutes: npm run test:vm');
const realApis = (process.env.KUBEBUILDER_ASSETS ?? '').split(delimiter).filter((folder) => folder !== '');
if (realApis.length === 0) {
  console.log('NOT RUN  whatever needs a real API server: KUBEBUILDER_ASSETS names no folder of etcd, kube-apiserver,');
  console.log('         kube-controller-manager and kube-scheduler (several versions: separated as in PATH)');
}
const unasked = chosen.length === 0 ? realApis.length - realVersionsPassed() : 0;
if (unasked > 0) console.log(`NOT RUN  ${unasked} of the ${realApis.length} real API servers in KUBEBUILDER_ASSETS`);
const ok = run.status === 0 && passed > 0 && unasked === 0 && (left.length === 0 || process.env.CI !== 'true');
if (!ok && failed === 0) console.log(`failed: vitest ended with ${run.status}, ${left.length} tiers were not run`);
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = ok ? 0 : 1;

/** How many versions of a real API server at least one test passed on; their suites are titled `a real vX.Y.Z`. */
function realVersionsPassed() {
  const tests = (counted.testResults ?? []).flatMap((file) => file.assertionResults);
  const titles = tests.filter(({ status }) => status === 'passed').flatMap(({ ancestorTitles }) => ancestorTitles);
  return new Set(titles.filter((title) => title.startsWith('a real v'))).size;
}

function onPath(tool) {
  if (tool.startsWith('/')) return existsSync(tool);
  return process.env.PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function step(command, args) {
  const { status } = spawnSync(command, args, { stdio: 'inherit' });
  if (status !== 0) {
    console.log(`failed: ${command} ${args.join(' ')}`);
    process.exit(1);
  }
}
