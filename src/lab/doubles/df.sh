#!/bin/sh
# df of a lab node: /persist has 8 GiB free, or nothing where the lab has filled it.
set -eu
if [ "$#" -ne 4 ] || [ "$1 $2 $3 $4" != "-P -k -- $KUBEOS_ROOT/persist" ]; then
	echo "df: the double does not know: $*" >&2
	exit 64
fi
free=8388608
if [ -e "$KUBEOS_LAB_NODE/state/faults/disk-full" ]; then free=0; fi
echo 'Filesystem     1024-blocks     Used Available Capacity Mounted on'
echo "/dev/vda4         15728640 $((15728640 - free)) $free       50% /persist"
