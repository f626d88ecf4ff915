#!/bin/sh
# A rootfs tar: whether it would leave the slot, how it gets there, and how that is proven.
# shellcheck disable=SC2034,SC2153 # the steps' files read what is set here; LIST is lib.sh's

over_tar() { # ARGUMENT...: GNU tar over the decompressed image; fails where one of the two does
	# What arrives is decompressed on its way here.
	if [ "$IMAGE" = - ]; then
		gentle tar --file=- "$@"
		return
	fi
	note_total "$ARTIFACT_BYTES"
	if [ "$COMPRESSION" = none ]; then
		rm -f -- "$RUN/decompress.err"
		become_tar "$@" <"$IMAGE" &
		note_dd "$!" 0
		wait "$!"
		return
	fi
	decompress_for_tar | gentle tar --file=- "$@" || return
	[ "$(first_line "$RUN/decompress.rc")" = 0 ]
}

over_tar_at_rate() { # ARGUMENT...
	note_total "$ARTIFACT_BYTES"
	decompress_for_tar | keep_to_rate | gentle tar --file=- "$@" || return
	[ "$(first_line "$RUN/decompress.rc")" = 0 ]
}

decompress_for_tar() {
	rm -f -- "$RUN/decompress.rc"
	decompress <"$IMAGE" 2>"$RUN/decompress.err" &
	note_dd "$!" 0
	rc=0
	wait "$!" || rc=$?
	echo "$rc" >"$RUN/decompress.rc"
}

tar_words() { # FILE: what tar said there, and the decompressor, last, on one line
	cat "$RUN/decompress.err" "$1" 2>/dev/null | tail -n 3 | tr '\n' ' '
}

# ------------------------------------------------------------------------------------------------------------- check

# Before the slot changes: what would leave it, what cannot be verified, what cannot boot.
check_tar() { # for who has listed it
	judge_members "$LIST" >"$RUN/tar.judged"
	problem=$(sed -n 's/^problem //p' "$RUN/tar.judged" | head -n 1)
	if [ -n "$problem" ]; then die unsupported-image "the tar is refused: $problem"; fi
	check_tar_version "$(sed -n 's/^release //p' "$RUN/tar.judged")"
}

# awk's part that both readers of a list share: its first pass over the list learns the links. Links are followed as the
# kernel would once all is unpacked, in whatever order the members come.
# shellcheck disable=SC2016 # it is for awk
FOLLOW='
	# Where a path ends up. LEFT tells whether the way there left the root; an absolute link starts there anew.
	function follow(path,   done, cut, part, hops) {
		done = ""; left = 0; hops = 0
		while (path != "") {
			cut = index(path, "/")
			part = cut ? substr(path, 1, cut - 1) : path
			path = cut ? substr(path, cut + 1) : ""
			if (part == "" || part == ".") continue
			if (part == "..") {
				if (done == "") left = 1
				sub(/(^|\/)[^\/]*$/, "", done)
				continue
			}
			part = done == "" ? part : done "/" part
			if (!(part in link)) { done = part; continue }
			if (++hops > 40) { left = 1; return "" }
			if (link[part] ~ /^\//) { left = 1; done = "" }
			path = link[part] "/" path
		}
		return done
	}
	# Where a member is put: the way to its folder is followed, its own name is not. Sets STRAYS as follow sets LEFT.
	function place(path,   folder, name) {
		folder = path
		strays = 0
		if (!sub(/\/[^\/]*$/, "", folder)) return path
		name = substr(path, length(folder) + 2)
		if (!(folder in way)) { way[folder] = follow(folder); out[folder] = left }
		strays = out[folder]
		return way[folder] == "" ? name : way[folder] "/" name
	}
	NR == FNR { if ($2 == "l") link[$1] = $4; next }
'

# For who has read the superblock of a root.
judge_members() { # LIST: a line each, `problem TEXT`, `members COUNT`, `release PATH-AS-STORED`
	awk -F '\t' -v tools="$(needed_tools)" -v folders="$TOOL_FOLDERS" -v why="$WHY_NEEDED" "$FOLLOW"'
		function refuse(text) { print "problem " text; refused = 1; exit }
		function climbs(path) { return ("/" path "/") ~ /\/\.\.\// }
		function stray(path) { place(path); return strays }
		# As in_slot takes it.
		function note_tool(   at, name) {
			at = name = place($1)
			if (!sub(/\/[^\/]*$/, "", at) || !(at in holds_tools)) return
			name = substr(name, length(at) + 2)
			split($3, field, " ")
			if ($2 ~ /[lh]/ || $2 ~ /[-C]/ && field[3] > 0) has[name] = 1
		}
		function lacked(   i, pair, count, text) {
			for (i = 1; i <= tool_count; i++) {
				count = split(tool[i], pair, "|")
				if (pair[1] in has || pair[count] in has) continue
				text = text (text == "" ? "" : ", ") (count == 1 ? "no " pair[1] : "neither " pair[1] " nor " pair[2])
			}
			return text
		}
		FNR == 1 {
			count = split("boot/vmlinuz boot/initramfs.img sbin/init etc/os-release usr/lib/os-release", wanted, " ")
			for (i = 1; i <= count; i++) home[i] = follow(wanted[i])
			folder_count = split(folders, folder, " ")
			tool_count = split(tools, tool, " ")
			for (i = 1; i <= folder_count; i++) holds_tools[follow(folder[i])] = 1
		}
		{
			members++
			if ($2 !~ /^[-dlhbcpC]$/) refuse("\"" $5 "\" is of a kind (" $2 ") that no file system keeps")
			if ($5 ~ /^\//) refuse("\"" $5 "\" is absolute")
			if (climbs($5)) refuse("\"" $5 "\" leads out of it by ..")
			if (stray($1)) refuse("\"" $5 "\" would be written through a link that leads out of it")
			if ($2 == "l" && place($1) != $1) refuse("\"" $5 "\" is a link that lies behind another link")
			if ($2 == "h" && ($4 ~ /^\// || climbs($4) || stray($4)))
				refuse("\"" $5 "\" is a hard link to \"" $4 "\", out of it")
			if ($1 == last && ($2 != "d" || $2 " " $3 != facts)) refuse("\"" $5 "\" is in it twice")
			last = $1; facts = $2 " " $3
			for (i = 1; i <= count; i++) {
				if (home[i] != $1) continue
				split($3, field, " ")
				if ($2 == "h") there[i] = $4
				else if ($2 ~ /[-C]/ && field[3] > 0) there[i] = $5
			}
			note_tool()
		}
		END {
			if (refused) exit
			if (!(1 in there)) print "problem it has no kernel (/boot/vmlinuz is missing or empty)"
			else if (!(2 in there)) print "problem it has no initramfs (/boot/initramfs.img is missing or empty)"
			else if (!(3 in there)) print "problem it has no /sbin/init"
			else if (!(4 in there) && !(5 in there)) print "problem it has no os-release"
			else if (lacked() != "") print "problem it has " lacked() ", " why
			else print "release " (4 in there ? there[4] : there[5])
			print "members " members + 0
		}' "$1" "$1"
}

tar_members() { # of the tar that was checked last: how many
	sed -n 's/^members //p' "$RUN/tar.judged"
}

# One member alone is unpacked, to where only this script reads it.
check_tar_version() { # PATH-AS-STORED
	case $1 in *\\*) die unsupported-image "the tar is refused: the name of its os-release is odd (\"$1\")" ;; esac
	over_tar --extract --to-stdout --occurrence=1 -- "$1" 2>/dev/null | head -c 65536 >"$RUN/os-release" || :
	found=$(pretty_name "$RUN/os-release")
	if [ "$found" != "$J_VERSION" ]; then
		die unsupported-image "the tar holds ${found:-a system that does not say its version}, wanted is $J_VERSION"
	fi
}

# ------------------------------------------------------------------------------------------------------------ unpack

unpack_tar() { # into the target slot, from its first byte on
	make_tree
	unpack=over_tar
	if [ -n "$RATE" ]; then unpack=over_tar_at_rate; fi
	extract_tree "$unpack" || die write-failed "unpacking to /dev/$(slot_name "$TARGET") failed: $(tar_words "$RUN/unpack.err")"
	leave_tree
}

make_tree() { # a new file system in the target slot, mounted
	make_file_system
	need_grub_reads "$(slot_path "$TARGET")" bad-content "the new file system of slot $TARGET"
	mount_slot "$TARGET" rw || die write-failed "slot $TARGET, freshly made: $MOUNT_PROBLEM"
	find_keepers
}

extract_tree() { # OVER-TAR: fails where any of it was not kept
	# Folders that the tar does not name are made with this; all others have their own mode.
	umask 022
	rc=0
	flush_as_it_comes done_bytes -f "$SLOT_ROOT"
	# shellcheck disable=SC2086 # one word an option
	"$1" --extract --directory="$SLOT_ROOT" --preserve-permissions --same-owner --numeric-owner \
		--xattrs --xattrs-include='*' $KEEPERS --warning=none --warning=xattr-write 2>"$RUN/unpack.err" || rc=$?
	umask 077
	end_flushing || echo 'the disk does not take it' >>"$RUN/unpack.err"
	# tar ends well where it could not keep an attribute, but says so: nothing else is let through to its standard error.
	[ "$rc" -eq 0 ] && [ ! -s "$RUN/unpack.err" ]
}

leave_tree() { # all of it on the disk, nothing of it mounted
	sync_file_system "$SLOT_ROOT" || not_on_disk
	unmount_slot
	need_safe_target "$TARGET"
	sync_path "$(slot_path "$TARGET")" || not_on_disk
}

not_on_disk() {
	die write-failed "what was unpacked does not get onto /dev/$(slot_name "$TARGET"): the kernel's log says more"
}

# tar says so at the first file where it was built without one of these.
find_keepers() { # sets KEEPERS: the further attributes that this tar keeps
	KEEPERS=''
	for option in --acls --selinux; do
		rm -rf -- "$RUN/probe"
		mkdir -- "$RUN/probe"
		: >"$RUN/kept"
		words=$(tar --create --file=- --directory="$RUN" kept |
			tar --extract --file=- --directory="$RUN/probe" "$option" 2>&1) || continue
		if [ -z "$words" ]; then KEEPERS="$KEEPERS $option"; fi
	done
	rm -rf -- "$RUN/probe"
}

# Of the active slot's type, with the label that GRUB looks for where it goes by labels.
make_file_system() {
	device=$(slot_path "$TARGET")
	label=$(own_label "$TARGET")
	read_superblock "$(slot_path "$ACTIVE")"
	read_features "$(slot_path "$ACTIVE")"
	options=$(quiet_features)
	# shellcheck disable=SC2086 # one word an option
	gentle "mkfs.$SB_TYPE" $options ${label:+-L "$label"} "$device" >/dev/null 2>"$RUN/mkfs.err" ||
		die write-failed "mkfs.$SB_TYPE on /dev/$(slot_name "$TARGET") failed: $(tail -n 3 "$RUN/mkfs.err" | tr '\n' ' ')"
}

# Newer tools switch on what an older GRUB, or the e2fsck of an older system, does not know. Where the active slot lacks
# it, and this mkfs knows it, it is left off. Times to the nanosecond need inodes of 256 bytes.
quiet_features() { # of the superblock and the features that were read last: options for mkfs
	case $SB_TYPE in
	ext4)
		off=''
		for feature in "$((SB_INCOMPAT & 0x2000)):metadata_csum_seed" "$((SB_COMPAT & 0x1000)):orphan_file"; do
			if [ "${feature%%:*}" -eq 0 ] &&
				mkfs.ext4 -n -q -F -O "^${feature#*:}" "$device" >/dev/null 2>&1; then off=$off,^${feature#*:}; fi
		done
		echo "-q -F -I 256${off:+ -O ${off#,}}"
		;;
	xfs)
		options='-q -f'
		for feature in '8:-m bigtime=0' '32:-i nrext64=0' '64:-i exchange=0' '128:-n parent=0'; do
			if [ "$((SB_INCOMPAT & ${feature%%:*}))" -ne 0 ]; then continue; fi
			# shellcheck disable=SC2086 # two words
			if mkfs.xfs -N -q -f ${feature#*:} "$device" >/dev/null 2>&1; then options="$options ${feature#*:}"; fi
		done
		echo "$options"
		;;
	esac
}

# ------------------------------------------------------------------------------------------------------------- prove

# With the slot as it was mounted anew: tar compares every file's bytes, times and links, and the lists what it passes
# over, which is owners and modes of folders, links and devices. Meanwhile the files are hashed: what one of both has got
# from the disk, the other finds in memory. Nobody may read the slot any more once this ends.
compare_tar() { # sets SLOT_SUM too
	if ! is_listed "$SHA256" && ! list_tar over_tar; then
		die read-back-mismatch "slot $TARGET cannot be compared: the tar cannot be read: $(tar_words "$RUN/tar.err")"
	fi
	tree_sum "$SLOT_ROOT" >"$RUN/tree.sum" &
	summing=$!
	facts_lost >"$RUN/facts.lost" &
	listing=$!
	problem='' code=0
	over_tar --compare --directory="$SLOT_ROOT" --numeric-owner >"$RUN/compare.out" 2>"$RUN/tar.err" ||
		problem="does not hold what the tar holds: $(cat "$RUN/tar.err" "$RUN/compare.out" | head -n 3 | tr '\n' ' ')"
	wait "$listing" || code=$?
	wait "$summing" || die read-back-mismatch "slot $TARGET cannot be read back"
	SLOT_SUM=$(first_line "$RUN/tree.sum")
	if [ -z "$problem" ] && [ "$code" -ne 0 ]; then exit "$code"; fi
	if [ -z "$problem" ] && [ -s "$RUN/facts.lost" ]; then
		problem="did not keep owner, mode or target of: $(first_line "$RUN/facts.lost")"
	fi
	if [ -n "$problem" ]; then die read-back-mismatch "slot $TARGET $problem"; fi
}

facts_lost() { # what the tar's list says and the mounted slot does not: the first few of it, on one line
	as_c gentle tar --create --file=/dev/null --hard-dereference --directory="$SLOT_ROOT" . 2>"$RUN/members.err" |
		members >"$LIST.slot"
	rm -f -- "$RUN/facts.err"
	for list in "$LIST" "$LIST.slot"; do
		{ kept_facts "$list" || echo failed >"$RUN/facts.err"; } | sorted -u >"$list.kept" || echo failed >"$RUN/facts.err"
	done
	if [ -e "$RUN/facts.err" ] || [ ! -s "$LIST.kept" ] || ! comm -23 "$LIST.kept" "$LIST.slot.kept" >"$LIST.lost"; then
		die state "the list of the tar's members cannot be compared"
	fi
	head -n 3 "$LIST.lost" | tr '\t\n' '  '
	rm -f -- "$LIST.slot" "$LIST.kept" "$LIST.slot.kept" "$LIST.lost"
}

# A hard link is a file like the one that it leads to. The modes of links, which are none, are left out.
kept_facts() { # LIST
	awk -F '\t' 'NR == FNR && $2 == "h" { hard[$1] = $4 }'"$FOLLOW"'
		FNR == 1 { for (one in hard) { from[place(one)] = place(hard[one]); named[place(hard[one])] = 1 } }
		$2 == "h" { next }
		$2 == "l" { sub(/^[^ ]* /, "", $3) }
		{
			at = place($1)
			facts = ($2 == "C" ? "-" : $2) "\t" $3 "\t" $4
			if (at in named) kept[at] = facts
			print at "\t" facts
		}
		END { for (one in from) if (from[one] in kept) print one "\t" kept[from[one]] }' "$1" "$1"
}

# By tar's own reading of its names: it unquotes them (--unquote is its default). A blank at the end of a line would not
# count, so blanks are digits too.
order_of_files() { # LIST, unsorted: the plain files in the tar's order, for tar to read
	awk -F '\t' '$2 ~ /[-C]/ {
		gsub(/\\"/, "\"", $5)
		gsub(/ /, "\\040", $5)
		print "./" $5
	}' "$1"
}

# The same digest as sum_files', from what is in a folder.
sum_in_order() { # FOLDER
	rm -f -- "$RUN/order.rc"
	sum=$({ gentle tar --create --file=- --directory="$1" --no-recursion --hard-dereference --files-from="$LIST.order" \
		2>"$RUN/tar.err" && echo whole >"$RUN/order.rc"; } | sum_files) || return 1
	[ "$(first_line "$RUN/order.rc")" = whole ] && printf '%s' "$sum"
}

sum_files() { # of standard input, a tar: SHA-256 over all plain files' bytes, one after the other
	{
		gentle tar --file=- --extract --to-stdout 2>"$RUN/sum.err" || :
		cat >/dev/null
	} | sha256_of_input
}

tree_sum() { # FOLDER: SHA-256 over the digests of all files, sorted by name, then over the sorted facts of all that is in it
	rm -f -- "$RUN/tree.err"
	tree_text "$1" | sha256_of_input || return 1
	[ ! -e "$RUN/tree.err" ]
}

tree_text() { # FOLDER
	cd -- "$1" || tree_failed
	in_order -type f -print0 | file_sums || tree_failed
	in_order \( -type d -printf 'd %m %U %G %p\0' \) -o -printf '%y %m %U %G %n %s %p\t%l\0'
	in_order \( -type b -o -type c \) -print0 | xargs -0 -r stat -c '%t:%T' -- || tree_failed
}

in_order() { # TEST...: what find prints of this folder, sorted, by NULs
	{ find . -xdev "$@" || tree_failed; } | sorted -z || tree_failed
}

# A small file costs a wait for the disk: several wait at once, and each processor has its share of the hashing.
file_sums() { # of the files whose names are on standard input, sorted, by NULs: a digest a line
	sum=sha256sum
	if has openssl; then sum='openssl dgst -sha256 -r'; fi
	readers='-P 4'
	if ! xargs -r -P 4 true </dev/null 2>/dev/null; then readers=''; fi
	# shellcheck disable=SC2086 # one word an option
	{ gentle xargs -0 -r -n 1024 $readers sh -c "$SUM_GROUP" "$sum" "$RUN/sum.lock" || tree_failed; } |
		{ sorted || tree_failed; } | { sed 's/^[^ ]*//' || tree_failed; } | tr -s ' ' '\n'
}

# A line a group of files: the first one's name, in hex, by which groups are put in their order again, then the digests.
# Under a lock, for a pipe mixes long lines of two writers (pipe(7)). Names are left out: tools quote them by rules of
# their own, sha256sum with a backslash before the digest, or not at all, and then a line break in one is asked around.
# shellcheck disable=SC2016 # it is for another shell
SUM_GROUP='
	lock=$1
	shift
	count=$#
	case $* in
	*"
"*) sums=$(for file; do $0 <"$file" || exit; done) || exit 1 ;;
	*) sums=$($0 "$@") || exit 1 ;;
	esac
	first=$(printf %s "$1" | od -An -v -tx1 | tr -d " \n")
	sums=$(printf "%s\n" "$sums" | sed "s/^\\\\//; s/ .*//")
	set -- $sums
	[ -n "$first" ] && [ $# -eq "$count" ] && [ ${#sums} -eq $((count * 65 - 1)) ] || exit 1
	exec 5>>"$lock"
	flock 5 || exit 1
	printf "%s\n" "$first $*"
'

# The status of what stands before a pipe is lost, so it is left in a file.
tree_failed() {
	echo failed >"$RUN/tree.err"
}
