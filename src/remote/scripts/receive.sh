#!/bin/sh
# Takes the image as kubeos sends it, behind this very script on the same channel, from where an earlier sending broke
# off. It is kept as a part: stage verifies it. kubeos sends nothing before it has read `ready`.
main() {
	read_args 'run token sha256 bytes data?' "$@"
	if [ -z "$SHA256" ]; then die bad-call 'receive needs a sha256'; fi
	authority
	need cat stat df awk kill
	end_receiver
	# One that fetches this image by itself would write into the same file.
	if [ "$(first_line "$JOB/step")" = stage ] && [ ! -e "$JOB/rc" ]; then end_job; fi
	await_older
	begin_long_work
	read_artifact
	if is_staged; then
		out offset "$BYTES"
		return 0
	fi
	mkdir -p -- "$UPDATE" || die state "cannot make $UPDATE"
	SIZE=$BYTES
	make_room
	drop_foreign_part
	check_space
	offset=$(file_bytes "$IMAGE.part")
	out offset "$offset"
	if [ "$offset" -lt "$SIZE" ]; then take_rest; fi
}

# An artifact without its record: a run was killed as it gave it its name, or it is of another image.
make_room() {
	if [ ! -f "$IMAGE" ]; then return 0; fi
	if [ "$(first_line "$STATE/part")" = "$(arriving)" ]; then
		mv -f -- "$IMAGE" "$IMAGE.part" || die state "cannot rename $IMAGE"
	else
		remove_file "$STATE/artifact"
		remove_file "$IMAGE"
	fi
}

take_rest() {
	out ready yes
	become_gentle cat <&3 >>"$IMAGE.part" 2>"$RUN/receive.err" &
	receiver=$!
	printf '%s %s\n' "$receiver" "$(start_time "$receiver")" >"$RUN/receiver"
	flush_as_it_comes part_bytes "$IMAGE.part"
	received=0
	wait "$receiver" || received=$?
	rm -f -- "$RUN/receiver"
	end_flushing || part_not_flushed
	if [ "$received" -eq 0 ]; then return 0; fi
	if [ "$(free_bytes)" -lt "$MARGIN" ]; then die no-space '/persist is full'; fi
	die state "what kubeos sends cannot be written: $(first_line "$RUN/receive.err")"
}
