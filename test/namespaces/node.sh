#!/bin/sh
# A node with a real sshd, as root: the disk of layout-disk.sh; for each of its boots mount, process and host-name
# namespaces of their own; a network namespace, whose eth0 somebody else puts there.
#   unshare --mount --net --propagation private sh node.sh FOLDER NAME ADDRESS/BITS
# FOLDER/ssh holds sshd_config and what that names. Says on standard output what a serial console would show, and writes to
# FOLDER/power the process whose end is the end of this boot's power. Ends with SIGTERM.
set -eu
FOLDER=$1 NAME=$2 ADDRESS=$3
# shellcheck disable=SC2034 # layout-disk.sh reads them
firmware=bios table=standard rootfs=ext4 prefix=vda style=label tool=grub2-editenv trees=$(dirname "$0")/../scripts
# shellcheck source=test/scripts/layout-disk.sh
. "$trees/layout-disk.sh"

# Process 1 of a boot. It ends with the code of a panic, or with 0 by `reboot`.
boot() { # SLOT
	mount_slot "$1" "$(cat /proc/sys/kernel/random/uuid)"
	if [ -e "$ROOT/proc/sysrq-trigger" ]; then mount --bind "$ROOT/dev/null" "$ROOT/proc/sysrq-trigger"; fi
	hostname "$NAME"
	mkdir "$ROOT/run/sshd"
	cp -r "$FOLDER/ssh" "$ROOT/run/ssh"
	trap 'exit 0' USR1
	# A real reboot is nothing that a node may order here.
	setpriv --bounding-set=-sys_boot chroot "$ROOT" /usr/sbin/sshd -D -e -f /run/ssh/sshd_config 2>>"$FOLDER/sshd.log" &
	# 08AE is port 2222.
	until grep -q ':08AE ' "$ROOT/proc/self/net/tcp"; do sleep 0.05; done
	version=$(sed -n 's/^PRETTY_NAME="\(.*\)"$/\1/p' "$ROOT/etc/os-release")
	echo "kubelet: up $(cat "$FOLDER/boot-id") $(uname -r) ready $version"
	# Orphans become children of process 1.
	while kill -0 "$!"; do wait || :; done
	exit 1
}

if [ "${4-}" != '' ]; then boot "$4"; fi

power=''
clean_up() {
	if [ -n "$power" ]; then kill -9 "$power" 2>/dev/null || :; fi
	if [ -n "$DISK" ]; then losetup -d "$DISK" || :; fi
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

make_disk
export DISK
mount "$FOLDER/p1" "$FOLDER/seen"
mkdir -p "$ROOT/boot/grub2"
mount --bind "$FOLDER/seen" "$ROOT/boot/grub2"
fill_boot
umount "$ROOT/boot/grub2"
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip address add "$ADDRESS" dev eth0

while :; do
	choose_slot "$FOLDER/seen/grubenv"
	umount "$FOLDER/seen"
	ip link set eth0 up
	unshare --mount --propagation private --pid --uts --fork --kill-child sh "$0" "$FOLDER" "$NAME" "$ADDRESS" "$chosen" &
	power=$!
	echo "$power" >"$FOLDER/power"
	code=0
	wait "$power" || code=$?
	# Anything but a reboot or a cut: what GRUB boots does not come up.
	if [ "$code" -ne 0 ] && [ "$code" -ne 137 ]; then exit 1; fi
	ip link set eth0 down
	echo 'kubelet: stopped'
	mount "$FOLDER/p1" "$FOLDER/seen"
done
