#!/bin/sh
# Whether a trial that fails ends in the old slot by itself. That hangs on GRUB alone: it must take next_entry for one
# boot, and be able to clear it. Where it cannot write its environment, next_entry stays, and each reset leads to the
# trial again (GRUB's manual, "Environment block": plain partitions only, no LVM, no RAID, no sparse file).

grub_config() { # the file that GRUB of this node reads, as far as it lies where KubeOS puts it
	echo "$KUBEOS_ROOT${ENV_PATH%/*}/grub.cfg"
}

knows_next_entry() { # for who has read the environment; a file that cannot be read is believed to be the stock one
	[ ! -r "$(grub_config)" ] || grep -q next_entry "$(grub_config)"
}

# A managed boot leads back from what GRUB cannot load and from an initramfs that halts; what GRUB cannot write it does
# not mend.
# shellcheck disable=SC2034 # the steps' files read what is set here
read_fallback() { # sets FALLBACK (proven, likely or none) and FALLBACK_BECAUSE; for who has read the environment and MANAGED
	FALLBACK=likely FALLBACK_BECAUSE='no boot has shown yet that GRUB can clear next_entry here'
	problem=$(env_place_problem)
	if [ -n "$problem" ]; then
		FALLBACK=none FALLBACK_BECAUSE=$problem
		return 0
	fi
	case $(grub_clears) in
	yes) FALLBACK=proven FALLBACK_BECAUSE='GRUB has cleared what it was told for one boot' ;;
	no)
		FALLBACK=none
		FALLBACK_BECAUSE="GRUB cannot write $ENV_PATH: what it is told for one boot stays for all"
		;;
	esac
	if [ "$FALLBACK" != none ] && [ "$MANAGED" = yes ]; then
		FALLBACK_BECAUSE="$FALLBACK_BECAUSE; a slot that GRUB cannot load leads back too, and an initramfs that halts"
	fi
}

env_place_problem() { # why GRUB cannot write the file where it lies; nothing where it can, as far as can be told
	if [ -n "$ENV_PROBLEM" ]; then
		echo "$ENV_PROBLEM"
		return 0
	fi
	mounted=$(findmnt -n -r -o MAJ:MIN,SOURCE --target "$ENV_PATH" | tail -n 1) || mounted=''
	sysfs=$(real_folder "$KUBEOS_ROOT/sys/dev/block/${mounted%% *}") || sysfs=''
	if [ ! -e "$sysfs/partition" ]; then
		echo "$ENV_PATH lies on ${mounted#* }, which is no plain partition: GRUB cannot write there"
	elif is_layer "${sysfs%/*}"; then
		disk=${sysfs%/*}
		echo "$ENV_PATH lies on ${mounted#* }, and ${disk##*/} is no disk by itself: GRUB cannot write there"
	else
		env_file_problem
	fi
}

is_layer() { # SYSFS-FOLDER-OF-A-DISK: the kernel makes it of other disks, or of a file
	for mark in md dm loop; do
		if [ -d "$1/$mark" ]; then return 0; fi
	done
	for below in "$1"/slaves/*; do
		if [ -e "$below" ] || [ -L "$below" ]; then return 0; fi
	done
	return 1
}

# GRUB writes into the blocks that the file has: what keeps sums or copies of them, or moves them, is not for it. XFS is
# left to the canary.
env_file_problem() {
	type=$(findmnt -n -r -o FSTYPE --target "$ENV_PATH" | tail -n 1) || type='an unknown file system'
	case $type in
	ext2 | ext3 | ext4 | vfat | msdos | xfs) ;;
	*)
		echo "$ENV_PATH lies on $type: kubeos trusts GRUB to write on ext2, ext3, ext4, FAT and XFS only"
		return 0
		;;
	esac
	if [ "$(stat -c %b -- "$KUBEOS_ROOT$ENV_PATH")" = 0 ]; then
		echo "$ENV_PATH has no block of its own on the disk, so GRUB cannot write it: copy it there anew"
	fi
}

# Told by the last trial, or by the canary: a commit sets boot_success to 1, and the stock grub.cfg saves a 0 at each
# boot.
grub_clears() { # yes, no, or nothing where nobody knows
	case $(first_line "$STATE/grub") in
	yes | no) first_line "$STATE/grub" ;;
	canary\ *)
		boot=$(first_line "$STATE/grub")
		if [ "${boot#canary }" = "$(boot_id)" ]; then
			echo yes
		elif [ "$ENV_SUCCESS" != 1 ]; then
			echo yes
		# Fedora's grub-boot-success sets it too, once somebody has been signed in for a while.
		elif ! has grub2-set-bootflag && ! has grub-set-bootflag; then
			echo no
		fi
		;;
	esac
}

# The first answer holds for the boot: what leads back clears next_entry too.
grub_cleared() { # yes or no; for who has read the environment on the first boot after arming
	if [ -s "$RUN/cleared" ]; then
		first_line "$RUN/cleared"
		return 0
	fi
	if [ -n "$ENV_NEXT" ]; then cleared=no; else cleared=yes; fi
	# /run may be full, and the way back may not hang on a note.
	{ echo "$cleared" >"$RUN/cleared"; } 2>/dev/null || :
	echo "$cleared"
}

note_grub() { # yes or no
	if [ "$(first_line "$STATE/grub")" != "$1" ]; then put_file "$STATE/grub" "$1"; fi
}

# A trial that is left must end in the old slot, even where GRUB could not clear the trial, or a commit was cut short.
# Nothing is noted before.
# shellcheck disable=SC2034 # who calls it notes it
lead_to_old_slot() { # for who has read the environment; sets CLEARED, what is still to be noted
	CLEARED=$(grub_cleared)
	if [ -n "$ENV_NEXT" ] || [ "$(permanent_slot)" != "$J_FROM" ]; then write_env "$J_FROM" ''; fi
}
