#!/bin/sh
# A node with real file systems, as root: loop devices for both slots, a mount namespace of its own, a root of its own.
# Nothing of it is seen outside, and nothing of this machine but its programs is seen inside.
#   unshare --mount --propagation private sh private-node.sh FOLDER ext4|xfs [SLOT PERSIST]
# SLOT and PERSIST are sizes as truncate has them: then /persist lies on a disk too, not in memory, and no disk is cached
# by this machine as well. FOLDER/steps/* are run in it one after the other as `sh -s`; each leaves
# FOLDER/ended/STEP.{rc,out,err}, and is told on standard output: `begin STEP`, and `end STEP CODE NANOSECONDS`. A step
# whose name ends with .host is run outside, with SLOT (the device of slot B), FOLDER and, mounted read-only, SEEN.
set -eu
FOLDER=$1
type=$2
slot_size=${3-$([ "$type" = xfs ] && echo 320M || echo 96M)}
persist_size=${4-}
root=$FOLDER/root
loops=''

clean_up() {
	umount -R "$root" 2>/dev/null || :
	for loop in $loops; do losetup -d "$loop" || :; done
}
trap clean_up EXIT
trap 'exit 1' HUP INT PIPE TERM

slot() { # FILE LABEL
	truncate -s "$slot_size" "$1"
	case $type in
	ext4) mkfs.ext4 -q -L "$2" -O ^metadata_csum_seed "$1" ;;
	xfs) mkfs.xfs -q -L "$2" -m bigtime=0 "$1" ;;
	esac
	attach "$1"
}

attach() { # FILE: as a disk
	losetup --find --show ${persist_size:+--direct-io=on} "$1"
}

describe() { # NAME PARTITION DEVICE
	folder=$root/sys/devices/virtual/block/vda/$1
	mkdir -p "$folder/holders"
	number=$(printf '%d:%d' "0x$(stat -c %t "$3")" "0x$(stat -c %T "$3")")
	echo "$2" >"$folder/partition"
	echo "$number" >"$folder/dev"
	echo 0 >"$folder/ro"
	echo "$(($(blockdev --getsize64 "$3") / 512))" >"$folder/size"
	ln -s "../../devices/virtual/block/vda/$1" "$root/sys/dev/block/$number"
	mknod "$root/dev/$1" b "${number%:*}" "${number#*:}"
}

mkdir -p "$root" "$FOLDER/ended" "$FOLDER/seen"
a=$(slot "$FOLDER/a.img" ROOT-A)
loops=$a
SLOT=$(slot "$FOLDER/b.img" ROOT-B)
loops="$loops $SLOT"
mount -t "$type" "$a" "$root"
mkdir "$root/usr" "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/tmp" "$root/persist" "$root/etc" "$root/boot"
mkdir "$root/boot/grub2"
ln -s usr/bin usr/sbin usr/lib "$root/"
if [ -d /usr/lib64 ]; then ln -s usr/lib64 "$root/lib64"; fi
echo 'PRETTY_NAME="KubeOS 1.0.0"' >"$root/etc/os-release"
mount --bind /usr "$root/usr"
# Where Debian's awk is found, and what mkfs.ext4 goes by.
if [ -d /etc/alternatives ]; then
	mkdir "$root/etc/alternatives"
	mount --bind /etc/alternatives "$root/etc/alternatives"
fi
if [ -e /etc/mke2fs.conf ]; then cp /etc/mke2fs.conf "$root/etc/"; fi
mount -t proc proc "$root/proc"
for folder in dev sys run tmp persist boot/grub2; do mount -t tmpfs -o mode=0755 tmpfs "$root/$folder"; done
if [ -n "$persist_size" ]; then
	truncate -s "$persist_size" "$FOLDER/persist.img"
	mkfs.ext4 -q -L PERSIST "$FOLDER/persist.img"
	persist=$(attach "$FOLDER/persist.img")
	loops="$loops $persist"
	mount "$persist" "$root/persist"
fi
mknod "$root/dev/null" c 1 3
mknod "$root/dev/zero" c 1 5
mkdir -p "$root/sys/dev/block" "$root/persist/KubeOS-Update"
describe vda2 2 "$a"
describe vda3 3 "$SLOT"
if [ -e "$FOLDER/update.img" ]; then cp "$FOLDER/update.img" "$root/persist/KubeOS-Update/"; fi
"$(command -v grub-editenv || command -v grub2-editenv)" "$root/boot/grub2/grubenv" create
"$(command -v grub-editenv || command -v grub2-editenv)" "$root/boot/grub2/grubenv" set saved_entry=A
mount -o remount,ro,bind "$root"

export FOLDER SLOT
export SEEN="$FOLDER/seen"
for step in "$FOLDER"/steps/*; do
	ended=$FOLDER/ended/${step##*/}
	rc=0
	echo "begin ${step##*/}"
	began=$(date +%s%N)
	case $step in
	*.host) sh -eu "$step" >"$ended.out" 2>"$ended.err" || rc=$? ;;
	*) chroot "$root" /bin/sh -s <"$step" >"$ended.out" 2>"$ended.err" || rc=$? ;;
	esac
	echo "end ${step##*/} $rc $(($(date +%s%N) - began))"
	echo "$rc" >"$ended.rc"
done
