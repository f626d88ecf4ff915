#!/bin/sh
# What every way of writing a slot shares: the conditions, the order, and the pipe to the device.
# shellcheck disable=SC2034,SC2153,SC2154 # who calls fill_body sets device, flags and room; J_* are the journal's values, R_* go into the record, TARGET is an argument

# Where the pipe to a slot leaves the head of the image.
FILLED_HEAD=/dev/null

need_upgrade() { # the journal leads here, and the running slot is the permanent one
	need_open_journal
	if [ "$J_OPERATION" != upgrade ]; then die out-of-order 'a rollback writes nothing'; fi
	need_layout
	need_env
	need_permanent_active
}

# Otherwise the write would make a slot permanent that nobody proved, and destroy the one that was.
need_permanent_active() {
	permanent=$(permanent_slot)
	if [ "$permanent" != "$ACTIVE" ]; then
		die out-of-order "slot $ACTIVE runs, but GRUB would boot slot $permanent next: prove and commit slot $ACTIVE first"
	fi
}

hold_target() {
	hold_mounts 20 || die busy 'another script looks into the slot'
	need_safe_target "$TARGET"
}

# Before the first byte of the slot changes.
lead_to_active() {
	if [ "$J_PHASE" != started ]; then
		forget_trial
		write_journal started
	fi
	write_env "$ACTIVE" ''
}

mark_dirty() { # KIND BYTES DATA-SHA256: the target slot, for what is recorded of it before its first byte changes
	R_STATE=dirty R_KIND=$1 R_VERSION=$J_VERSION R_SHA256=$J_SHA256 R_BYTES=$2 R_DATA_SHA256=$3
	R_HEAD_SHA256='' R_TREE_SHA256='' R_STREAMED='' R_UUID='' R_WTIME='' R_VERIFIED_AT=''
	write_record "$TARGET"
}

note_head() { # of the image that was read last, for the target slot; what is unpacked has none
	if [ "$R_KIND" = raw ]; then keep_head "$TARGET"; else remove_file "$(kept_head "$TARGET")"; fi
}

need_bootable_head() { # of the file-system image that was read last; it fits the target slot
	need_sound_head
	need_grub_reads "$HEAD" unsupported-image 'the image'
	need_fit "$SB_BYTES" "the image's file system of $SB_BYTES"
}

need_fit() { # BYTES WHAT-NEEDS-THEM
	room=$(slot_bytes "$TARGET")
	if [ "$1" -gt "$room" ]; then die unsafe-target "slot $TARGET has $room bytes, too few for $2"; fi
}

fill_body() { # with all of standard input but its head, and with no more than the slot has room for
	dd bs="$HEAD_BYTES" count=1 iflag=fullblock of="$FILLED_HEAD" 2>"$RUN/dd.err" &&
		gentle dd of="$device" "$flags" seek="$HEAD_BYTES" bs=4M iflag=fullblock \
			count="$(((room - HEAD_BYTES + 4194303) / 4194304))" conv=notrunc,fsync 2>"$RUN/dd.err"
}

noting() { # NAME COMMAND ARGUMENT...
	end=0
	name=$1
	shift
	"$@" || end=$?
	echo "$name $end" >&3
}
