#!/bin/sh
# findmnt of a lab node: reads the node's own mountinfo. Knows the calls of the node scripts and nothing else.
set -eu
fail() {
	echo "findmnt: the double does not know: $*" >&2
	exit 64
}
if [ "$#" -ne 6 ] || [ "$1 $2 $3" != '-n -r -o' ]; then fail "$@"; fi
case $4 in MAJ:MIN,SOURCE | TARGET | OPTIONS | FSTYPE) ;; *) fail "$@" ;; esac
case $5 in --mountpoint | --target) ;; *) fail "$@" ;; esac
case $6 in /*) ;; *) fail "$@" ;; esac
if [ "$4 $6" = 'OPTIONS /persist' ] && [ -e "$KUBEOS_LAB_NODE/state/faults/persist-read-only" ]; then
	echo ro,relatime
	exit 0
fi
awk -v columns="$4" -v how="$5" -v path="$6" '
	function holds(mountpoint) {
		if (mountpoint == "/" || mountpoint == path) return 1
		return index(path, mountpoint "/") == 1
	}
	function show() {
		if (columns == "TARGET") return $5
		if (columns == "OPTIONS") return $6
		for (i = 7; i < NF; i++) if ($i == "-") return columns == "FSTYPE" ? $(i + 1) : $3 " " $(i + 2)
	}
	how == "--mountpoint" && $5 == path { print show(); found = 1 }
	how == "--target" && holds($5) && length($5) >= longest { answer = show(); longest = length($5); found = 1 }
	END {
		if (how == "--target" && found) print answer
		exit !found
	}' "$KUBEOS_ROOT/proc/self/mountinfo"
