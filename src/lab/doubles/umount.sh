#!/bin/sh
# umount of a lab node: only of slots that the double of mount has mounted. What was written to one goes into its ext4
# image: the same file system made again, with the files that are there now.
set -eu
mountinfo=$KUBEOS_ROOT/proc/self/mountinfo

fail() {
	echo "umount: $*" >&2
	exit 32
}

# Of a superblock, as dumpe2fs would show it.
shown() { # DEVICE NAME
	debugfs -R 'show_super_stats -h' "$1" 2>/dev/null | sed -n "s/^$2: *//p"
}

write_back() { # DEVICE FOLDER
	# These features come and go by themselves.
	features=$(shown "$1" 'Filesystem features' | sed 's/needs_recovery//; s/orphan_present//; s/  */,/g; s/,$//')
	uuid=$(shown "$1" 'Filesystem UUID')
	label=$(shown "$1" 'Filesystem volume name')
	if [ "$label" = '<none>' ]; then label=''; fi
	mkfs.ext4 -q -F -m 0 -I 256 -O "none,$features" -U "$uuid" -L "$label" -d "$2" "$1" ||
		fail "$1: no space left on device"
	# The root's own mode is not taken over.
	debugfs -w -R "set_inode_field <2> mode 04$(stat -c %04a "$2")" "$1" 2>/dev/null
}

if [ "$#" -ne 1 ]; then fail "the double does not know: $*"; fi
target=${1#"$KUBEOS_ROOT"}
case $target in
*..*) fail "$1: not a mount point of the double" ;;
/run/kubeos/?*) ;;
*) fail "$1: not a mount point of the double" ;;
esac
grep -q " $target " "$mountinfo" || fail "$1: not mounted."
set -- "$1" "$(awk -v mountpoint="$target" '$5 == mountpoint && $6 ~ /^rw,/ { print $(NF - 1) }' "$mountinfo")"
if [ -n "$2" ]; then write_back "$KUBEOS_ROOT$2" "$1"; fi
chmod -R u+rwX "$KUBEOS_ROOT$target"
rm -rf -- "${KUBEOS_ROOT:?}$target"
mkdir "$KUBEOS_ROOT$target"
grep -v " $target " "$mountinfo" >"$mountinfo.new"
mv -f "$mountinfo.new" "$mountinfo"
