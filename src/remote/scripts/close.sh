#!/bin/sh
# Closes the journal without a commit: the boot environment leads where it is safe, and nothing of the run goes on.
main() {
	read_args 'run token outcome reason?' "$@"
	authority
	load_journal
	if [ "$J_PHASE" = committed ]; then die out-of-order 'the journal is closed: committed'; fi
	if [ -d "$JOB" ]; then end_job; fi
	need_layout
	if [ "$OUTCOME" = fell-back ]; then
		if [ "$ACTIVE" = "$J_TARGET" ]; then die out-of-order "slot $ACTIVE still runs: the node has not fallen back"; fi
	fi
	# First what leads: /persist may take no note.
	disarm
	if [ "$OUTCOME" = fell-back ]; then remember_failure; fi
	forget_dead_man
	forget_tagged
	if [ "$J_PHASE" != "$OUTCOME" ]; then
		# shellcheck disable=SC2034,SC2153 # goes into the journal
		J_REASON=$REASON
		write_journal "$OUTCOME"
		log "$OUTCOME: $REASON"
	fi
	journal_text
}

remember_failure() {
	if [ -z "$J_SHA256" ] || failed_before "$J_SHA256"; then return 0; fi
	known=''
	if [ -r "$STATE/failed" ]; then known="$(cat "$STATE/failed")
"; fi
	put_file "$STATE/failed" "$known$J_SHA256 $J_VERSION
"
}

# By the next run a tag may name another image, which then has to be pulled.
forget_tagged() {
	read_artifact
	if [ -z "$ARTIFACT_DIGEST" ] || [ "$ARTIFACT_DIGEST" = "$ARTIFACT_SHA256" ]; then return 0; fi
	remove_file "$STATE/artifact"
	remove_file "$IMAGE"
}

# A trial that was not proven must not become permanent here; so where another slot than the active one is permanent,
# it stays so, unless a write of ours may have hurt it.
disarm() {
	need_env
	permanent=$(permanent_slot)
	if [ "$permanent" != "$ACTIVE" ]; then
		read_record "$permanent"
		if [ "$R_STATE" = dirty ]; then permanent=$ACTIVE; fi
	fi
	write_env "$permanent" ''
}
