#!/bin/sh
# What is there of an image that has not arrived whole, and who else may be writing it.
# shellcheck disable=SC2034 # the steps' files read what is set here

MARGIN=$((10 * 1024 * 1024))

# What arrives: where kubeos decompresses the image, that is not what the spec names.
arriving() {
	echo "${DATA:-$SHA256}"
}

# What was left of another image would be resumed into nonsense. SIZE is that of the image.
drop_foreign_part() {
	if [ "$(first_line "$STATE/part")" != "$(arriving)" ] || [ "$(file_bytes "$IMAGE.part")" -gt "$SIZE" ]; then
		remove_file "$IMAGE.part"
		put_file "$STATE/part" "$(arriving)"
	fi
}

check_space() {
	free=$(free_bytes) || die state 'the free space of /persist cannot be read'
	needed=$((SIZE - $(file_bytes "$IMAGE.part") + MARGIN))
	if [ "$free" -lt "$needed" ]; then
		die no-space "/persist has $free bytes free, the image and a margin need $needed"
	fi
}

# What is flushed only at the end makes the step wait for the disk, and etcd beside it feel a burst.
flush_as_it_comes() { # sets FLUSHER, which ends with this script at the latest
	(
		exec 3<&- 7>&- 8>&- 9>&-
		while sleep 1 && kill -0 "$$" 2>/dev/null; do gentle sync "$IMAGE.part"; done
	) </dev/null >/dev/null 2>&1 &
	FLUSHER=$!
}

# By KILL, since a shell that was just forked may still have the traps of this one, and lose any other signal.
end_flushing() {
	kill -s KILL "$FLUSHER" 2>/dev/null || :
	wait "$FLUSHER" 2>/dev/null || :
}

# A connection that is gone may have left its receiver behind, which would go on to write what it still gets.
end_receiver() {
	pid='' started=''
	if [ -r "$RUN/receiver" ]; then IFS=' ' read -r pid started <"$RUN/receiver" || :; fi
	if is_number "$pid" && now=$(start_time "$pid") && [ "$now" = "$started" ]; then kill -s KILL "$pid" 2>/dev/null || :; fi
	rm -f -- "$RUN/receiver"
}
