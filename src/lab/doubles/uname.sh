#!/bin/sh
# uname of a lab node: the kernel of the slot that runs.
set -eu
case $*:$# in
-r:1) cat "$KUBEOS_ROOT/proc/sys/kernel/osrelease" ;;
-m:1) cat "$KUBEOS_ROOT/proc/sys/kernel/arch" ;;
*)
	echo "uname: the double does not know: $*" >&2
	exit 64
	;;
esac
