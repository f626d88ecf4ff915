#!/bin/sh
# The node's own lines of kubeos, oldest first.
main() {
	read_args 'lines' "$@"
	messages=$KUBEOS_ROOT/var/log/messages
	if [ -r "$messages" ]; then
		grep -E ' kubeos(\[[0-9]+\])?: ' "$messages" | tail -n "$LINES"
	elif has journalctl; then
		journalctl -t kubeos -n "$LINES" --no-pager -q -o short-iso
	else
		die missing-tool 'the node has neither /var/log/messages nor journalctl'
	fi
}
