#!/bin/sh
# packages.sh FOLDER: a kernel and BusyBox for the nodes, fetched from Debian and unpacked into FOLDER; nothing is
# installed. Where this machine's package lists are empty or stale, lists of its own are fetched into FOLDER.
set -eu
folder=$1
lists=$folder/lists
mkdir -p "$folder" "$lists/partial"
cd "$folder"

own_lists() {
	apt-get -q -o "Dir::State::Lists=$lists" -o Debug::NoLocking=1 update >&2
}

apt_cache() { apt-cache ${own:+-o "Dir::State::Lists=$lists"} "$@"; }

fetch() {
	apt-get -q ${own:+-o "Dir::State::Lists=$lists"} -o APT::Sandbox::User=root download "$@" >&2
}

kernel_package() { # the one that the meta package leads to
	apt_cache depends linux-image-cloud-amd64 2>/dev/null | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }'
}

own=''
name=$(kernel_package)
if [ -z "$name" ] || ! fetch "$name" busybox-static; then
	own=yes
	own_lists
	name=$(kernel_package)
	fetch "$name" busybox-static
fi
for package in ./*.deb; do
	dpkg-deb -x "$package" "$folder"
	rm -f "$package"
done
rm -rf "$lists"
