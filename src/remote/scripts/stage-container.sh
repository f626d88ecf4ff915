#!/bin/sh
# Takes the artifact, /os.tar, out of a container image that the node's own engine pulls; touches no slot. Of the image
# nothing stays in the engine, unless it was there before.

# A pull is tried so often: engines go on with what they have, but only some of them try again by themselves.
MAX_PULLS=3
# Seconds without a sign of life after which a pull is given up, and for a pull in all.
DEFAULT_PATIENCE=600
MOST_SECONDS=7200
MARGIN=$((10 * 1024 * 1024))
STAGING=no

main() {
	read_args 'run token imagetype reference sha256 digest? pinned? patience?' "$@"
	if [ -z "$SHA256" ]; then die bad-call 'stage-container needs a sha256'; fi
	authority
	end_receiver
	begin_long_work
	mkdir -p -- "$UPDATE" || die state "cannot make $UPDATE"
	if ! staged_before; then
		need tar head tail awk df stat sed grep
		engine_home
		choose_engine "$IMAGETYPE"
		if [ -n "$ENGINE_PROBLEM" ]; then die "$ENGINE_GAP" "$ENGINE_PROBLEM"; fi
		take_artifact
	fi
	need_decompressor
	out bytes "$ARTIFACT_BYTES"
	out digest "$ARTIFACT_DIGEST"
}

# Only the record tells which image a file came from. What other nodes of this run got counts more than a tag's promise.
staged_before() {
	read_artifact
	if [ "$ARTIFACT_SHA256" = "$SHA256" ] && [ -n "$ARTIFACT_DIGEST" ] && one_of "$PINNED" '' "$ARTIFACT_DIGEST"; then
		return 0
	fi
	remove_file "$STATE/artifact"
	remove_file "$STATE/part"
	remove_file "$IMAGE"
	remove_file "$IMAGE.part"
	return 1
}

take_artifact() {
	sweep_engine "$REFERENCE"
	before=$NOTED_BEFORE
	if [ "$NOTED_REFERENCE" != "$REFERENCE" ]; then
		before=no
		if has_image; then before=yes; fi
	fi
	note_engine "$before"
	STAGING=yes
	trap 'leave_engine || :; clean_up' EXIT
	pull_image
	need_digest
	case $ENGINE in
	docker) take_from_docker ;;
	*) take_from_mount ;;
	esac
	bytes=$(file_bytes "$IMAGE.part")
	if [ "$bytes" -ne "$SIZE" ]; then die download-failed "of the $SIZE bytes of /os.tar $bytes came"; fi
	sum_part
	leave_engine
	keep_artifact "$SUM"
}

leave_engine() { # however it ended
	if [ "$STAGING" = no ]; then return 0; fi
	STAGING=no
	# It is noted what is left there; the next stage sees to it.
	if ! engine_answers; then return 0; fi
	sweep_temporary
	if [ "$before" = no ] && has_image && ! remove_image; then
		say "the image $REFERENCE is still in $ENGINE: $(quoted <"$RUN/engine.err")"
		return 0
	fi
	rm -f -- "$STATE/engine"
}

keep_artifact() { # SHA256-OF-OS-TAR
	end_long_work
	name_artifact
	if [ -z "$DIGEST" ]; then note_tag; fi
	write_artifact_record "$SHA256" "$1" "$IMAGE_DIGEST"
	# shellcheck disable=SC2034 # main answers it
	ARTIFACT_DIGEST=$IMAGE_DIGEST
	log "artifact of $ARTIFACT_BYTES bytes staged from $REFERENCE, image sha256:$IMAGE_DIGEST, SHA-256 $1"
}

# What such an image is called by is no digest of anything: whoever looks at a slot's record later is told its name.
note_tag() {
	known=$(grep -s -v "^$SHA256 " "$STATE/tags" | tail -n 7)
	put_file "$STATE/tags" "${known:+$known
}$SHA256 $REFERENCE
"
}

# ------------------------------------------------------------------------------------------------------------ pull

pull_image() {
	store=$(engine_store) || store=''
	tries=1
	until pull_once; do
		if [ -e "$RUN/pull.stalled" ] || [ "$tries" -ge "$MAX_PULLS" ]; then pull_failed; fi
		say "$ENGINE pull $REFERENCE: $(quoted <"$RUN/pull.err"); again"
		sleep "$tries"
		tries=$((tries + 1))
	done
}

pull_once() {
	rm -f -- "$RUN/pull.stalled" "$RUN/pull.lowest"
	: >"$RUN/pull.out"
	engine_pull </dev/null >"$RUN/pull.out" 2>"$RUN/pull.err" &
	pull=$!
	watch_pull "$pull" </dev/null >/dev/null 2>&1 &
	watch=$!
	ended=0
	wait "$pull" || ended=$?
	kill "$watch" 2>/dev/null || :
	# Some shells say that it was ended.
	{ wait "$watch" || :; } 2>/dev/null
	return "$ended"
}

# An engine waits for a silent registry for as long as the connection stands.
watch_pull() { # PID
	quiet=0 seconds=0 last='' lowest=''
	while kill -0 "$1"; do
		sleep 1
		seconds=$((seconds + 1))
		sign=$(pull_sign) || :
		if [ "$sign" = "$last" ]; then quiet=$((quiet + 1)); else quiet=0; fi
		last=$sign
		if [ "$quiet" -ge "${PATIENCE:-$DEFAULT_PATIENCE}" ] || [ "$seconds" -ge "$MOST_SECONDS" ]; then
			echo "$quiet" >"$RUN/pull.stalled"
			kill "$1"
			return 0
		fi
		note_lowest
	done
}

note_lowest() {
	if [ -z "$store" ]; then return 0; fi
	free=$(store_free "$store")
	if [ -n "$free" ] && { [ -z "$lowest" ] || [ "$free" -lt "$lowest" ]; }; then
		lowest=$free
		echo "$lowest" >"$RUN/pull.lowest"
	fi
}

# What grows while an image arrives: docker's downloads lie in its tmp until they are whole, containerd lists its own.
pull_sign() {
	case $ENGINE in
	docker)
		file_bytes "$RUN/pull.out"
		if has du && [ -d "$store/tmp" ]; then du -s -k -- "$store/tmp"; else store_free "$store"; fi
		;;
	*) in_k8s content active | awk '{ print $1, $2 }' ;;
	esac
}

pull_failed() {
	if [ -e "$RUN/pull.stalled" ]; then
		die download-failed "$ENGINE pull $REFERENCE: given up, nothing came for $(first_line "$RUN/pull.stalled") s"
	fi
	lowest=$(first_line "$RUN/pull.lowest")
	note_lowest
	if is_number "$lowest" && [ "$lowest" -lt "$MARGIN" ]; then
		die no-space "$store, where $ENGINE keeps images, is full: $lowest bytes were free"
	fi
	said=$(quoted <"$RUN/pull.err")
	puller=$ENGINE
	choose_engine "$IMAGETYPE"
	ENGINE=$puller
	if [ -n "$ENGINE_PROBLEM" ]; then die download-failed "while it pulled $REFERENCE: $ENGINE_PROBLEM"; fi
	die download-failed "$ENGINE pull $REFERENCE: $said"
}

# --------------------------------------------------------------------------------------------------------- digest

need_digest() { # sets IMAGE_DIGEST
	digests=$(engine_digests)
	IMAGE_DIGEST=${digests%%
*}
	if [ -z "$IMAGE_DIGEST" ]; then
		die download-failed "$ENGINE pulled $REFERENCE, but does not name its digest; do crictl and ctr ask the same containerd?"
	fi
	wanted=${DIGEST:-$PINNED}
	for found in $digests; do
		if [ "$found" = "$wanted" ]; then IMAGE_DIGEST=$found; fi
	done
	if [ -z "$wanted" ] || [ "$IMAGE_DIGEST" = "$wanted" ]; then return 0; fi
	if [ -z "$DIGEST" ]; then
		die checksum-mismatch "$REFERENCE is sha256:$IMAGE_DIGEST here, but sha256:$PINNED on a node before: the tag was moved"
	fi
	why='a checksum that a disk image left in the spec would not fit either'
	if [ "$ENGINE" = docker ] && [ "$(image_id)" = "sha256:$DIGEST" ]; then why="that is the image's ID, not its digest"; fi
	die checksum-mismatch "the digest of $REFERENCE is sha256:$IMAGE_DIGEST, the spec's checksum says $DIGEST: $why"
}

# -------------------------------------------------------------------------------------------------------- /os.tar

need_room() { # sets SIZE from its argument
	SIZE=$1
	if ! is_number "$SIZE" || [ "$SIZE" -eq 0 ]; then die unsupported-image "/os.tar in $REFERENCE is empty"; fi
	note_total "$SIZE"
	free=$(free_bytes) || die state 'the free space of /persist cannot be read'
	if [ "$free" -lt "$((SIZE + MARGIN))" ]; then
		die no-space "/persist has $free bytes free, the image's /os.tar and a margin need $((SIZE + MARGIN))"
	fi
}

refuse_os_tar() { # WHAT-IT-IS
	die unsupported-image "/os.tar in $REFERENCE is $1, not a plain file"
}

# The container is made of the image's ID, which no pull can move, and is never started. Its command is only there because
# docker wants one.
take_from_docker() {
	id=$(image_id) || die download-failed "docker has lost $REFERENCE again"
	container=$(in_time docker create --label "$ENGINE_LABEL=$RUN_ID" --network none -- "$id" /os.tar 2>"$RUN/engine.err") ||
		die download-failed "docker create of $REFERENCE: $(quoted <"$RUN/engine.err")"
	# A member's first line tells its type and size; the archive is cut off behind it, which tar says too.
	docker cp "$container:/os.tar" - 2>"$RUN/engine.err" | head -c 65536 >"$RUN/os.tar.head"
	if [ ! -s "$RUN/os.tar.head" ]; then
		engine_version docker >/dev/null 2>&1 || die download-failed "docker does not answer: $(quoted <"$RUN/engine.err")"
		say "docker cp: $(quoted <"$RUN/engine.err")"
		die unsupported-image "there is no /os.tar in $REFERENCE"
	fi
	member=$(tar -tvf "$RUN/os.tar.head" 2>/dev/null | head -n 1)
	case $member in
	-*) ;;
	d*) refuse_os_tar 'a folder' ;;
	l*) refuse_os_tar 'a link' ;;
	*) refuse_os_tar 'something else' ;;
	esac
	need_room "$(printf '%s\n' "$member" | awk '{ print $3 }')"
	rm -f -- "$RUN/cp.rc"
	{
		rc=0
		docker cp "$container:/os.tar" - 2>"$RUN/engine.err" || rc=$?
		echo "$rc" >"$RUN/cp.rc"
	} | gentle tar -xOf - >"$IMAGE.part" 2>"$RUN/tar.err" || die_copying "$(quoted <"$RUN/tar.err")"
	if [ "$(first_line "$RUN/cp.rc")" != 0 ]; then die_copying "$(quoted <"$RUN/engine.err")"; fi
}

take_from_mount() {
	mkdir -p -- "$ENGINE_MOUNT"
	in_k8s images mount --rw=false "$(full_reference)" "$ENGINE_MOUNT" >/dev/null 2>"$RUN/engine.err" ||
		die download-failed "ctr cannot mount $REFERENCE: $(quoted <"$RUN/engine.err")"
	file=$ENGINE_MOUNT/os.tar
	if [ -L "$file" ]; then refuse_os_tar 'a link'; fi
	if [ ! -e "$file" ]; then die unsupported-image "there is no /os.tar in $REFERENCE"; fi
	if [ -d "$file" ]; then refuse_os_tar 'a folder'; fi
	if [ ! -f "$file" ]; then refuse_os_tar 'something else'; fi
	need_room "$(file_bytes "$file")"
	gentle cat <"$file" >"$IMAGE.part" 2>"$RUN/tar.err" || die_copying "$(quoted <"$RUN/tar.err")"
}

die_copying() { # WORDS
	if [ "$(free_bytes)" -lt "$MARGIN" ]; then die no-space '/persist is full'; fi
	die download-failed "copying /os.tar out of $REFERENCE: $1"
}
