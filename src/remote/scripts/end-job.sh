#!/bin/sh
# Ends a detached step and all its processes.
main() {
	read_args 'run token job' "$@"
	authority
	if [ "$(job_id)" != "$JOB_ID" ]; then
		out state gone
		return 0
	fi
	end_job
	out state ended
}
