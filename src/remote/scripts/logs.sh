#!/bin/sh
# The node's own lines of kubeos, oldest first.
main() {
	read_args 'lines' "$@"
	messages=$KUBEOS_ROOT/var/log/messages
	if [ -r "$messages" ]; then
		# A power cut leaves zeroes in a log, and then grep shows none of its lines.
		tr -d '\000' <"$messages" | grep -E ' kubeos(\[[0-9]+\])?: ' | tail -n "$LINES"
	elif has journalctl; then
		journalctl -t kubeos -n "$LINES" --no-pager -q -o short-iso
	else
		die missing-tool 'the node has neither /var/log/messages nor journalctl'
	fi
}
