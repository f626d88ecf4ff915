#!/bin/sh
# df of a lab node: /persist has a million inodes and 8 GiB free, or no room where the lab has filled it.
set -eu
case "$*" in
"-P -k -- $KUBEOS_ROOT/persist") unit=1024-blocks total=15728640 free=8388608 ;;
"-P -i -- $KUBEOS_ROOT/persist") unit=Inodes total=1048576 free=1000000 ;;
*)
	echo "df: the double does not know: $*" >&2
	exit 64
	;;
esac
if [ "$unit" != Inodes ] && [ -e "$KUBEOS_LAB_NODE/state/faults/disk-full" ]; then free=0; fi
echo "Filesystem     $unit     Used Available Capacity Mounted on"
echo "/dev/vda4         $total $((total - free)) $free       50% /persist"
