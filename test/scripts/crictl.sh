#!/bin/sh
# A strict double of crictl, which Debian does not have: it does by a real containerd, in k8s.io, what its CRI plugin does
# at a pull (three names for an image: by tag, by digest, by ID) and at a removal (all names of the image).
set -eu

full() { # REFERENCE
	case ${1%%/*} in *.* | *:* | localhost) echo "$1" ;; *) echo "docker.io/$1" ;; esac
}

digest_of() { # NAME
	ctr -n k8s.io images ls "name==$1" | awk -v name="$1" '$1 == name { print $3 }'
}

case $#:${1-} in
1:version) exec ctr version ;;
2:pull)
	name=$(full "$2")
	ctr -n k8s.io images pull --hosts-dir "$KUBEOS_ROOT/etc/containerd/certs.d" "$name" >/dev/null
	repository=${name%%@*}
	case ${repository##*/} in *:*) repository=${repository%:*} ;; esac
	digest=$(digest_of "$name")
	id=$(ctr -n k8s.io content get "$digest" | sed 's/.*"config":{[^}]*"digest":"\([^"]*\)".*/\1/')
	for other in "$repository@$digest" "$id"; do
		if [ "$other" != "$name" ]; then ctr -n k8s.io images tag --force "$name" "$other" >/dev/null; fi
	done
	echo "Image is up to date for $id"
	;;
2:rmi)
	digest=$(digest_of "$(full "$2")")
	if [ -z "$digest" ]; then
		echo "no such image $2" >&2
		exit 1
	fi
	# shellcheck disable=SC2046 # one word a name
	ctr -n k8s.io images rm --sync $(ctr -n k8s.io images ls -q "target.digest==$digest")
	;;
*)
	echo "crictl: not known to this double: $*" >&2
	exit 64
	;;
esac
