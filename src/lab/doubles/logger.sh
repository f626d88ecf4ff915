#!/bin/sh
# logger of a lab node: writes what rsyslog would write, and the journal; the syslog only where the node has one.
set -eu
if [ "$#" -ne 4 ] || [ "$1 $2 $3" != '-t kubeos --' ]; then
	echo "logger: the double does not know: $*" >&2
	exit 64
fi
host=${KUBEOS_LAB_NODE##*/}
printf '%s %s kubeos: %s\n' "$(date +%Y-%m-%dT%H:%M:%S%z)" "$host" "$4" >>"$KUBEOS_LAB_NODE/state/journal"
if [ -e "$KUBEOS_ROOT/var/log/messages" ]; then
	printf '%s %s kubeos: %s\n' "$(date '+%b %e %H:%M:%S')" "$host" "$4" >>"$KUBEOS_ROOT/var/log/messages"
fi
