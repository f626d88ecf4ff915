#!/bin/sh
# A node whose disk has the partition table of a KubeOS generation, as root: real partitions of a loop device, real file
# systems, a mount namespace and a root of its own, as private-node.sh has them.
#   unshare --mount --propagation private sh layout-node.sh FOLDER FIRMWARE TABLE ROOTFS PREFIX STYLE TOOL
# FIRMWARE: uefi or bios. TABLE: standard, kbimg or pxe (docs of KubeOS: its image tools of now, up to 1.0.6, and for PXE),
# a GPT with uefi, an MBR with bios. ROOTFS: ext4 or xfs. PREFIX: of the partitions' names. STYLE: how grub.cfg finds a
# slot: label, partuuid or number. TOOL: grub-editenv's name there. FOLDER/steps/* are run one after the other; each
# leaves FOLDER/ended/STEP.{rc,out,err}. STEP.boot-B: GRUB and a kernel boot what the environment leads to, which must be
# that slot. STEP.host is run outside, with ROOT, BOOT (the folder with grub.cfg) and DISK.
set -eu
FOLDER=$1 firmware=$2 table=$3 rootfs=$4 prefix=$5 style=$6 tool=$7
export FOLDER
ROOT=$FOLDER/root
image=$FOLDER/disk.img
DISK=''
boots=0

take_down() {
	for try in 1 2 3 4 5; do
		umount -R "$ROOT" 2>/dev/null || [ "$try" -lt 5 ] || return 0
		grep -q " $ROOT" /proc/self/mountinfo || return 0
	done
}
clean_up() {
	take_down
	if [ -n "$DISK" ]; then losetup -d "$DISK" || :; fi
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

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

case $table in
standard) first=1MiB,60MiB slot=2560MiB ;;
kbimg) first=1MiB,60MiB slot=2100MiB ;;
pxe) first=1MiB,99MiB slot=2500MiB ;;
esac
if [ "$firmware" = uefi ]; then
	label=gpt kind=C12A7328-F81F-11D2-BA4B-00A0C93EC93B scheme=gpt
	boot=boot/efi/EFI/openEuler mounted=boot/efi
else
	label=dos kind=83 scheme=msdos
	boot=boot/grub2 mounted=boot/grub2
fi
truncate -s 20G "$image"
sfdisk -q "$image" <<END
label: $label
start=${first%,*}, size=${first#*,}, type=$kind
size=$slot, type=linux
size=$slot, type=linux
type=linux
END
DISK=$(losetup --partscan --find --show "$image")
export DISK ROOT
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

mkdir -p "$ROOT" "$FOLDER/ended" "$FOLDER/seen"
mount -t "$rootfs" "$FOLDER/p2" "$FOLDER/seen"
for folder in usr dev proc sys run tmp persist boot/efi boot/grub2 etc/alternatives opt/bin; do
	mkdir -p "$FOLDER/seen/$folder"
done
(cd "$FOLDER/seen" && ln -s usr/bin usr/sbin usr/lib . && ln -s /usr/bin/grub-editenv "opt/bin/$tool")
if [ -d /usr/lib64 ]; then ln -s usr/lib64 "$FOLDER/seen/lib64"; fi
echo 'PRETTY_NAME="KubeOS 1.0.0"' >"$FOLDER/seen/etc/os-release"
if [ -e /etc/mke2fs.conf ]; then cp /etc/mke2fs.conf "$FOLDER/seen/etc/"; fi
umount "$FOLDER/seen"

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

# What firmware, kernel and initramfs do. KubeOS's images have what the first one lacks: only slot A is one of the test's.
boot_slot() { # SLOT
	boots=$((boots + 1))
	number=$([ "$1" = A ] && echo 2 || echo 3)
	take_down
	mount -t "$rootfs" -o ro "$FOLDER/p$number" "$ROOT"
	mount --bind /usr "$ROOT/usr"
	if [ -d /etc/alternatives ]; then mount --bind /etc/alternatives "$ROOT/etc/alternatives"; fi
	mount -t proc proc "$ROOT/proc"
	echo "boot-$boots" >"$FOLDER/boot-id"
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

boot_by_grub() { # SLOT: takes next_entry, else saved_entry, as the stock grub.cfg does
	env=$BOOT/grubenv
	next=$(grub-editenv "$env" list | sed -n 's/^next_entry=//p')
	if [ -z "$next" ]; then next=$(grub-editenv "$env" list | sed -n 's/^saved_entry=//p'); fi
	grub-editenv "$env" set next_entry= boot_success=0
	[ "$next" = "$1" ] || {
		echo "GRUB boots $next, not $1" >&2
		exit 1
	}
	boot_slot "$1"
}

export BOOT="$ROOT/$boot"
boot_slot A
mkdir -p "$BOOT" "$ROOT/persist/KubeOS-Update"
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
cp "$FOLDER/update.img" "$ROOT/persist/KubeOS-Update/"

for step in "$FOLDER"/steps/*; do
	ended=$FOLDER/ended/${step##*/}
	rc=0
	case $step in
	*.boot-*) boot_by_grub "${step##*.boot-}" >"$ended.out" 2>"$ended.err" || rc=$? ;;
	*.host) sh -eu "$step" >"$ended.out" 2>"$ended.err" || rc=$? ;;
	*) chroot "$ROOT" /usr/bin/env PATH=/opt/bin:/usr/sbin:/usr/bin /bin/sh -s <"$step" >"$ended.out" 2>"$ended.err" || rc=$? ;;
	esac
	echo "$rc" >"$ended.rc"
done
