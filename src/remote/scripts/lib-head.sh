#!/bin/sh
# The first 4 KiB of a slot, its head: ext4 and XFS have there the superblock by which GRUB finds a slot's kernel, the
# label in it (grub-core/fs/ext2.c and xfs.c read no other one). An image bears the label of the slot that it was made
# in. Two slots of one label may boot each other's kernel, so that head must never stand on the other slot.
#
# So a slot loses its head before anything else of it changes, and is written without one. Once all behind it has been
# read back, it gets the image's head, with its own label, as the last. The head of the image is kept beside the slot's
# record: with it the slot reads back as the image, now and whenever it is proven anew.
# shellcheck disable=SC2034 # the steps' files read what is set here

kept_head() { # SLOT: the file
	echo "$STATE/head-$1"
}

has_kept_head() { # SLOT
	[ "$(file_bytes "$(kept_head "$1")")" -eq "$HEAD_BYTES" ]
}

# Only once the slot is marked dirty: what was verified before is proven by the head that this one replaces.
keep_head() { # SLOT: the head of the image that was read last
	kept=$(kept_head "$1")
	dd if="$HEAD" of="$kept.new" conv=fsync 2>/dev/null || die state "cannot write $kept.new"
	mv -f -- "$kept.new" "$kept" || die state "cannot replace $kept"
	sync_path "$STATE" || die state "cannot force $kept to the disk"
}

clear_head() { # SLOT: from now on there is no file system
	overwrite_head "$1" /dev/zero
}

put_head() { # SLOT
	device=$(slot_path "$1")
	overwrite_head "$1" "$SLOT_HEAD"
	drop_buffers "$device"
	: >"$RUN/not-read"
	slot_head "$1" >"$RUN/head-read"
	need_all_read "$1"
	cmp -s "$RUN/head-read" "$SLOT_HEAD" || die read-back-mismatch "slot $1 does not keep its first bytes: write it again"
}

overwrite_head() { # SLOT FILE
	dd if="$2" of="$(slot_path "$1")" bs="$HEAD_BYTES" count=1 conv=notrunc,fsync 2>"$RUN/dd.err" ||
		die write-failed "writing /dev/$(slot_name "$1") failed: $(dd_words)"
}

dd_words() {
	grep -v records "$RUN/dd.err" | head -n 3
}

own_label() { # SLOT: the label that it must bear; nothing where the active slot shows that labels are not gone by
	read_superblock "$(slot_path "$ACTIVE")"
	case $SB_LABEL in ROOT-A | ROOT-B) echo "ROOT-$1" ;; esac
}

# Label, write time and checksum are what e2label and xfs_db change in a head; these want the rest of the file system
# beside it (the journal, MMP, allocation groups), which is not to be found without its head. Places: Linux,
# fs/ext4/ext4.h and fs/xfs/libxfs/xfs_format.h.
make_head() { # SLOT: makes SLOT_HEAD, a file: the kept head with the slot's own label
	SLOT_HEAD=$RUN/slot-head
	cp -- "$(kept_head "$1")" "$SLOT_HEAD" || die state "cannot write $SLOT_HEAD"
	label=$(own_label "$1")
	read_superblock "$SLOT_HEAD"
	if [ -z "$label" ] || [ "$SB_LABEL" = "$label" ]; then return 0; fi
	case $SB_TYPE in
	ext4)
		little_bytes "$(date +%s)" | overwrite "$SLOT_HEAD" 1072
		printf '%s\0\0\0\0\0\0\0\0\0\0' "$label" | overwrite "$SLOT_HEAD" 1144
		;;
	xfs) printf '%s\0\0\0\0\0\0' "$label" | overwrite "$SLOT_HEAD" 108 ;;
	esac
	sum=$(superblock_sum "$SLOT_HEAD")
	if [ -n "$sum" ]; then little_bytes "$sum" | overwrite "$SLOT_HEAD" "$(sum_place)"; fi
}

# Also the proof that this one is reckoned as the image's own tools do.
need_sound_head() { # of the image that was read last
	if [ "$(file_bytes "$HEAD")" -lt "$HEAD_BYTES" ]; then die unsupported-image 'the image ends within its superblock'; fi
	read_superblock "$HEAD"
	sum=$(superblock_sum "$HEAD")
	if [ -n "$sum" ] && [ "$sum" != "$(little_at "$HEAD" "$(sum_place)")" ]; then
		die unsupported-image "the image's superblock is damaged: its checksum does not hold"
	fi
}

sum_place() { # for who has read the superblock: the offset of its checksum
	case $SB_TYPE in ext4) echo 2044 ;; xfs) echo 224 ;; esac
}

# Both are CRC-32C with the lowest byte first: ext4's over all that stands before it, where the file system has the
# feature metadata_csum; XFS's, of version 5, over the first sector with zeroes in its own place, inverted.
superblock_sum() { # FILE whose superblock was read last: nothing where it has no checksum
	# shellcheck disable=SC2046 # one word a byte
	case $SB_TYPE in
	ext4)
		if [ "$(($(little_at "$1" 1124) & 0x400))" -ne 0 ]; then crc32c $(bytes_at "$1" 1024 1020); fi
		;;
	xfs)
		if [ "$(($(big_at "$1" 100 2) & 0xf))" -eq 5 ]; then
			sector=$(big_at "$1" 102 2)
			crc=$(crc32c $(bytes_at "$1" 0 224) 00 00 00 00 $(bytes_at "$1" 228 "$((sector - 228))"))
			echo "$((crc ^ 0xffffffff))"
		fi
		;;
	esac
}

crc32c() { # BYTE...: in hex; Castagnoli's polynomial (RFC 3720, 12.1) from all ones on, not inverted at the end
	crc=$((0xffffffff))
	for byte; do
		crc=$((crc ^ 0x$byte))
		for bit in 1 2 3 4 5 6 7 8; do crc=$((crc >> 1 ^ (crc & 1) * 0x82f63b78)); done
	done
	echo "$crc"
}

little_bytes() { # NUMBER: its lowest four bytes, the lowest first
	# shellcheck disable=SC2059 # the bytes are the format
	printf "$(printf '\\%03o\\%03o\\%03o\\%03o' "$(($1 & 255))" "$(($1 >> 8 & 255))" "$(($1 >> 16 & 255))" "$(($1 >> 24 & 255))")"
}

overwrite() { # FILE OFFSET: with standard input
	dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null || die state "cannot write $1"
}

# --------------------------------------------------------------------------------------------------------- read back

# BusyBox's dd reads past the page cache only some of the time, and then says nothing.
drop_buffers() { # DEVICE: what is read from now on comes from the disk
	blockdev --flushbufs "$1" || die read-back-mismatch "the buffers of ${1#"$KUBEOS_ROOT"} cannot be dropped"
}

takes_direct() { # DEVICE
	dd if="$1" of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null
}

buffered() { # standard input to standard output: the disk goes on while the processor hashes
	become_gentle dd bs=4M iflag=fullblock 2>/dev/null
}

slot_head() { # SLOT: to standard output
	dd if="$(slot_path "$1")" bs="$HEAD_BYTES" count=1 2>"$RUN/dd.err" || not_read || :
}

# A pipe loses how its first command ended.
not_read() {
	echo yes >"$RUN/not-read"
	return 1
}

# For who has read a slot through a pipe: what the disk does not give is no other image.
need_all_read() { # SLOT
	if [ -s "$RUN/not-read" ]; then die read-back-mismatch "reading /dev/$(slot_name "$1") failed: $(dd_words)"; fi
}

# BusyBox's head is slow (seen: a tenth of dd's speed), and a direct read takes whole blocks only: so the last few MiB
# are read by themselves.
slot_body() { # SLOT: of its first R_BYTES those behind the head, to standard output
	: >"$RUN/not-read"
	device=$(slot_path "$1")
	flags=iflag=skip_bytes
	if takes_direct "$device"; then flags=$flags,direct; fi
	blocks=$(((R_BYTES - HEAD_BYTES) / 4194304))
	become_gentle dd if="$device" bs=4M "$flags" skip="$HEAD_BYTES" count="$blocks" 2>"$RUN/dd.err" &
	note_dd "$!" 0
	wait "$!" || not_read || return 1
	read=$((HEAD_BYTES + blocks * 4194304))
	if [ "$R_BYTES" -eq "$read" ]; then return 0; fi
	dd if="$device" bs="$((R_BYTES - read))" count=1 iflag=skip_bytes,fullblock skip="$read" 2>"$RUN/dd.err" || not_read
}
