#!/bin/sh
# Watches the dead man's timer, detached, for one boot.
# shellcheck disable=SC2034 # the library reads what is set here
main() {
	exec 6>>"$RUN/dead-man.lock"
	# Who only asks whether somebody watches holds it for a moment too.
	if ! flock -w 10 6; then return 0; fi
	while read_dead_man; do
		left=$(dead_man_left)
		if [ "$left" -eq 0 ]; then
			CHANGING=yes
			end_trial
		fi
		if [ "$left" -gt 5 ] || [ "$left" -eq 0 ]; then left=5; fi
		sleep "$left" 6>&-
	done
}

# Under the node's lock, so that no script of a run is in the middle of something. It is kept until the node goes down:
# nothing that is proven meanwhile would stand. Where there is none to open, no script of a run has it either.
end_trial() {
	# Opened for reading: /persist may have turned read-only, and a redirection that fails would end this shell.
	held=yes
	if [ -r "$STATE/lock" ]; then
		exec 9<"$STATE/lock"
		flock -w 20 9 || held=no
	fi
	if [ "$held" = no ] && ! is_long_overdue; then return 0; fi
	read_journal
	read_layout
	if ! trial_runs; then
		# Otherwise it is asked again: what cannot be read now says nothing of the trial.
		if has_journal && [ -z "$UNSUPPORTED" ]; then forget_dead_man; fi
	elif read_dead_man && [ "$(dead_man_left)" -eq 0 ]; then
		if [ "$held" = yes ]; then
			(lead_back) || say "the boot environment may not lead back to slot $J_FROM"
		else
			# Whatever it is at, the boot environment is the old one or the new one, and leads to a proven slot.
			log "no sign of life from kubeos for ${DEAD_MAN_SPAN}s on trial, and a script of it hangs: the node reboots by itself"
		fi
		# Without a sync, which waits for file systems whose server is out of reach: what counts has been fsynced.
		while :; do
			(order_reboot) || :
			sleep 120 6>&- 9>&-
		done
	fi
	let_go_of_lock
}

# A script that hangs, at a disk that fails, say, keeps the lock for good.
LONG_OVERDUE_SECONDS=300

is_long_overdue() { # for who has read the timer
	[ $(($(uptime_seconds) - DEAD_MAN_AT)) -ge "$LONG_OVERDUE_SECONDS" ]
}

# The timer was set on a trial. Where no journal tells what became of it, the boot environment does: nothing but a commit
# makes the slot of a trial permanent.
trial_runs() {
	if has_journal; then
		booted_since_armed && [ "$ACTIVE" = "$J_TARGET" ]
		return
	fi
	read_env
	J_FROM=$(permanent_slot)
	[ -z "$UNSUPPORTED$ENV_PROBLEM" ] && [ "$J_FROM" != "$ACTIVE" ]
}

has_journal() { # that can be read
	[ -z "$J_PROBLEM" ] && [ -n "$J_PHASE" ]
}

lead_back() {
	J_REASON="no sign of life from kubeos for ${DEAD_MAN_SPAN}s on trial: the node went back by itself"
	need_env
	lead_to_old_slot
	log "$J_REASON"
	if ! can_note note_end; then log "what the journal is not told: $NOT_NOTED"; fi
}

# What a run that carries on is told. It tries this image again: nobody has seen it fail.
note_end() {
	if ! has_journal; then die state "${J_PROBLEM:-there is no journal}"; fi
	RUN_ID=$J_RUN TOKEN=$J_TOKEN
	write_journal aborted
	note_grub "$CLEARED"
}
