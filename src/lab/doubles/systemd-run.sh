#!/bin/sh
# systemd-run of a lab node: a service is a session of its own, remembered for the double of systemctl; a timer of a
# second orders the reboot.
set -eu
if [ -e "$KUBEOS_LAB_NODE/state/faults/systemd" ]; then
	echo 'Failed to start transient unit: Connection refused' >&2
	exit 1
fi
units=$KUBEOS_ROOT/run/systemd/lab-units
mkdir -p "$units"
case $*:$# in
"--quiet --collect --on-active=1 --timer-property=AccuracySec=100ms sh $KUBEOS_ROOT/run/kubeos/reboot.sh:6")
	# shellcheck disable=SC2016 # it is for another shell
	setsid sh -c 'sleep 1; exec sh "$1"' timer "$6" </dev/null >/dev/null 2>&1 &
	;;
"--quiet --collect --unit=kubeos-dead-man --property=TimeoutStopSec=10 --property=Restart=on-failure --property=RestartSec=5 --property=OOMScoreAdjust=-1000 sh $KUBEOS_ROOT/"*:9 | \
	"--quiet --collect --unit=kubeos-"[a-z]*" --property=TimeoutStopSec=10 sh $KUBEOS_ROOT/"*:[67])
	unit=${3#--unit=}.service
	if [ -e "$units/$unit" ]; then
		echo "Failed to start transient service unit: Unit $unit already exists." >&2
		exit 1
	fi
	restart=no
	if [ "$#" -eq 9 ]; then
		restart=on-failure
		shift 3
	fi
	shift 4
	# The session says who it is before it becomes the service, and is forgotten after it (--collect).
	# shellcheck disable=SC2016 # it is for another shell
	setsid sh -c '
		echo "$$" >"$2"
		restart=$1 unit=$2
		shift 2
		until command eval "\"\$@\"" || [ "$restart" = no ]; do command eval "sleep 5"; done
		rm -f "$unit"
	' service "$restart" "$units/$unit" "$@" \
		</dev/null >/dev/null 2>&1 &
	while [ ! -e "$units/$unit" ] && kill -0 "$!" 2>/dev/null; do sleep 0.02; done
	;;
*)
	echo "systemd-run: the double does not know: $*" >&2
	exit 64
	;;
esac
