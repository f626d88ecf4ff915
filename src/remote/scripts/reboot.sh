#!/bin/sh
# Orders the reboot, a second from now, so that the answer gets out before the connection goes.
main() {
	read_args 'run token purpose' "$@"
	authority
	load_journal
	need_layout
	need_env
	if [ "$PURPOSE" = trial ]; then check_trial; else check_send_back; fi
	if [ "$PURPOSE" = trial ]; then sync; fi
	order_reboot
	out accepted yes
}

check_trial() {
	if [ "$J_PHASE" != armed ] || [ "$J_ARMED" != "$(boot_id)" ]; then
		die out-of-order "this boot is not armed (phase $J_PHASE): arm comes first"
	fi
	if [ "$ENV_NEXT" != "$J_TARGET" ] || [ "$(permanent_slot)" != "$ACTIVE" ]; then
		die out-of-order "the boot environment does not lead to slot $J_TARGET: arm comes first"
	fi
	log "reboot to the trial of slot $J_TARGET ($J_VERSION)"
}

# A trial that is left must end in the old slot, even where GRUB could not clear the trial, a commit was cut short, or
# nothing can be written in /persist any more.
check_send_back() {
	# Aborted: its own timer sends it back at this moment.
	if ! one_of "$J_PHASE" verified armed proven aborted || [ -z "$J_ARMED" ] || [ "$J_ARMED" = "$(boot_id)" ]; then
		die out-of-order "this boot is not a trial (phase $J_PHASE): there is nothing to send back"
	fi
	if [ "$ACTIVE" != "$J_TARGET" ]; then die out-of-order "slot $ACTIVE runs already"; fi
	if [ "$(state_is_writable)" = yes ]; then note_grub; else log 'what is in /persist cannot be changed: going back without'; fi
	if [ -n "$ENV_NEXT" ] || [ "$(permanent_slot)" != "$J_FROM" ]; then write_env "$J_FROM" ''; fi
	log "sent back: reboot to slot $J_FROM"
}
