#!/bin/sh
# Leaves the run's token on the node, so that left-overs of older runs are refused from now on.
main() {
	read_args 'run token' "$@"
	authority
	job_token=$(first_line "$JOB/token")
	if [ -d "$JOB" ] && ! { is_number "$job_token" && [ "$job_token" -ge "$TOKEN" ]; }; then
		log "run $RUN_ID (token $TOKEN) ends what an older run left: $(first_line "$JOB/step")"
		end_job
	fi
	out token "$TOKEN"
}
