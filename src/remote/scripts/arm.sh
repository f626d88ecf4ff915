#!/bin/sh
# Points the next boot, and only that, at the verified slot.
main() {
	read_args 'run token target version managed?' "$@"
	authority
	need_open_journal
	if ! one_of "$J_PHASE" verified armed; then
		die out-of-order "slot $TARGET is not verified (phase $J_PHASE): verify comes first"
	fi
	need_layout
	if [ "$TARGET" = "$ACTIVE" ]; then die out-of-order "slot $TARGET is the active one already"; fi
	need_verified_slot
	need_env
	manage_boot "$WITH_MANAGED"
	# shellcheck disable=SC2034 # goes into the journal
	J_ARMED=$(boot_id)
	# First the boot that is left, so that a trial is known for one even where a power cut comes in between.
	write_journal "$J_PHASE"
	write_env "$ACTIVE" "$TARGET"
	write_journal armed
	log "armed: the next boot tries slot $TARGET ($VERSION), any reset after it returns to slot $ACTIVE"
}

need_verified_slot() {
	read_superblock "$(slot_path "$TARGET")"
	read_record "$TARGET"
	if ! record_holds; then
		die out-of-order "slot $TARGET is not as it was when it was verified: verify comes first"
	fi
	if [ "$R_VERSION" != "$VERSION" ]; then
		die out-of-order "slot $TARGET holds $R_VERSION, not $VERSION"
	fi
	if [ "$J_OPERATION" = upgrade ] && [ "$R_SHA256" != "$J_SHA256" ]; then
		die out-of-order "slot $TARGET holds another image than the one of this run"
	fi
}
