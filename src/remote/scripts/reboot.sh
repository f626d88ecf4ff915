#!/bin/sh
# Orders the reboot, a second from now, so that the answer gets out before the connection goes.

# kubeos waits for a boot, for some minutes, where no answer came.
LATE_SECONDS=300

main() {
	CLEARED=''
	began=$(uptime_seconds)
	read_args 'run token purpose' "$@"
	authority
	load_journal
	need_layout
	if [ "$PURPOSE" = trial ]; then check_trial; else check_send_back; fi
	if [ "$PURPOSE" = trial ]; then
		flush_for_a_while
		need_somebody_waiting
	fi
	order_reboot
	out accepted yes
	if [ -n "$CLEARED" ] && ! can_note note_grub "$CLEARED"; then log "what GRUB did is not noted: $NOT_NOTED"; fi
}

check_trial() {
	need_env
	if [ "$J_PHASE" != armed ] || [ "$J_ARMED" != "$(boot_id)" ]; then
		die out-of-order "this boot is not armed (phase $J_PHASE): arm comes first"
	fi
	if [ "$ENV_NEXT" != "$J_TARGET" ] || [ "$(permanent_slot)" != "$ACTIVE" ]; then
		die out-of-order "the boot environment does not lead to slot $J_TARGET: arm comes first"
	fi
	log "reboot to the trial of slot $J_TARGET ($J_VERSION)"
}

# A trial that nobody waits for would begin with nobody there to judge it.
need_somebody_waiting() {
	late=$(($(uptime_seconds) - began))
	if [ "$late" -gt "$LATE_SECONDS" ]; then
		die reboot-failed "the order to reboot is ${late}s old: nobody waits for it any more"
	fi
}

# Boot environment and order hang on nothing that /persist would have to take.
check_send_back() {
	if ! booted_since_armed; then
		die out-of-order "this boot is not a trial (phase $J_PHASE): there is nothing to send back"
	fi
	if [ "$ACTIVE" != "$J_TARGET" ]; then die out-of-order "slot $ACTIVE runs already"; fi
	read_env
	# The tool is the trial's own: where it has none, GRUB has cleared its trial all the same, and a reset leads back.
	if [ -z "$ENV_TOOL" ]; then
		log "the boot environment is left as it is: $ENV_PROBLEM"
	else
		need_env
		lead_to_old_slot
	fi
	log "sent back: reboot to slot $J_FROM"
}
