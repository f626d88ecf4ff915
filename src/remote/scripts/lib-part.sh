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

part_bytes() {
	file_bytes "$IMAGE.part"
}

# The disk writes while the processor hashes. What was listed of another part, that one may have had the same name as.
sum_part() { # [COMMAND], run once the digest is in part.sum: sets SUM, the SHA-256 of the part, which is on the disk then
	rm -f -- "$RUN/list.of"
	{ sha256_of_input <"$IMAGE.part" >"$RUN/part.sum" && "${1:-true}"; } &
	hashing=$!
	flushed=no
	if end_flushing && sync_path "$IMAGE.part"; then flushed=yes; fi
	wait "$hashing" || die state "cannot read $IMAGE.part"
	if [ "$flushed" = no ]; then part_not_flushed; fi
	SUM=$(first_line "$RUN/part.sum")
}

# It stands in memory as it came: who looks at it later would take it for what is on the disk.
part_not_flushed() {
	rm -f -- "$IMAGE.part"
	die state "cannot force $IMAGE.part to the disk"
}

# A connection that is gone may have left its receiver behind, which would go on to write what it still gets.
end_receiver() {
	pid='' started=''
	if [ -r "$RUN/receiver" ]; then IFS=' ' read -r pid started <"$RUN/receiver" || :; fi
	if is_number "$pid" && now=$(start_time "$pid") && [ "$now" = "$started" ]; then kill -s KILL "$pid" 2>/dev/null || :; fi
	rm -f -- "$RUN/receiver"
}
