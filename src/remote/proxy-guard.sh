#!/bin/sh
# Becomes a ProxyCommand of ssh_config that cannot outlive kubeos. Descriptor 3 is a pipe that kubeos holds: once it
# closes (the connection has ended, or kubeos has, even by kill -9), the whole process group ends. It is started as the
# leader of a session of its own.
#
#   proxy-guard SHELL COMMAND
set -u

trap '' HUP INT TERM
{
	read -r _
	kill -KILL 0
} <&3 >/dev/null 2>&1 &
trap - HUP INT TERM

exec "$1" -c "exec $2" 3<&-
