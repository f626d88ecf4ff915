import { newestRealApi } from '../contract/envtest.ts';
import { imageOf, tarOf } from './artifacts.ts';
import { engineThereAndBack, tarThereAndBack } from './kinds.ts';
import {
  everyFsync,
  haltingNeedsHands,
  managedBootFallsBack,
  managedToTheEnd,
  NEW,
  otherEntryByHand,
  panicFallsBack,
  powerCuts,
  refusedBeforeArm,
  resetBeforeProof,
  SEED,
  threeNodesThereAndBack,
  uefiUpgradeAndFallBack,
  unhealthyIsSentBack,
  unloadableNeedsHands,
  withBed,
  withoutNetworkNeedsHands,
} from './plays.ts';
import { resetAtBoundaries, resetInsideArm, resetInsideWrite } from './resets.ts';
import { cutOffOnTrial, underSystemd } from './systemd.ts';

/** One promise, and the play that shows whether it is kept: it rejects where it is not. */
export interface VmCase {
  /** A sentence. */
  readonly name: string;
  readonly firmware: 'bios' | 'uefi';
  play(): Promise<void>;
}

/** The real API server that three nodes are played with; undefined where the lab's takes its place. */
export const REAL_API = newestRealApi()?.version;
const cluster = REAL_API === undefined ? 'the lab' : `a real API server ${REAL_API}`;

export const CASES: readonly VmCase[] = [
  {
    name: `three nodes of ${cluster} are upgraded from A to B, and brought back by rollback --to-previous`,
    firmware: 'bios',
    play: threeNodesThereAndBack,
  },
  {
    name: 'a tar is unpacked into a file system that the node makes, boots with all that it holds, and is rolled back from',
    firmware: 'bios',
    play: tarThereAndBack,
  },
  {
    name: 'the same tar is taken out of an image that the node’s containerd pulls from a registry by ctr -n k8s.io',
    firmware: 'bios',
    play: () => engineThereAndBack('containerd'),
  },
  {
    name: 'the same tar is taken out of an image that the node’s docker pulls from a registry',
    firmware: 'bios',
    play: () => engineThereAndBack('docker'),
  },
  {
    name: 'a trial that panics falls back by itself; the image is refused from then on',
    firmware: 'bios',
    play: () => panicFallsBack({}),
  },
  {
    name: 'where grub.cfg goes by disk numbers and /dev names, a trial that panics falls back too',
    firmware: 'bios',
    play: () => panicFallsBack({ style: 'number' }),
  },
  {
    name: 'a kernel that GRUB cannot load needs hands, which boot A over the serial console',
    firmware: 'bios',
    play: unloadableNeedsHands,
  },
  {
    name: 'an initramfs that halts needs hands, which cut its power',
    firmware: 'bios',
    play: haltingNeedsHands,
  },
  {
    name: 'with a managed boot, a kernel that GRUB cannot load, none, no file system, and an initramfs that halts fall back',
    firmware: 'bios',
    play: () => managedBootFallsBack({}, managedToTheEnd),
  },
  {
    name: 'where grub.cfg goes by disk numbers and /dev names, a managed boot leads back too',
    firmware: 'bios',
    play: () => managedBootFallsBack({ style: 'number' }),
  },
  {
    name: 'on UEFI and FAT, a managed boot leads back too',
    firmware: 'uefi',
    play: () => managedBootFallsBack({ firmware: 'uefi' }),
  },
  { name: 'a trial that boots unhealthy is sent back', firmware: 'bios', play: unhealthyIsSentBack },
  {
    name: 'a trial that boots without network needs hands: a reset brings the old slot back',
    firmware: 'bios',
    play: withoutNetworkNeedsHands,
  },
  {
    name: 'another version inside a right checksum is refused before anything is armed',
    firmware: 'bios',
    play: () => refusedBeforeArm('good', 'KubeOS 1.1.1', /KubeOS 1\.1\.0/),
  },
  {
    name: 'an image without a kernel is refused before anything is armed',
    firmware: 'bios',
    play: () => refusedBeforeArm('no-kernel', NEW, /no kernel/),
  },
  {
    name: 'a node whose other menu entry was chosen by hand is seen as that, and made permanent by rollback',
    firmware: 'bios',
    play: otherEntryByHand,
  },
  {
    name: 'reset as stage, write, verify, drain, arm and reboot begin, and after the commit, one upgrade goes on',
    firmware: 'bios',
    play: () => resetAtBoundaries(['stage', 'write', 'verify', 'drain', 'arm', 'reboot', 'uncordon']),
  },
  {
    name: 'reset between the write and its proof, whatever label the image bears, slot A boots',
    firmware: 'bios',
    play: resetBeforeProof,
  },
  { name: 'reset as the proof begins, a trial is over', firmware: 'bios', play: () => resetAtBoundaries(['prove']) },
  {
    name: 'reset as the commit begins, it is made or not',
    firmware: 'bios',
    play: () => resetAtBoundaries(['commit']),
  },
  {
    name: 'reset at five random instants of the write, the same command converges',
    firmware: 'bios',
    play: () => resetInsideWrite(5, SEED),
  },
  {
    name: 'reset at five random instants of the arming, in both directions, the same command converges',
    firmware: 'bios',
    play: () => resetInsideArm(5, SEED),
  },
  {
    name: 'of 240 power cuts between two flushes of write, arm and commit, each leaves a node that boots what was verified',
    firmware: 'bios',
    play: () => powerCuts(240, () => imageOf(NEW)),
  },
  {
    name: 'of 80 power cuts while a tar is unpacked into the slot, armed and committed, each leaves such a node, too',
    firmware: 'bios',
    play: () => powerCuts(80, async () => (await tarOf(NEW)).gzip),
  },
  {
    name: 'what a script has reported is on the disk; without any one of its fsyncs it is not',
    firmware: 'bios',
    play: everyFsync,
  },
  {
    name: 'on UEFI, GPT and NVMe a trial that panics falls back, and a good one stays',
    firmware: 'uefi',
    play: uefiUpgradeAndFallBack,
  },
  {
    name: 'under systemd a write outlives its session, and reboots upgrade the node and bring it back in good order',
    firmware: 'bios',
    play: () => withBed({ init: 'systemd' }, underSystemd),
  },
  {
    name: 'under systemd a trial that loses its network goes back by itself',
    firmware: 'bios',
    play: () => withBed({ init: 'systemd' }, cutOffOnTrial),
  },
];
