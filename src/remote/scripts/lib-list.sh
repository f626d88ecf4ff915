#!/bin/sh
# What is in a tar, a line a member. Lists lie in /persist, for they grow with the tar, and the node's memory belongs to
# its pods.
# shellcheck disable=SC2153 # LIST is lib.sh's

# shellcheck disable=SC2120 # other parts give it arguments
sorted() { # ARGUMENT...: in little memory, whatever the size; three of them may run at once
	gentle sort -S 4M -T "$STATE" "$@"
}

# Over a plain file as standard input, in which it can jump over what it does not need. In pieces of 256 KiB: by tar's own
# of 10 KiB a slot takes a third longer to be written.
become_tar() { # ARGUMENT...: it takes the place of this shell, so that its pid is known
	become_gentle tar --file=- --blocking-factor=512 "$@"
}

# C's quotes leave no room for doubt: a line break, a blank or an arrow in a name cannot pass for something else.
as_c() { # OVER-TAR ARGUMENT...: what calls a tar; all that this tar says of each member
	"$@" --verbose --verbose --numeric-owner --full-time --quoting-style=c
}

# Otherwise tar shows the targets of hard links as harmless as it would make them.
list_as_c() { # OVER-TAR
	as_c "$1" --list --absolute-names 2>"$RUN/tar.err"
}

# A line a member: its path (without . and doubled slashes), type, mode with owner and size, link target, path as it is
# stored; separated by tabs, of which C's quotes leave none in names.
members() {
	awk '
		function plain(path,   parts, count, i, result) {
			count = split(path, parts, "/")
			result = ""
			for (i = 1; i <= count; i++)
				if (parts[i] != "" && parts[i] != ".") result = result (result == "" ? "" : "/") parts[i]
			return result == "" ? "." : result
		}
		{
			tail = substr($0, index($0, "\""))
			if (!match(tail, /^"([^"\\]|\\.)*"/)) { print "?\t?\t?\t?\t?"; next }
			stored = substr(tail, 2, RLENGTH - 2)
			tail = substr(tail, RLENGTH + 1)
			target = ""
			if (tail ~ /^ -> "/) target = substr(tail, 6, length(tail) - 6)
			else if (tail ~ /^ link to "/) target = substr(tail, 11, length(tail) - 11)
			print plain(stored) "\t" substr($1, 1, 1) "\t" substr($1, 2) " " $2 " " $3 "\t" target "\t" stored
		}'
}

list_tar() { # OVER-TAR: makes LIST, sorted by path; fails where the tar cannot be read
	rm -f -- "$RUN/list.rc" "$RUN/list.of"
	# shellcheck disable=SC2119 # as above
	{ list_as_c "$1" && echo whole >"$RUN/list.rc"; } | members | sorted >"$LIST" ||
		die no-space "the list of the tar's members cannot be written to $LIST"
	[ "$(first_line "$RUN/list.rc")" = whole ]
}

# As long as this boot lasts: nothing has forced it to the disk.
trust_list() { # SHA256-OF-THE-IMAGE, which is proven
	echo "$1" >"$RUN/list.of"
}

is_listed() { # SHA256-OF-THE-IMAGE
	[ "$(first_line "$RUN/list.of")" = "$1" ] && [ -s "$LIST" ]
}
