#!/bin/sh
# What is forced to the disk only at the end makes a step wait for it, and etcd beside it feel a burst: so it goes there
# while the step goes on. Where sync takes no path it would be all that the node has, and nothing is done.

# That much more each time: a slow network costs no more flushes than a fast one.
FLUSH_BYTES=$((32 * 1024 * 1024))

FLUSHER=''

flush_as_it_comes() { # PROGRESS [-f] PATH: a command that tells how many bytes came; -f takes the file system of the path
	: >"$RUN/flushing"
	(
		exec 3<&- 8>&- 9>&-
		if sync_takes_paths; then flush_by "$@"; fi
	) </dev/null >/dev/null 2>&1 &
	FLUSHER=$!
}

# Two at once: while the disk empties its own cache for one, the other brings it more.
flush_by() { # as above; ends with this script at the latest
	progress=$1
	shift
	flushed=0 older='' newer=''
	while [ -e "$RUN/flushing" ] && kill -0 "$$"; do
		came=$("$progress") || came=''
		if [ "${came:-0}" -lt "$flushed" ]; then flushed=0; fi
		if [ "${came:-0}" -ge "$((flushed + FLUSH_BYTES))" ]; then
			if [ -n "$older" ]; then wait "$older" || return 1; fi
			older=$newer
			# What was thrown away meanwhile needs none.
			{ gentle sync "$@" || [ "$("$progress")" = 0 ]; } &
			newer=$!
			flushed=$came
		fi
		sleep 0.1 || break
	done
	for flush in $older $newer; do
		wait "$flush" || return 1
	done
}

# An error of the disk is told once: a later sync would hear nothing of it.
end_flushing() { # fails where the disk did not take all
	if [ -z "$FLUSHER" ]; then return 0; fi
	rm -f -- "$RUN/flushing"
	flusher=$FLUSHER
	FLUSHER=''
	wait "$flusher"
}
