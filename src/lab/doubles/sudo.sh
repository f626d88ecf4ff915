#!/bin/sh
# sudo of a lab node: the user ops may run a shell as root without a password, unless the lab has taken that away.
set -eu
if [ "$*" != '-n -- /bin/sh -s' ] || [ "$#" -ne 4 ]; then
	echo "sudo: the double does not know: $*" >&2
	exit 64
fi
if [ -e "$KUBEOS_LAB_NODE/state/faults/sudo" ]; then
	echo 'sudo: a password is required' >&2
	exit 1
fi
KUBEOS_LAB_USER=root
USER=root
LOGNAME=root
HOME=$KUBEOS_ROOT/root
export KUBEOS_LAB_USER USER LOGNAME HOME
exec /bin/sh -s
