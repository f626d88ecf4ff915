#!/bin/sh
# Brings the verified artifact to the node; touches no slot. Loops by itself, since curl's own --retry starts a resumed
# file from its beginning (seen in 7.88).

# What a list, and what sort keeps beside it, may take for a moment: nothing else may want for it.
ROOM_FOR_LIST=$((128 * 1024 * 1024))

main() {
	read_args 'run token url? sha256 flagsafe? cacert? clientcert? clientkey? via? limit? proxy? bytes? data?' "$@"
	need_source stage
	authority
	end_receiver
	begin_long_work
	mkdir -p -- "$UPDATE" || die state "cannot make $UPDATE"
	if ! staged_before; then
		need stat df awk sed
		if [ "$VIA" != ssh ]; then
			bring
		elif ! take_received; then
			out arrived no
			return 0
		fi
		keep_artifact
	fi
	need_decompressor
	out bytes "$ARTIFACT_BYTES"
}

bring() {
	choose_way
	if [ "$SECURE" = yes ]; then check_certificates; fi
	ask_size
	drop_foreign_part
	check_space
	fetch
}

# receive has taken it; every byte of it is looked at here.
take_received() { # fails where it is not there whole, and right: it must be sent again
	note_total "$BYTES"
	have=$(file_bytes "$IMAGE.part")
	if [ "$(first_line "$STATE/part")" != "$(arriving)" ] || [ "$have" -ne "$BYTES" ]; then
		say "$have of $BYTES bytes have arrived"
		return 1
	fi
	if part_is_right; then return 0; fi
	remove_file "$IMAGE.part"
	say "what arrived has the SHA-256 $SUM, wanted is $(arriving)"
	return 1
}

# The record tells by size and time; a file without a fitting record is hashed again, since it may be what a killed
# run had renamed but not recorded.
staged_before() {
	read_artifact
	if is_staged; then return 0; fi
	remove_file "$STATE/artifact"
	if [ ! -f "$IMAGE" ]; then return 1; fi
	if [ "$(sha256_of_input <"$IMAGE")" != "$(arriving)" ]; then
		remove_file "$IMAGE"
		return 1
	fi
	end_long_work
	note_artifact
}

# What kubeos has decompressed has a digest of its own.
note_artifact() {
	if [ -n "$DATA" ]; then write_artifact_record "$SHA256" "$DATA" ''; else write_artifact_record "$SHA256"; fi
}

# ------------------------------------------------------------------------------------------------------- download

fetch() {
	RESUMED=no
	download
	if part_is_right; then return 0; fi
	if [ "$RESUMED" = yes ]; then
		log "$SHOWN_URL: the pieces do not fit together, the image is fetched anew"
		remove_file "$IMAGE.part"
		RESUMED=no
		download
		if part_is_right; then return 0; fi
	fi
	kind=''
	if is_web_page "$IMAGE.part"; then kind='; what came is a web page'; fi
	remove_file "$IMAGE.part"
	die checksum-mismatch "$SHOWN_URL: the SHA-256 is $SUM, the spec says $SHA256$kind"
}

part_is_right() {
	sum_part list_right_part
	[ "$SUM" = "$(arriving)" ]
}

# While the disk still writes. What goes wrong here, write does again, and says it.
list_right_part() {
	if [ "$(first_line "$RUN/part.sum")" != "$(arriving)" ] || [ "$(image_kind "$IMAGE.part")" != tar ]; then return 0; fi
	# shellcheck disable=SC2034 # die asks for it
	if (CHANGING=no && has_gnu_tar && [ "$(free_bytes)" -gt "$ROOM_FOR_LIST" ] && list_tar over_part) 2>/dev/null; then
		trust_list "$SHA256"
	else
		rm -f -- "$LIST"
	fi
}

over_part() { # ARGUMENT...
	(become_tar "$@" <"$IMAGE.part")
}

download() {
	tries=0
	idle=0
	after=0
	flush_as_it_comes part_bytes "$IMAGE.part"
	while [ "$(file_bytes "$IMAGE.part")" -lt "$SIZE" ]; do
		before=$(file_bytes "$IMAGE.part")
		if [ "$before" -gt 0 ]; then RESUMED=yes; fi
		# The size that the server announced is the most that it may send.
		ask_within "$SIZE" ask_rest "$before" "$SIZE"
		after=$(file_bytes "$IMAGE.part")
		if [ "$FAULT" != none ]; then after_failure; fi
		tries=$((tries + 1))
		if [ "$after" -gt "$before" ]; then idle=0; else idle=$((idle + 1)); fi
		if [ "$idle" -ge "$MAX_IDLE_TRIES" ] || [ "$tries" -ge "$MAX_TRIES" ]; then
			if [ "$FAULT" = none ]; then FAULT=short; fi
			give_up
		fi
		if [ "$after" -lt "$SIZE" ]; then
			say "$SHOWN_URL: $after of $SIZE bytes; going on"
			sleep "$((idle + 1))"
		fi
	done
	if [ "$after" -gt "$SIZE" ]; then
		remove_file "$IMAGE.part"
		FAULT=too-long
		give_up
	fi
}

after_failure() {
	case $FAULT:$STATUS in
	# The server has no ranges, or less than was fetched already: both begin anew.
	no-ranges:* | http:416) remove_file "$IMAGE.part" && after=0 ;;
	not-written:*)
		if [ "$(free_bytes)" -lt "$MARGIN" ]; then die no-space '/persist is full'; fi
		give_up
		;;
	ended:*) die download-failed "$SHOWN_URL: $VIA was ended" ;;
	*) if is_hopeless; then give_up; fi ;;
	esac
	say "$SHOWN_URL: $(explain_fault)"
}

keep_artifact() {
	end_long_work
	name_artifact
	note_artifact
	remove_file "$STATE/part"
	log "artifact of $ARTIFACT_BYTES bytes staged from $SHOWN_URL, SHA-256 $SHA256"
}
