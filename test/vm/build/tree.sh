#!/bin/sh
# tree.sh PACKAGES FOLDER: the files of a node's root: Debian's kernel, an initramfs without systemd, BusyBox as init,
# this machine's own OpenSSH, GRUB tools and what else kubeos runs on a node. image.sh makes images of it.
set -eu
packages=$1 root=$2
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
umask 022
release=$(basename "$packages"/lib/modules/*)
modules=$packages/lib/modules/$release/kernel

# KubeOS's own folders; bin, sbin and lib are links into usr there too.
for folder in usr/bin usr/sbin usr/lib/x86_64-linux-gnu usr/lib64 usr/lib/node/modules boot/efi boot/grub2 etc/ssh \
	dev proc sys run tmp var persist root opt; do
	mkdir -p "$root/$folder"
done
chmod 700 "$root/root"
for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
ln -s ../opt "$root/usr/local"

cp "$packages/bin/busybox" "$root/usr/bin/busybox"
for applet in $("$root/usr/bin/busybox" --list); do
	[ "$applet" = busybox ] || ln -s busybox "$root/usr/bin/$applet"
done
rm -f "$root/usr/bin/init" "$root/usr/bin/sh"
ln -s ../bin/busybox "$root/usr/sbin/init"

# Real tools instead of BusyBox's, where KubeOS has them. What runs other commands is among them: BusyBox's would run
# its own sh, tar and so on, whatever is on the PATH.
for tool in bash curl openssl cat comm cp cut date dd df head mkdir mv nice od readlink rm sha256sum sort stat sync tail \
	timeout tr uname wc grep find xargs setsid ionice tar gzip mount umount findmnt lsblk blkid blockdev flock mkfs.ext4 \
	e2fsck e2label tune2fs grub-editenv; do
	from=$(command -v "$tool")
	rm -f "$root/usr/bin/$tool"
	cp -L "$from" "$root/usr/bin/$tool"
done
ln -s bash "$root/usr/bin/sh"
mv "$root/usr/bin/grub-editenv" "$root/usr/bin/grub2-editenv"
cp "$(command -v sshd)" "$root/usr/sbin/sshd"
for program in "$root"/usr/bin/* "$root"/usr/sbin/sshd; do
	if [ ! -L "$program" ]; then ldd "$program" 2>/dev/null || :; fi
done | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | while read -r library; do
	cp -L "$library" "$root/usr/lib/x86_64-linux-gnu/"
done
cp -L /lib64/ld-linux-x86-64.so.2 "$root/usr/lib64/"

cp "$here"/node/rc "$here"/node/down "$here"/node/kubelet "$here"/node/engine "$root/usr/lib/node/"
chmod 755 "$root"/usr/lib/node/*
cp "$here/node/inittab" "$root/etc/inittab"
cp "$here/node/sshd_config" "$root/etc/ssh/sshd_config"
printf 'root:x:0:0:root:/root:/bin/bash\nsshd:x:74:74::/run/sshd:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nsshd:x:74:\n' >"$root/etc/group"
printf 'root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n' >"$root/etc/shadow"
chmod 600 "$root/etc/shadow"
printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files\n' >"$root/etc/nsswitch.conf"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
ln -s /proc/mounts "$root/etc/mtab"

module() { # NAME...: their paths
	for name; do find "$modules" -name "$name.ko"; done
}
cp "$packages/boot/vmlinuz-$release" "$root/boot/vmlinuz"
module failover net_failover virtio_net fat vfat nls_cp437 nls_ascii nls_utf8 overlay |
	while read -r file; do cp "$file" "$root/usr/lib/node/modules/"; done

initramfs=$root.initramfs
mkdir -p "$initramfs/bin" "$initramfs/modules" "$initramfs/proc" "$initramfs/sys" "$initramfs/dev" "$initramfs/sysroot"
cp "$packages/bin/busybox" "$initramfs/bin/"
module virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk |
	while read -r file; do cp "$file" "$initramfs/modules/"; done
cp "$here/node/initramfs-init" "$initramfs/init"
chmod 755 "$initramfs/init"
(cd "$initramfs" && find . | LC_ALL=C sort | cpio -o -H newc --quiet) >"$root/boot/initramfs.img"
rm -rf "$initramfs"
