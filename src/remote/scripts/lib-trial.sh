#!/bin/sh
# A trial: whether one runs, the dead man's timer that ends it, and the order to reboot.
#
# The timer is a file with the moment at which it runs out, and a watcher beside it. Renewing it is writing the file;
# forgetting it is removing the file. It lies in /run, so that no boot inherits it.
# shellcheck disable=SC2034 # the steps' files read what is set here

on_trial() { # for who has read the layout and the journal
	one_of "$J_PHASE" verified armed proven && [ -n "$J_ARMED" ] && [ "$J_ARMED" != "$(boot_id)" ] &&
		[ "$ACTIVE" = "$J_TARGET" ]
}

# A trial that its timer, or a run, has ended: its log tells why already, and who still asks is no failure of the node.
need_lasting_trial() {
	if ! one_of "$J_PHASE" fell-back aborted; then return 0; fi
	CHANGING=no
	die out-of-order "the trial of slot $J_TARGET is over: ${J_REASON:-$J_PHASE}"
}

uptime_seconds() { # no clock that somebody may set
	IFS=' .' read -r up rest </proc/uptime
	echo "$up"
}

read_dead_man() { # sets DEAD_MAN_AT and DEAD_MAN_SPAN, in seconds; fails where no timer runs in this boot
	at='' span='' boot=''
	if [ ! -r "$RUN/dead-man" ]; then return 1; fi
	IFS=' ' read -r at span boot <"$RUN/dead-man" || :
	if [ "$boot" != "$(boot_id)" ] || ! is_number "$at" || ! is_number "$span"; then return 1; fi
	DEAD_MAN_AT=$at
	DEAD_MAN_SPAN=$span
}

dead_man_left() { # seconds; for who has read it
	left=$((DEAD_MAN_AT - $(uptime_seconds)))
	if [ "$left" -gt 0 ]; then echo "$left"; else echo 0; fi
}

dead_man_watches() {
	! (flock -n 5) 5>>"$RUN/dead-man.lock"
}

forget_dead_man() {
	rm -f -- "$RUN/dead-man"
}

FLUSH_SECONDS=10

# A file system whose server is out of reach never gets there, and what waits for it cannot be killed: it is left behind,
# without the node's lock.
flush_for_a_while() {
	sync >/dev/null 2>&1 9>&- &
	enough=$(($(uptime_seconds) + FLUSH_SECONDS))
	while kill -0 "$!" 2>/dev/null && [ "$(uptime_seconds)" -lt "$enough" ]; do sleep 0.1; done
}

# Each way until one is taken. A forced one unmounts nothing: what is written goes to the disk before it, as far as it gets
# there in ten seconds; a file system whose server is out of reach never does.
# shellcheck disable=SC2016 # it is for another shell
REBOOT='
systemctl reboot || reboot || {
	sync &
	tries=100
	while kill -0 "$!" && [ "$tries" -gt 0 ]; do
		sleep 0.1
		tries=$((tries - 1))
	done
	systemctl reboot --force || reboot -f || systemctl reboot --force --force ||
		logger -t kubeos -- "failed (reboot-failed): no way to reboot was taken"
}
'

# A second from now, so that the answer gets out before the connection goes.
order_reboot() {
	if ! has systemctl && ! has reboot; then die reboot-failed 'the node has neither systemctl nor reboot'; fi
	# systemd would fill in what looks like its variables; where /run is full, it takes no timer.
	if with_systemd && { printf '%s\n' "$REBOOT" >"$RUN/reboot.sh"; } 2>/dev/null; then
		if systemd-run --quiet --collect --on-active=1 --timer-property=AccuracySec=100ms sh "$RUN/reboot.sh" \
			</dev/null >/dev/null 2>"$RUN/reboot.err" 9>&-; then return 0; fi
		log "systemd takes no timer for the reboot: $(first_line "$RUN/reboot.err")"
	fi
	need setsid sleep
	# What stays in a session that logind ends gets both signals, and is killed a minute and a half later.
	# shellcheck disable=SC2016 # it is for another shell
	setsid sh -c 'trap "" HUP TERM; sleep 1; eval "$1"' kubeos-reboot "$REBOOT" </dev/null >/dev/null 2>&1 9>&- &
}
