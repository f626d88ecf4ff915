#!/bin/sh
# umount of a lab node: only of slots that the double of mount has mounted.
set -eu
mountinfo=$KUBEOS_ROOT/proc/self/mountinfo
fail() {
	echo "umount: $*" >&2
	exit 32
}
if [ "$#" -ne 1 ]; then fail "the double does not know: $*"; fi
target=${1#"$KUBEOS_ROOT"}
case $target in
*..*) fail "$1: not a mount point of the double" ;;
/run/kubeos/?*) ;;
*) fail "$1: not a mount point of the double" ;;
esac
grep -q " $target " "$mountinfo" || fail "$1: not mounted."
chmod -R u+rwX "$KUBEOS_ROOT$target"
rm -rf -- "${KUBEOS_ROOT:?}$target"
mkdir "$KUBEOS_ROOT$target"
grep -v " $target " "$mountinfo" >"$mountinfo.new"
mv -f "$mountinfo.new" "$mountinfo"
