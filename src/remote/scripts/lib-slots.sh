#!/bin/sh
# The two root partitions: where they are, what is in them, and whether one may be written. A slot is found by its
# partition number on the disk of the running root (2 is A, 3 is B), read from sysfs; never by changing a device name.
# shellcheck disable=SC2034 # the steps' files read what is set here

unsupported() { # CODE MESSAGE
	UNSUPPORTED=$1
	UNSUPPORTED_MESSAGE=$2
}

read_layout() { # sets ACTIVE, INACTIVE, NAME_A, NAME_B, SYSFS_A, SYSFS_B, DISK, ROOT_NUMBER; or UNSUPPORTED and its message
	ACTIVE='' INACTIVE='' NAME_A='' NAME_B='' SYSFS_A='' SYSFS_B='' DISK='' ROOT_NUMBER='' UNSUPPORTED='' UNSUPPORTED_MESSAGE=''
	for tool in findmnt dd od tr stat tail; do
		if ! has "$tool"; then
			unsupported missing-tool "the node has no $tool"
			return 0
		fi
	done
	mounted=$(findmnt -n -r -o MAJ:MIN,SOURCE --mountpoint / | tail -n 1) || mounted=''
	ROOT_NUMBER=${mounted%% *}
	source=${mounted#* }
	sysfs=$(real_folder "$KUBEOS_ROOT/sys/dev/block/$ROOT_NUMBER") || sysfs=''
	if is_verity "$source" "$sysfs"; then
		unsupported verity "the root is on dm-verity ($source): boot, root and hash change together there, which kubeos does not do"
	elif [ -z "$ROOT_NUMBER" ] || [ ! -r "$sysfs/partition" ]; then
		unsupported unknown-root "the root (${source:-not found}) is not on a plain partition"
	else
		DISK=${sysfs%/*}
		read_partitions "$(first_line "$sysfs/partition")"
	fi
}

# What the steps ask of a system, beside the ways to an image; of a pair, either does.
NEEDED_TOOLS='sh findmnt dd od tr stat date mkdir mv rm cp cat head tail sed awk df flock sync sleep uname cmp tee grep'
NEEDED_TOOLS="$NEEDED_TOOLS readlink mount umount blockdev"
NEEDED_TOOLS="$NEEDED_TOOLS sha256sum|openssl grub2-editenv|grub-editenv systemctl|reboot systemd-run|setsid"
TOOL_FOLDERS='usr/sbin usr/bin sbin bin usr/local/sbin usr/local/bin'
WHY_NEEDED='without which kubeos could neither prove it nor lead back from it'

needed_tools() { # for who has read the superblock of a root
	echo "$NEEDED_TOOLS $(file_system_check "$SB_TYPE")"
}

lacked_tools() { # CHECK, which tells of a tool whether it is there: sets LACKED, empty where nothing is
	LACKED=''
	for choice in $(needed_tools); do
		if "$1" "${choice%|*}" || "$1" "${choice#*|}"; then continue; fi
		LACKED=${LACKED:+$LACKED, }
		case $choice in *'|'*) LACKED="${LACKED}neither ${choice%|*} nor ${choice#*|}" ;; *) LACKED="${LACKED}no $choice" ;; esac
	done
}

lacked_by_node() { # for who has read the layout; sets LACKED
	read_superblock "$(slot_path "$ACTIVE")"
	lacked_tools has
}

real_folder() { # PATH: without links
	cd -P "$1" 2>/dev/null && pwd -P
}

is_verity() { # SOURCE SYSFS-FOLDER
	case $1 in /dev/mapper/kubeos-root) return 0 ;; esac
	if [ -z "$2" ] || [ ! -d "$2/dm" ]; then return 1; fi
	case $(first_line "$2/dm/name"):$(first_line "$2/dm/uuid") in
	kubeos-root:* | *:CRYPT-VERITY*) return 0 ;;
	esac
	return 1
}

read_partitions() { # NUMBER-OF-THE-ROOT-PARTITION
	extra=''
	for file in "$DISK"/*/partition; do
		folder=${file%/partition}
		name=${folder##*/}
		# sysfs writes ! where the device name has /, as in cciss/c0d0p2.
		case $name in *!*) name=$(printf '%s' "$name" | tr '!' '/') ;; esac
		case $(first_line "$file") in
		2) NAME_A=$name SYSFS_A=$folder ;;
		3) NAME_B=$name SYSFS_B=$folder ;;
		*)
			read_superblock "$KUBEOS_ROOT/dev/$name"
			case $SB_LABEL in ROOT*) extra="$extra $name" ;; esac
			;;
		esac
	done
	if [ -n "$extra" ]; then
		unsupported partitions "the disk has further root partitions:$extra; kubeos works with two"
	elif [ -z "$NAME_A" ] || [ -z "$NAME_B" ]; then
		unsupported partitions 'the disk of the root does not have both partition 2 and partition 3'
	elif [ "$1" = 2 ]; then
		ACTIVE=A
		INACTIVE=B
	elif [ "$1" = 3 ]; then
		ACTIVE=B
		INACTIVE=A
	else
		unsupported unknown-root "the root is partition $1, neither the second nor the third"
	fi
}

need_layout() {
	read_layout
	if [ -n "$UNSUPPORTED" ]; then die unsupported "$UNSUPPORTED_MESSAGE"; fi
}

slot_name() { # SLOT: as vda2
	case $1 in A) echo "$NAME_A" ;; B) echo "$NAME_B" ;; esac
}

slot_path() { # SLOT: the device's path, KUBEOS_ROOT included
	case $1 in A) echo "$KUBEOS_ROOT/dev/$NAME_A" ;; B) echo "$KUBEOS_ROOT/dev/$NAME_B" ;; esac
}

slot_sysfs() { # SLOT
	case $1 in A) echo "$SYSFS_A" ;; B) echo "$SYSFS_B" ;; esac
}

slot_bytes() { # SLOT; sysfs counts in units of 512 bytes whatever the disk's sectors are
	sectors=$(first_line "$(slot_sysfs "$1")/size")
	is_number "$sectors" || die unsupported "the size of slot $1 cannot be read"
	echo "$((sectors * 512))"
}

# The file system's own facts, at byte 1024 of the device (Linux, fs/ext4/ext4.h): magic at 56, write time at 48, UUID
# at 104, label at 120. XFS (fs/xfs/libxfs/xfs_format.h) has its magic at 0, its UUID at 32, and no write time: the
# superblock's checksum at 224 and its place in the log at 240 stand in for it, since the kernel writes it anew, with
# the counters of free blocks, when a file system is left that was written to.
read_superblock() { # DEVICE: sets SB_TYPE (ext4, xfs or empty), SB_UUID, SB_WTIME, SB_LABEL
	SB_TYPE='' SB_UUID='' SB_WTIME='' SB_LABEL=''
	# shellcheck disable=SC2046 # one word a byte
	set -- $(bytes_at "$1" 0 1160)
	if [ "$#" -ne 1160 ]; then return 0; fi
	if [ "${1081}${1082}" = 53ef ]; then
		SB_TYPE=ext4
		SB_WTIME=$((0x${1076}${1075}${1074}${1073}))
		shift 1128
		SB_UUID=$1$2$3$4$5$6$7$8$9${10}${11}${12}${13}${14}${15}${16}
		shift 16
		SB_LABEL=$(text_of "$@")
	elif [ "$1$2$3$4" = 58465342 ]; then
		SB_TYPE=xfs
		shift 32
		SB_UUID=$1$2$3$4$5$6$7$8$9${10}${11}${12}${13}${14}${15}${16}
		shift 76
		SB_LABEL=$(text_of "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$9" "${10}" "${11}" "${12}")
		shift 116
		SB_WTIME=$1$2$3$4-${17}${18}${19}${20}${21}${22}${23}${24}
	fi
}

file_system_check() { # TYPE: the tool
	case $1 in xfs) echo xfs_repair ;; *) echo e2fsck ;; esac
}

text_of() { # BYTE...: in hex; what can be printed of them
	text=''
	for byte; do
		code=$((0x$byte))
		if [ "$code" -ge 32 ] && [ "$code" -le 126 ]; then
			text="$text\\0$((code / 64))$((code / 8 % 8))$((code % 8))"
		fi
	done
	printf '%b' "$text"
}

# ----------------------------------------------------------------------------------------------------- safe target

is_mounted() { # MAJOR:MINOR DEVICE-NAME: in any mount namespace that can be seen
	cat "$KUBEOS_ROOT/proc/self/mountinfo" "$KUBEOS_ROOT"/proc/[0-9]*/mountinfo 2>/dev/null |
		awk -v number="$1" -v source="/dev/$2" '
			$3 == number { found = 1 }
			{ for (i = 7; i < NF; i++) if ($i == "-" && $(i + 2) == source) found = 1 }
			END { exit !found }'
}

# A process may have mounts of its own, which findmnt does not show.
who_mounts() { # MAJOR:MINOR DEVICE-NAME
	file=''
	if ! grep -qs " $1 " "$KUBEOS_ROOT/proc/self/mountinfo" "$KUBEOS_ROOT/proc/1/mountinfo"; then
		file=$(grep -ls " $1 " "$KUBEOS_ROOT"/proc/[0-9]*/mountinfo | head -n 1) || :
	fi
	if [ -z "$file" ]; then
		echo "findmnt -S /dev/$2 shows where"
	else
		file=${file%/mountinfo}
		echo "process ${file##*/} has it in mounts of its own, until it ends"
	fi
}

# Each way in which a write could hurt something else than the inactive slot. A second opinion beside need_layout, from
# other sources: device numbers, mounts, swap, holders.
need_safe_target() { # SLOT
	name=$(slot_name "$1")
	device=$(slot_path "$1")
	sysfs=$(slot_sysfs "$1")
	number=$(first_line "$sysfs/dev")
	if [ "$1" = "$ACTIVE" ]; then die unsafe-target "slot $1 is the active one: it is never written"; fi
	if [ -z "$number" ] || [ "$number" = "$ROOT_NUMBER" ]; then
		die unsafe-target "/dev/$name has the device number of the running root ($ROOT_NUMBER)"
	fi
	if [ -b "$device" ]; then
		if [ "$(printf '%d:%d' "0x$(stat -L -c %t -- "$device")" "0x$(stat -L -c %T -- "$device")")" != "$number" ]; then
			die unsafe-target "/dev/$name is not the device $number that sysfs says it is"
		fi
	elif [ -z "$KUBEOS_ROOT" ] || [ ! -f "$device" ]; then
		die unsafe-target "/dev/$name is not a block device"
	fi
	if [ "$(first_line "$sysfs/ro")" = 1 ]; then die unsafe-target "/dev/$name is read-only"; fi
	if is_mounted "$number" "$name"; then
		die unsafe-target "/dev/$name is mounted: $(who_mounts "$number" "$name")"
	fi
	if awk -v source="/dev/$name" '$1 == source { found = 1 } END { exit !found }' "$KUBEOS_ROOT/proc/swaps"; then
		die unsafe-target "/dev/$name is in use as swap"
	fi
	for holder in "$sysfs"/holders/*; do
		if [ -e "$holder" ]; then die unsafe-target "/dev/$name is in use by ${holder##*/}"; fi
	done
}

# --------------------------------------------------------------------------------------------------------- content

# For who holds the mounts. Sets SLOT_ROOT; fails where the slot cannot be mounted, and MOUNT_PROBLEM says why.
mount_slot() { # SLOT [rw]
	MOUNT_PROBLEM=''
	how=${2-ro}
	device=$(slot_path "$1")
	read_superblock "$device"
	# Where nothing is to be written, the journal is not replayed either: that would write to the slot.
	case $SB_TYPE:$how in
	ext4:ro) options=ro,noload,nosuid,nodev,noexec ;;
	ext4:rw) options=rw,nosuid,nodev,noexec ;;
	xfs:ro) options=ro,norecovery,nouuid,nosuid,nodev,noexec ;;
	xfs:rw) options=rw,nouuid,nosuid,nodev,noexec ;;
	*)
		MOUNT_PROBLEM='it holds no file system'
		return 1
		;;
	esac
	SLOT_ROOT=$RUN/mount
	mkdir -p -- "$SLOT_ROOT"
	MOUNTED=yes
	if ! mount -t "$SB_TYPE" -o "$options" "$device" "$SLOT_ROOT" 2>"$RUN/mount.err"; then
		MOUNT_PROBLEM="it cannot be mounted: $(first_line "$RUN/mount.err")"
		return 1
	fi
}

# What must be there before a slot may be booted. Links are followed inside the slot: an absolute one means the slot's
# own root, not the running one.
check_content() { # sets CONTENT_VERSION, and CONTENT_PROBLEM where the slot cannot boot here
	CONTENT_VERSION='' CONTENT_PROBLEM=''
	release=$(inside etc/os-release)
	if [ ! -f "$release" ]; then release=$(inside usr/lib/os-release); fi
	CONTENT_VERSION=$(pretty_name "$release")
	if [ ! -s "$(inside boot/vmlinuz)" ]; then
		CONTENT_PROBLEM='it has no kernel (/boot/vmlinuz is missing or empty)'
	elif [ ! -s "$(inside boot/initramfs.img)" ]; then
		CONTENT_PROBLEM='it has no initramfs (/boot/initramfs.img is missing or empty)'
	elif [ ! -s "$(inside sbin/init)" ]; then
		CONTENT_PROBLEM='it has no /sbin/init'
	elif [ ! -f "$release" ]; then
		CONTENT_PROBLEM='it has no os-release'
	elif [ -z "$CONTENT_VERSION" ]; then
		CONTENT_PROBLEM='its os-release has no PRETTY_NAME'
	else
		check_architecture "$(inside sbin/init)"
		lacked_tools in_slot
		if [ -z "$CONTENT_PROBLEM" ] && [ -n "$LACKED" ]; then CONTENT_PROBLEM="it has $LACKED, $WHY_NEEDED"; fi
	fi
}

# A trial without a tool could be neither proven nor, without some of them, led back: it is not begun.
# Of the program itself no more is asked: a link may lead to what /etc's overlay holds, and nothing runs from here.
in_slot() { # TOOL
	for folder in $TOOL_FOLDERS; do
		found=$(inside "$folder")/$1
		if [ -L "$found" ] || { [ -f "$found" ] && [ -s "$found" ]; }; then return 0; fi
	done
	return 1
}

# e_machine is at byte 18 of a program (elf(5)); 62 is x86-64, 183 AArch64, 243 RISC-V, 258 LoongArch.
check_architecture() { # PROGRAM
	case $(uname -m) in
	x86_64) expected=3e00 ;;
	aarch64) expected=b700 ;;
	riscv64) expected=f300 ;;
	loongarch64) expected=0201 ;;
	*) expected=$(hex_at /proc/self/exe 18 2) ;;
	esac
	if [ "$(hex_at "$1" 0 4)" != 7f454c46 ]; then
		CONTENT_PROBLEM='its /sbin/init is not a program'
	elif [ "$(hex_at "$1" 18 2)" != "$expected" ]; then
		CONTENT_PROBLEM="it is for another architecture than this node's $(uname -m)"
	fi
}

inside() { # PATH: where a path of the mounted slot really is
	left=$1
	at=''
	hops=0
	while [ -n "$left" ]; do
		part=${left%%/*}
		case $left in
		*/*) left=${left#*/} ;;
		*) left='' ;;
		esac
		case $part in
		'' | .) continue ;;
		..)
			at=${at%/*}
			continue
			;;
		esac
		if [ -L "$SLOT_ROOT$at/$part" ] && [ "$hops" -lt 40 ]; then
			hops=$((hops + 1))
			link=$(readlink "$SLOT_ROOT$at/$part")
			case $link in /*) at='' ;; esac
			left=$link${left:+/$left}
		else
			at=$at/$part
		fi
	done
	printf '%s' "$SLOT_ROOT$at"
}
