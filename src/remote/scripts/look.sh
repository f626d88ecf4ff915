#!/bin/sh
# The image server as this node sees it: one request for the image's first bytes. Nothing is changed.
# shellcheck disable=SC2034 # lib-fetch.sh reads what is set here
LOOK_BYTES=2048

main() {
	read_args 'url flagsafe? cacert? clientcert? clientkey?' "$@"
	SHOWN_URL=$(shown_url)
	check_address
	need curl od awk head tr
	mkdir -p -- "$RUN"
	SCRATCH=$RUN/look.$$
	trap 'rm -rf -- "$SCRATCH"' EXIT
	mkdir -- "$SCRATCH"
	: >"$SCRATCH/head"
	ask_first_bytes
	if is_answer; then
		answer_image
	else
		answer_failure
	fi
}

# A server without ranges sends all of it: then the pipe is closed after the first bytes, and curl ends (23).
ask_first_bytes() {
	{
		CURL_RC=0
		curl_config | curl --disable --config - --max-time 20 --range "0-$((LOOK_BYTES - 1))" --no-buffer \
			--dump-header "$SCRATCH/head" --output - 2>"$SCRATCH/curl.err" || CURL_RC=$?
		echo "$CURL_RC" >"$SCRATCH/rc"
	} | head -c "$LOOK_BYTES" >"$SCRATCH/bytes"
	CURL_RC=$(first_line "$SCRATCH/rc")
	STATUS=$(last_status)
}

last_status() { # of the last answer, after all redirects
	tr -d '\r' <"$SCRATCH/head" | awk '/^HTTP\// { status = $2 } END { print status }'
}

# 56 and 92 are how a closed pipe may end a transfer too; what counts is that the first bytes are there.
is_answer() {
	case $CURL_RC:$STATUS in
	0:206 | 0:200) return 0 ;;
	23:200 | 56:200 | 92:200 | 141:200) [ "$(file_bytes "$SCRATCH/bytes")" -eq "$LOOK_BYTES" ] ;;
	*) return 1 ;;
	esac
}

answer_image() {
	out found yes
	size=$(header_value content-range "$SCRATCH/head")
	size=${size##*/}
	if [ "$STATUS" = 206 ]; then
		out ranges yes
	else
		out ranges no
		size=$(header_value content-length "$SCRATCH/head")
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
	case $CURL_RC:$STATUS in
	22:416)
		out found yes
		out ranges yes
		out bytes 0
		out content empty
		return 0
		;;
	1:* | 22:* | 47:*) out blame server ;;
	*) out blame way ;;
	esac
	out problem "$(explain_curl)"
}
