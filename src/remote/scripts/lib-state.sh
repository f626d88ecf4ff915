#!/bin/sh
# What the node remembers: the highest lock token, the journal, a record for each slot, the artifact.
# shellcheck disable=SC2034 # the steps' files read what is set here

# Every script that changes something begins here: it holds the node's lock until it ends or lets go of it, and it
# refuses a token older than one that the node has seen.
authority() {
	CHANGING=yes
	need flock dd mv rm mkdir sync tr od date stat
	for folder in "$STATE" "$RUN"; do
		mkdir -p -- "$folder" 2>/dev/null || die state "cannot make $folder"
	done
	take_lock
	check_token
	keep_token
}

# Where /persist takes no note, a trial must still be led back: then the token counts for the boot that ends with it.
keep_token() {
	if [ "$TOKEN" -le "$(token_in "$STATE/token")" ] || can_note put_file "$STATE/token" "$TOKEN"; then return 0; fi
	read_journal
	if ! booted_since_armed; then die state "$NOT_NOTED"; fi
	log "the token $TOKEN counts for this boot alone: $NOT_NOTED"
	put_file "$RUN/token" "$TOKEN"
}

# For what nothing may hang on: /persist may be full, or have turned read-only.
can_note() { # COMMAND ARGUMENT...: fails where it cannot, and NOT_NOTED says why
	NOT_NOTED=$(CHANGING=no && "$@" 2>&1)
}

# Opened for reading, so that a node whose /persist has turned read-only can still be sent back.
take_lock() {
	if [ ! -e "$STATE/lock" ]; then true 2>/dev/null >>"$STATE/lock" || die state "cannot write in $STATE"; fi
	if [ ! -r "$STATE/lock" ]; then die state "cannot read $STATE/lock"; fi
	exec 9<"$STATE/lock"
	flock -w 20 9 || die busy 'another script has held the lock of this node for 20 s'
}

let_go_of_lock() {
	exec 9>&-
}

check_token() {
	SEEN_TOKEN=$(seen_token)
	is_number "$SEEN_TOKEN" || die state "$STATE/token is not a number: it cannot be told who may change this node"
	if [ "$TOKEN" -lt "$SEEN_TOKEN" ]; then
		die stale-token "this run's lock token is $TOKEN, but the node has seen $SEEN_TOKEN: a newer run took over"
	fi
}

seen_token() { # the higher one of what /persist keeps and of what counts for this boot alone
	kept=$(token_in "$STATE/token")
	now=$(token_in "$RUN/token")
	if is_number "$kept" && is_number "$now" && [ "$now" -gt "$kept" ]; then echo "$now"; else echo "$kept"; fi
}

token_in() { # FILE
	if [ -e "$1" ]; then first_line "$1"; else echo 0; fi
}

# A long step lets others read and decide meanwhile. Its own lock is inherited by what it starts, so that not even a
# left-over dd can be doubled.
begin_long_work() {
	exec 8>>"$RUN/work.lock"
	flock -w 10 8 || die busy 'another long step still runs on this node'
	let_go_of_lock
}

# Before a long step records its result, it asks again whether it still may.
end_long_work() {
	take_lock
	check_token
}

# The script whose connection broke may have gigabytes to bring to the disk before its slot is unmounted, or wait for a disk
# that hangs. kubeos waits; others need not.
await_older() {
	let_go_of_lock
	exec 8>>"$RUN/work.lock"
	flock -w 120 8 || die busy 'another long step has not ended on this node for 120 s'
	exec 8>&-
	end_long_work
}

# -------------------------------------------------------------------------------------------------------- journal

read_journal() { # sets J_*; J_PHASE stays empty where there is no journal, J_PROBLEM says why it cannot be read
	J_RUN='' J_TOKEN='' J_OPERATION='' J_VERSION='' J_REPLACED='' J_SHA256='' J_FROM='' J_TARGET='' J_PHASE=''
	J_ARMED='' J_PROVEN='' J_REASON='' J_UPDATED='' J_PROBLEM=''
	if [ ! -e "$STATE/journal" ]; then return 0; fi
	if [ ! -r "$STATE/journal" ]; then
		J_PROBLEM="$STATE/journal cannot be read"
		return 0
	fi
	while IFS= read -r line || [ -n "$line" ]; do
		value=${line#*=}
		case $line in
		run=*) J_RUN=$value ;;
		token=*) J_TOKEN=$value ;;
		operation=*) J_OPERATION=$value ;;
		version=*) J_VERSION=$value ;;
		replaced=*) J_REPLACED=$value ;;
		sha256=*) J_SHA256=$value ;;
		from=*) J_FROM=$value ;;
		target=*) J_TARGET=$value ;;
		phase=*) J_PHASE=$value ;;
		armed_boot_id=*) J_ARMED=$value ;;
		proven_boot_id=*) J_PROVEN=$value ;;
		reason=*) J_REASON=$value ;;
		updated_at=*) J_UPDATED=$value ;;
		*) J_PROBLEM="$STATE/journal has a line that is not understood" ;;
		esac
	done <"$STATE/journal"
	if ! { one_of "$J_PHASE" started verified armed proven committed fell-back aborted && one_of "$J_TARGET" A B &&
		one_of "$J_FROM" A B && one_of "$J_OPERATION" upgrade rollback && is_number "$J_UPDATED"; }; then
		J_PROBLEM="$STATE/journal is not whole"
		J_PHASE=''
	fi
}

load_journal() {
	read_journal
	if [ -n "$J_PROBLEM" ]; then die state "$J_PROBLEM"; fi
	if [ -z "$J_PHASE" ]; then die out-of-order 'this node has no journal: a run must begin first'; fi
}

journal_text() {
	printf '%s=%s\n' run "$J_RUN" token "$J_TOKEN" operation "$J_OPERATION" version "$J_VERSION" \
		replaced "$J_REPLACED" sha256 "$J_SHA256" from "$J_FROM" target "$J_TARGET" phase "$J_PHASE" \
		armed_boot_id "$J_ARMED" proven_boot_id "$J_PROVEN" reason "$J_REASON" updated_at "$J_UPDATED"
}

write_journal() { # PHASE
	J_PHASE=$1
	J_RUN=$RUN_ID
	J_TOKEN=$TOKEN
	J_UPDATED=$(date +%s)
	put_file "$STATE/journal" "$(journal_text)
"
}

# This boot is the trial, or what came after it.
booted_since_armed() { # for who has read the journal; aborted: its own timer sends it back at this moment
	one_of "$J_PHASE" verified armed proven aborted && [ -n "$J_ARMED" ] && [ "$J_ARMED" != "$(boot_id)" ]
}

forget_trial() {
	J_ARMED='' J_PROVEN=''
}

is_final() { # PHASE
	one_of "$1" committed fell-back aborted
}

# The journal must lead to this slot and still be open.
need_open_journal() {
	load_journal
	if is_final "$J_PHASE"; then die out-of-order "the journal is closed ($J_PHASE): a run must begin first"; fi
	# shellcheck disable=SC2153 # TARGET is an argument
	if [ "$J_TARGET" != "$TARGET" ]; then
		die out-of-order "the journal leads to slot $J_TARGET, not to slot $TARGET"
	fi
}

# --------------------------------------------------------------------------------------------------- slot records

read_record() { # SLOT: sets R_*; R_STATE stays empty where there is no record, or none that can be trusted
	R_STATE='' R_KIND='' R_VERSION='' R_SHA256='' R_BYTES='' R_DATA_SHA256='' R_HEAD_SHA256='' R_TREE_SHA256=''
	R_STREAMED='' R_UUID='' R_WTIME='' R_VERIFIED_AT=''
	if [ ! -r "$STATE/slot-$1" ]; then return 0; fi
	while IFS= read -r line || [ -n "$line" ]; do
		value=${line#*=}
		case $line in
		state=*) R_STATE=$value ;;
		kind=*) R_KIND=$value ;;
		version=*) R_VERSION=$value ;;
		sha256=*) R_SHA256=$value ;;
		bytes=*) R_BYTES=$value ;;
		data_sha256=*) R_DATA_SHA256=$value ;;
		head_sha256=*) R_HEAD_SHA256=$value ;;
		tree_sha256=*) R_TREE_SHA256=$value ;;
		streamed=*) R_STREAMED=$value ;;
		uuid=*) R_UUID=$value ;;
		wtime=*) R_WTIME=$value ;;
		verified_at=*) R_VERIFIED_AT=$value ;;
		esac
	done <"$STATE/slot-$1"
	if ! one_of "$R_STATE" dirty verified; then R_STATE=''; fi
	if ! is_number "$R_BYTES"; then R_BYTES=''; fi
	# Records of older runs: a slot was the artifact, byte for byte.
	if [ -z "$R_KIND" ]; then R_KIND=raw R_DATA_SHA256=$R_SHA256; fi
}

write_record() { # SLOT; from R_*
	put_file "$STATE/slot-$1" "$(printf '%s=%s\n' state "$R_STATE" kind "$R_KIND" version "$R_VERSION" sha256 "$R_SHA256" \
		bytes "$R_BYTES" data_sha256 "$R_DATA_SHA256" head_sha256 "$R_HEAD_SHA256" tree_sha256 "$R_TREE_SHA256" \
		streamed "$R_STREAMED" \
		uuid "$R_UUID" wtime "$R_WTIME" verified_at "$R_VERIFIED_AT")
"
}

# A slot that anyone wrote to since has another superblock write time.
record_holds() { # of the slot whose record and superblock were read last
	[ "$R_STATE" = verified ] && [ -n "$R_UUID" ] && [ "$R_UUID" = "$SB_UUID" ] && [ "$R_WTIME" = "$SB_WTIME" ]
}

is_streamed() { # SLOT whose record was read last: all of an image is in it, and still to be verified
	[ "$R_STATE:$R_STREAMED" = dirty:yes ] && is_number "$R_BYTES" && is_sha256 "$R_DATA_SHA256" || return 1
	if [ "$R_KIND" = tar ]; then [ "$(first_line "$RUN/list.of")" = "$R_SHA256" ]; else [ -s "$STATE/head-$1" ]; fi
}

failed_before() { # SHA256: this image failed its trial here
	if [ -z "$1" ] || [ ! -r "$STATE/failed" ]; then return 1; fi
	while IFS= read -r line || [ -n "$line" ]; do
		case $line in "$1 "*) return 0 ;; esac
	done <"$STATE/failed"
	return 1
}

# ------------------------------------------------------------------------------------------------------- artifact

# An artifact of a container image has three digests: what the run calls it by, its own, and the image's.
read_artifact() { # sets ARTIFACT_SHA256, _BYTES, _DATA_SHA256, _DIGEST of a whole, verified artifact; empty where there is none
	ARTIFACT_SHA256='' ARTIFACT_BYTES='' ARTIFACT_DATA_SHA256='' ARTIFACT_DIGEST=''
	if [ ! -r "$STATE/artifact" ] || [ ! -f "$IMAGE" ]; then return 0; fi
	sha256='' bytes='' mtime='' data='' digest=''
	# A run that commits may take both files away between two looks.
	{
		while IFS= read -r line || [ -n "$line" ]; do
			case $line in
			sha256=*) sha256=${line#*=} ;;
			bytes=*) bytes=${line#*=} ;;
			mtime=*) mtime=${line#*=} ;;
			data_sha256=*) data=${line#*=} ;;
			digest=*) digest=${line#*=} ;;
			esac
		done <"$STATE/artifact"
	} 2>/dev/null || return 0
	if [ "$(file_facts "$IMAGE" 2>/dev/null)" != "$bytes $mtime" ]; then return 0; fi
	ARTIFACT_SHA256=$sha256
	ARTIFACT_BYTES=$bytes
	ARTIFACT_DATA_SHA256=${data:-$sha256}
	ARTIFACT_DIGEST=$digest
}

name_artifact() { # of a part that is whole and flushed: what has the name is on the disk
	mv -f -- "$IMAGE.part" "$IMAGE" || die state "cannot rename $IMAGE.part"
	sync_path "$UPDATE" || die state "cannot force $IMAGE to the disk"
}

# Who records an artifact has just hashed it.
write_artifact_record() { # SHA256 [ITS-OWN-SHA256 DIGEST-OF-THE-CONTAINER-IMAGE]
	image_state >"$RUN/hashed" || die state "cannot read $IMAGE"
	facts=$(file_facts "$IMAGE") || die state "cannot read $IMAGE"
	put_file "$STATE/artifact" "$(
		printf '%s=%s\n' sha256 "$1" bytes "${facts% *}" mtime "${facts#* }"
		if [ $# -gt 1 ]; then printf '%s=%s\n' data_sha256 "$2" digest "$3"; fi
	)
"
	ARTIFACT_BYTES=${facts% *}
}

image_state() { # the time of its last change (%z) is the kernel's own: nobody sets it
	stat -c '%i %s %z' -- "$IMAGE"
}

# Nobody wrote to it since, in this boot.
is_as_hashed() {
	[ -s "$RUN/hashed" ] && [ "$(image_state)" = "$(first_line "$RUN/hashed")" ]
}
