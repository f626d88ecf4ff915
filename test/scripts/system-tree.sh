#!/bin/sh
# A system as an image of KubeOS holds one, but for /usr, which a test's node mounts over it:
#   sh system-tree.sh FOLDER VERSION
set -eu
mkdir -p "$1"
cd "$1"
for folder in boot/efi boot/grub2 usr/lib/systemd usr/bin usr/sbin etc/alternatives dev proc sys run tmp persist opt/bin; do
	mkdir -p "$folder"
done
ln -s usr/bin usr/sbin usr/lib .
if [ -d /usr/lib64 ]; then ln -s usr/lib64 lib64; fi
ln -s /usr/bin/grub-editenv opt/bin/grub2-editenv
ln -s /usr/bin/grub-editenv opt/bin/grub-editenv
# What a kernel does at once: the end of all its processes. Process 1 is node.sh there.
printf '#!/bin/sh\nexec kill -s USR1 1\n' >opt/bin/reboot
# This machine's own would take itself to be in a chroot, and its request for granted.
printf '#!/bin/sh\necho "there is no systemd here" >&2\nexit 1\n' >opt/bin/systemctl
chmod 755 opt/bin/reboot opt/bin/systemctl
for tool in sh findmnt dd od tr stat date mkdir mv rm cp cat head tail sed awk df flock sync sleep uname cmp tee grep \
	readlink mount umount blockdev sha256sum grub2-editenv reboot setsid e2fsck xfs_repair; do
	echo tool >"usr/bin/$tool"
done
echo kernel >boot/vmlinuz
echo initramfs >boot/initramfs.img
cp -L /usr/bin/env usr/sbin/init
echo "PRETTY_NAME=\"$2\"" >etc/os-release
if [ -e /etc/mke2fs.conf ]; then cp /etc/mke2fs.conf etc/; fi
printf 'root:x:0:0::/run:/bin/sh\nsshd:x:74:74::/run/sshd:/bin/false\n' >etc/passwd
printf 'root:x:0:\nsshd:x:74:\n' >etc/group
