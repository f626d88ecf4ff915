#!/bin/sh
# date of a lab node: the real one, ten minutes ahead where the fault clock-skew is set.
set -eu
real=${0%/*}/real/date
if [ "$*" != +%s ] || [ ! -e "$KUBEOS_LAB_NODE/state/faults/clock-skew" ]; then
	exec "$real" "$@"
fi
echo "$(($("$real" +%s) + 600))"
