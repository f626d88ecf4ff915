#!/bin/sh
# Runs a command for kubeos and ends it when kubeos is gone: its standard input is a pipe that kubeos holds and writes a
# line to now and then. When the pipe closes (kubeos ended, even by kill -9), or stays silent for three ticks (kubeos is
# frozen), the whole process group ends. Where it does not lead a process group of its own, the group is not its to end,
# and only the command is ended.
#
#   guard TICK_SECONDS FOLDER COMMAND...    FOLDER (may be empty) and the socket `s` in it are removed at that end
set -u
tick=$1 folder=$2
shift 2

# `of ppid PID` and `of pgid PID`: its parent and its group, fields 4 and 5 of /proc/PID/stat, where the name in brackets
# may hold anything (proc(5)).
of() {
	if [ -r "/proc/$2/stat" ]; then
		stat=$(cat "/proc/$2/stat")
		field=$1
		# shellcheck disable=SC2086
		set -- ${stat##*)}
		case $field in
		ppid) echo "$2" ;;
		*) echo "$3" ;;
		esac
	else
		ps -o "$1=" -p "$2" | tr -d ' '
	fi
}

leads=no
[ "$(of pgid $$ 2>/dev/null)" != $$ ] || leads=yes

exec 3<&0
"$@" </dev/null 3<&- &
child=$!

{
	{
		while sleep "$tick"; do echo tick; done 3<&- &
		while read -r _; do echo beat; done <&3
		echo gone
	} | {
		silent=0
		while read -r sign; do
			case $sign in
			beat) silent=0 ;;
			tick) silent=$((silent + 1)) ;;
			*) break ;;
			esac
			[ "$silent" -lt 3 ] || break
		done
		if [ -n "$folder" ]; then
			rm -f "$folder/s"
			rmdir "$folder"
		fi
		if [ "$leads" = yes ]; then
			kill -KILL 0
		elif [ "$(of ppid "$child")" = $$ ]; then
			# Its number is still its own: it is the guard's child.
			kill -KILL "$child"
		fi
	}
} >/dev/null 2>&1 &

wait "$child"
code=$?
# The command ended by itself: end the watchers too, but not this shell, which hands on the exit code.
trap '' TERM
[ "$leads" = no ] || kill -TERM 0
exit "$code"
