#!/bin/sh
# What every step shares; docs/node-protocol.md is the contract. Nothing here runs by itself but these settings, so
# that a piece which was cut off changes nothing. The other parts, lib-*.sh, go only to the steps that name a function
# of theirs, so nothing here needs them. Global names are in capitals; names in small letters live as long as
# the function that sets them.
# shellcheck disable=SC2034 # the steps' files read what is set here
set -eu
LC_ALL=C
export LC_ALL
umask 077
unset CDPATH TAR_OPTIONS XZ_OPT XZ_DEFAULTS GZIP
KUBEOS_ROOT=${KUBEOS_ROOT-}
if [ -z "$KUBEOS_ROOT" ]; then
	PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	export PATH
fi
STATE=$KUBEOS_ROOT/persist/kubeos
UPDATE=$KUBEOS_ROOT/persist/KubeOS-Update
RUN=$KUBEOS_ROOT/run/kubeos
JOB=$RUN/job
IMAGE=$UPDATE/update.img
# The members of a tar.
LIST=$IMAGE.list
CHANGING=no
MOUNTED=no
REMOUNTED=''
CANARY=''
TRIAL_MARK=''
SYNC_TAKES_PATHS=''

exit_code() { # NAME
	case $1 in
	bad-call) echo 10 ;;
	unsupported) echo 11 ;;
	stale-token) echo 12 ;;
	busy) echo 13 ;;
	out-of-order) echo 14 ;;
	missing-tool) echo 15 ;;
	no-space) echo 16 ;;
	download-failed) echo 17 ;;
	checksum-mismatch) echo 18 ;;
	insecure-address) echo 19 ;;
	certificate) echo 20 ;;
	unsafe-target) echo 21 ;;
	write-failed) echo 22 ;;
	read-back-mismatch) echo 23 ;;
	bad-content) echo 24 ;;
	boot-environment) echo 25 ;;
	not-proven) echo 26 ;;
	unsupported-image) echo 27 ;;
	reboot-failed) echo 28 ;;
	state) echo 29 ;;
	*) echo 29 ;;
	esac
}

say() { # TEXT: for people
	printf '%s\n' "$1" >&2
}

log() { # TEXT: one line of the node's syslog; a node without logger loses only the line
	syslog "$1" || :
}

# A syslog that is there and reads no more lets whoever writes wait for ever (seen with the loggers of util-linux and
# BusyBox): no trial, and no way back from one, may hang on a line. BusyBox's timeout leaves a process for a second, which
# holds no lock and no output of ours.
syslog() { # TEXT
	set -- logger -t kubeos -- "$1"
	if has timeout; then set -- timeout 5 "$@"; fi
	"$@" </dev/null >/dev/null 2>&1 5>&- 6>&- 7>&- 8>&- 9>&-
}

die() { # NAME-OF-EXIT-CODE TEXT
	say "$2"
	if [ "$CHANGING" = yes ]; then log "failed ($1): $2"; fi
	exit "$(exit_code "$1")"
}

out() { # KEY VALUE: one answer, on one line
	case $2 in
	*[[:cntrl:]]*) printf '%s=%s\n' "$1" "$(printf '%s' "$2" | tr -d '\000-\037\177')" ;;
	*) printf '%s=%s\n' "$1" "$2" ;;
	esac
}

has() { # TOOL
	command -v "$1" >/dev/null 2>&1
}

need() { # TOOL...
	for tool; do
		has "$tool" || die missing-tool "the node has no $tool"
	done
}

# Undoes what must not outlive a script, however it ends.
clean_up() {
	if [ "$MOUNTED" = yes ]; then unmount_slot; fi
	if [ -n "$REMOUNTED" ]; then mount -o remount,ro "$REMOUNTED" || say "cannot make $REMOUNTED read-only again"; fi
}
trap clean_up EXIT
trap 'exit 143' HUP INT TERM

unmount_slot() {
	MOUNTED=no
	if grep -q " ${RUN#"$KUBEOS_ROOT"}/mount " "$KUBEOS_ROOT/proc/self/mountinfo"; then
		# What was ended together with this script may hold it for a moment longer.
		tries=20
		until umount "$RUN/mount" 2>"$RUN/umount.err"; do
			tries=$((tries - 1))
			if [ "$tries" -eq 0 ]; then
				say "cannot unmount $RUN/mount: $(first_line "$RUN/umount.err")"
				return 0
			fi
			# A flush of it that is under way cannot be ended; it is over once this one is.
			if sync_takes_paths; then sync -f "$RUN/mount" 2>/dev/null || :; fi
			sleep 0.1
		done
	fi
	if [ -d "$RUN/mount" ]; then rmdir -- "$RUN/mount" || :; fi
}

# From now on no other script mounts a slot. Where the lock is free, a mount that is there is of a script that died.
hold_mounts() { # SECONDS-TO-WAIT
	mkdir -p -- "$RUN"
	exec 7>>"$RUN/mount.lock"
	flock -w "$1" 7 || return 1
	unmount_slot
}

let_go_of_mounts() {
	exec 7>&-
}

# ------------------------------------------------------------------------------------------------------ arguments

is_number() { # TEXT: a whole number that the shell can count with
	case $1 in
	'' | *[!0-9]* | 0?*) return 1 ;;
	????????????????*) return 1 ;;
	esac
}

is_sha256() { # TEXT
	case $1 in *[!0-9a-f]*) return 1 ;; esac
	[ "${#1}" -eq 64 ]
}

is_file_name() { # TEXT: no way out of its folder
	case $1 in '' | . | .. | */* | -*) return 1 ;; esac
}

is_reference() { # TEXT: what no engine takes for an option
	case $1 in '' | *[!A-Za-z0-9._/:@-]* | -*) return 1 ;; esac
}

is_word() { # TEXT
	case $1 in '' | *[!A-Za-z0-9._-]* | -* | .*) return 1 ;; esac
}

read_args() { # 'NAME NAME...' KEY=VALUE...: each name once; one that ends with ? may be left out
	wanted=" $1 "
	seen=' '
	shift
	RUN_ID='' TOKEN='' OPERATION='' VERSION='' REPLACED='' SHA256='' FROM='' TARGET='' JOB_ID='' STEP='' PAYLOAD=''
	URL='' VIA='' LIMIT='' PROXY='' BYTES='' FLAGSAFE=false CACERT='' CLIENTCERT='' CLIENTKEY='' PURPOSE='' ADOPT=false OUTCOME='' REASON='' TEXT='' LINES='' SPAN='' RATE='' PREFLIGHT=no WITH_MANAGED=false
	DATA='' IMAGETYPE='' REFERENCE='' DIGEST='' PINNED='' PATIENCE=''
	for arg; do
		key=${arg%%=*}
		case $arg in *=*) ;; *) die bad-call 'an argument is not of the form key=value' ;; esac
		case $wanted in *" $key "* | *" $key? "*) ;; *) die bad-call "unknown argument: $key" ;; esac
		case $seen in *" $key "*) die bad-call "argument given twice: $key" ;; esac
		seen="$seen$key "
		take_arg "$key" "${arg#*=}" || die bad-call "malformed argument: $key"
	done
	for key in $wanted; do
		case $key in *\?) continue ;; esac
		case $seen in *" $key "*) ;; *) die bad-call "missing argument: $key" ;; esac
	done
}

take_arg() { # KEY VALUE; fails where the value is malformed
	case $1 in
	payload) PAYLOAD=$2 && return 0 ;;
	text | reason) ;;
	*) case $2 in *[[:cntrl:]]*) return 1 ;; esac ;;
	esac
	case $1 in
	run) RUN_ID=$2 && [ -n "$2" ] ;;
	token) TOKEN=$2 && is_number "$2" ;;
	operation) OPERATION=$2 && one_of "$2" upgrade rollback ;;
	version) VERSION=$2 && [ -n "$2" ] ;;
	replaced) REPLACED=$2 ;;
	sha256) SHA256=$2 && { [ -z "$2" ] || is_sha256 "$2"; } ;;
	from) FROM=$2 && one_of "$2" A B ;;
	target) TARGET=$2 && one_of "$2" A B ;;
	job) JOB_ID=$2 && is_word "$2" ;;
	step) STEP=$2 && one_of "$2" stage write verify ;;
	url) URL=$2 && [ -n "$2" ] ;;
	flagsafe) FLAGSAFE=$2 && one_of "$2" true false ;;
	cacert) CACERT=$2 && { [ -z "$2" ] || is_file_name "$2"; } ;;
	clientcert) CLIENTCERT=$2 && { [ -z "$2" ] || is_file_name "$2"; } ;;
	clientkey) CLIENTKEY=$2 && { [ -z "$2" ] || is_file_name "$2"; } ;;
	via) VIA=$2 && one_of "$2" curl wget ssh ;;
	limit) LIMIT=$2 && is_number "$2" && [ "$2" -gt 0 ] ;;
	proxy) PROXY=$2 ;;
	bytes) BYTES=$2 && is_number "$2" && [ "$2" -gt 0 ] ;;
	data) DATA=$2 && is_sha256 "$2" ;;
	purpose) PURPOSE=$2 && one_of "$2" trial send-back ;;
	managed) WITH_MANAGED=$2 && one_of "$2" true false ;;
	adopt) ADOPT=$2 && one_of "$2" true false ;;
	outcome) OUTCOME=$2 && one_of "$2" aborted fell-back ;;
	reason) REASON=$(one_line "$2") ;;
	text) TEXT=$(one_line "$2") ;;
	preflight) PREFLIGHT=$2 && one_of "$2" no yes https docker containerd ;;
	imagetype) IMAGETYPE=$2 && one_of "$2" docker containerd ;;
	reference) REFERENCE=$2 && is_reference "$2" ;;
	digest) DIGEST=$2 && { [ -z "$2" ] || is_sha256 "$2"; } ;;
	pinned) PINNED=$2 && { [ -z "$2" ] || is_sha256 "$2"; } ;;
	patience) PATIENCE=$2 && is_number "$2" ;;
	lines) LINES=$2 && is_number "$2" ;;
	span) SPAN=$2 && is_number "$2" && [ "$2" -gt 0 ] ;;
	rate) RATE=$2 && is_number "$2" && [ "$2" -gt 0 ] ;;
	*) return 1 ;;
	esac
}

one_of() { # VALUE CHOICE...
	value=$1
	shift
	for choice; do
		if [ "$value" = "$choice" ]; then return 0; fi
	done
	return 1
}

one_line() { # TEXT
	printf '%s' "$1" | tr '\n\t' '  ' | tr -d '\000-\037\177' | head -c 2000
}

# ---------------------------------------------------------------------------------------------------------- files

# A sync of all tells no error of a disk: it stands in only where this one takes no path, asked where there is no disk.
sync_takes_paths() {
	if [ -z "$SYNC_TAKES_PATHS" ]; then
		if sync -f "$KUBEOS_ROOT/run" 2>/dev/null; then SYNC_TAKES_PATHS=yes; else SYNC_TAKES_PATHS=no; fi
	fi
	[ "$SYNC_TAKES_PATHS" = yes ]
}

sync_path() { # PATH: fsync of a file or folder; fails where the disk does
	if sync_takes_paths; then sync "$1" 2>/dev/null; else sync; fi
}

sync_file_system() { # PATH: the one that it lies on
	if sync_takes_paths; then sync -f "$1" 2>/dev/null; else sync; fi
}

# A reader, or a node that comes back after a power cut, sees the old file or the new one, never a part.
put_file() { # FILE TEXT
	words=$(printf '%s' "$2" | dd of="$1.new" conv=fsync 2>&1) || die state "cannot write $1.new: $(said_why "$words")"
	mv -f -- "$1.new" "$1" || die state "cannot replace $1"
	sync_path "${1%/*}" || die state "cannot force $1 to the disk"
}

said_why() { # WORDS of a tool that failed: what stands last in their first line
	why=${1%%
*}
	printf '%s' "${why##*: }"
}

remove_file() { # FILE
	if [ ! -e "$1" ]; then return 0; fi
	rm -f -- "$1" || die state "cannot remove $1"
	sync_path "${1%/*}" || die state "cannot force ${1%/*} to the disk"
}

first_line() { # FILE: nothing where it is not there
	if [ ! -r "$1" ]; then return 0; fi
	line=''
	IFS= read -r line <"$1" || :
	printf '%s' "$line"
}

bytes_at() { # FILE OFFSET COUNT: hex digits, two a byte, separated by blanks; fewer where the file ends before
	od -An -v -tx1 -j "$2" -N "$3" -- "$1" 2>/dev/null || :
}

hex_at() { # FILE OFFSET COUNT: hex digits without blanks
	# shellcheck disable=SC2046 # one word a byte
	printf '%s' $(bytes_at "$1" "$2" "$3")
}

file_facts() { # FILE: size and time of last change
	stat -c '%s %Y' -- "$1"
}

file_bytes() { # FILE: 0 where it is not there
	if [ -f "$1" ]; then stat -c %s -- "$1"; else echo 0; fi
}

sha256_of_input() {
	# openssl uses the processor's own instructions, which coreutils leave alone (seen: twice as fast).
	if has openssl; then
		sum=$(gentle openssl dgst -sha256 -r) || return 1
	else
		sum=$(gentle sha256sum) || return 1
	fi
	printf '%s' "${sum%% *}"
}

# etcd and the kubelet may share the disk: long work steps back.
gentle() { # COMMAND ARGUMENT...
	(become_gentle "$@")
}

become_gentle() { # COMMAND ARGUMENT...: it takes the place of this shell, so that its pid is known
	if has nice; then set -- nice -n 10 "$@"; fi
	# As a probe it runs itself: what else is on PATH is not asked.
	if has ionice && ionice -c 2 -n 7 ionice >/dev/null 2>&1; then set -- ionice -c 2 -n 7 "$@"; fi
	exec "$@"
}

free_bytes() { # of /persist
	kib=$(df -P -k -- "$KUBEOS_ROOT/persist" | awk 'NR == 2 { print $4 }') || return 1
	is_number "$kib" || return 1
	echo "$((kib * 1024))"
}

boot_id() {
	first_line "$KUBEOS_ROOT/proc/sys/kernel/random/boot_id"
}

# kubelet reads /etc/os-release, else /usr/lib/os-release (cadvisor); KubeOS has only the latter.
running_version() {
	if [ -f "$KUBEOS_ROOT/etc/os-release" ]; then
		pretty_name "$KUBEOS_ROOT/etc/os-release"
	else
		pretty_name "$KUBEOS_ROOT/usr/lib/os-release"
	fi
}

pretty_name() { # FILE: PRETTY_NAME without its quotes
	if [ ! -r "$1" ]; then return 0; fi
	name=''
	while IFS= read -r line || [ -n "$line" ]; do
		case $line in PRETTY_NAME=*) name=${line#*=} ;; esac
	done <"$1"
	case $name in
	\"*\") name=${name#\"} && name=${name%\"} ;;
	\'*\') name=${name#\'} && name=${name%\'} ;;
	esac
	printf '%s' "$name"
}
