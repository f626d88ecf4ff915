#!/bin/sh
# Proves the target slot: an upgrade by reading back all that was written, a rollback by the digest that was recorded,
# both by what is inside.
# shellcheck disable=SC2153 # R_* and J_* are the values of the record and of the journal, the others the arguments
main() {
	read_args 'run token operation target version sha256' "$@"
	authority
	end_receiver
	need_assignment
	need_layout
	read_superblock "$(slot_path "$ACTIVE")"
	need mount umount grep readlink cmp blockdev "$(file_system_check "$SB_TYPE")"
	hold_mounts 20 || die busy 'another script looks into the slot'
	need_safe_target "$TARGET"
	begin_long_work
	read_superblock "$(slot_path "$TARGET")"
	read_record "$TARGET"
	if [ "$OPERATION" = upgrade ]; then
		prove_written
	else
		prove_record
		need_searched_label
	fi
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
		if ! is_provable; then
			remove_file "$STATE/slot-$TARGET"
			die out-of-order "what was recorded of slot $TARGET is not whole any more: write comes first"
		fi
		need_recorded_sum
		return 0
	fi
	case $R_KIND:$R_STREAMED in
	tar:yes) prove_streamed ;;
	tar:*) prove_files ;;
	*) prove_bytes ;;
	esac
	check_file_system
	need_grub_reads "$(slot_path "$TARGET")" bad-content "slot $TARGET"
	need_own_label
}

# Only then the slot becomes a file system.
prove_bytes() {
	if ! has_kept_head "$TARGET"; then
		die out-of-order "the head of the image for slot $TARGET is not on the node: write comes first"
	fi
	make_head "$TARGET"
	drop_buffers "$(slot_path "$TARGET")"
	read_back || lose_trust "slot $TARGET cannot be read back"
	if [ "$DATA_SUM" != "$R_DATA_SHA256" ]; then
		lose_trust "slot $TARGET reads back as $DATA_SUM, written was ${R_DATA_SHA256:-nothing}: write it again"
	fi
	put_head "$TARGET"
	R_HEAD_SHA256=$(sha256_of_input <"$SLOT_HEAD") || die state "cannot read $SLOT_HEAD"
}

# What was streamed, and is not there, must be streamed anew.
lose_trust() { # TEXT
	if [ "$R_STREAMED" = yes ]; then
		R_STREAMED=''
		write_record "$TARGET"
	fi
	die read-back-mismatch "$1"
}

# The image's own head, and what stands behind the slot's: so the digest is the image's, whatever label the slot bears.
read_back() { # sets DATA_SUM
	note_total "$R_BYTES"
	DATA_SUM=$({
		cat -- "$(kept_head "$TARGET")"
		slot_body "$TARGET"
	} | buffered | sha256_of_input) || return 1
	need_all_read "$TARGET"
}

# From the disk, not from memory: the slot was unmounted after it was written, and nothing of it is cached any more. The
# archive's own digest was compared before the slot's record got its length.
prove_files() {
	read_artifact
	if [ "$ARTIFACT_SHA256" != "$SHA256" ]; then
		die out-of-order "the tar that slot $TARGET was written from is not on the node any more: stage comes first"
	fi
	read_image
	drop_buffers "$(slot_path "$TARGET")"
	mount_slot "$TARGET" || die bad-content "slot $TARGET: $MOUNT_PROBLEM"
	compare_tar
	unmount_slot
}

# The tar itself is gone: what it held was listed and hashed as it arrived.
prove_streamed() {
	is_streamed "$TARGET" || lose_trust "the lists of the tar in slot $TARGET are not on the node any more"
	drop_buffers "$(slot_path "$TARGET")"
	mount_slot "$TARGET" || die bad-content "slot $TARGET: $MOUNT_PROBLEM"
	files=$(sum_in_order "$SLOT_ROOT") || lose_trust "slot $TARGET cannot be read back: $(first_line "$RUN/tar.err")"
	if [ "$files" != "$R_DATA_SHA256" ]; then
		lose_trust "the files in slot $TARGET read back as $files, streamed was $R_DATA_SHA256"
	fi
	lost=$(facts_lost) || exit
	if [ -n "$lost" ]; then lose_trust "slot $TARGET did not keep owner, mode, size or target of: $lost"; fi
	SLOT_SUM=$(tree_sum "$SLOT_ROOT") || die read-back-mismatch "slot $TARGET cannot be read back"
	unmount_slot
}

check_file_system() {
	device=$(slot_path "$TARGET")
	read_superblock "$device"
	case $SB_TYPE in
	xfs) xfs_repair -n "$device" >"$RUN/fsck.out" 2>&1 ;;
	*) e2fsck -fn "$device" >"$RUN/fsck.out" 2>&1 ;;
	esac || die bad-content "the file system of slot $TARGET has errors: $(tail -n 3 "$RUN/fsck.out" | tr '\n' ' ')"
}

# Where the layout goes by labels, GRUB finds a slot's kernel by its label (KubeOS 1.0.7 and newer): a wrong one boots
# the wrong kernel.
need_own_label() {
	label=$(own_label "$TARGET")
	read_superblock "$(slot_path "$TARGET")"
	if [ -n "$label" ] && [ "$SB_LABEL" != "$label" ]; then die write-failed "slot $TARGET did not keep its label"; fi
}

# ------------------------------------------------------------------------------------------------------- what is recorded

prove_record() {
	SLOT_SUM=''
	case $R_STATE in
	dirty) die bad-content "slot $TARGET was being written and was never verified: nothing to go back to" ;;
	verified) ;;
	*) R_KIND=raw R_SHA256='' R_BYTES='' R_DATA_SHA256='' R_HEAD_SHA256='' R_TREE_SHA256='' ;;
	esac
	if ! is_provable; then
		BASIS=content
		return 0
	fi
	BASIS='recorded-digest'
	need_recorded_sum
}

# A rollback writes nothing, so it mends no label either. GRUB of old nodes goes by partitions, whatever their labels are.
need_searched_label() {
	# shellcheck disable=SC2034 # grub_config reads it
	ENV_PATH=$(env_path)
	if [ -r "$(grub_config)" ] && ! grep -q 'ROOT-[AB]' "$(grub_config)"; then return 0; fi
	label=$(own_label "$TARGET")
	read_superblock "$(slot_path "$TARGET")"
	if [ -z "$label" ] || [ "$SB_LABEL" = "$label" ]; then return 0; fi
	device=/dev/$(slot_name "$TARGET")
	case $SB_TYPE in xfs) mend="xfs_admin -L $label $device" ;; *) mend="e2label $device $label" ;; esac
	die bad-content "slot $TARGET bears the label ${SB_LABEL:-(none)}, and GRUB searches for $label; where that is the right system, give it its own: $mend"
}

is_provable() { # the slot whose record was read last
	case $R_KIND in
	tar) is_sha256 "$R_TREE_SHA256" ;;
	*) is_number "$R_BYTES" && is_sha256 "$R_DATA_SHA256" && is_sha256 "$R_HEAD_SHA256" && has_kept_head "$TARGET" ;;
	esac
}

need_recorded_sum() {
	read_slot_sum
	recorded="$R_HEAD_SHA256 $R_DATA_SHA256"
	if [ "$R_KIND" = tar ]; then recorded=$R_TREE_SHA256; fi
	if [ "$SLOT_SUM" != "$recorded" ]; then
		if [ "$OPERATION" = upgrade ]; then remove_file "$STATE/slot-$TARGET"; fi
		die read-back-mismatch "slot $TARGET was changed since it was verified: it reads back as $SLOT_SUM, recorded was $recorded"
	fi
}

# A slot that was unpacked has a digest of its files: its other bytes are nobody's.
read_slot_sum() { # sets SLOT_SUM, as it is recorded of the slot's kind
	drop_buffers "$(slot_path "$TARGET")"
	if [ "$R_KIND" = tar ]; then
		need find sort xargs sed
		mount_slot "$TARGET" || die bad-content "slot $TARGET: $MOUNT_PROBLEM"
		SLOT_SUM=$(tree_sum "$SLOT_ROOT") || die read-back-mismatch "slot $TARGET cannot be read"
		unmount_slot
	else
		read_back || die read-back-mismatch "slot $TARGET cannot be read back"
		SLOT_SUM="$(slot_head "$TARGET" | sha256_of_input) $DATA_SUM"
		need_all_read "$TARGET"
	fi
}

# ----------------------------------------------------------------------------------------------------------- content

prove_content() {
	mount_slot "$TARGET" || die bad-content "slot $TARGET: $MOUNT_PROBLEM"
	check_content
	unmount_slot
	if [ -n "$CONTENT_PROBLEM" ]; then die bad-content "slot $TARGET is not fit to be booted: $CONTENT_PROBLEM"; fi
	if [ "$CONTENT_VERSION" != "$VERSION" ]; then
		die bad-content "slot $TARGET holds $CONTENT_VERSION, wanted is $VERSION"
	fi
}

# shellcheck disable=SC2034 # they go into the record
keep_record() {
	read_superblock "$(slot_path "$TARGET")"
	R_STATE=verified R_VERSION=$CONTENT_VERSION
	if [ "$R_KIND" = tar ]; then R_TREE_SHA256=$SLOT_SUM; fi
	R_UUID=$SB_UUID R_WTIME=$SB_WTIME R_VERIFIED_AT=$(date +%s)
	write_record "$TARGET"
	remove_file "$LIST.order"
}
