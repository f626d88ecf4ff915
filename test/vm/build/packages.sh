#!/bin/sh
# packages.sh FOLDER NAME...: packages of Debian, fetched and unpacked into FOLDER; nothing is installed. `kernel` stands
# for the one that linux-image-cloud-amd64 leads to. Where this machine's package lists are empty or stale, lists of its
# own are fetched into FOLDER.
set -eu
folder=$1
shift
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

fetch_all() { # NAME...
	for name; do
		shift
		if [ "$name" = kernel ]; then
			name=$(apt_cache depends linux-image-cloud-amd64 2>/dev/null |
				awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
			[ -n "$name" ] || return 1
		fi
		set -- "$@" "$name"
	done
	fetch "$@"
}

own=''
if ! fetch_all "$@"; then
	own=yes
	own_lists
	fetch_all "$@"
fi
for package in ./*.deb; do
	dpkg-deb -x "$package" "$folder"
	rm -f "$package"
done
rm -rf "$lists"
