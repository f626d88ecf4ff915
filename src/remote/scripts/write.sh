#!/bin/sh
# Puts the artifact on the inactive slot. Before its first byte changes, all that can be known of the image is checked,
# the boot environment leads to the active slot, and the slot is marked dirty, both on disk.
# shellcheck disable=SC2034,SC2153 # R_* and J_* are the values of the record and of the journal
main() {
	read_args 'run token target rate?' "$@"
	authority
	end_receiver
	need_order
	hold_target
	if written_before; then
		out bytes "$R_BYTES"
		return 0
	fi
	let_go_of_mounts
	begin_long_work
	check_image
	end_long_work
	# A look into a big tar takes its time: what was asked before it is asked again.
	need_order
	hold_target
	lead_to_active
	note_begin
	note_head
	# Who unpacks has the slot mounted for as long as it takes.
	if [ "$R_KIND" = raw ]; then let_go_of_mounts; fi
	begin_long_work
	write_image
	end_long_work
	log "slot $TARGET: $WRITTEN written, to be verified"
	out bytes "$R_BYTES"
}

need_order() {
	need_upgrade
	read_artifact
	if [ -z "$ARTIFACT_SHA256" ] || [ "$ARTIFACT_SHA256" != "$J_SHA256" ]; then
		die out-of-order 'the artifact of this run is not on the node: stage comes first'
	fi
}

written_before() {
	read_superblock "$(slot_path "$TARGET")"
	read_record "$TARGET"
	record_holds && [ "$R_SHA256" = "$J_SHA256" ] || return 1
	# One tag may have named two images.
	[ -z "$ARTIFACT_DIGEST" ] || [ "$R_DATA_SHA256" = "$ARTIFACT_DATA_SHA256" ]
}

# ------------------------------------------------------------------------------------------------------------- check

check_image() {
	read_image
	need_kind
	# A plain image is held against its digest once it is in the slot; of what is unpacked, only the artifact has one.
	case $CONTENT:$COMPRESSION in
	tar:*) check_right_tar ;;
	*:none) ;;
	*) need_artifact ;;
	esac
	case $CONTENT:$COMPRESSION in
	tar:none)
		# Beside the files' bytes a tar has a few blocks of its own for each member.
		need_fit "$((ARTIFACT_BYTES - $(tar_members) * 3072 - 1048576))" "the tar's $ARTIFACT_BYTES"
		;;
	tar:*) ;;
	*)
		if [ "$COMPRESSION" = none ]; then need_fit "$ARTIFACT_BYTES" "the image's $ARTIFACT_BYTES"; fi
		need_bootable_head
		;;
	esac
}

# What was hashed and listed in this boot, and nobody wrote to since, is hashed once more while it is looked at and unpacked.
# Else before: the digest takes all of it, and so does the list, at once.
check_right_tar() { # sets HASHING: the process that hashes it beside, none where that is done
	HASHING=''
	if is_as_hashed && is_listed "$J_SHA256"; then
		hash_beside
		check_tar &
		need_end "$!" ''
		return 0
	fi
	{
		list_tar over_tar || die unsupported-image "the tar cannot be read: $(tar_words "$RUN/tar.err")"
		check_tar
	} &
	checking=$!
	need_artifact
	wait "$checking" || exit "$?"
	trust_list "$J_SHA256"
}

# It only reads: no step has to wait for it. One that was left behind writes to a file that nobody sees.
hash_beside() {
	rm -f -- "$RUN/image.sum"
	{
		exec 8>&-
		sha256_of_input <"$IMAGE" >"$RUN/image.sum"
	} &
	HASHING=$!
}

# What a damaged image made go wrong is told as damage: it must be fetched anew, and is no worse for other nodes.
need_end() { # PID WHAT-DAMAGE-MEANS
	code=0
	wait "$1" || code=$?
	if [ "$code" -eq 0 ]; then return 0; fi
	need_right_image "$2"
	exit "$code"
}

need_right_image() { # WHAT-DAMAGE-MEANS
	if [ -z "$HASHING" ]; then return 0; fi
	wait "$HASHING" || die state "cannot read $IMAGE"
	if [ "$(first_line "$RUN/image.sum")" != "$ARTIFACT_DATA_SHA256" ]; then lose_artifact "$1"; fi
}

need_artifact() {
	if [ "$(sha256_of_input <"$IMAGE")" = "$ARTIFACT_DATA_SHA256" ]; then return 0; fi
	# The list of another tar must not be taken for that of the right one.
	wait
	lose_artifact ''
}

lose_artifact() { # WHAT-THAT-MEANS
	rm -f -- "$RUN/list.of" "$RUN/hashed"
	remove_file "$STATE/artifact"
	remove_file "$IMAGE"
	die checksum-mismatch "the image changed on the node since it was staged: it has to be fetched again$1"
}

# ------------------------------------------------------------------------------------------------------------- write

# What a compressed image is inside, and how long a tar is, is recorded once it is written: without that, nothing can be
# verified.
note_begin() {
	case $CONTENT:$COMPRESSION in
	tar:*) mark_dirty tar '' "${ARTIFACT_DIGEST:+$ARTIFACT_DATA_SHA256}" ;;
	*:none) mark_dirty raw "$ARTIFACT_BYTES" "$ARTIFACT_DATA_SHA256" ;;
	*) mark_dirty raw '' '' ;;
	esac
	log "slot $TARGET: write of $J_VERSION begins${RATE:+ at $RATE bytes a second at most}, what it held is lost"
}

write_image() { # sets WRITTEN, for people
	clear_head "$TARGET"
	case $CONTENT:$COMPRESSION in
	tar:*)
		unpack_right_tar
		WRITTEN="a tar of $ARTIFACT_BYTES bytes and $(tar_members) members"
		;;
	*:none)
		copy_image
		WRITTEN="$R_BYTES bytes"
		;;
	*)
		decompress_image
		WRITTEN="$R_BYTES bytes out of $COMPRESSION"
		;;
	esac
}

# Recorded with its length, a tar counts as unpacked: that comes last.
unpack_right_tar() {
	lost="; slot $TARGET, which it was unpacked to, holds no system now"
	# Where it dies, its slot is still mounted.
	MOUNTED=yes
	unpack_tar &
	need_end "$!" "$lost"
	MOUNTED=no
	need_right_image "$lost"
	R_BYTES=$ARTIFACT_BYTES
	write_record "$TARGET"
}

copy_image() {
	if [ -n "$RATE" ]; then
		copy_at_rate
		return
	fi
	device=$(slot_path "$TARGET")
	flags=oflag=seek_bytes
	# Past the page cache where the device can: the node's memory stays with its pods. It takes whole blocks only.
	if [ "$((ARTIFACT_BYTES % 4096))" -eq 0 ] && takes_direct "$device"; then flags=$flags,direct; fi
	note_total "$ARTIFACT_BYTES"
	become_gentle dd if="$IMAGE" iflag=skip_bytes skip="$HEAD_BYTES" of="$device" "$flags" seek="$HEAD_BYTES" \
		bs=4M conv=notrunc,fsync 2>"$RUN/dd.err" &
	note_dd "$!" 1
	wait "$!" || die write-failed "writing /dev/$(slot_name "$TARGET") failed: $(dd_words)"
}

copy_at_rate() {
	device=$(slot_path "$TARGET")
	room=$(slot_bytes "$TARGET")
	flags=oflag=seek_bytes
	note_total "$ARTIFACT_BYTES"
	{
		keep_to_rate <"$IMAGE" &
		note_dd "$!" 0
		wait "$!"
	} | fill_body || die write-failed "writing /dev/$(slot_name "$TARGET") failed: $(dd_words)"
}

# The bytes go to the slot, to a hash and to a count at once; no decompressed image lies anywhere. A pipeline tells the
# end of its last command alone, so each leaves its own in a file.
decompress_image() {
	device=$(slot_path "$TARGET")
	room=$(slot_bytes "$TARGET")
	flags=oflag=seek_bytes
	# Of a length that is not known yet: only GNU dd writes a last part that is no whole block.
	if takes_direct "$device" && dd --version >/dev/null 2>&1; then flags=$flags,direct; fi
	rm -f -- "$RUN/to-hash" "$RUN/to-count"
	mkfifo -- "$RUN/to-hash" "$RUN/to-count" || die state "cannot make $RUN/to-hash"
	note_total "$ARTIFACT_BYTES"
	sha256_of_input <"$RUN/to-hash" >"$RUN/data.sum" &
	hash=$!
	wc -c <"$RUN/to-count" >"$RUN/data.bytes" &
	count=$!
	{
		if [ -z "$RATE" ]; then decompress_noted; else decompress_noted | noting rate keep_to_rate; fi |
			noting tee gentle tee "$RUN/to-hash" "$RUN/to-count" | noting dd fill_body
	} 3>"$RUN/ends"
	# Where tee never came to open them, both would wait for ever.
	if ! grep -q '^tee 0$' "$RUN/ends"; then kill "$hash" "$count" 2>/dev/null || :; fi
	wait "$hash" || echo 'hash failed' >>"$RUN/ends"
	wait "$count" || echo 'count failed' >>"$RUN/ends"
	keep_decompressed
}

decompress_noted() {
	end=0
	decompress <"$IMAGE" 2>"$RUN/decompress.err" &
	note_dd "$!" 0
	wait "$!" || end=$?
	echo "decompress $end" >&3
}

keep_decompressed() {
	R_BYTES=$(tr -d ' \n' <"$RUN/data.bytes")
	R_DATA_SHA256=$(first_line "$RUN/data.sum")
	rm -f -- "$RUN/to-hash" "$RUN/to-count"
	if is_number "$R_BYTES" && [ "$R_BYTES" -gt "$room" ]; then
		die write-failed "the image is longer than slot $TARGET of $room bytes, though its file system says less"
	fi
	if [ "$(sort "$RUN/ends" | tr '\n' ' ')" != "dd 0 decompress 0 ${RATE:+rate 0 }tee 0 " ] || ! is_sha256 "$R_DATA_SHA256"; then
		die write-failed "writing /dev/$(slot_name "$TARGET") failed: $(tail -n 3 "$RUN/decompress.err" | tr '\n' ' ')$(dd_words)"
	fi
	write_record "$TARGET"
}
