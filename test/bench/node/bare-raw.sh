#!/bin/sh
# A raw image on the slot by bare commands, with what kubeos promises of it: hashed before the slot changes, forced to
# the disk, read back from there. FILE, SLOT, URL and BYTES are set before.
gentle() {
	nice -n 10 ionice -c 2 -n 7 "$@"
}

gentle curl --silent --fail --output "$FILE" "$URL"
gentle openssl dgst -sha256 -r <"$FILE"
gentle dd if="$FILE" of="$SLOT" bs=4M oflag=direct conv=notrunc,fsync
blockdev --flushbufs "$SLOT"
gentle dd if="$SLOT" bs=4M iflag=direct count="$((BYTES / 4194304))" | gentle openssl dgst -sha256 -r
