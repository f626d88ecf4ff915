#!/bin/sh
# The main job, start to end, in a lab: five nodes are upgraded, one of them falls back on purpose, then all go back.
# Needs Node.js, npm and the tools of README.md; changes nothing outside a folder of its own, but for what npm does and
# for node_modules and dist of this clone. However it ends, a closed terminal included, nothing that it started is left.
set -eu
cd "$(dirname "$0")/.."

running=''

# Shows a command of kubeos, runs it, and insists on its exit code. It runs in the background, since a shell heeds no
# signal before what it runs in the foreground has ended.
show() {
	want=$1
	shift
	printf '\n\033[1m$ kubeos %s\033[0m\n' "$*"
	got=0
	node bin/kubeos.js "$@" <&0 &
	running=$!
	wait "$running" || got=$?
	running=''
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
export XDG_STATE_HOME="$folder/state" XDG_CACHE_HOME="$folder/cache" KUBECACHEDIR="$folder/cache/kubectl"
export TMPDIR="$folder"

# A run brings a node that is armed to its end first: two signals end it at once, as two times Ctrl-C do.
end_running() {
	kill -TERM "$running" 2>/dev/null || return 0
	kill -INT "$running" 2>/dev/null || true
	left=10
	while kill -0 "$running" 2>/dev/null; do
		if [ "$left" -eq 0 ]; then kill -KILL "$running" 2>/dev/null || true; fi
		left=$((left - 1))
		sleep 1
	done
}
cleanup() {
	trap '' HUP INT PIPE TERM
	if [ -n "$running" ]; then end_running; fi
	node bin/kubeos.js lab stop --dir "$lab" >/dev/null 2>&1 || true
	rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

show 0 lab start --nodes 5 --dir "$lab"
# shellcheck source=/dev/null
. "$lab/env"
show 0 status
show 0 lab fault worker-3 boot-fails
show 5 upgrade -f "$lab/upgrade-disk.yaml" --yes --max-failures 2
show 0 status
show 0 rollback --to-previous --maxunavailable 2 --yes
show 0 status

cat <<'EOF'

What to look at:
  - worker-3 booted the new slot once, could not, and came back by itself in its old one: nobody was paged.
  - the canary went alone; after it no more than maxunavailable nodes were unavailable at once.
  - the rollback left worker-3 alone: it runs the old version already. Given again, it changes nothing.
Next: kubeos lab start, then try your own spec, or a bad day with kubeos lab fault.
EOF
