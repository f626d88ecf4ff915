#!/bin/sh
# id of a lab node: root or ops, whoever the host runs it as.
set -eu
case $*:${KUBEOS_LAB_USER:-root} in
-u:root) echo 0 ;;
-u:ops) echo 1000 ;;
-un:root | -un:ops) echo "${KUBEOS_LAB_USER:-root}" ;;
*)
	echo "id: the double does not know: $*" >&2
	exit 64
	;;
esac
