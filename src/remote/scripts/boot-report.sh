#!/bin/sh
# Quick, for the wait after a reboot.
main() {
	read_args '' "$@"
	need_layout
	out boot_id "$(boot_id)"
	out active "$ACTIVE"
	out version "$(running_version)"
}
