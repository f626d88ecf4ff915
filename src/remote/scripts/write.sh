#!/bin/sh
# Puts the artifact on the inactive slot. Before its first byte changes, the boot environment leads to the active slot
# and the slot is marked dirty, both on disk.
# shellcheck disable=SC2034,SC2153 # R_* and J_* are the values of the record and of the journal
main() {
	read_args 'run token target' "$@"
	authority
	need_open_journal
	if [ "$J_OPERATION" != upgrade ]; then die out-of-order 'a rollback writes nothing'; fi
	need_layout
	need_env
	need_permanent_active
	read_artifact
	if [ -z "$ARTIFACT_SHA256" ] || [ "$ARTIFACT_SHA256" != "$J_SHA256" ]; then
		die out-of-order 'the artifact of this run is not on the node: stage comes first'
	fi
	hold_mounts 20 || die busy 'another script looks into the slot'
	need_safe_target "$TARGET"
	need_raw_image
	need_fit
	if written_before; then
		out bytes "$ARTIFACT_BYTES"
		return 0
	fi
	if [ "$J_PHASE" != started ]; then
		forget_trial
		write_journal started
	fi
	write_env "$ACTIVE" ''
	mark_dirty
	let_go_of_mounts
	begin_long_work
	copy_image
	end_long_work
	log "slot $TARGET: $ARTIFACT_BYTES bytes written, to be verified"
	out bytes "$ARTIFACT_BYTES"
}

# Otherwise the write would make a slot permanent that nobody proved, and destroy the one that was.
need_permanent_active() {
	permanent=$(permanent_slot)
	if [ "$permanent" != "$ACTIVE" ]; then
		die out-of-order "slot $ACTIVE runs, but GRUB would boot slot $permanent next: prove and commit slot $ACTIVE first"
	fi
}

need_raw_image() {
	kind=$(image_kind "$IMAGE")
	case $kind in
	ext4) ;;
	gzip | xz | zstd | bzip2)
		die unsupported-image "the image is compressed with $kind, which kubeos does not write yet"
		;;
	xfs) die unsupported-image 'the image is an XFS file system, which kubeos does not write yet' ;;
	tar) die unsupported-image 'the image is a tar of files, which kubeos does not write yet' ;;
	*) die unsupported-image 'the image is not an ext4 file system' ;;
	esac
	read_superblock "$(slot_path "$ACTIVE")"
	if [ "$SB_TYPE" != ext4 ]; then
		die unsupported-image "the image is ext4, but this node's root is ${SB_TYPE:-of another type}"
	fi
}

need_fit() {
	room=$(slot_bytes "$TARGET")
	if [ "$ARTIFACT_BYTES" -gt "$room" ]; then
		die unsafe-target "slot $TARGET has $room bytes, too few for the image's $ARTIFACT_BYTES"
	fi
}

written_before() {
	read_superblock "$(slot_path "$TARGET")"
	read_record "$TARGET"
	record_holds && [ "$R_SHA256" = "$J_SHA256" ]
}

# shellcheck disable=SC2034,SC2153 # as above
mark_dirty() {
	R_STATE=dirty R_VERSION=$J_VERSION R_SHA256=$J_SHA256 R_BYTES=$ARTIFACT_BYTES
	R_SLOT_SHA256='' R_UUID='' R_WTIME='' R_VERIFIED_AT=''
	write_record "$TARGET"
	log "slot $TARGET: write of $J_VERSION begins, what it held is lost"
}

copy_image() {
	device=$(slot_path "$TARGET")
	flags=''
	# Past the page cache where the device can: the node's memory stays with its pods. It takes whole blocks only.
	if [ "$((ARTIFACT_BYTES % 4096))" -eq 0 ] &&
		dd if="$device" of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null; then
		flags=oflag=direct
	fi
	note_total "$ARTIFACT_BYTES"
	become_gentle dd if="$IMAGE" of="$device" bs=4M conv=notrunc,fsync ${flags:+"$flags"} 2>"$RUN/dd.err" &
	note_dd "$!" 1
	wait "$!" || die write-failed "writing /dev/$(slot_name "$TARGET") failed: $(grep -v records "$RUN/dd.err" | head -n 3)"
}
