#!/bin/sh
# The disk of a node as a generation of KubeOS partitions it: real partitions of a loop device, real file systems; and what
# firmware, GRUB, kernel and initramfs make of it. For root, in a mount namespace of its own. What it goes by is set by the
# script that reads it:
#   FOLDER    of the node, for what lies outside of it
#   firmware  uefi or bios
#   table     standard, kbimg or pxe (docs of KubeOS: its image tools of now, up to 1.0.6, and for PXE), a GPT with uefi,
#             an MBR with bios
#   rootfs    ext4 or xfs
#   prefix    of the partitions' names
#   style     how grub.cfg finds a slot: label, partuuid or number
#   tool      grub-editenv's name there
#   trees     the folder with system-tree.sh
# shellcheck disable=SC2153,SC2154 # as said
image=$FOLDER/disk.img
ROOT=$FOLDER/root
DISK=${DISK-}
if [ "$firmware" = uefi ]; then
	label=gpt kind=C12A7328-F81F-11D2-BA4B-00A0C93EC93B scheme=gpt
	mounted=boot/efi
	BOOT=$ROOT/boot/efi/EFI/openEuler
else
	label=dos kind=83 scheme=msdos
	mounted=boot/grub2
	BOOT=$ROOT/boot/grub2
fi

make_disk() {
	case $table in
	standard) first=1MiB,60MiB slot=2560MiB ;;
	kbimg) first=1MiB,60MiB slot=2100MiB ;;
	pxe) first=1MiB,99MiB slot=2500MiB ;;
	esac
	truncate -s 20G "$image"
	sfdisk -q "$image" <<END
label: $label
start=${first%,*}, size=${first#*,}, type=$kind
size=$slot, type=linux
size=$slot, type=linux
type=linux
END
	DISK=$(losetup --partscan --find --show "$image")
	know_partitions
	if [ "$firmware" = bios ]; then
		mkfs.ext4 -q -L GRUB2 "$FOLDER/p1"
	elif grep -q vfat /proc/filesystems || modprobe -q vfat 2>/dev/null; then
		mkfs.vfat -n BOOT "$FOLDER/p1" >/dev/null
	else
		# Of a kernel without FAT; the virtual machines have a real one.
		mkfs.ext4 -q -L BOOT "$FOLDER/p1"
	fi
	for number in 2 3; do
		name=ROOT-$([ "$number" = 2 ] && echo A || echo B)
		if [ "$rootfs" = xfs ]; then
			mkfs.xfs -q -L "$name" -m bigtime=0 "$FOLDER/p$number"
		else
			mkfs.ext4 -q -L "$name" -O ^metadata_csum_seed "$FOLDER/p$number"
		fi
	done
	mkfs.ext4 -q -L PERSIST "$FOLDER/p4"
	mkdir -p "$ROOT" "$FOLDER/seen"
	mount -t "$rootfs" "$FOLDER/p2" "$FOLDER/seen"
	sh "$trees/system-tree.sh" "$FOLDER/seen" 'KubeOS 1.0.0'
	find "$FOLDER/seen/opt/bin" -name 'grub*-editenv' ! -name "$tool" -delete
	umount "$FOLDER/seen"
}

partition() { # NUMBER: its device
	echo "$DISK"p"$1"
}

# Where the kernel reads no partition tables by itself, it is told of what the table says.
know_partitions() {
	sfdisk -d "$image" | sed -n 's/^.*[^0-9]\([0-9]\{1,\}\) : start= *\([0-9]*\), size= *\([0-9]*\).*/\1 \2 \3/p' >"$FOLDER/table"
	while read -r number start size; do
		sysfs=/sys/block/${DISK#/dev/}/${DISK#/dev/}p$number
		if [ ! -e "$sysfs" ]; then addpart "$DISK" "$number" "$start" "$size"; fi
		if [ ! -b "$(partition "$number")" ]; then
			devnum=$(cat "$sysfs/dev")
			mknod "$FOLDER/p$number" b "${devnum%:*}" "${devnum#*:}"
		else
			ln -s "$(partition "$number")" "$FOLDER/p$number"
		fi
	done <"$FOLDER/table"
}

partuuid() { # NUMBER
	if [ "$label" = gpt ]; then
		sfdisk --part-uuid "$image" "$1" | tr A-F a-f
	else
		printf '%s-%02x\n' "$(sfdisk --disk-id "$image" | sed 's/^0x//')" "$1"
	fi
}

entry() { # SLOT NUMBER
	case $style in
	label) echo "search --no-floppy --set=root --label ROOT-$1 root=PARTUUID=$(partuuid "$2")" ;;
	partuuid) echo "set root='hd0,$scheme$2' root=PARTUUID=$(partuuid "$2")" ;;
	number) echo "set root='hd0,$scheme$2' root=/dev/$prefix$2" ;;
	esac | {
		read -r line
		printf "menuentry '%s' --class KubeOS --unrestricted --id 'KubeOS-%s' {\n\t%s\n" "$1" "$1" "${line% *}"
		printf '\tlinux /boot/vmlinuz %s ro rootfstype=%s oops=panic rd.shell=0 panic=3\n\tinitrd /boot/initramfs.img\n}\n' \
			"${line##* }" "$rootfs"
	}
}

# The boot partition as an installation leaves it, where it is mounted.
fill_boot() {
	mkdir -p "$BOOT"
	grub-editenv "$BOOT/grubenv" create
	grub-editenv "$BOOT/grubenv" set saved_entry=A
	{
		cat <<'END'
load_env
if [ "${next_entry}" ]; then
	set default="${next_entry}"
	set next_entry=
	save_env next_entry
else
	set default="${saved_entry}"
fi
set boot_success=0
save_env boot_success
END
		entry A 2
		entry B 3
		cat <<'END'
if [ -f $prefix/custom.cfg ]; then
	source $prefix/custom.cfg
fi
END
	} >"$BOOT/grub.cfg"
}

# What GRUB boots as that grub.cfg says: next_entry, which is taken for one boot, else saved_entry.
choose_slot() { # GRUBENV
	chosen=$(grub-editenv "$1" list | sed -n 's/^next_entry=//p')
	if [ -z "$chosen" ]; then chosen=$(grub-editenv "$1" list | sed -n 's/^saved_entry=//p'); fi
	grub-editenv "$1" set next_entry= boot_success=0
}

describe() { # NUMBER
	folder=$ROOT/sys/devices/virtual/block/disk/$prefix$1
	mkdir -p "$folder/holders"
	devnum=$(printf '%d:%d' "0x$(stat -L -c %t "$FOLDER/p$1")" "0x$(stat -L -c %T "$FOLDER/p$1")")
	echo "$1" >"$folder/partition"
	echo "$devnum" >"$folder/dev"
	echo 0 >"$folder/ro"
	awk -v number="$1" '$1 == number { print $3 }' "$FOLDER/table" >"$folder/size"
	ln -s "../../devices/virtual/block/disk/$prefix$1" "$ROOT/sys/dev/block/$devnum"
	mknod "$ROOT/dev/$prefix$1" b "${devnum%:*}" "${devnum#*:}"
}

# What kernel and initramfs do.
mount_slot() { # SLOT BOOT-ID
	mount -t "$rootfs" -o ro "$FOLDER/p$([ "$1" = A ] && echo 2 || echo 3)" "$ROOT"
	mount --bind /usr "$ROOT/usr"
	if [ -d /etc/alternatives ]; then mount --bind /etc/alternatives "$ROOT/etc/alternatives"; fi
	mount -t proc proc "$ROOT/proc"
	echo "$2" >"$FOLDER/boot-id"
	mount --bind "$FOLDER/boot-id" "$ROOT/proc/sys/kernel/random/boot_id"
	for folder in dev sys run tmp; do mount -t tmpfs -o mode=0755 tmpfs "$ROOT/$folder"; done
	mknod "$ROOT/dev/null" c 1 3
	mknod "$ROOT/dev/zero" c 1 5
	mkdir -p "$ROOT/sys/dev/block"
	if [ "$firmware" = uefi ]; then mkdir -p "$ROOT/sys/firmware/efi"; fi
	for number in 1 2 3 4; do describe "$number"; done
	mount "$FOLDER/p4" "$ROOT/persist"
	mount "$FOLDER/p1" "$ROOT/$mounted"
}
