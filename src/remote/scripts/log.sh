#!/bin/sh
main() {
	read_args 'text' "$@"
	need logger
	logger -t kubeos -- "$TEXT" || die state 'the syslog takes no line'
}
