#!/bin/sh
# sudo of a lab node: the user ops may run a shell as root without a password, unless the lab has taken that away. Where
# the node's state holds a sudo-password, that one is wanted each time, as with timestamp_timeout=0: asked for three
# times, by a prompt on standard error, and read byte by byte so that the rest of standard input is the command's.
set -eu
password_file=$KUBEOS_LAB_NODE/state/sudo-password

unknown() {
	echo "sudo: the double does not know: $*" >&2
	exit 64
}

become_root() {
	KUBEOS_LAB_USER=root
	USER=root
	LOGNAME=root
	HOME=$KUBEOS_ROOT/root
	export KUBEOS_LAB_USER USER LOGNAME HOME
	exec /bin/sh "$@"
}

ask() { # PROMPT
	IFS= read -r wanted <"$password_file" || :
	tries=0
	while [ "$tries" -lt 3 ]; do
		printf '%s' "$1" >&2
		if ! IFS= read -r given; then
			printf '\nsudo: no password was provided\n' >&2
			exit 1
		fi
		tries=$((tries + 1))
		echo . >>"$password_file.tries"
		if [ "$given" = "$wanted" ]; then return 0; fi
		echo 'Sorry, try again.' >&2
	done
	echo "sudo: $tries incorrect password attempts" >&2
	exit 1
}

if [ -e "$KUBEOS_LAB_NODE/state/faults/sudo" ]; then
	echo 'sudo: a password is required' >&2
	exit 1
fi
case "$#:${1-}" in
4:-n)
	[ "$*" = '-n -- /bin/sh -s' ] || unknown "$@"
	if [ -e "$password_file" ]; then
		echo 'sudo: a password is required' >&2
		exit 1
	fi
	become_root -s
	;;
7:-S)
	if [ "$2 $4 $5 $6" != '-p -- /bin/sh -c' ] || [ -z "$3" ]; then unknown "$@"; fi
	if [ -e "$password_file" ]; then ask "$3"; fi
	become_root -c "$7"
	;;
*) unknown "$@" ;;
esac
