#!/bin/sh
# systemd.sh TREE PACKAGES FOLDER: a node's root as tree.sh made it, but with systemd, its journal, logind and a system bus
# out of Debian's packages, as KubeOS has them, in place of BusyBox's init and syslogd. No udev: the initramfs
# mounts what is to be mounted.
set -eu
tree=$1 packages=$2 root=$3
here=$(cd "$(dirname "$0")" && pwd)
umask 022
cp -a "$tree" "$root"
own=usr/lib/systemd
units=$root/$own/system

for applet in init linuxrc reboot poweroff halt telinit runlevel; do rm -f "$root/usr/bin/$applet"; done
mkdir -p "$units" "$root/$own/user" "$root/usr/lib/x86_64-linux-gnu/security" "$root/usr/share" "$root/etc/systemd" "$root/etc/pam.d"
cp -r "$packages/lib/systemd/system/." "$units/"
cp -r "$packages/usr/lib/systemd/user/." "$root/$own/user/"
cp -r "$packages/usr/share/dbus-1" "$root/usr/share/"
for tool in systemctl systemd-run journalctl loginctl dbus-daemon; do
	cp "$(find "$packages/bin" "$packages/usr/bin" -name "$tool")" "$root/usr/bin/"
done
for program in systemd systemd-journald systemd-logind systemd-shutdown systemd-cgroups-agent systemd-user-sessions \
	systemd-user-runtime-dir; do
	cp "$packages/lib/systemd/$program" "$root/$own/"
done
for module in pam_systemd pam_permit; do
	cp "$(find "$packages" -name "$module.so")" "$root/usr/lib/x86_64-linux-gnu/security/"
done
for name in reboot poweroff halt; do ln -s ../bin/systemctl "$root/usr/sbin/$name"; done

libraries=$packages/lib/x86_64-linux-gnu:$packages/usr/lib/x86_64-linux-gnu:$packages/usr/lib/x86_64-linux-gnu/systemd
for program in "$root/$own"/systemd* "$root"/usr/bin/systemctl "$root"/usr/bin/dbus-daemon \
	"$root"/usr/lib/x86_64-linux-gnu/security/*; do
	LD_LIBRARY_PATH=$libraries ldd "$program"
done | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | while read -r library; do
	[ -e "$root/usr/lib/x86_64-linux-gnu/${library##*/}" ] || cp -L "$library" "$root/usr/lib/x86_64-linux-gnu/"
done

# Of what Debian starts, only this.
rm -rf "$units"/*.wants
wants() { # TARGET UNIT...
	mkdir -p "$units/$1.wants"
	for unit in "$@"; do
		if [ "$unit" != "$1" ]; then ln -s "../$unit" "$units/$1.wants/$unit"; fi
	done
}
wants sysinit.target systemd-journald.service systemd-journal-flush.service
wants sockets.target dbus.socket systemd-journald.socket systemd-journald-dev-log.socket
wants multi-user.target dbus.service systemd-logind.service systemd-user-sessions.service sshd.service kubelet.service
ln -sf multi-user.target "$units/default.target"
cp "$here"/systemd/*.service "$units/"
cp "$here"/systemd/journald.conf "$here"/systemd/logind.conf "$root/etc/systemd/"
for name in sshd systemd-user other; do cp "$here/systemd/pam" "$root/etc/pam.d/$name"; done
ln -sf ../lib/systemd/systemd "$root/usr/sbin/init"
sed -i 's/^UsePAM no$/UsePAM yes/' "$root/etc/ssh/sshd_config"
echo 'messagebus:x:75:75::/nonexistent:/sbin/nologin' >>"$root/etc/passwd"
echo 'messagebus:x:75:' >>"$root/etc/group"
echo 6b7562656f7300000000000000000001 >"$root/etc/machine-id"
