#!/bin/sh
# Writes what the node is about to become. The same assignment again, from whatever run, keeps what was reached.
# shellcheck disable=SC2034,SC2153 # J_* are the journal's values, the names without J_ the arguments
main() {
	read_args 'run token operation version replaced sha256 from target' "$@"
	authority
	if [ "$OPERATION" = upgrade ] && [ -z "$SHA256" ]; then die bad-call 'an upgrade needs a sha256'; fi
	read_journal
	if [ -n "$J_PROBLEM" ]; then log "the journal is begun anew: $J_PROBLEM"; fi
	if same_assignment; then
		take_over
	else
		begin_anew
	fi
	out phase "$J_PHASE"
}

# shellcheck disable=SC2153 # as above
same_assignment() {
	[ -n "$J_PHASE" ] && ! is_final "$J_PHASE" &&
		[ "$J_OPERATION $J_SHA256 $J_FROM $J_TARGET" = "$OPERATION $SHA256 $FROM $TARGET" ] &&
		[ "$J_VERSION" = "$VERSION" ]
}

# A trial goes on to its end though /persist takes no note of who goes on with it.
take_over() {
	if can_note write_journal "$J_PHASE"; then return 0; fi
	if ! booted_since_armed; then die state "$NOT_NOTED"; fi
	log "the journal does not name run $RUN_ID: $NOT_NOTED"
}

# shellcheck disable=SC2034,SC2153 # as above
begin_anew() {
	if [ -d "$JOB" ]; then end_job; fi
	if [ -e "$STATE/engine" ]; then sweep_engine ''; fi
	J_OPERATION=$OPERATION
	J_VERSION=$VERSION
	J_REPLACED=$REPLACED
	J_SHA256=$SHA256
	J_FROM=$FROM
	J_TARGET=$TARGET
	J_REASON=''
	forget_trial
	write_journal started
	log "$OPERATION to $VERSION begins: slot $TARGET, run $RUN_ID"
}
