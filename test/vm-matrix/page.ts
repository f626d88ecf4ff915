import type { VmCase } from '../vm/cases.ts';
import { PACKAGES } from './needs.ts';

/** How a case ended. */
export interface CaseResult {
  /** The words of what went wrong; undefined where the promise was kept. */
  failure?: string;
  tookMs: number;
}

/** The part of docs/proof.md about the virtual machines: no times, the same for the same findings. */
export function vmPart(cases: readonly VmCase[], results: ReadonlyMap<string, CaseResult>): string {
  const rows = cases.map(({ name, firmware }) => {
    const result = results.get(name);
    const word = result === undefined ? '**not played**' : result.failure === undefined ? 'kept' : '**BROKEN**';
    return `| ${name} | ${firmware === 'uefi' ? 'UEFI, GPT' : 'BIOS, MBR'} | ${word} |`;
  });
  const kept = cases.filter(({ name }) => results.has(name) && results.get(name)?.failure === undefined).length;
  return [
    INTRODUCTION,
    '| promise | machine | |',
    '| --- | --- | --- |',
    ...rows,
    '',
    `${kept} of ${cases.length} promises were kept.`,
    '',
    REPRODUCE,
  ].join('\n');
}

const INTRODUCTION = `# Real kernels, real GRUB: the virtual machines

\`npm run test:vm\` writes this part. Its nodes are virtual machines (QEMU, software emulation) whose disks the tests build
themselves: GRUB with a grub.cfg of KubeOS's shape, two root slots, /persist, Debian's kernel, an initramfs without
systemd, / read-only, a real sshd, BusyBox's init and syslogd or, where that is said, systemd with its journal and logind,
/etc and /var from /persist. The built command line drives them through real SSH, with images, raw or as a tar, from a
real server over http or https, or from a real registry by Debian's containerd or docker in the node (in its /persist, so
that images stay small). A stand-in for each kubelet tells the API server of every boot: the lab's, or for three nodes a
real one where KUBEBUILDER_ASSETS names one.

A hard reset is the end of the QEMU process: what the guest wrote survives it in this machine's page cache. So write,
arm and commit are also recorded as block writes and flushes (QEMU's blklogwrites). From that, disks are rebuilt that
end between two flushes, with random subsets of the later writes, one in eight of them torn. On each, GRUB's own code
reads the environment, without the file system's journal: it is the old one or the new one, what it leads to is a
verified slot that bears its label alone, byte for byte where the image is raw, and the node's own records agree with what is
on the disk. That each fsync of the scripts is needed is shown one by one (test/vm/mutants.ts): without it, what was
reported is not on the disk. Five are left out there, each with the reason why no cut can tell of it.
`;

const REPRODUCE = `## How to reproduce that

\`\`\`
npm run test:vm
KUBEOS_VM_AGAIN=1 KUBEOS_VM_SEED=7 npm run test:vm
\`\`\`

The first plays what was not played yet on the same code; the second everything, with other instants. It needs what the
tier \`vm\` of \`npm test\` needs, which plays a part of the table, and Debian's ${PACKAGES.slice(0, 3).join(', ')},
${PACKAGES.slice(3, -1).join(', ')} and ${PACKAGES.at(-1) ?? ''}. With KUBEBUILDER_ASSETS, as \`npm test\` takes it, the newest API
server that it names is asked; without, the matrix says so.
`;
