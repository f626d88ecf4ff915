#!/bin/sh
# Runs a command for kubeos and ends it when kubeos is gone: its standard input is a pipe that kubeos holds and writes a
# line to now and then. When the pipe closes (kubeos ended, even by kill -9), or stays silent for three ticks (kubeos is
# frozen), the whole process group ends. It must lead a process group of its own, since it ends that group.
#
#   guard TICK_SECONDS FOLDER COMMAND...    FOLDER (may be empty) and the socket `s` in it are removed at that end
set -u
tick=$1 folder=$2
shift 2

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
		kill -KILL 0
	}
} >/dev/null 2>&1 &

wait "$child"
code=$?
# The command ended by itself: end the watchers too, but not this shell, which hands on the exit code.
trap '' TERM
kill -TERM 0
exit "$code"
