#!/bin/sh
# Records that this very boot runs the target slot with the version asked for.
main() {
	read_args 'run token target version adopt?' "$@"
	authority
	load_journal
	# shellcheck disable=SC2153 # TARGET is the argument
	if [ "$J_TARGET" != "$TARGET" ]; then die out-of-order "the journal leads to slot $J_TARGET, not to slot $TARGET"; fi
	need_layout
	now=$(boot_id)
	need_lasting_trial
	if [ "$ADOPT" != true ]; then need_trial; fi
	running=$(running_version)
	if [ "$ACTIVE" != "$TARGET" ]; then
		die not-proven "slot $ACTIVE runs, not slot $TARGET: the node fell back"
	fi
	if [ "$running" != "$VERSION" ]; then
		die not-proven "slot $TARGET runs ${running:-an unknown system}, wanted is $VERSION"
	fi
	if [ "$J_PHASE" = committed ]; then return 0; fi
	# Once it is proven, a commit may have cleared next_entry.
	if [ "$ADOPT" != true ] && [ "$J_PHASE" != proven ]; then
		read_env
		lacked_by_node
		if [ -n "$LACKED" ]; then die missing-tool "the node has $LACKED, without which no other run could work on it"; fi
		if [ -z "$ENV_PROBLEM" ]; then note_grub "$(grub_cleared)"; fi
	fi
	# shellcheck disable=SC2034 # goes into the journal
	J_PROVEN=$now
	write_journal proven
	log "slot $TARGET runs $VERSION: proven"
}

need_trial() {
	if ! one_of "$J_PHASE" verified armed proven committed || [ -z "$J_ARMED" ]; then
		die out-of-order "no trial was armed (phase $J_PHASE)"
	fi
	if [ "$now" = "$J_ARMED" ]; then die not-proven 'the node has not rebooted since it was armed'; fi
}
