#!/bin/sh
main() {
	read_args 'text' "$@"
	need logger
	syslog "$TEXT" || die state 'the syslog takes no line'
}
