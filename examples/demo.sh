#!/bin/sh
# The main job, start to end, in a lab: five nodes are upgraded, one of them falls back on purpose, then all go back.
# Needs Node.js, npm and the tools of README.md; changes nothing outside a folder of its own and this clone.
set -eu
cd "$(dirname "$0")/.."

kubeos() { node bin/kubeos.js "$@"; }

# Shows a command, runs it, and insists on its exit code.
show() {
	want=$1
	shift
	printf '\n\033[1m$ %s\033[0m\n' "$*"
	got=0
	"$@" || got=$?
	if [ "$got" -ne "$want" ]; then
		echo "demo: that ended with exit code $got, where $want was expected" >&2
		exit 1
	fi
}

[ -e node_modules/.package-lock.json ] || npm ci --no-fund --no-audit
npm run --silent build

folder=$(mktemp -d "${TMPDIR:-/tmp}/kubeos-demo.XXXXXX")
chmod 755 "$folder"
lab=$folder/lab
cleanup() {
	kubeos lab stop --dir "$lab" >/dev/null 2>&1 || true
	rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

show 0 kubeos lab start --nodes 5 --dir "$lab"
# shellcheck source=/dev/null
. "$lab/env"
show 0 kubeos status
show 0 kubeos lab fault worker-3 boot-fails
show 5 kubeos upgrade -f "$lab/upgrade-disk.yaml" --yes --max-failures 2
show 0 kubeos status
show 0 kubeos rollback --to-previous --maxunavailable 2 --yes
show 0 kubeos status

cat <<'EOF'

What to look at:
  - worker-3 booted the new slot once, could not, and came back by itself in its old one: nobody was paged.
  - the canary went alone; after it no more than maxunavailable nodes were unavailable at once.
  - the rollback left worker-3 alone: it runs the old version already. Given again, it changes nothing.
Next: kubeos lab start, then try your own spec, or a bad day with kubeos lab fault.
EOF
