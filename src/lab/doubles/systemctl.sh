#!/bin/sh
# systemctl of a lab node: reboots it, and knows the services that the double of systemd-run has started.
set -eu
units=$KUBEOS_ROOT/run/systemd/lab-units

# A zombie that nobody has collected yet does not live any more.
lives() { # UNIT
	leader=$(cat "$units/$1" 2>/dev/null) || return 1
	for file in /proc/[0-9]*/stat; do
		{ IFS= read -r line <"$file"; } 2>/dev/null || continue
		# shellcheck disable=SC2086 # one word a field
		set -- ${line##*) }
		if [ "${4-}" = "$leader" ] && [ "$1" != Z ]; then return 0; fi
	done
	return 1
}

stop() { # UNIT
	for signal in TERM TERM KILL; do
		lives "$1" || break
		kill -s "$signal" -- "-$(cat "$units/$1")" 2>/dev/null || :
		tries=0
		while lives "$1" && [ "$tries" -lt 50 ]; do
			sleep 0.02
			tries=$((tries + 1))
		done
	done
	rm -f "$units/$1"
}

case $1:$# in
reboot:1) : >"$KUBEOS_LAB_NODE/state/reboot" ;;
is-active:3)
	case $2:$3 in --quiet:kubeos-*.service) ;; *) exit 64 ;; esac
	lives "$3" || exit 3
	;;
stop:2)
	case $2 in kubeos-*.service) stop "$2" ;; *) exit 64 ;; esac
	;;
*)
	echo "systemctl: the double does not know: $*" >&2
	exit 64
	;;
esac
