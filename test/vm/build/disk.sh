#!/bin/sh
# disk.sh FIRMWARE STYLE SLOT-A NAME KEYS OUT [OPT]: a node's whole disk, made of ordinary files: no loop device, no mount.
# FIRMWARE: bios (MBR, GRUB on an ext4 first partition) or uefi (GPT, GRUB on a FAT one). STYLE, how grub.cfg finds a
# slot: label (KubeOS 1.0.7 and newer) or number (older). SLOT-A: the image that slot A gets; slot B is an empty file
# system, as on a fresh KubeOS. KEYS: a folder with what /etc is to hold beside the image's own. OPT: a folder with a
# container engine for /opt; then there is room for its images.
set -eu
firmware=$1 style=$2 slot_a=$3 name=$4 keys=$5 out=$6 opt=${7-}
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
umask 022
[ "$(id -u)" = 0 ] || exec unshare -r sh "$0" "$@"
boot_mib=34 slot_mib=$(($(stat -c %s "$slot_a") / 1048576 + 4)) persist_mib=128
[ -z "$opt" ] || persist_mib=640
work=$out.work
rm -rf "$work"
mkdir -p "$work/boot" "$work/persist"
new=$work/disk
truncate -s "$((2 + boot_mib + 2 * slot_mib + persist_mib))M" "$new"

put() { # FILE MIB
	dd if="$1" of="$new" bs=1M seek="$2" conv=notrunc,sparse status=none
}

table() { # LABEL TYPE-OF-THE-FIRST
	printf 'label: %s\n' "$1"
	printf 'start=1MiB, size=%sMiB, type=%s\n' "$boot_mib" "$2"
	printf 'size=%sMiB, type=linux\n' "$slot_mib" "$slot_mib" "$persist_mib"
}

partuuid() { # NUMBER
	sfdisk --json "$new" | tr -d ' ",' | awk -F: -v number="$1" -v dos="$(sfdisk --disk-id "$new")" '
		$1 == "label" { label = $2 }
		$1 == "uuid" && ++count == number { uuid = tolower($2) }
		END { if (label == "gpt") print uuid; else printf "%s-%02x\n", substr(dos, 3), number }'
}

modules='part_msdos part_gpt ext2 fat normal configfile loadenv linux test echo search search_label serial terminal sleep'
if [ "$firmware" = uefi ]; then
	table gpt C12A7328-F81F-11D2-BA4B-00A0C93EC93B | sfdisk -q "$new"
	first=gpt
	prefix=/EFI/openEuler
else
	table dos 83 | sfdisk -q "$new"
	first=msdos
	prefix=/
fi
search_of() { # SLOT NUMBER
	if [ "$style" = label ]; then echo "search --no-floppy --set=root --label ROOT-$1"; else echo "set root='hd0,$first$2'"; fi
}
root_of() { # NUMBER
	if [ "$style" = label ]; then echo "PARTUUID=$(partuuid "$1")"; else echo "/dev/vda$1"; fi
}
sed -e "s|@SEARCH_A@|$(search_of A 2)|" -e "s|@SEARCH_B@|$(search_of B 3)|" \
	-e "s|@ROOT_A@|$(root_of 2)|" -e "s|@ROOT_B@|$(root_of 3)|" "$here/grub.cfg" >"$work/grub.cfg"
grub-editenv "$work/grubenv" create
grub-editenv "$work/grubenv" set saved_entry=A

if [ "$firmware" = uefi ]; then
	# shellcheck disable=SC2086 # one word a module
	grub-mkimage -O x86_64-efi -o "$work/boot.efi" -p "$prefix" search_fs_file $modules
	truncate -s "${boot_mib}M" "$work/first"
	mkfs.vfat -F 32 -s 1 -n BOOT "$work/first" >/dev/null
	mmd -i "$work/first" ::/EFI ::/EFI/BOOT ::/EFI/openEuler
	mcopy -i "$work/first" "$work/boot.efi" ::/EFI/BOOT/BOOTX64.EFI
	mcopy -i "$work/first" "$work/grub.cfg" "$work/grubenv" ::/EFI/openEuler/
else
	# What grub-bios-setup does, on a file: boot.img in the MBR beside the partition table; it loads what follows at
	# sector 1, and that the rest from sector 2 on (the values that both are built with).
	# shellcheck disable=SC2086 # one word a module
	grub-mkimage -O i386-pc -o "$work/core.img" -p "(hd0,msdos1)$prefix" biosdisk $modules
	[ "$(stat -c %s "$work/core.img")" -lt $((2047 * 512)) ]
	dd if=/usr/lib/grub/i386-pc/boot.img of="$new" bs=440 count=1 conv=notrunc status=none
	dd if="$work/core.img" of="$new" bs=512 seek=1 conv=notrunc status=none
	cp "$work/grub.cfg" "$work/grubenv" "$work/boot/"
	truncate -s "${boot_mib}M" "$work/first"
	mkfs.ext4 -q -F -L GRUB2 -E root_owner=0:0 -d "$work/boot" "$work/first"
fi
put "$work/first" 1
put "$slot_a" $((1 + boot_mib))
truncate -s "${slot_mib}M" "$work/empty"
mkfs.ext4 -q -F -L ROOT-B "$work/empty"
put "$work/empty" $((1 + boot_mib + slot_mib))
mkdir -p "$work/persist/etc" "$work/persist/etcwork" "$work/persist/var/log" "$work/persist/var/empty"
cp -r "$keys/." "$work/persist/etc/"
echo "$name" >"$work/persist/etc/hostname"
chmod 600 "$work"/persist/etc/ssh/*
ln -s /run "$work/persist/var/run"
[ -z "$opt" ] || cp -r "$opt" "$work/persist/opt"
truncate -s "${persist_mib}M" "$work/fourth"
mkfs.ext4 -q -F -L PERSIST -m 0 -E root_owner=0:0 -d "$work/persist" "$work/fourth"
put "$work/fourth" $((1 + boot_mib + 2 * slot_mib))
mv "$new" "$out"
rm -rf "$work"
