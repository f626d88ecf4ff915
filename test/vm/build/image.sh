#!/bin/sh
# image.sh TREE VERSION VARIANT OUT [MIB]: a raw ext4 image of a node's root, of this size, as KubeOS's image tools make it;
# without a size a tar of it.
# VARIANT: good, or how the system goes wrong (node/rc, node/kubelet, node/initramfs-init): panic, no-network, unhealthy;
# lost-network: it goes once kubeos has been there; halt: its initramfs halts the machine, as dracut does with rd.shell=0; garbage-kernel: GRUB cannot load it; no-kernel: it is missing.
set -eu
tree=$1 version=$2 variant=$3 out=$4 mib=${5-}
PATH=$PATH:/usr/sbin:/sbin
umask 022
# The owner of all is root, also where the one who builds is not.
[ "$(id -u)" = 0 ] || exec unshare -r sh "$0" "$@"
own=$out.tree
rm -rf "$own"
cp -a "$tree" "$own"
# KubeOS has no /etc/os-release.
cat >"$own/usr/lib/os-release" <<END
NAME="KubeOS"
ID=kubeos
VERSION_ID="${version#KubeOS }"
PRETTY_NAME="$version"
END
echo "$variant" >"$own/usr/lib/node/variant"
case $variant in
# They never come as far as to need more than names.
panic | halt | garbage-kernel)
	find "$own/usr" -type f ! -name busybox ! -name systemd ! -name os-release ! -path '*/node/variant' \
		-exec sh -c 'for file; do echo unused >"$file"; done' sh {} +
	;;
esac
case $variant in
garbage-kernel) yes 'this is no kernel' | head -c 65536 >"$own/boot/vmlinuz" ;;
no-kernel) rm "$own/boot/vmlinuz" ;;
esac
if [ -n "$mib" ]; then
	truncate -s "${mib}M" "$out.new"
	mkfs.ext4 -q -F -L ROOT-A -m 0 -b 4096 -E root_owner=0:0,lazy_itable_init=0 -d "$own" "$out.new"
else
	tar --create --file="$out.new" --sort=name --numeric-owner --owner=0 --group=0 --directory="$own" .
fi
rm -rf "$own"
mv "$out.new" "$out"
