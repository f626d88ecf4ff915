#!/bin/sh
# Long steps run detached, so that a lost connection loses nothing. A job is told by a systemd unit, or by a session of
# its own whose leader is known by pid and start time: a pid that was given out again is never taken for it.
# shellcheck disable=SC2034 # the steps' files read what is set here

with_systemd() {
	[ -d "$KUBEOS_ROOT/run/systemd/system" ] && has systemd-run && has systemctl
}

job_id() { # of the job folder; empty where there is none
	first_line "$JOB/id"
}

job_runs() {
	unit=$(first_line "$JOB/unit")
	if [ -n "$unit" ]; then
		systemctl is-active --quiet "$unit"
	else
		[ -n "$(job_processes)" ]
	fi
}

# The fields of /proc/PID/stat after the command's name, which may hold anything (proc(5)): 1 is the state, 4 the
# session, 20 the start time.
process_stat() { # PID
	{ IFS= read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
	printf '%s' "${line##*) }"
}

start_time() { # PID: in clock ticks since boot
	stat=$(process_stat "$1") || return 1
	# shellcheck disable=SC2086 # one word a field
	set -- $stat
	echo "${20}"
}

# The living processes of the job's session. While one lives, the kernel gives the session's number to no new process;
# so where another process bears it, the session is over.
job_processes() {
	pid='' started=''
	if [ -r "$JOB/pid" ]; then IFS=' ' read -r pid started <"$JOB/pid" || :; fi
	if ! is_number "$pid"; then return 0; fi
	if now=$(start_time "$pid") && [ "$now" != "$started" ]; then return 0; fi
	for file in /proc/[0-9]*/stat; do
		{ IFS= read -r line <"$file"; } 2>/dev/null || continue
		# shellcheck disable=SC2086 # one word a field
		set -- ${line##*) }
		if [ "${4-}" != "$pid" ] || [ "$1" = Z ] || [ "$1" = X ]; then continue; fi
		file=${file#/proc/}
		echo "${file%/stat}"
	done
}

# Ends the job with everything that it started, and forgets it.
end_job() {
	unit=$(first_line "$JOB/unit")
	if [ -n "$unit" ] && job_runs; then
		systemctl stop "$unit" || say "systemctl stop $unit failed"
	elif [ -z "$unit" ]; then
		end_processes TERM 10
		end_processes KILL 100
	fi
	if job_runs; then die busy "the detached step $(first_line "$JOB/step") does not end"; fi
	rm -rf -- "$JOB" || die state "cannot remove $JOB"
	# A step that was unpacking had its slot mounted.
	if hold_mounts 1; then let_go_of_mounts; fi
}

end_processes() { # SIGNAL TENTHS-OF-A-SECOND-TO-WAIT
	tries=$2
	while pids=$(job_processes) && [ -n "$pids" ] && [ "$tries" -gt 0 ]; do
		# shellcheck disable=SC2086 # one word a pid
		kill -s "$1" $pids 2>/dev/null || :
		sleep 0.1
		tries=$((tries - 1))
	done
}

note_total() { # BYTES: how much the running step has to do
	if [ -d "$JOB" ]; then printf '%s\n' "$1" >"$JOB/total.new" && mv -f -- "$JOB/total.new" "$JOB/total"; fi
}

note_dd() { # PID FD: where to see how far it is; FD io: by all that it has read
	if [ -d "$JOB" ]; then printf '%s %s\n' "$1" "$2" >"$JOB/dd.new" && mv -f -- "$JOB/dd.new" "$JOB/dd.pid"; fi
}

done_bytes() { # nothing where it is not known
	if [ "$(first_line "$JOB/step")" = stage ]; then
		# Between two looks the step may have given the finished file its name.
		stat -c %s -- "$IMAGE.part" 2>/dev/null || :
		return 0
	fi
	pid='' fd=''
	if [ -r "$JOB/dd.pid" ]; then IFS=' ' read -r pid fd <"$JOB/dd.pid" || :; fi
	if ! is_number "$pid"; then return 0; fi
	if [ "$fd" = io ]; then
		bytes_read "$pid"
		return 0
	fi
	if ! is_number "$fd"; then return 0; fi
	{ IFS=' 	' read -r key position <"/proc/$pid/fdinfo/$fd"; } 2>/dev/null || return 0
	if [ "$key" = pos: ]; then echo "$position"; fi
}

# What it read as it began is in the number (proc(5)): a few KiB of libraries.
bytes_read() { # PID
	{ IFS=' ' read -r key count <"/proc/$1/io"; } 2>/dev/null || return 0
	if [ "$key" != rchar: ] || ! is_number "$count"; then return 0; fi
	most=$(first_line "$JOB/total")
	if is_number "$most" && [ "$count" -gt "$most" ]; then count=$most; fi
	echo "$count"
}
