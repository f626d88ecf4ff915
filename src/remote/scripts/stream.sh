#!/bin/sh
# Puts the image on the inactive slot while it arrives, where /persist has no room for it: the system in that slot is given
# up before it is known whether all of the image comes, and is the right one. All else is as in write: the slot has no
# head, and is dirty, until verify has read it back.
# shellcheck disable=SC2034,SC2153 # R_* and J_* are the values of the record and of the journal, KIND of the image

main() {
	read_args 'run token target sha256 url? flagsafe? cacert? clientcert? clientkey? via? limit? proxy? bytes? data? rate?' "$@"
	need_source stream
	need cat stat df awk sed tee wc mkfifo kill
	authority
	end_receiver
	if [ "$VIA" = ssh ]; then
		if [ -d "$JOB" ] && [ ! -e "$JOB/rc" ]; then end_job; fi
		await_older
	fi
	need_stream
	hold_target
	if streamed_before; then
		out bytes "$R_BYTES"
		return 0
	fi
	let_go_of_mounts
	begin_long_work
	make_room
	look_ahead
	check_first
	end_long_work
	need_stream
	hold_target
	lead_to_active
	begin_stream
	begin_long_work
	if ! take_stream; then
		out arrived no
		return 0
	fi
	end_long_work
	keep_stream
	out bytes "$R_BYTES"
}

need_stream() {
	need_upgrade
	if [ "$J_SHA256" != "$SHA256" ]; then die out-of-order 'the journal leads to another image: begin comes first'; fi
}

# Verified, or whole in the slot and still to be verified.
streamed_before() {
	read_superblock "$(slot_path "$TARGET")"
	read_record "$TARGET"
	if [ "$R_SHA256" != "$SHA256" ]; then return 1; fi
	record_holds || is_streamed "$TARGET"
}

# The notes, and the lists of a tar, must fit; what an earlier run staged makes room for them.
make_room() {
	mkdir -p -- "$UPDATE" || die state "cannot make $UPDATE"
	remove_file "$IMAGE.part"
	remove_file "$STATE/artifact"
	remove_file "$IMAGE"
	SIZE=0
	check_space
}

# As write checks an image, as far as its first bytes tell.
check_first() {
	IMAGE=$FIRST
	read_image
	IMAGE=-
	if is_web_page "$FIRST"; then
		die checksum-mismatch "$SHOWN_URL: what came is a web page, and not the image of the spec; no slot was touched"
	fi
	need_kind
	if [ "$CONTENT" = tar ]; then return 0; fi
	if [ "$COMPRESSION" = none ]; then need_fit "$SIZE" "the image's $SIZE"; fi
	need_bootable_head
}

begin_stream() {
	kind=raw
	if [ "$CONTENT" = tar ]; then kind=tar; fi
	mark_dirty "$kind" '' ''
	note_head
	log "slot $TARGET: $J_VERSION is written while it arrives${RATE:+, at $RATE bytes a second at most}; what the slot held is lost, even if not all of it comes"
	if [ "$kind" = raw ]; then let_go_of_mounts; fi
}

take_stream() { # fails where kubeos must send it again
	clear_head "$TARGET"
	device=$(slot_path "$TARGET")
	room=$(slot_bytes "$TARGET")
	flags=oflag=seek_bytes
	FILLED_HEAD=$RUN/filled-head
	# Of a length that is not known yet: only GNU dd writes a last part that is no whole block.
	if takes_direct "$device" && dd --version >/dev/null 2>&1; then flags=$flags,direct; fi
	if [ "$CONTENT" = tar ]; then make_tree; fi
	stream_image || return 1
	if [ "$CONTENT" = tar ]; then leave_tree; fi
}

# What came before the image broke off is no part of the next one.
clear_again() {
	if [ "$CONTENT" = tar ]; then
		unmount_slot
		clear_head "$TARGET"
		make_tree
	fi
}

# From here on the slot need not be written again, whoever dies: verify reads back what is recorded.
keep_stream() {
	if [ "$CONTENT" = tar ]; then keep_files; else keep_bytes; fi
	R_STREAMED=yes
	write_record "$TARGET"
	log "slot $TARGET: $SIZE bytes streamed from $SHOWN_URL, SHA-256 $SUM, to be verified"
}

keep_bytes() {
	if ! cmp -s "$FILLED_HEAD" "$(kept_head "$TARGET")"; then
		lose download-failed "$SHOWN_URL: the server gave another image for a range than for the whole"
	fi
	R_BYTES=$SIZE R_DATA_SHA256=$SUM
	if [ "$COMPRESSION" != none ]; then
		R_BYTES=$(tr -d ' \n' <"$RUN/data.bytes")
		R_DATA_SHA256=$(first_line "$RUN/data.sum")
	fi
	if ! is_number "$R_BYTES" || ! is_sha256 "$R_DATA_SHA256"; then die state 'the digest of the stream is not known'; fi
}

# Otherwise a tar is judged before its slot changes.
keep_files() {
	rm -f -- "$RUN/list.of"
	sorted "$LIST.all" >"$LIST" || lose no-space "the list of the tar's members cannot be written to $LIST"
	order_of_files "$LIST.all" >"$LIST.order" || lose no-space "the order of the tar's files cannot be written to $LIST.order"
	rm -f -- "$LIST.all"
	if [ "$(first_line "$RUN/list.rc")" != whole ]; then lose bad-content "the tar cannot be read: $(tar_words "$RUN/tar.err")"; fi
	judge_members "$LIST" >"$RUN/tar.judged"
	problem=$(sed -n 's/^problem //p' "$RUN/tar.judged" | head -n 1)
	if [ -n "$problem" ]; then lose bad-content "the tar is refused: $problem"; fi
	trust_list "$SHA256"
	R_BYTES=$SIZE
	R_DATA_SHA256=$(first_line "$RUN/data.sum")
	if ! is_sha256 "$R_DATA_SHA256"; then die state 'the digest of the stream is not known'; fi
}
