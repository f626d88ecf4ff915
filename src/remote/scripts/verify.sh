#!/bin/sh
# Proves the target slot: an upgrade by reading back all that was written, a rollback by the digest that was recorded,
# both by what is inside.
# shellcheck disable=SC2153 # R_* and J_* are the values of the record and of the journal, the others the arguments
main() {
	read_args 'run token operation target version sha256' "$@"
	authority
	need_assignment
	need_layout
	need mount umount grep readlink e2fsck e2label
	hold_mounts 20 || die busy 'another script looks into the slot'
	need_safe_target "$TARGET"
	begin_long_work
	read_superblock "$(slot_path "$TARGET")"
	read_record "$TARGET"
	if [ "$OPERATION" = upgrade ]; then prove_written; else prove_record; fi
	prove_content
	end_long_work
	need_assignment
	keep_record
	note_verified
	log "slot $TARGET holds $VERSION, verified ($BASIS)"
	out version "$CONTENT_VERSION"
	out basis "$BASIS"
}

need_assignment() {
	need_open_journal
	# shellcheck disable=SC2153 # as above
	if [ "$J_OPERATION $J_SHA256" != "$OPERATION $SHA256" ] || [ "$J_VERSION" != "$VERSION" ]; then
		die out-of-order "the journal leads to $J_VERSION by $J_OPERATION, not to $VERSION by $OPERATION"
	fi
}

# A boot that is armed for this very slot stays so; what earlier boots were is over.
note_verified() {
	if [ "$J_PHASE" = armed ] && [ "$J_ARMED" = "$(boot_id)" ]; then return 0; fi
	forget_trial
	write_journal verified
}

# ------------------------------------------------------------------------------------------------------ what was written

prove_written() {
	if [ "$R_KIND" = tar ]; then BASIS=files; else BASIS=bytes; fi
	if [ -z "$R_STATE" ] || [ "$R_SHA256" != "$SHA256" ] || [ -z "$R_BYTES" ]; then
		die out-of-order "slot $TARGET was not written by this run: write comes first"
	fi
	if [ "$R_STATE" = verified ]; then
		need_recorded_sum
		return 0
	fi
	if [ "$R_KIND" = tar ]; then prove_files; else prove_bytes; fi
	check_file_system
	need_grub_reads "$(slot_path "$TARGET")" bad-content "slot $TARGET"
	set_label
	if [ -z "$SLOT_SUM" ]; then read_slot_sum; fi
}

prove_bytes() {
	read_slot_sum
	if [ "$SLOT_SUM" != "$R_DATA_SHA256" ]; then
		die read-back-mismatch "slot $TARGET reads back as $SLOT_SUM, written was ${R_DATA_SHA256:-nothing}: write it again"
	fi
}

# From the disk, not from memory: the slot was unmounted after it was written, and nothing of it is cached any more. The
# archive's own digest was compared when it was staged.
prove_files() {
	read_artifact
	if [ "$ARTIFACT_SHA256" != "$SHA256" ]; then
		die out-of-order "the tar that slot $TARGET was written from is not on the node any more: stage comes first"
	fi
	read_image
	blockdev --flushbufs "$(slot_path "$TARGET")" || die read-back-mismatch "slot $TARGET cannot be read back"
	mount_slot "$TARGET" || die bad-content "slot $TARGET: $MOUNT_PROBLEM"
	compare_tar
	SLOT_SUM=$(tree_sum "$SLOT_ROOT") || die read-back-mismatch "slot $TARGET cannot be read back"
	unmount_slot
}

check_file_system() {
	device=$(slot_path "$TARGET")
	case $SB_TYPE in
	xfs) xfs_repair -n "$device" >"$RUN/fsck.out" 2>&1 ;;
	*) e2fsck -fn "$device" >"$RUN/fsck.out" 2>&1 ;;
	esac || die bad-content "the file system of slot $TARGET has errors: $(tail -n 3 "$RUN/fsck.out" | tr '\n' ' ')"
}

# Where the layout goes by labels, GRUB finds a slot's kernel by its label (KubeOS 1.0.7 and newer): a wrong one boots
# the wrong kernel.
set_label() {
	read_superblock "$(slot_path "$ACTIVE")"
	case $SB_LABEL in ROOT-A | ROOT-B) ;; *) return 0 ;; esac
	device=$(slot_path "$TARGET")
	read_superblock "$device"
	if [ "$SB_LABEL" = "ROOT-$TARGET" ]; then return 0; fi
	case $SB_TYPE in
	xfs) xfs_admin -L "ROOT-$TARGET" "$device" >/dev/null ;;
	*) e2label "$device" "ROOT-$TARGET" ;;
	esac || die write-failed "slot $TARGET takes no label"
	sync_path "$device"
	# The files are the same, the bytes are not.
	if [ "$R_KIND" = raw ]; then SLOT_SUM=''; fi
	read_superblock "$device"
	if [ "$SB_LABEL" != "ROOT-$TARGET" ]; then die write-failed "slot $TARGET did not keep its label"; fi
}

# ------------------------------------------------------------------------------------------------------- what is recorded

prove_record() {
	SLOT_SUM=''
	case $R_STATE in
	dirty) die bad-content "slot $TARGET was being written and was never verified: nothing to go back to" ;;
	verified) ;;
	*) R_KIND=raw R_SHA256='' R_BYTES='' R_DATA_SHA256='' R_SLOT_SHA256='' R_TREE_SHA256='' ;;
	esac
	if [ -z "$(recorded_sum)" ] || [ -z "$R_BYTES" ]; then
		BASIS=content
		return 0
	fi
	BASIS='recorded-digest'
	need_recorded_sum
}

# A slot that was unpacked has a digest of its files: its other bytes are nobody's.
recorded_sum() {
	if [ "$R_KIND" = tar ]; then printf '%s' "$R_TREE_SHA256"; else printf '%s' "$R_SLOT_SHA256"; fi
}

need_recorded_sum() {
	read_slot_sum
	recorded=$(recorded_sum)
	if [ "$SLOT_SUM" != "$recorded" ]; then
		if [ "$OPERATION" = upgrade ]; then remove_file "$STATE/slot-$TARGET"; fi
		die read-back-mismatch "slot $TARGET was changed since it was verified: its digest is $SLOT_SUM, recorded was $recorded"
	fi
}

read_slot_sum() { # sets SLOT_SUM, of the slot's kind
	if [ "$R_KIND" = tar ]; then
		need find sort xargs
		mount_slot "$TARGET" || die bad-content "slot $TARGET: $MOUNT_PROBLEM"
		SLOT_SUM=$(tree_sum "$SLOT_ROOT") || die read-back-mismatch "slot $TARGET cannot be read"
		unmount_slot
	else
		SLOT_SUM=$(slot_sum) || die read-back-mismatch "slot $TARGET cannot be read back"
	fi
}

# Of the first R_BYTES, from the device itself: what was written may still be only in the page cache.
slot_sum() {
	device=$(slot_path "$TARGET")
	flags=''
	if dd if="$device" of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null; then
		flags=iflag=direct
	else
		blockdev --flushbufs "$device" || return 1
	fi
	note_total "$R_BYTES"
	blocks=$(((R_BYTES + 4194303) / 4194304))
	{
		become_gentle dd if="$device" bs=4M count="$blocks" ${flags:+"$flags"} 2>"$RUN/dd.err" &
		note_dd "$!" 0
		wait "$!" || :
	} | head -c "$R_BYTES" | sha256_of_input
}

# ----------------------------------------------------------------------------------------------------------- content

prove_content() {
	mount_slot "$TARGET" || die bad-content "slot $TARGET: $MOUNT_PROBLEM"
	check_content
	unmount_slot
	if [ -n "$CONTENT_PROBLEM" ]; then die bad-content "slot $TARGET does not boot here: $CONTENT_PROBLEM"; fi
	if [ "$CONTENT_VERSION" != "$VERSION" ]; then
		die bad-content "slot $TARGET holds $CONTENT_VERSION, wanted is $VERSION"
	fi
}

# shellcheck disable=SC2034 # they go into the record
keep_record() {
	read_superblock "$(slot_path "$TARGET")"
	R_STATE=verified R_VERSION=$CONTENT_VERSION
	if [ "$R_KIND" = tar ]; then R_TREE_SHA256=$SLOT_SUM; else R_SLOT_SHA256=$SLOT_SUM; fi
	R_UUID=$SB_UUID R_WTIME=$SB_WTIME R_VERIFIED_AT=$(date +%s)
	write_record "$TARGET"
}
