#!/bin/sh
# Plants the dead man's timer of a trial, or renews it: a node that hears nothing more from kubeos goes back by itself.
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

watch_as_unit() {
	systemd-run --quiet --collect --unit=kubeos-dead-man --property=TimeoutStopSec=10 \
		sh "$RUN/dead-man.sh" </dev/null >/dev/null 2>"$RUN/dead-man.err" 9>&- ||
		die state "systemd does not start kubeos-dead-man: $(first_line "$RUN/dead-man.err")"
}

watch_as_session() {
	need setsid sleep
	setsid sh "$RUN/dead-man.sh" </dev/null >/dev/null 2>&1 9>&- &
}

await_watcher() {
	tries=100
	until dead_man_watches; do
		tries=$((tries - 1))
		if [ "$tries" -eq 0 ]; then die state "the dead man's timer does not start"; fi
		sleep 0.05
	done
}
