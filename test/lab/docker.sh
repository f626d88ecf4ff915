#!/bin/sh
# A strict double of docker for a lab's nodes: a registry with the one image REFERENCE, in which FOLDER/os.tar
# lies. The real docker goes through the same steps in test/scripts/engines.test.ts.
set -eu
FOLDER=@FOLDER@
REFERENCE=@REFERENCE@
DIGEST=@DIGEST@
ID=sha256:1111111111111111111111111111111111111111111111111111111111111111
state=$KUBEOS_ROOT/tmp/docker
mkdir -p "$state"

unknown() {
	echo "docker: not known to this double: $*" >&2
	exit 64
}

is_pulled() { # REFERENCE
	if [ "$1" = "$REFERENCE" ] && [ -e "$state/pulled" ]; then return 0; fi
	echo "Error: No such image: $1" >&2
	exit 1
}

case "$*" in
'version --format {{.Server.Version}}') echo 20.10.24 ;;
'info --format {{.DockerRootDir}}') echo "$state" ;;
'image inspect --format {{.Id}} -- '*)
	is_pulled "$6"
	echo "$ID"
	;;
'image inspect --format {{range .RepoDigests}}{{println .}}{{end}} -- '*)
	is_pulled "$6"
	printf '%s@sha256:%s\n\n' "${REFERENCE%:*}" "$DIGEST"
	;;
"pull -- $REFERENCE")
	: >"$state/pulled"
	echo "Digest: sha256:$DIGEST"
	;;
'pull -- '*)
	echo "Error response from daemon: manifest for $3 not found: manifest unknown: manifest unknown" >&2
	exit 1
	;;
'ps --all --quiet --no-trunc --filter label=kubeos.stage') if [ -e "$state/c1" ]; then echo c1; fi ;;
'create --label kubeos.stage='*" --network none -- $ID /os.tar")
	is_pulled "$REFERENCE"
	: >"$state/c1"
	echo c1
	;;
'cp c1:/os.tar -')
	[ -e "$state/c1" ]
	tar -C "$FOLDER" -cf - os.tar
	;;
'rm --force --volumes -- c1') rm "$state/c1" ;;
'image rm -- '*)
	is_pulled "$4"
	if [ -e "$state/c1" ]; then unknown "$* while a container needs it"; fi
	rm "$state/pulled"
	;;
*) unknown "$*" ;;
esac
