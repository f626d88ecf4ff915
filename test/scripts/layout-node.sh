#!/bin/sh
# A node with the disk of layout-disk.sh, as root: a mount namespace and a root of its own, as private-node.sh has them.
#   unshare --mount --propagation private sh layout-node.sh FOLDER FIRMWARE TABLE ROOTFS PREFIX STYLE TOOL
# FOLDER/steps/* are run one after the other; each leaves FOLDER/ended/STEP.{rc,out,err}. STEP.boot-B: GRUB and a kernel
# boot what the environment leads to, which must be that slot. STEP.host is run outside, with ROOT, BOOT (the folder with
# grub.cfg) and DISK.
set -eu
FOLDER=$1
# shellcheck disable=SC2034 # layout-disk.sh reads them
firmware=$2 table=$3 rootfs=$4 prefix=$5 style=$6 tool=$7 trees=$(dirname "$0")
# shellcheck source=test/scripts/layout-disk.sh
. "$trees/layout-disk.sh"
boots=0

take_down() {
	for try in 1 2 3 4 5; do
		umount -R "$ROOT" 2>/dev/null || [ "$try" -lt 5 ] || return 0
		grep -q " $ROOT" /proc/self/mountinfo || return 0
	done
}
clean_up() {
	take_down
	if [ -n "$DISK" ]; then losetup -d "$DISK" || :; fi
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

boot_slot() { # SLOT
	boots=$((boots + 1))
	take_down
	mount_slot "$1" "boot-$boots"
}

boot_by_grub() { # SLOT
	choose_slot "$BOOT/grubenv"
	[ "$chosen" = "$1" ] || {
		echo "GRUB boots $chosen, not $1" >&2
		exit 1
	}
	boot_slot "$1"
}

make_disk
boot_slot A
fill_boot
mkdir -p "$ROOT/persist/KubeOS-Update" "$FOLDER/ended"
cp "$FOLDER/update.img" "$ROOT/persist/KubeOS-Update/"
export FOLDER ROOT BOOT DISK

for step in "$FOLDER"/steps/*; do
	ended=$FOLDER/ended/${step##*/}
	rc=0
	case $step in
	*.boot-*) boot_by_grub "${step##*.boot-}" >"$ended.out" 2>"$ended.err" || rc=$? ;;
	*.host) sh -eu "$step" >"$ended.out" 2>"$ended.err" || rc=$? ;;
	*) chroot "$ROOT" /usr/bin/env PATH=/opt/bin:/usr/sbin:/usr/bin /bin/sh -s <"$step" >"$ended.out" 2>"$ended.err" || rc=$? ;;
	esac
	echo "$rc" >"$ended.rc"
done
