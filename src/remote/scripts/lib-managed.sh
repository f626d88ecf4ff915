#!/bin/sh
# The managed boot: a block in the custom.cfg beside grub.cfg, which the stock grub.cfg reads last. It closes two holes of
# a stock trial: a slot that GRUB cannot load (GRUB goes on with the entry that `fallback` names by its place; its manual,
# "fallback") and an initramfs that halts (rd.emergency=reboot; dracut.cmdline(7)). The entry that does so stands behind
# those that people know, and only while a trial of kubeos is taken: kubeos_trial in the environment names it.
#
# GRUB reads without the file system's journal. A file that it sees half, late or never changes nothing before the
# environment names a trial, since each condition is taken whole or not at all; and then it has been on disk for long.
# shellcheck disable=SC2034 # the steps' files read what is set here

managed_path() { # as the node sees it, without KUBEOS_ROOT; for who has read the environment
	echo "${ENV_PATH%/*}/custom.cfg"
}

managed_begin() {
	echo '# kubeos managed boot: begins; kubeos node reset-boot takes it out'
}

managed_end() {
	echo '# kubeos managed boot: ends'
}

# Sets MANAGED: yes, no, or stale where the block is not what this grub.cfg asks for; and MANAGED_PROBLEM where it cannot
# be made. For who has read the environment.
read_managed() {
	MANAGED=no MANAGED_PROBLEM=''
	file=$KUBEOS_ROOT$(managed_path)
	if [ -n "$ENV_PROBLEM" ]; then
		MANAGED_PROBLEM=$ENV_PROBLEM
	elif [ ! -r "$(grub_config)" ]; then
		MANAGED_PROBLEM="${ENV_PATH%/*}/grub.cfg cannot be read"
	elif ! MANAGED_BLOCK=$(managed_block); then
		MANAGED_PROBLEM=$MANAGED_BLOCK
	elif [ -e "$file" ] && [ ! -f "$file" ]; then
		MANAGED_PROBLEM="$(managed_path) is no file"
	else
		MANAGED_PROBLEM=$(foreign_problem)
	fi
	if [ ! -f "$file" ]; then
		# What others had there is still to be given back.
		if [ -f "$STATE/custom.cfg" ]; then MANAGED=stale; fi
		return 0
	fi
	if ! grep -q -x -F "$(managed_begin)" "$file"; then return 0; fi
	if [ -n "$MANAGED_PROBLEM" ] || [ "$(block_in "$file")" != "$MANAGED_BLOCK" ]; then
		MANAGED=stale
	else
		MANAGED=yes
	fi
}

block_in() { # FILE
	awk -v begins="$(managed_begin)" -v ends="$(managed_end)" '
		$0 == begins { inside = 1 }
		inside { print }
		$0 == ends { inside = 0 }' "$1"
}

foreign_in() { # FILE: what others wrote, byte for byte but for a last line that does not end
	awk -v begins="$(managed_begin)" -v ends="$(managed_end)" '
		$0 == begins { inside = 1; next }
		inside && $0 == ends { inside = 0; next }
		!inside { print }' "$1"
}

# A custom.cfg of somebody else is kept, where it is certain that what is put behind it is read as it stands: it must be
# whole by GRUB's own check, and must not decide itself what is booted, or end the reading.
foreign_problem() {
	if [ ! -s "$file" ]; then return 0; fi
	last=$(block_in "$file" | tail -n 1)
	if [ -n "$last" ] && [ "$last" != "$(managed_end)" ]; then
		echo "$(managed_path) has the beginning of kubeos's block and not its end"
		return 0
	fi
	if [ -n "$(tail -c 1 "$file")" ]; then
		echo "$(managed_path) is somebody else's, and its last line does not end"
		return 0
	fi
	code=$(foreign_in "$file" | grep -v -e '^[[:space:]]*#' -e '^[[:space:]]*$') || return 0
	if ! check=$(script_check); then
		echo "$(managed_path) is somebody else's, and the node has no grub2-script-check to tell whether it may be added to"
	elif ! foreign_in "$file" | "$check" >/dev/null 2>&1; then
		echo "$(managed_path) is somebody else's, and $check finds an error in it"
	elif printf '%s\n' "$code" | grep -q -w -e default -e fallback -e timeout -e kubeos_trial -e saved_entry -e boot \
		-e normal -e configfile -e source -e return -e exit -e halt -e reboot -e load_env -e save_env; then
		echo "$(managed_path) is somebody else's, and decides itself what is booted"
	fi
}

script_check() {
	for tool in grub2-script-check grub-script-check; do
		if has "$tool"; then
			echo "$tool"
			return 0
		fi
	done
	return 1
}

# The block that this grub.cfg asks for; or why there can be none, and fails. Each slot's entry is its own from grub.cfg
# with more arguments for the kernel; what is not understood for certain is refused.
managed_block() {
	awk -v begins="$(managed_begin)" -v ends="$(managed_end)" '
		function refuse(text) {
			problem = "its grub.cfg " text
			exit
		}
		function slot_of(text) {
			if (text ~ /^menuentry[ \t]+["\047]?A["\047]?[ \t]/ || text ~ /--id[= \t]+["\047]?KubeOS-A["\047]?[ \t{]/) return "A"
			if (text ~ /^menuentry[ \t]+["\047]?B["\047]?[ \t]/ || text ~ /--id[= \t]+["\047]?KubeOS-B["\047]?[ \t{]/) return "B"
			return ""
		}
		function trial_line(text, slot) {
			gsub(/[ \t]+rd\.emergency=[^ \t]*/, "", text)
			if (text !~ /[ \t]panic=-?[0-9]*[1-9]/) text = text " panic=10"
			if (text !~ /[ \t]oops=panic([ \t]|$)/) text = text " oops=panic"
			return text " rd.shell=0 rd.emergency=reboot kubeos.trial=" slot
		}
		function condition(slot, other) {
			printf "if [ \"${kubeos_trial}\" = \"%s\" -a \"${default}\" = \"%s\" -a \"${saved_entry}\" = \"%s\" ]; then\n", slot, slot, other
			printf "menuentry \047Trial of %s\047 --unrestricted --id kubeos-trial-%s {\n%s}\n", slot, slot, body[slot]
			printf "set fallback=%d\nset default=kubeos-trial-%s\nfi\n", place[other], slot
		}
		{
			line = $0
			sub(/^[ \t]+/, "", line)
			sub(/[ \t\r]+$/, "", line)
		}
		line == "" || line ~ /^#/ { next }
		inside && line == "}" {
			if (kernels != 1) refuse("does not load one kernel in its entry " slot)
			inside = 0
			next
		}
		inside {
			if (line ~ /[{}\\]$/ || line ~ /[ \t]#/) refuse("has an entry that is not understood: " slot)
			if (line ~ /^linux(16|efi)?[ \t]/) {
				kernels++
				line = trial_line(line, slot)
			}
			body[slot] = body[slot] line "\n"
			next
		}
		line ~ /^if[ \t]/ && line !~ /[; \t]fi$/ { depth++ }
		line ~ /^fi([; \t]|$)/ { depth-- }
		line ~ /^load_env/ {
			text = line
			gsub(/[ \t](-s|--skip-sig)/, "", text)
			gsub(/[ \t](-f|--file)[ \t=]*[^ \t]+/, "", text)
			if (text !~ /^load_env;?$/) refuse("takes only some of the environment")
			loads = 1
		}
		line ~ /(^|[ \t;])(source|\.)[ \t]+["\047]?[$][{]?(prefix|config_directory)[}]?\/custom\.cfg/ {
			if (!("A" in place) || !("B" in place)) refuse("reads custom.cfg before its entries A and B")
			sourced = 1
			next
		}
		line ~ /(^|[ \t;])(source|configfile|\.)[ \t]/ { refuse("reads another file: what that adds is not known") }
		line ~ /^(menuentry|submenu)[ \t]/ {
			if (depth != 0) refuse("has entries that hang on a condition")
			if (sourced) refuse("has entries behind custom.cfg")
			if (line ~ /^submenu/ || line !~ /[{]$/) refuse("has an entry that is not understood: " line)
			slot = slot_of(line)
			if (slot in place) refuse("has two entries for one slot")
			if (slot == "") slot = "other " places
			place[slot] = places++
			inside = 1
			kernels = 0
			if (slot ~ /^other/) kernels = 1
			next
		}
		sourced && line ~ /(^|[ \t;])(set[ \t]+)?(default|fallback)=/ { refuse("decides after custom.cfg what is booted") }
		END {
			if (problem == "" && inside) problem = "its grub.cfg ends in the middle of an entry"
			if (problem == "" && !loads) problem = "its grub.cfg does not load the environment"
			if (problem == "" && !sourced) problem = "its grub.cfg does not read a custom.cfg"
			if (problem != "") {
				print problem
				exit 1
			}
			print begins
			condition("A", "B")
			condition("B", "A")
			print ends
		}' "$(grub_config)"
}

# --------------------------------------------------------------------------------------------------------- changes

# Before a trial is armed: makes the managed boot, or brings it up to date, where it is asked for or there already.
manage_boot() { # WANTED (true or false)
	read_managed
	if [ "$1" != true ] && [ "$MANAGED" = no ]; then return 0; fi
	if [ -n "$MANAGED_PROBLEM" ]; then
		if [ "$1" = true ]; then die boot-environment "no managed boot can be made: $MANAGED_PROBLEM"; fi
		log "this trial goes without the managed boot: $MANAGED_PROBLEM"
		return 0
	fi
	if [ "$MANAGED" != yes ]; then put_managed; fi
	TRIAL_MARK=yes
}

put_managed() {
	need cat cp mv cmp rm
	file=$KUBEOS_ROOT$(managed_path)
	others=$RUN/custom.others
	: >"$others"
	if [ -f "$file" ]; then
		foreign_in "$file" >"$others"
	elif [ -f "$STATE/custom.cfg" ]; then
		cat "$STATE/custom.cfg" >"$others"
	fi
	if [ ! -s "$others" ]; then
		remove_file "$STATE/custom.cfg"
	elif ! cmp -s "$others" "$STATE/custom.cfg"; then
		place_file "$others" "$STATE/custom.cfg"
	fi
	{
		cat "$others"
		printf '%s\n' "$MANAGED_BLOCK"
	} >"$RUN/custom.cfg"
	make_env_writable
	place_file "$RUN/custom.cfg" "$file"
	log "the managed boot is in $(managed_path)"
}

# A node that comes back after a power cut finds the old file or the new one under the name: what the new one holds lies on
# disk before the name leads to it. GRUB may see neither until the last sync. FAT keeps a name's place and length in one
# sector.
place_file() { # SOURCE FILE
	if [ -f "$2" ]; then cp -p -- "$2" "$2.new" || die boot-environment "cannot copy ${2#"$KUBEOS_ROOT"}"; fi
	dd if="$1" of="$2.new" 2>/dev/null || die boot-environment "cannot write ${2#"$KUBEOS_ROOT"}.new"
	sync_file_system "$2.new" || die boot-environment "cannot force ${2#"$KUBEOS_ROOT"}.new to the disk"
	mv -f -- "$2.new" "$2" || die boot-environment "cannot replace ${2#"$KUBEOS_ROOT"}"
	sync_file_system "$2" || die boot-environment "cannot force ${2#"$KUBEOS_ROOT"} to the disk"
	cmp -s "$1" "$2" || die boot-environment "${2#"$KUBEOS_ROOT"} did not keep what was written"
}

# Takes the block out; what others had in the file before is there again, byte for byte. Sets REMOVED to yes or no.
remove_managed() {
	need cat cp mv cmp rm
	REMOVED=no
	file=$KUBEOS_ROOT$(managed_path)
	others=$RUN/custom.others
	if [ -f "$file" ] && ! grep -q -x -F "$(managed_begin)" "$file"; then return 0; fi
	if [ ! -f "$file" ] && [ ! -f "$STATE/custom.cfg" ]; then return 0; fi
	: >"$others"
	if [ -f "$file" ] && [ "$(block_in "$file" | tail -n 1)" = "$(managed_end)" ]; then
		foreign_in "$file" >"$others"
	elif [ -f "$STATE/custom.cfg" ]; then
		cat "$STATE/custom.cfg" >"$others"
	fi
	make_env_writable
	if [ -s "$others" ]; then
		place_file "$others" "$file"
	elif [ -f "$file" ]; then
		rm -f -- "$file" || die boot-environment "cannot remove $(managed_path)"
		sync_file_system "${file%/*}" || die boot-environment "cannot force $(managed_path) to the disk"
	fi
	remove_file "$STATE/custom.cfg"
	REMOVED=yes
	log "the managed boot is taken out of $(managed_path)"
}
