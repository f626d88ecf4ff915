#!/bin/sh
# The staged image: how it is compressed, what is in it, and whether GRUB would read it. All of it is told by content.
# shellcheck disable=SC2034 # the steps' files read what is set here

HEAD_BYTES=4096

read_image() { # sets COMPRESSION (none, gzip, xz, zstd), CONTENT (as image_kind says) and HEAD, a file: both decompressed
	COMPRESSION=none
	HEAD=$RUN/head
	CONTENT=$(image_kind "$IMAGE")
	case $CONTENT in
	gzip | xz | zstd)
		COMPRESSION=$CONTENT
		need_decompressor
		# It is cut off after the first bytes, and says so.
		decompress <"$IMAGE" 2>/dev/null | head -c "$HEAD_BYTES" >"$HEAD"
		CONTENT=$(image_kind "$HEAD")
		case $CONTENT in
		gzip | xz | zstd) die unsupported-image "the image is compressed twice: with $CONTENT, then with $COMPRESSION" ;;
		esac
		;;
	*) head -c "$HEAD_BYTES" "$IMAGE" >"$HEAD" ;;
	esac
}

decompress() { # standard input to standard output; it takes the place of this shell
	case $COMPRESSION in
	gzip) become_gentle gzip -dc ;;
	xz) become_gentle xz -dc ;;
	zstd) become_gentle zstd -dcq ;;
	none) become_gentle cat ;;
	esac
}

# In pieces of about a quarter of a second, so that others get at the disk in between.
keep_to_rate() { # standard input to standard output, at no more than RATE bytes a second on average
	blocks=$((RATE / 262144 + 1))
	sent=0
	began=$(hundredths)
	while :; do
		gentle dd bs=65536 count="$blocks" iflag=fullblock 2>"$RUN/rate.err" || return 1
		if ! grep -q "^$blocks+0 records in" "$RUN/rate.err"; then return 0; fi
		sent=$((sent + blocks * 65536))
		ahead=$((sent * 100 / RATE - $(hundredths) + began))
		if [ "$ahead" -gt 0 ]; then sleep "$((ahead / 100)).$(printf '%02d' "$((ahead % 100))")"; fi
	done
}

hundredths() { # of a second since boot
	IFS=' .' read -r up part rest </proc/uptime
	echo "$((up * 100 + ${part#0}))"
}

need_kind() { # for who has read the image: this node can take it
	read_superblock "$(slot_path "$ACTIVE")"
	case $CONTENT in
	tar)
		one_of "$SB_TYPE" ext4 xfs || die unsupported-image \
			"the image is a tar, but this node's root is of a type that kubeos does not make: ${SB_TYPE:-unknown}"
		need "mkfs.$SB_TYPE" "$(file_system_check "$SB_TYPE")" blockdev find sort xargs comm
		has_gnu_find || die missing-tool 'the image is a tar, and the find of this node is not GNU find, which tells all of a file'
		has_gnu_tar || die missing-tool 'the image is a tar, and the tar of this node is not GNU tar, which keeps all of it'
		;;
	ext4 | xfs)
		if [ "$SB_TYPE" != "$CONTENT" ]; then
			die unsupported-image "the image is $CONTENT, but this node's root is ${SB_TYPE:-of another type}"
		fi
		need "$(file_system_check "$CONTENT")" blockdev tee cmp
		if [ "$COMPRESSION" != none ]; then need mkfifo wc; fi
		;;
	bzip2) die unsupported-image 'the image is compressed with bzip2, which kubeos does not write: use gzip, xz or zstd' ;;
	disk) die unsupported-image 'the image is a whole disk with partitions: a root file system is wanted, or a tar of one' ;;
	*) die unsupported-image 'the image is neither an ext4 or XFS file system nor a tar' ;;
	esac
}

# ---------------------------------------------------------------------------------------------------- what GRUB reads

little_at() { # FILE OFFSET: a number of four bytes, the lowest first
	# shellcheck disable=SC2046 # one word a byte
	set -- $(bytes_at "$1" "$2" 4)
	echo "$((0x${4-0}${3-0}${2-0}${1-0}))"
}

big_at() { # FILE OFFSET COUNT: a number, the highest byte first
	echo "$((0x0$(hex_at "$1" "$2" "$3")))"
}

# Linux, fs/ext4/ext4.h: blocks at 4 and (64bit) 336, block size at 24, compatible features at 92, incompatible ones
# at 96. fs/xfs/libxfs/xfs_format.h: block size at 4, blocks at 8, version at 100, incompatible features (5) at 216.
read_features() { # FILE whose superblock was read last: sets SB_COMPAT, SB_INCOMPAT, SB_BYTES (of the file system)
	SB_COMPAT=0 SB_INCOMPAT=0 SB_BYTES=0
	case $SB_TYPE in
	ext4)
		SB_COMPAT=$(little_at "$1" 1116)
		SB_INCOMPAT=$(little_at "$1" 1120)
		blocks=$(little_at "$1" 1028)
		if [ "$((SB_INCOMPAT & 0x80))" -ne 0 ]; then blocks=$((blocks + ($(little_at "$1" 1360) << 32))); fi
		SB_BYTES=$((blocks * (1024 << $(little_at "$1" 1048))))
		;;
	xfs)
		if [ "$(($(big_at "$1" 100 2) & 0xf))" -eq 5 ]; then SB_INCOMPAT=$(big_at "$1" 216 4); fi
		SB_BYTES=$(($(big_at "$1" 4 4) * $(big_at "$1" 8 8)))
		;;
	esac
}

# What GRUB 2.06 reads, however old the node's is: grub-core/fs/ext2.c (filetype, recover, meta_bg, extents, 64bit, mmp,
# flex_bg) and xfs.c (ftype, sparse inodes, meta_uuid).
grub_features() { # TYPE
	case $1 in
	ext4) echo "$((0x3d6))" ;;
	xfs) echo "$((0x7))" ;;
	esac
}

# GRUB loads the kernel out of the slot, and stops at its prompt where it does not know a feature of the file system.
# What the active slot has, it has read.
need_grub_reads() { # FILE EXIT-CODE WHAT
	read_superblock "$(slot_path "$ACTIVE")"
	read_features "$(slot_path "$ACTIVE")"
	known=$((SB_INCOMPAT | $(grub_features "$SB_TYPE")))
	read_superblock "$1"
	read_features "$1"
	foreign=$((SB_INCOMPAT & ~known))
	if [ "$foreign" -ne 0 ]; then
		die "$2" "$3 has features that this node's GRUB may not read: $(feature_names "$foreign"); make it without them"
	fi
}

feature_names() { # BITS, by SB_TYPE: as mkfs names them, the rest as a number
	rest=$1
	names=''
	case $SB_TYPE in
	ext4) set -- 1024:ea_inode 8192:metadata_csum_seed 16384:large_dir 32768:inline_data 65536:encrypt 131072:casefold ;;
	xfs) set -- 8:bigtime 32:nrext64 64:exchange 128:parent ;;
	esac
	for feature; do
		if [ "$((rest & ${feature%%:*}))" -eq 0 ]; then continue; fi
		names="$names ${feature#*:}"
		rest=$((rest & ~${feature%%:*}))
	done
	if [ "$rest" -ne 0 ]; then names="$names $(printf '0x%x' "$rest")"; fi
	printf '%s' "${names# }"
}
