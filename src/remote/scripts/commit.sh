#!/bin/sh
# Makes the slot permanent that this boot proved.
main() {
	read_args 'run token target' "$@"
	authority
	load_journal
	# shellcheck disable=SC2153 # TARGET is the argument
	if [ "$J_TARGET" = "$TARGET" ]; then need_lasting_trial; fi
	if [ "$J_TARGET" != "$TARGET" ] || ! one_of "$J_PHASE" proven committed; then
		die out-of-order "slot $TARGET is not proven (slot $J_TARGET, phase $J_PHASE): prove comes first"
	fi
	need_layout
	if [ "$ACTIVE" != "$TARGET" ]; then die out-of-order "slot $ACTIVE runs, not slot $TARGET"; fi
	if [ "$J_PHASE" = proven ] && [ "$J_PROVEN" != "$(boot_id)" ]; then
		die out-of-order 'the proof is of an earlier boot: prove comes first'
	fi
	need_env
	if [ "$J_PHASE" = proven ]; then
		choose_canary
		write_env "$TARGET" ''
		if [ -n "$CANARY" ]; then put_file "$STATE/grub" "canary $(boot_id)"; fi
		write_journal committed
		log "committed: slot $TARGET ($J_VERSION) is permanent"
	fi
	forget_dead_man
	forget_failure
	remove_file "$STATE/artifact"
	remove_file "$STATE/part"
	remove_file "$IMAGE.part"
	remove_file "$LIST"
	remove_file "$LIST.order"
	remove_file "$IMAGE"
}

# The proof told whether GRUB can write; from now on each boot does, where its grub.cfg saves a 0.
choose_canary() {
	if [ "$(grub_clears)" = yes ] && grep -q 'save_env.*boot_success' "$(grub_config)" 2>/dev/null; then
		CANARY=boot_success=1
	fi
}

# What failed its trial here once has proven itself since.
forget_failure() {
	if ! failed_before "$J_SHA256"; then return 0; fi
	others=$(grep -v "^$J_SHA256 " "$STATE/failed") || :
	put_file "$STATE/failed" "${others:+$others
}"
}
