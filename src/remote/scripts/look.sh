#!/bin/sh
# The image server as this node sees it: one request for the image's first bytes. Nothing is changed.
# shellcheck disable=SC2034 # lib-fetch.sh reads what is set here
LOOK_BYTES=2048

main() {
	read_args 'url flagsafe? cacert? clientcert? clientkey? via? proxy?' "$@"
	SHOWN_URL=$(shown_url)
	check_address
	need od awk head tr sed
	choose_way
	mkdir -p -- "$RUN"
	SCRATCH=$RUN/look.$$
	trap 'rm -rf -- "$SCRATCH"' EXIT
	mkdir -- "$SCRATCH"
	STALL_SECONDS=20
	look_at_it
	if is_answer; then
		answer_image
	else
		answer_failure
	fi
}

# A server without ranges sends all of it: then the pipe is closed after the first bytes, which is no fault.
look_at_it() {
	{
		ask_first_bytes "$LOOK_BYTES"
		printf '%s %s\n' "$FAULT" "$STATUS" >"$SCRATCH/ended"
	} | head -c "$LOOK_BYTES" >"$SCRATCH/bytes"
	IFS=' ' read -r FAULT STATUS <"$SCRATCH/ended"
}

is_answer() {
	case $FAULT:$STATUS in
	none:206 | none:200) return 0 ;;
	*:200) [ "$(file_bytes "$SCRATCH/bytes")" -eq "$LOOK_BYTES" ] ;;
	*) return 1 ;;
	esac
}

answer_image() {
	out found yes
	size=$(header_value content-range)
	size=${size##*/}
	if [ "$STATUS" = 206 ]; then
		out ranges yes
	else
		out ranges no
		size=$(header_value content-length)
	fi
	if is_number "$size"; then out bytes "$size"; fi
	if [ -s "$SCRATCH/bytes" ]; then
		out content "$(image_kind "$SCRATCH/bytes")"
	else
		out content empty
	fi
}

# What the server says is the same for every node; the rest may lie with this one: its name service, its way, its
# certificates, its clock.
answer_failure() {
	out found no
	case $FAULT:$STATUS in
	http:416)
		out found yes
		out ranges yes
		out bytes 0
		out content empty
		return 0
		;;
	insecure-redirect:* | http:* | redirects:*) out blame server ;;
	*) out blame way ;;
	esac
	out problem "$(explain_fault)"
}
