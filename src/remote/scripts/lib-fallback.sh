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
	if [ ! -e "$KUBEOS_ROOT/sys/dev/block/${mounted%% *}/partition" ]; then
		echo "$ENV_PATH lies on ${mounted#* }, which is no plain partition: GRUB cannot write there"
		return 0
	fi
	case $(findmnt -n -r -o FSTYPE --target "$ENV_PATH" | tail -n 1) in
	btrfs | zfs | f2fs) echo "$ENV_PATH lies on a file system that GRUB cannot write" ;;
	*) if [ "$(stat -c %b -- "$KUBEOS_ROOT$ENV_PATH")" = 0 ]; then echo "$ENV_PATH is a sparse file, which GRUB cannot write"; fi ;;
	esac
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

# For who has read the environment on the first boot after arming.
note_grub() {
	if [ -n "$ENV_NEXT" ]; then told=no; else told=yes; fi
	if [ "$(first_line "$STATE/grub")" != "$told" ]; then put_file "$STATE/grub" "$told"; fi
}
