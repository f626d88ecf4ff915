#!/bin/sh
# reboot of a lab node: the lab sees the file and restarts the node.
set -eu
if [ "$#" -ne 0 ]; then
	echo "reboot: the double does not know: $*" >&2
	exit 64
fi
: >"$KUBEOS_LAB_NODE/state/reboot"
