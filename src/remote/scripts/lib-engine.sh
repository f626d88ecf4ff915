#!/bin/sh
# The node's container engine: docker, or containerd by crictl or ctr. What went wrong is told by exit codes and by what an
# engine lists; its words are only quoted. What is made in it is noted before, so that whoever comes after a kill can take
# it away again.
# shellcheck disable=SC2034 # the steps' files read what is set here

# Seconds that a question to an engine may take; a pull has a time of its own.
ENGINE_PATIENCE=60
# Marks the containers that are kubeos's own.
ENGINE_LABEL=kubeos.stage
ENGINE_MOUNT=$RUN/image

choose_engine() { # docker|containerd: sets ENGINE (docker, crictl, ctr) and ENGINE_PROBLEM, empty where it can be used
	ENGINE='' ENGINE_PROBLEM='' ENGINE_GAP=missing-tool
	case $1 in
	docker) tool=docker ;;
	*) tool=ctr ;;
	esac
	if ! has "$tool"; then
		ENGINE_PROBLEM="it has no $tool, which an image of type $1 needs"
		return 0
	fi
	ENGINE_GAP=download-failed
	if ! answer=$(engine_version "$tool" 2>&1); then
		ENGINE_PROBLEM="$1 does not answer: $(printf '%s\n' "$answer" | quoted)"
		return 0
	fi
	ENGINE=$tool
	# It knows the mirrors and the logins of the kubelet.
	if [ "$tool" = ctr ] && has crictl && engine_version crictl >/dev/null 2>&1; then ENGINE=crictl; fi
}

engine_version() { # TOOL: fails where its daemon does not answer
	case $1 in
	docker) in_time docker version --format '{{.Server.Version}}' ;;
	crictl) in_time crictl version ;;
	ctr) in_time ctr --connect-timeout 5s version ;;
	esac </dev/null
}

engine_answers() {
	case $ENGINE in
	crictl) engine_version ctr ;;
	*) engine_version "$ENGINE" ;;
	esac >/dev/null 2>&1
}

in_time() { # COMMAND ARGUMENT...
	if has timeout; then timeout "$ENGINE_PATIENCE" "$@"; else "$@"; fi
}

# A registry's answer may hold signed addresses, an address may hold a password.
quoted() { # standard input: its last line, without secrets
	line=$(tr -d '\000-\010\013-\037\177' | grep -v '^[[:space:]]*$' | tail -n 1 |
		sed 's/?[^ "]*/?.../g; s#//[^/ "]*@#//#g' | head -c 500)
	printf '%s' "${line:-no words}"
}

# Root's own login, whoever signed in.
engine_home() {
	HOME=$KUBEOS_ROOT/root
	export HOME
}

# In k8s.io lie the images of the kubelet; ctr wants names in full, as docker and crictl make them.
full_reference() {
	case ${REFERENCE%%/*} in
	*.* | *:* | localhost) printf '%s' "$REFERENCE" ;;
	*) printf 'docker.io/%s' "$REFERENCE" ;;
	esac
}

in_k8s() { # ARGUMENT...
	in_time ctr --namespace k8s.io "$@"
}

# ------------------------------------------------------------------------------------------------------- images

engine_digests() { # a digest a line, 64 hex digits, of the image; none where it is not there
	case $ENGINE in
	docker) in_time docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' -- "$REFERENCE" ;;
	*) in_k8s images ls "name==$(full_reference)" | awk -v name="$(full_reference)" '$1 == name { print "@" $3 }' ;;
	esac 2>/dev/null | sed -n 's/^.*@sha256:\([0-9a-f]\{64\}\)$/\1/p'
}

image_id() { # of docker's image: the digest of its configuration
	in_time docker image inspect --format '{{.Id}}' -- "$REFERENCE" 2>/dev/null
}

has_image() {
	case $ENGINE in
	docker) image_id >/dev/null ;;
	*) [ -n "$(engine_digests)" ] ;;
	esac
}

engine_pull() { # it takes the place of this shell
	case $ENGINE in
	docker) exec docker pull -- "$REFERENCE" ;;
	crictl) exec crictl pull "$REFERENCE" ;;
	ctr) exec ctr --namespace k8s.io images pull --hosts-dir "$KUBEOS_ROOT/etc/containerd/certs.d" "$(full_reference)" ;;
	esac
}

remove_image() {
	case $ENGINE in
	docker) in_time docker image rm -- "$REFERENCE" ;;
	crictl) remove_of_crictl ;;
	ctr) remove_of_ctr ;;
	esac >/dev/null 2>"$RUN/engine.err"
}

# containerd's part for the kubelet gives every image of k8s.io a second name, its ID, and keeps that when the first one is
# taken away. The first one goes last: by it an attempt that was cut off is known.
remove_of_ctr() {
	named=$(full_reference)
	names=$(in_k8s images ls --quiet "target.digest==sha256:$(engine_digests)" | grep -v -x -F -e "$named") || names=''
	if printf '%s' "$names" | grep -q -v '^sha256:'; then names=''; fi
	# shellcheck disable=SC2086 # one word a name
	in_k8s images rm --sync $names "$named"
}

# crictl pulls under three names: by tag, by digest and by ID; and takes an image away under all that it has, those of
# others too.
remove_of_crictl() {
	digest=$(engine_digests)
	named=$(full_reference)
	by_digest=${named%%@*}
	case ${by_digest##*/} in *:*) by_digest=${by_digest%:*} ;; esac
	by_digest=$by_digest@sha256:$digest
	if in_k8s images ls --quiet "target.digest==sha256:$digest" | grep -v '^sha256:' |
		grep -q -v -x -F -e "$named" -e "$by_digest"; then
		in_k8s images rm --sync "$named" "$by_digest"
	else
		in_time crictl rmi "$REFERENCE"
	fi
}

engine_store() { # where the engine keeps images; nothing where that is not known
	case $ENGINE in
	docker) in_time docker info --format '{{.DockerRootDir}}' 2>/dev/null ;;
	*) if [ -d "$KUBEOS_ROOT/var/lib/containerd" ]; then printf '%s' "$KUBEOS_ROOT/var/lib/containerd"; fi ;;
	esac
}

store_free() { # FOLDER: bytes
	kib=$(df -P -k -- "$1" 2>/dev/null | awk 'NR == 2 { print $4 }')
	if is_number "$kib"; then echo "$((kib * 1024))"; fi
}

# ------------------------------------------------------------------------------------------------------ left-overs

note_engine() { # BEFORE (yes, no): before the first thing is made
	put_file "$STATE/engine" "$(printf '%s=%s\n' engine "$ENGINE" reference "$REFERENCE" before "$1")
"
}

read_engine_note() { # sets NOTED_ENGINE, NOTED_REFERENCE, NOTED_BEFORE
	NOTED_ENGINE='' NOTED_REFERENCE='' NOTED_BEFORE=''
	if [ ! -r "$STATE/engine" ]; then return 0; fi
	while IFS= read -r line || [ -n "$line" ]; do
		case $line in
		engine=*) NOTED_ENGINE=${line#*=} ;;
		reference=*) NOTED_REFERENCE=${line#*=} ;;
		before=*) NOTED_BEFORE=${line#*=} ;;
		esac
	done <"$STATE/engine"
}

# The container or the mount. Neither holds anything that is not in the image.
sweep_temporary() { # by ENGINE
	case $ENGINE in
	docker)
		for container in $(in_time docker ps --all --quiet --no-trunc --filter "label=$ENGINE_LABEL" 2>/dev/null); do
			in_time docker rm --force --volumes -- "$container" >/dev/null 2>"$RUN/engine.err" ||
				say "the temporary container $container is still there: $(quoted <"$RUN/engine.err")"
		done
		;;
	*) sweep_mount ;;
	esac
}

# containerd knows the mount's snapshot by the name of its folder.
sweep_mount() {
	mkdir -p -- "$ENGINE_MOUNT"
	in_k8s images unmount --rm "$ENGINE_MOUNT" >/dev/null 2>&1 || in_k8s snapshots rm "$ENGINE_MOUNT" >/dev/null 2>&1 || :
	in_k8s leases rm "$ENGINE_MOUNT" >/dev/null 2>&1 || :
	rmdir -- "$ENGINE_MOUNT" 2>/dev/null || say "cannot unmount $ENGINE_MOUNT"
}

# What a stage left that was killed, whatever it was of. An image that is wanted again stays, with what was known of it.
sweep_engine() { # REFERENCE-THAT-IS-WANTED, or nothing
	read_engine_note
	if [ -z "$NOTED_ENGINE" ]; then return 0; fi
	(
		ENGINE=$NOTED_ENGINE REFERENCE=$NOTED_REFERENCE
		engine_answers || exit 1
		sweep_temporary
		if [ "$REFERENCE" = "$1" ] || [ "$NOTED_BEFORE" != no ] || ! has_image || remove_image; then exit 0; fi
		say "the image $REFERENCE is still in $ENGINE: $(quoted <"$RUN/engine.err")"
		exit 1
	) || return 0
	if [ "$NOTED_REFERENCE" != "$1" ]; then remove_file "$STATE/engine"; fi
}
