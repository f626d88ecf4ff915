#!/bin/sh
# mount of a lab node. A slot is mounted by copying its files out of the real ext4 image; the double of umount copies them
# back where it was mounted to be written. A mount point's options are changed in the node's mountinfo.
set -eu
mountinfo=$KUBEOS_ROOT/proc/self/mountinfo

fail() {
	echo "mount: $*" >&2
	exit 32
}

replace_mountinfo() {
	cat >"$mountinfo.new"
	mv -f "$mountinfo.new" "$mountinfo"
}

remount() { # ro|rw MOUNTPOINT
	if [ -e "$KUBEOS_LAB_NODE/state/faults/remount" ]; then fail "$2: cannot remount $1"; fi
	grep -q " $2 " "$mountinfo" || fail "$2: mount point not mounted or bad option."
	awk -v how="$1" -v mountpoint="$2" '
		$5 == mountpoint { sub(/^r[ow]/, how, $6); sub(/r[ow]$/, how, $NF) }
		{ print }' "$mountinfo" | replace_mountinfo
	echo "remount $1 $2" >>"$KUBEOS_LAB_NODE/state/mounts.log"
}

mount_slot() { # DEVICE FOLDER ro|rw
	name=${1#"$KUBEOS_ROOT/dev/"}
	target=${2#"$KUBEOS_ROOT"}
	case $name in "$1" | */*) fail "$1 is no device of this node" ;; esac
	case $target in /run/kubeos/*) ;; *) fail "$2 is not a mount point for slots" ;; esac
	number=$(cat "$KUBEOS_ROOT/sys/class/block/$name/dev") || fail "$1: no such device"
	if [ ! -d "$2" ]; then fail "$2: mount point does not exist."; fi
	if [ -n "$(ls -A "$2")" ]; then fail "$2: the double mounts on empty folders only"; fi
	magic=$(dd if="$1" bs=1 skip=1080 count=2 2>/dev/null | od -An -v -tx1 | tr -d ' \n')
	if [ "$magic" != 53ef ]; then fail "wrong fs type, bad option, bad superblock on $1"; fi
	{
		cat "$mountinfo"
		echo "90 22 $number / $target $3,nosuid,nodev,noexec,relatime shared:90 - ext4 /dev/$name $3"
	} | replace_mountinfo
	# debugfs says on standard error that it may not change owners, and that is no failure.
	debugfs -R "rdump / \"$2\"" "$1" >/dev/null 2>&1 || fail "$1: cannot be read"
	# rdump leaves the folder itself as it was.
	chmod "$(debugfs -R 'stat /' "$1" 2>/dev/null | sed -n 's/.*Mode: *\([0-7]*\).*/\1/p' | head -n 1)" "$2"
}

case $*:$# in
"-o remount,ro $KUBEOS_ROOT/"*:3 | "-o remount,rw $KUBEOS_ROOT/"*:3) remount "${2#remount,}" "${3#"$KUBEOS_ROOT"}" ;;
'-t ext4 -o ro,noload,nosuid,nodev,noexec '*:6) mount_slot "$5" "$6" ro ;;
'-t ext4 -o rw,nosuid,nodev,noexec '*:6) mount_slot "$5" "$6" rw ;;
*) fail "the double does not know: $*" ;;
esac
