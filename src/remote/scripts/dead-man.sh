#!/bin/sh
# Plants the dead man's timer of a trial, or renews it: a node that hears nothing more from kubeos goes back by itself.

# A fork that fails ends dash and BusyBox's shell, but what `command eval` runs.
# shellcheck disable=SC2016 # it is for another shell
WATCH='
until command eval "sh \"\$2\"" || [ ! -e "$1" ]; do
	command eval "sleep 5"
done
'

main() {
	read_args 'run token span payload' "$@"
	authority
	read_journal
	need_layout
	if ! on_trial; then return 0; fi
	put_file "$RUN/dead-man" "$(($(uptime_seconds) + SPAN)) $SPAN $(boot_id)"
	if dead_man_watches; then return 0; fi
	printf '%s\n' "$PAYLOAD" >"$RUN/dead-man.sh" || die state "cannot write $RUN/dead-man.sh"
	if with_systemd; then watch_as_unit; else watch_as_session; fi
	await_watcher
	log "without a sign of life from kubeos for ${SPAN}s, slot $J_FROM is booted again"
}

# Where systemd is about to start it again, it takes no other of that name.
watch_as_unit() {
	systemd-run --quiet --collect --unit=kubeos-dead-man --property=TimeoutStopSec=10 --property=Restart=on-failure \
		--property=RestartSec=5 --property=OOMScoreAdjust=-1000 \
		sh "$RUN/dead-man.sh" </dev/null >/dev/null 2>"$RUN/dead-man.err" 9>&- || :
}

watch_as_session() {
	need setsid sleep
	setsid sh -c "$WATCH" kubeos-dead-man "$RUN/dead-man" "$RUN/dead-man.sh" </dev/null >/dev/null 2>"$RUN/dead-man.err" 9>&- &
}

await_watcher() {
	tries=200
	until dead_man_watches; do
		tries=$((tries - 1))
		if [ "$tries" -eq 0 ]; then die state "the dead man's timer does not start: $(first_line "$RUN/dead-man.err")"; fi
		sleep 0.05
	done
}
