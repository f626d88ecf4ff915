#!/bin/sh
# GRUB's environment. The rules of KubeOS's stock grub.cfg: next_entry is taken once and cleared before the boot, else
# saved_entry is booted, else the first entry, A. So while a trial is armed, saved_entry stays with the proven slot,
# and any reset leads back to it.
#
# GRUB reads the file without the file system's journal: a file that was replaced, or cut and written anew, may show it
# its old content. So the file's own 1024 bytes are overwritten in place, and fsynced. All that changes lies in the
# first 512 of them, one sector.
# shellcheck disable=SC2034 # the steps' files read what is set here

env_path() { # as the node sees it, without KUBEOS_ROOT
	if [ -d "$KUBEOS_ROOT/sys/firmware/efi" ]; then
		echo /boot/efi/EFI/openEuler/grubenv
	else
		echo /boot/grub2/grubenv
	fi
}

read_env() { # sets ENV_PATH, ENV_SAVED, ENV_NEXT (A, B or empty), ENV_SUCCESS, ENV_TOOL; ENV_PROBLEM where it cannot be trusted
	ENV_SAVED='' ENV_NEXT='' ENV_SUCCESS='' ENV_TOOL='' ENV_PROBLEM=''
	ENV_PATH=$(env_path)
	file=$KUBEOS_ROOT$ENV_PATH
	if has grub2-editenv; then ENV_TOOL=grub2-editenv; elif has grub-editenv; then ENV_TOOL=grub-editenv; fi
	if [ -z "$ENV_TOOL" ]; then
		ENV_PROBLEM='the node has neither grub2-editenv nor grub-editenv'
	# The tool makes a file that is missing, even when it is only to list it.
	elif [ ! -f "$file" ]; then
		ENV_PROBLEM="$ENV_PATH is missing"
	elif [ -L "$file" ]; then
		ENV_PROBLEM="$ENV_PATH is a link: what it leads to is not known to be what GRUB reads"
	elif [ "$(file_bytes "$file")" != 1024 ]; then
		ENV_PROBLEM="$ENV_PATH is $(file_bytes "$file") bytes; GRUB needs exactly 1024"
	elif [ "$(findmnt -n -r -o TARGET --target "$ENV_PATH" | tail -n 1)" = / ]; then
		ENV_PROBLEM="$ENV_PATH lies on the root file system, which is never written"
	elif ! listed=$("$ENV_TOOL" "$file" list 2>/dev/null); then
		ENV_PROBLEM="$ENV_PATH is not a GRUB environment"
	else
		read_entries "$listed"
	fi
}

read_entries() { # OUTPUT-OF-LIST
	while IFS='=' read -r key value; do
		case $key in
		saved_entry)
			ENV_SAVED=$(entry_slot "$value") || ENV_PROBLEM="saved_entry is $value, which names no KubeOS slot"
			;;
		next_entry)
			ENV_NEXT=$(entry_slot "$value") || ENV_PROBLEM="next_entry is $value, which names no KubeOS slot"
			;;
		boot_success) ENV_SUCCESS=$value ;;
		esac
	done <<-END
		$1
	END
}

entry_slot() { # ENTRY: KubeOS's entries have the titles A and B, the ids KubeOS-A and KubeOS-B, the places 0 and 1
	case $1 in
	'') ;;
	A | KubeOS-A | 0) echo A ;;
	B | KubeOS-B | 1) echo B ;;
	*) return 1 ;;
	esac
}

permanent_slot() { # what GRUB boots without a trial
	echo "${ENV_SAVED:-A}"
}

# An entry that is not understood may be overwritten; a file that is not GRUB's may not.
need_env() {
	read_env
	if [ -z "$ENV_PROBLEM" ]; then return 0; fi
	case $ENV_PROBLEM in
	*_entry\ is\ *) log "boot environment: $ENV_PROBLEM" ;;
	the\ node\ has\ neither*) die missing-tool "$ENV_PROBLEM" ;;
	*) die boot-environment "$ENV_PROBLEM" ;;
	esac
}

write_env() { # SAVED NEXT: both at once; an empty NEXT disarms
	need cp cmp
	file=$KUBEOS_ROOT$ENV_PATH
	copy=$RUN/grubenv
	make_env_writable
	cp -- "$file" "$copy" || die boot-environment "cannot copy $ENV_PATH"
	words=$(edit_env "$copy" "$1" "$2" 2>&1) ||
		die boot-environment "$ENV_TOOL cannot change a copy of $ENV_PATH: $(said_why "$words")"
	if [ "$(file_bytes "$copy")" != 1024 ] || [ "$(file_bytes "$file")" != 1024 ]; then
		die boot-environment "$ENV_PATH is not 1024 bytes"
	fi
	cp -- "$file" "$file.bak" || die boot-environment "cannot write $ENV_PATH.bak"
	sync_file_system "$file" || die boot-environment "cannot force $ENV_PATH.bak to the disk"
	dd if="$copy" of="$file" bs=1024 count=1 conv=notrunc,fsync 2>/dev/null ||
		die boot-environment "cannot write $ENV_PATH"
	cmp -s "$copy" "$file" || die boot-environment "$ENV_PATH did not keep what was written"
	rm -f -- "$copy"
	ENV_SAVED=$1
	ENV_NEXT=$2
}

# prev_saved_entry is a left-over of old GRUB scripts: where it is set, GRUB makes it the saved entry at boot. By
# kubeos_trial GRUB knows a trial that goes by the managed boot.
edit_env() { # FILE SAVED NEXT
	if [ -n "$3" ]; then
		"$ENV_TOOL" "$1" unset prev_saved_entry kubeos_trial &&
			"$ENV_TOOL" "$1" set "saved_entry=$2" "next_entry=$3" ${TRIAL_MARK:+"kubeos_trial=$3"}
	else
		"$ENV_TOOL" "$1" unset prev_saved_entry next_entry kubeos_trial &&
			"$ENV_TOOL" "$1" set "saved_entry=$2" ${CANARY:+"$CANARY"}
	fi
}

make_env_writable() {
	case ,$(findmnt -n -r -o OPTIONS --target "$ENV_PATH" | tail -n 1), in *,ro,*) ;; *) return 0 ;; esac
	mountpoint=$(findmnt -n -r -o TARGET --target "$ENV_PATH" | tail -n 1)
	mount -o remount,rw "$KUBEOS_ROOT$mountpoint" ||
		die boot-environment "$mountpoint is read-only and cannot be made writable"
	REMOUNTED=$KUBEOS_ROOT$mountpoint
}
