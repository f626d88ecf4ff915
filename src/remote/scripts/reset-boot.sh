#!/bin/sh
# Takes the managed boot out again. What is armed, or on trial, is left as it is.
main() {
	read_args 'run token' "$@"
	authority
	need_no_trial
	need_env
	if [ -n "$ENV_NEXT" ]; then die out-of-order "the next boot is a trial of slot $ENV_NEXT: it must end first"; fi
	forget_mark
	remove_managed
	out removed "$REMOVED"
}

need_no_trial() {
	read_journal
	if [ -n "$J_PROBLEM" ]; then die state "$J_PROBLEM"; fi
	if [ "$J_PHASE" = armed ] || { one_of "$J_PHASE" verified proven && [ -n "$J_ARMED" ]; }; then
		die out-of-order "the trial of slot $J_TARGET has not ended (phase $J_PHASE): it must end first"
	fi
	need_layout
}

# A trial that fell back leaves its name there until the journal is closed: without it the environment stays as it is.
forget_mark() {
	if "$ENV_TOOL" "$KUBEOS_ROOT$ENV_PATH" list | grep -q '^kubeos_trial='; then write_env "$(permanent_slot)" ''; fi
}
