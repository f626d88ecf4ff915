#!/bin/sh
# An image that goes to its slot as it arrives, and lies nowhere else: what asks for it, and what is reckoned on its way.
# Each part of the pipeline leaves its end in a file, since a pipeline tells that of its last command alone.
# shellcheck disable=SC2034,SC2153 # the steps' files read what is set here; SHA256, VIA, RATE and TARGET are arguments

# So much is looked at before the slot changes: enough of each compression for the first 4 KiB behind it.
FIRST_BYTES=262144
FIRST=$RUN/first
# A server without ranges gives all of it once more where a transfer broke off.
MAX_STREAMS=3

# --------------------------------------------------------------------------------------------------- where it is from

# kubeos sends nothing before it has read `ready`.
look_ahead() { # sets SIZE; the first bytes are in FIRST
	if [ "$VIA" = ssh ]; then
		SIZE=$BYTES
		exec 4<&3
		out ready yes
		take_sent count="$((FIRST_BYTES / 65536))" iflag=fullblock >"$FIRST" || die state 'what kubeos sends cannot be kept'
		return 0
	fi
	choose_way
	if [ "$SECURE" = yes ]; then check_certificates; fi
	ask_size
	tries=0
	until fetch_first; do
		tries=$((tries + 1))
		if [ "$FAULT" = none ]; then FAULT=short; fi
		if is_hopeless || [ "$tries" -ge "$MAX_IDLE_TRIES" ]; then give_up; fi
		say "$SHOWN_URL: $(explain_fault); asking again"
		sleep "$tries"
	done
}

# A server without ranges sends all of it: then the pipe is closed, which is no fault.
fetch_first() {
	{
		ask_first_bytes "$FIRST_BYTES"
		printf '%s %s\n' "$FAULT" "$STATUS" >"$SCRATCH/ended"
	} | dd bs=65536 count="$((FIRST_BYTES / 65536))" iflag=fullblock of="$FIRST" 2>"$RUN/dd.err" ||
		die state "cannot write $FIRST"
	IFS=' ' read -r FAULT STATUS <"$SCRATCH/ended"
	wanted=$FIRST_BYTES
	if [ "$SIZE" -lt "$wanted" ]; then wanted=$SIZE; fi
	[ "$(file_bytes "$FIRST")" -ge "$wanted" ]
}

take_sent() { # ARGUMENT...: to standard output, by a process that end_receiver knows
	become_gentle dd bs=65536 "$@" <&4 2>"$RUN/receive.err" &
	printf '%s %s\n' "$!" "$(start_time "$!")" >"$RUN/receiver"
	wait "$!"
}

all_sent() { # to standard output
	echo 'none -' >"$RUN/arrived"
	cat -- "$FIRST"
	take_sent
	rm -f -- "$RUN/receiver"
}

# A transfer that breaks off goes on where it was: what came before it has been written and hashed already.
all_fetched() { # to standard output; leaves FAULT and STATUS of the last request in $RUN/arrived
	at=0 idle=0 tries=0
	while [ "$at" -lt "$SIZE" ] && [ "$idle" -lt "$MAX_IDLE_TRIES" ] && [ "$tries" -lt "$MAX_TRIES" ]; do
		before=$at
		if [ "$at" -gt 0 ]; then echo yes >"$RUN/resumed"; fi
		fetch_from "$at" || break
		if [ "$at" -gt "$before" ]; then idle=0; else idle=$((idle + 1)); fi
		if [ "$at" -ge "$SIZE" ]; then break; fi
		case $FAULT:$STATUS in
		none:*) FAULT=short ;;
		no-ranges:* | http:416) break ;;
		slow:*) tries=$((tries - 1)) ;;
		*) if is_hopeless; then break; fi ;;
		esac
		tries=$((tries + 1))
		say "$SHOWN_URL: $(explain_fault); $at of $SIZE bytes; going on"
		sleep "$((idle + 1))"
	done
	printf '%s %s\n' "$FAULT" "${STATUS:--}" >"$RUN/arrived"
}

fetch_from() { # OFFSET: adds to `at`; fails where nobody takes it any more
	rm -f -- "$RUN/to-measure"
	mkfifo -- "$RUN/to-measure" || return 1
	wc -c <"$RUN/to-measure" >"$RUN/measured" &
	measure=$!
	taken=0
	# No server sends more than a little beyond what it announced.
	{
		ask_from "$1"
		printf '%s %s\n' "$FAULT" "$STATUS" >"$SCRATCH/ended"
	} | dd bs=65536 count="$(((SIZE - $1) / 65536 + 1))" iflag=fullblock 2>"$RUN/limit.err" |
		tee "$RUN/to-measure" || taken=$?
	wait "$measure"
	at=$(($1 + $(tr -d ' \n' <"$RUN/measured")))
	IFS=' ' read -r FAULT STATUS <"$SCRATCH/ended"
	return "$taken"
}

# -------------------------------------------------------------------------------------------------------- on its way

# SUM and ARRIVED are the digest and the length of what came; SOURCE_FAULT is a word as FAULT. A hasher that its tee never
# came to open would wait for ever.
stream_once() { # SOURCE
	rm -f -- "$RUN"/to-* "$RUN"/*.sum "$RUN"/*.bytes "$RUN/resumed" "$RUN/decompress.err" "$RUN/unpack.err" "$RUN/list.rc"
	mkfifo -- "$RUN/to-hash" "$RUN/to-count" "$RUN/to-data" "$RUN/to-size" || die state "cannot make $RUN/to-hash"
	echo 'none -' >"$RUN/arrived"
	note_total "$SIZE"
	{
		sha256_of_input <"$RUN/to-hash" >"$RUN/image.sum" &
		readers=$!
		wc -c <"$RUN/to-count" >"$RUN/image.bytes" &
		note_dd "$!" io
		readers="$readers $!"
		read_data
		"$1" | noting image tee "$RUN/to-hash" "$RUN/to-count" | into_slot
		# shellcheck disable=SC2086 # one word a pid
		if ! ended_well image data; then kill $readers 2>/dev/null || :; fi
		wait
	} 3>"$RUN/ends"
	SUM=$(first_line "$RUN/image.sum")
	ARRIVED=$(tr -d ' \n' <"$RUN/image.bytes")
	IFS=' ' read -r FAULT STATUS <"$RUN/arrived"
}

ended_well() { # NAME...
	for name; do grep -q "^$name 0$" "$RUN/ends" || return 1; done
}

# Of the decompressed bytes: a file-system image has a digest and a length, a tar a list and its files' bytes.
read_data() {
	if [ "$CONTENT" = tar ]; then
		noting list list_arriving <"$RUN/to-data" >"$LIST.all" &
		readers="$readers $!"
		noting sum sum_files <"$RUN/to-size" >"$RUN/data.sum" &
	elif [ "$COMPRESSION" != none ]; then
		sha256_of_input <"$RUN/to-data" >"$RUN/data.sum" &
		readers="$readers $!"
		wc -c <"$RUN/to-size" >"$RUN/data.bytes" &
	else
		echo 'data 0' >&3
		return 0
	fi
	readers="$readers $!"
}

into_slot() {
	if [ "$COMPRESSION" = none ]; then into_slot_at_rate; else noting decompress unpress | into_slot_at_rate; fi
}

into_slot_at_rate() {
	if [ -z "$RATE" ]; then data_into_slot; else noting rate keep_to_rate | data_into_slot; fi
}

data_into_slot() {
	case $CONTENT:$COMPRESSION in
	tar:*) noting data tee "$RUN/to-data" "$RUN/to-size" | noting slot to_the_end extract_tree over_tar ;;
	*:none) noting slot fill_body ;;
	*) noting data tee "$RUN/to-data" "$RUN/to-size" | noting slot fill_body ;;
	esac
}

unpress() {
	to_the_end run_decompress 2>"$RUN/decompress.err"
}

run_decompress() {
	(decompress)
}

# Damage on the way shows as damage first of all: then all of it must be hashed, to tell so. Not where nobody takes
# what comes out: 141, by SIGPIPE.
to_the_end() { # COMMAND ARGUMENT...
	taken=0
	"$@" || taken=$?
	if [ "$taken" -ne 141 ]; then cat >/dev/null; fi
	return "$taken"
}

list_arriving() {
	{
		if list_as_c over_tar; then echo whole >"$RUN/list.rc"; fi
		cat >/dev/null
	} | members
}

# ------------------------------------------------------------------------------------------------------------ judged

# What goes wrong from here on leaves the slot dirty, and says that.
stream_image() { # fails where what kubeos sent has not arrived whole, and right
	source=all_fetched
	if [ "$VIA" = ssh ]; then source=all_sent; fi
	streams=1
	until stream_once "$source" && whole_and_right; do
		if [ "$VIA" = ssh ]; then return 1; fi
		streams=$((streams + 1))
		log "slot $TARGET: $SHOWN_URL is streamed anew: $AGAIN_BECAUSE"
		clear_again
	done
	for part in $(parts_of_pipe); do
		ended_well "$part" || lose write-failed "writing /dev/$(slot_name "$TARGET") failed: $(stream_words)"
	done
}

parts_of_pipe() {
	echo image slot
	if [ "$COMPRESSION" != none ]; then echo decompress data; fi
	if [ "$CONTENT" = tar ]; then echo data list sum; fi
	if [ -n "$RATE" ]; then echo rate; fi
}

whole_and_right() { # fails where another stream may end better
	AGAIN_BECAUSE=''
	if ! ended_well image; then lose write-failed "writing /dev/$(slot_name "$TARGET") failed: $(stream_words)"; fi
	if [ "$ARRIVED" -gt "$SIZE" ]; then FAULT=too-long; fi
	if [ "$ARRIVED" -ne "$SIZE" ]; then
		not_whole
		return 1
	fi
	if [ "$SUM" = "$(arriving)" ]; then return 0; fi
	if [ "$VIA" != ssh ] && { [ ! -e "$RUN/resumed" ] || [ "$streams" -ge "$MAX_STREAMS" ]; }; then
		kind=''
		if is_web_page "$FIRST"; then kind='; what came is a web page'; fi
		lose checksum-mismatch "$SHOWN_URL: the SHA-256 is $SUM, the spec says $SHA256$kind"
	fi
	AGAIN_BECAUSE='the pieces do not fit together'
	say "what arrived has the SHA-256 $SUM, wanted is $(arriving)"
	return 1
}

not_whole() { # dies where no other stream may end better
	AGAIN_BECAUSE="$ARRIVED of $SIZE bytes have arrived"
	if [ "$VIA" = ssh ]; then
		say "$AGAIN_BECAUSE"
		return 0
	fi
	case $FAULT:$STATUS in
	no-ranges:* | http:416)
		if [ "$streams" -lt "$MAX_STREAMS" ]; then return 0; fi
		;;
	esac
	lose_fetch
}

lose_fetch() {
	case $FAULT in
	client-certificate | cacert) lose certificate "$SHOWN_URL: $(explain_fault)" ;;
	esac
	lose download-failed "$SHOWN_URL: $(explain_fault)"
}

lose() { # NAME-OF-EXIT-CODE TEXT
	die "$1" "$2; slot $TARGET, which it was streamed to, holds no system now"
}

stream_words() {
	cat "$RUN/decompress.err" "$RUN/unpack.err" "$RUN/dd.err" 2>/dev/null | grep -v records | tail -n 3 | tr '\n' ' '
}
