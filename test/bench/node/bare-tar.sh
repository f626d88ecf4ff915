#!/bin/sh
# A rootfs tar on the slot by bare commands, with what kubeos promises of it: hashed before the slot changes, attributes
# kept, forced to the disk, compared with what is read from there. FILE, SLOT, SEEN and URL are set before.
gentle() {
	nice -n 10 ionice -c 2 -n 7 "$@"
}

gentle curl --silent --fail --output "$FILE" "$URL"
gentle openssl dgst -sha256 -r <"$FILE"
gentle mkfs.ext4 -q -F -L ROOT-B "$SLOT"
mount "$SLOT" "$SEEN"
gentle tar --extract --file="$FILE" --directory="$SEEN" --preserve-permissions --same-owner --numeric-owner \
	--xattrs --xattrs-include='*' --acls
sync -f "$SEEN"
umount "$SEEN"
blockdev --flushbufs "$SLOT"
mount -o ro,noload "$SLOT" "$SEEN"
gentle tar --compare --file="$FILE" --directory="$SEEN" --numeric-owner
umount "$SEEN"
