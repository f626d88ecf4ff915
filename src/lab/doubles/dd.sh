#!/bin/sh
# dd of a lab node: the real one. Where the fault slow-write is set, a slot takes at most 1 MiB/s, in pieces of 256 KiB.
set -eu
real=${0%/*}/real/dd
image='' device='' skip=0 seek=0
for argument; do
	case $argument in
	if="$KUBEOS_ROOT"/persist/*) image=${argument#if=} ;;
	if=*) image=other ;;
	of="$KUBEOS_ROOT"/dev/vda*) device=${argument#of=} ;;
	skip=*) skip=${argument#skip=} ;;
	seek=*) seek=${argument#seek=} ;;
	esac
done
if [ "$image" = other ] || [ -z "$device" ] || [ ! -e "$KUBEOS_LAB_NODE/state/faults/slow-write" ]; then
	exec "$real" "$@"
fi
# The device is this process's own descriptor 1, whose position tells how far it is, as with the real one.
if [ -n "$image" ]; then exec <"$image"; fi
exec 1<>"$device"
# Both count in bytes here.
if [ "$skip" -gt 0 ]; then "$real" bs="$skip" count=1 iflag=fullblock of=/dev/null status=none; fi
if [ "$seek" -gt 0 ]; then "$real" bs="$seek" seek=1 count=0 conv=notrunc status=none; fi
before='' now=start
while [ "$now" != "$before" ]; do
	before=$now
	"$real" bs=256K count=1 iflag=fullblock conv=fsync status=none
	IFS= read -r now <"/proc/$$/fdinfo/1"
	sleep 0.25
done
