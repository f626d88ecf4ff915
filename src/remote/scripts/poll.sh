#!/bin/sh
# How a detached step stands; changes nothing.
main() {
	read_args 'job' "$@"
	if [ "$(job_id)" != "$JOB_ID" ]; then
		out state gone
	elif [ -e "$JOB/rc" ]; then
		answer_done
	elif job_runs; then
		out state running
		answer_progress
	elif [ -e "$JOB/rc" ]; then
		# It ended between the two questions.
		answer_done
	else
		out state gone
		answer_errors
	fi
}

answer_done() {
	out state 'done'
	out rc "$(first_line "$JOB/rc")"
	if [ -f "$JOB/out" ]; then
		while IFS= read -r line || [ -n "$line" ]; do
			out "out.${line%%=*}" "${line#*=}"
		done <"$JOB/out"
	fi
	answer_errors
}

answer_progress() {
	position=$(done_bytes)
	total=$(first_line "$JOB/total")
	if [ -n "$position" ]; then out done_bytes "$position"; fi
	if [ -n "$total" ]; then out total_bytes "$total"; fi
}

answer_errors() {
	if [ ! -f "$JOB/err" ]; then return 0; fi
	tail -n 20 "$JOB/err" | while IFS= read -r line || [ -n "$line" ]; do
		out err "$line"
	done
}
