#!/bin/sh
# uname of a lab node: the kernel of the slot that runs, or what a fault makes of it.
set -eu
faults=$KUBEOS_LAB_NODE/state/faults
case $*:$# in
-r:1)
	if [ -e "$faults/old-kernel" ]; then echo 5.10.0-60.18.0.50.oe2203.x86_64; else cat "$KUBEOS_ROOT/proc/sys/kernel/osrelease"; fi
	;;
-m:1)
	if [ -e "$faults/other-architecture" ]; then echo aarch64; else cat "$KUBEOS_ROOT/proc/sys/kernel/arch"; fi
	;;
*)
	echo "uname: the double does not know: $*" >&2
	exit 64
	;;
esac
