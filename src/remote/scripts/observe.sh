#!/bin/sh
# Where the node stands. Nothing is changed; a slot that no record tells about is mounted read-only for a moment.
main() {
	read_args 'preflight? cacert? clientcert? clientkey?' "$@"
	need od tr dd
	if [ "$PREFLIGHT" != no ] && has date; then out time "$(date +%s)"; fi
	out boot_id "$(boot_id)"
	out os_version "$(running_version)"
	out kernel "$(uname -r)"
	out arch "$(uname -m)"
	if [ -d "$KUBEOS_ROOT/sys/firmware/efi" ]; then out firmware uefi; else out firmware bios; fi
	token=$(seen_token)
	if is_number "$token"; then out token "$token"; else out token 0; fi
	if has df && has awk; then out free_bytes "$(free_bytes)"; fi
	if has curl; then out has_curl yes; else out has_curl no; fi
	if has_gnu_wget; then out has_wget yes; else out has_wget no; fi
	answer_layout
	answer_journal
	read_artifact
	if [ -n "$ARTIFACT_SHA256" ]; then
		out artifact.sha256 "$ARTIFACT_SHA256"
		out artifact.bytes "$ARTIFACT_BYTES"
		lacked=$(missing_decompressor)
		if [ -n "$lacked" ]; then out artifact.lacks "$lacked"; fi
	fi
	if read_dead_man; then out dead_man "$(dead_man_left)"; fi
	answer_job
	if [ "$PREFLIGHT" != no ]; then answer_preflight; fi
}

answer_layout() {
	read_layout
	if [ -z "$UNSUPPORTED" ]; then
		read_env
		answer_missing
	fi
	if [ -z "$UNSUPPORTED" ] && ! knows_next_entry; then
		unsupported no-trial "its grub.cfg does not know next_entry: no slot can be tried for one boot"
	fi
	if [ -n "$UNSUPPORTED" ]; then
		out unsupported "$UNSUPPORTED"
		out unsupported_message "$UNSUPPORTED_MESSAGE"
		return 0
	fi
	out active "$ACTIVE"
	answer_slot "$ACTIVE"
	answer_slot "$INACTIVE"
	out env.path "$ENV_PATH"
	if [ -n "$ENV_SAVED" ]; then out env.saved "$ENV_SAVED"; fi
	if [ -n "$ENV_NEXT" ]; then out env.next "$ENV_NEXT"; fi
	if [ -n "$ENV_PROBLEM" ]; then out env.problem "$ENV_PROBLEM"; fi
	read_managed
	out managed "$MANAGED"
	if [ -n "$MANAGED_PROBLEM" ]; then out managed_problem "$MANAGED_PROBLEM"; fi
	read_fallback
	out fallback "$FALLBACK"
	out fallback_because "$FALLBACK_BECAUSE"
}

# What the steps need beside the tools that read the layout.
answer_missing() {
	lacked_by_node
	if [ -n "$LACKED" ]; then
		unsupported missing-tool "the node has $LACKED"
	elif [ ! -f "$KUBEOS_ROOT$ENV_PATH" ]; then
		unsupported no-boot-environment "$ENV_PROBLEM"
	fi
}

answer_slot() { # SLOT
	read_superblock "$(slot_path "$1")"
	read_record "$1"
	out "$1.device" "/dev/$(slot_name "$1")"
	out "$1.bytes" "$(slot_bytes "$1")"
	out "$1.fstype" "$SB_TYPE"
	out "$1.label" "$SB_LABEL"
	if [ "$1" = "$ACTIVE" ]; then
		out "$1.version" "$(running_version)"
		out "$1.content" bootable
	else
		answer_inactive "$1"
	fi
	if [ "$R_STATE" = verified ]; then answer_record "$1"; fi
	if failed_before "$R_SHA256"; then out "$1.failed_trial" yes; else out "$1.failed_trial" no; fi
}

answer_record() { # SLOT
	out "$1.record_version" "$R_VERSION"
	out "$1.record_sha256" "$R_SHA256"
	tag=$(tag_of "$R_SHA256")
	if [ -n "$tag" ]; then out "$1.record_tag" "$tag"; fi
	out "$1.record_verified_at" "$R_VERIFIED_AT"
	if record_holds; then out "$1.record_holds" yes; else out "$1.record_holds" no; fi
}

tag_of() { # SHA256: the container image that was called by it, having no digest; nothing where it is one
	if [ -n "$1" ] && [ -r "$STATE/tags" ]; then sed -n "s/^$1 //p" "$STATE/tags"; fi
}

answer_inactive() { # SLOT
	if [ "$R_STATE" != dirty ] && record_holds; then
		out "$1.version" "$R_VERSION"
		out "$1.content" bootable
		return 0
	fi
	if [ "$R_STATE" != dirty ] && ! hold_mounts 5; then
		out "$1.content" unbootable
		out "$1.problem" 'another script looks into it'
		return 0
	fi
	# From here to the end no write begins unseen: it takes the same lock before it marks the slot.
	read_record "$1"
	if [ "$R_STATE" = dirty ]; then
		out "$1.content" dirty
		out "$1.problem" 'a write began and was never verified'
		if is_streamed "$1"; then out "$1.streamed" "$R_SHA256"; fi
	else
		answer_content "$1"
	fi
}

answer_content() { # SLOT
	if mount_slot "$1"; then
		check_content
	else
		CONTENT_VERSION='' CONTENT_PROBLEM=$MOUNT_PROBLEM
	fi
	unmount_slot
	if [ -n "$CONTENT_VERSION" ]; then out "$1.version" "$CONTENT_VERSION"; fi
	if [ -n "$CONTENT_PROBLEM" ]; then
		out "$1.content" unbootable
		out "$1.problem" "$CONTENT_PROBLEM"
	else
		out "$1.content" bootable
	fi
}

answer_journal() {
	read_journal
	if ! is_number "$token"; then
		out journal_problem "$STATE/token is not a number"
	elif [ -n "$J_PROBLEM" ]; then
		out journal_problem "$J_PROBLEM"
	elif [ -n "$J_PHASE" ]; then
		journal_text | sed 's/^/journal./'
	fi
}

# What a run would meet beside the layout. The clock comes first where it is asked for: the caller takes the time.
answer_preflight() {
	if has findmnt; then
		mounted=$(findmnt -n -r -o OPTIONS --target /persist) || mounted=''
		case ",$mounted," in *,ro,*) out persist_read_only yes ;; *) out persist_read_only no ;; esac
	fi
	inodes=$(free_inodes) || inodes=''
	if [ -n "$inodes" ]; then out free_inodes "$inodes"; fi
	for tool in openssl docker ctr crictl gzip xz zstd sort xargs comm mkfifo wc mkfs.ext4 mkfs.xfs; do
		if has "$tool"; then out "tool.$tool" yes; fi
	done
	if has_gnu_tar; then out tool.tar yes; fi
	if has_gnu_find; then out tool.find yes; fi
	if [ -f "$IMAGE.part" ]; then out part.bytes "$(file_bytes "$IMAGE.part")"; fi
	# With a certificate's name the image is to be fetched by https.
	if [ "$PREFLIGHT" = https ]; then certificate_problems | sed 's/^/certificate_problem=/'; fi
	if one_of "$PREFLIGHT" docker containerd; then
		choose_engine "$PREFLIGHT"
		if [ -n "$ENGINE_PROBLEM" ]; then out engine_problem "$ENGINE_PROBLEM"; fi
	fi
}

# Not every file system counts them: then there is nothing to say.
free_inodes() {
	df -P -i -- "$KUBEOS_ROOT/persist" 2>/dev/null |
		awk 'NR == 2 && $2 ~ /^[1-9][0-9]*$/ && $4 ~ /^[0-9]+$/ { print $4 }'
}

answer_job() {
	id=$(job_id)
	if [ -z "$id" ]; then return 0; fi
	out job.step "$(first_line "$JOB/step")"
	out job.id "$id"
	if [ ! -e "$JOB/rc" ] && job_runs; then out job.running yes; else out job.running no; fi
}
