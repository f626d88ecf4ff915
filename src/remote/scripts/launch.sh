#!/bin/sh
# Starts a long step detached. A launch whose answer was lost is given again: the running job is adopted.

# Runs in the job's own session: it says who it is before anything else, and writes the exit code last. It stands in a
# file, since systemd puts values of its own for the variables on a command line.
# shellcheck disable=SC2016 # it is for another shell
RUNNER='
cd "$1" || exit 1
IFS= read -r stat <"/proc/$$/stat"
set -- ${stat##*) }
echo "$$ ${20}" >pid.new && mv -f pid.new pid
sh ./script >out 2>err </dev/null
echo "$?" >rc.new
rm -f script
mv -f rc.new rc
'

main() {
	read_args 'run token job step payload' "$@"
	authority
	# A job of an older token would be refused when it records, so only its work is taken over, not the job.
	if [ "$(job_id):$(first_line "$JOB/token")" = "$JOB_ID:$TOKEN" ] && [ ! -e "$JOB/rc" ] && job_runs; then
		out state adopted
		return 0
	fi
	if [ -d "$JOB" ]; then end_job; fi
	prepare_job
	if with_systemd; then
		start_unit
	else
		start_session
	fi
	out state started
}

prepare_job() {
	mkdir -p -- "$JOB" || die state "cannot make $JOB"
	{
		printf '%s\n' "$PAYLOAD" >"$JOB/script" && printf '%s\n' "$RUNNER" >"$JOB/run" && printf '%s\n' "$STEP" >"$JOB/step" &&
			printf '%s\n' "$TOKEN" >"$JOB/token" && printf '%s\n' "$JOB_ID" >"$JOB/id"
	} || die state "cannot write in $JOB"
}

start_unit() {
	printf '%s\n' "kubeos-$STEP.service" >"$JOB/unit"
	systemd-run --quiet --collect --unit="kubeos-$STEP" --property=TimeoutStopSec=10 \
		sh "$JOB/run" "$JOB" </dev/null >/dev/null 2>"$JOB/start.err" 9>&- ||
		die state "systemd does not start kubeos-$STEP: $(first_line "$JOB/start.err")"
}

start_session() {
	need setsid sleep
	setsid sh "$JOB/run" "$JOB" </dev/null >/dev/null 2>&1 9>&- &
	tries=100
	while [ ! -e "$JOB/pid" ] && [ ! -e "$JOB/rc" ]; do
		tries=$((tries - 1))
		if [ "$tries" -eq 0 ]; then die state "the detached step $STEP does not start"; fi
		sleep 0.05
	done
}
