/** The tools of a lab node: doubles of what needs hardware or privilege, and the real ones that its PATH links to. */
import blockdev from './blockdev.sh';
import date from './date.sh';
import dd from './dd.sh';
import df from './df.sh';
import findmnt from './findmnt.sh';
import grub2Editenv from './grub2-editenv.sh';
import id from './id.sh';
import journalctl from './journalctl.sh';
import logger from './logger.sh';
import mount from './mount.sh';
import reboot from './reboot.sh';
import sudo from './sudo.sh';
import sync from './sync.sh';
import systemctl from './systemctl.sh';
import systemdRun from './systemd-run.sh';
import umount from './umount.sh';
import uname from './uname.sh';

/** Name on the node's PATH -> text of a POSIX sh program. Each is strict: an argument that it does not know fails. */
export const DOUBLES: Readonly<Record<string, string>> = {
  blockdev,
  df,
  findmnt,
  'grub2-editenv': grub2Editenv,
  id,
  journalctl,
  logger,
  mount,
  reboot,
  sudo,
  sync,
  systemctl,
  'systemd-run': systemdRun,
  umount,
  uname,
};

/** Real tools of a lab node that a fault can hinder: the text calls the real one as `real/NAME`, in its own folder. */
export const HINDERED_TOOLS: Readonly<Record<string, string>> = { date, dd };

/** The host's own tools that a lab node may run, linked by name. None of them reaches hardware or needs privilege. */
export const REAL_TOOLS: readonly string[] = [
  'awk',
  'cat',
  'chmod',
  'cmp',
  'comm',
  'cp',
  'curl',
  'date',
  'dd',
  'debugfs',
  'e2fsck',
  'find',
  'flock',
  'grep',
  'gzip',
  'head',
  'ionice',
  'ls',
  'mkdir',
  'mkfifo',
  'mkfs.ext4',
  'mv',
  'nice',
  'od',
  'openssl',
  'readlink',
  'rm',
  'rmdir',
  'sed',
  'setsid',
  'sh',
  'sha256sum',
  'sleep',
  'sort',
  'stat',
  'tail',
  'tar',
  'tee',
  'timeout',
  'tr',
  'wc',
  'xargs',
];

/** The same, of which a lab's nodes have those that its host has. */
export const OPTIONAL_TOOLS: readonly string[] = ['xz', 'zstd'];
