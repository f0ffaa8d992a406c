# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Guests as people run them: a system of the distribution's packages, installed as in any image of it, with its own
# kernel, initramfs, systemd and services, and the program of ../inside to make it read and check its files. For the
# benchmark. To be sourced, after harness.sh.
#
#   real_build         builds it if need be: $REAL_DIR/{kernel,initramfs,disk} are there afterwards. Needs root and the
#                      packages of the set "bench". While it works there are mounts below $REAL_WORK
#   guests_use real    guests that are started from now on are these
#   guests_use kind    ... are those of ../build.sh again, whose memory is easy to share
#
# A guest writes to an overlay of its own that QEMU makes and that is gone with it.

# shellcheck source=tests/support/archive.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../support/archive.sh"

REAL_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REAL_DIR=$GUESTS_DIR/real
REAL_WORK=$REAL_DIR/work
REAL_PACKAGES=(linux-image-cloud-amd64 systemd-sysv dbus udev kmod e2fsprogs procps cron openssh-server
	python3 perl git nginx postgresql)
REAL_OTHERS_MIB=100   # of the same files: to be read in between, once they have been driven out
REAL_BOOT_SECONDS=240 # as GUEST_BOOT_SECONDS

guests_use() {
	case $1 in
	real)
		GUEST_FILES=$REAL_DIR GUEST_DISK_ACCESS=snapshot=on
		GUEST_FILES_WORDS='root=/dev/vda rw loglevel=4 systemd.show_status=yes'
		GUEST_FILES_BOOT_SECONDS=$REAL_BOOT_SECONDS
		;;
	kind) guests_use_kind ;;
	esac
}

real_suite() {
	# shellcheck source=/dev/null
	(. /etc/os-release && echo "$VERSION_CODENAME")
}

# What it shows of its progress are the lines that begin with "I: ".
real_install() {
	local suite
	suite=$(real_suite)
	guests_tell "looking for the archive of $suite"
	if ! archive_find "$suite" "$REAL_WORK"; then
		echo "guests: $ARCHIVE_WHY" >&2
		return 1
	fi
	archive_make "$suite" "$REAL_WORK" "$1" --include="$(IFS=,; echo "${REAL_PACKAGES[*]}")" 2>&1 |
		sed -u "s/^I: /progress: the real guests' system: /"
}

# What of this machine is in it goes out; what makes it one of our guests comes in.
real_furnish() {
	local system=$1 units=$1/etc/systemd/system lists=$1/guest/lists
	rm -rf "$system"/etc/apt/{auth.conf,auth.conf.d,apt.conf.d/99mmdebstrap,sources.list,sources.list.d}
	rm -f "$system/etc/resolv.conf"
	echo guest >"$system/etc/hostname"
	: >"$system/etc/machine-id" # each guest makes one of its own
	mkdir -p "$lists" "$units/graphical.target.wants"
	install -m 644 "$REAL_SOURCE/guest.service" "$units/guest.service" &&
		ln -s ../guest.service "$units/graphical.target.wants/guest.service" &&
		ln -s /dev/null "$units/serial-getty@ttyS0.service" &&
		install -m 755 "$REAL_SOURCE/start" "$system/guest/start" || return 1
	guests_tell "taking sums of the real guests' files"
	guests_compile "$system/guest/guest" guest.c files.c memory.c reads.c &&
		guests_compile "$REAL_WORK/manifest" manifest.c files.c || return 1
	(cd "$system/usr" && guests_list 0 100000 | "$REAL_WORK/manifest" >"$lists/first" &&
		guests_list 0 "$REAL_OTHERS_MIB" | "$REAL_WORK/manifest" >"$lists/others") || return 1
	tac "$lists/first" >"$lists/check"
}

# Nothing is left to be initialised by the guest's kernel later.
real_image() {
	local system=$1
	guests_tell "making the real guests' disk"
	cp "$system"/boot/vmlinuz-* "$REAL_DIR/kernel" &&
		cp "$system"/boot/initrd.img-* "$REAL_DIR/initramfs" || return 1
	rm -f "$REAL_DIR/disk"
	mke2fs -q -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 -d "$system" "$REAL_DIR/disk" \
		"$(($(du -sm --apparent-size "$system" | cut -f 1) * 5 / 4 + 512))M" >/dev/null
}

real_build_disk() {
	local system=$REAL_WORK/system
	rm -rf --one-file-system "$REAL_WORK"
	mkdir -p "$REAL_WORK"
	real_install "$system" && real_furnish "$system" && real_image "$system" || return 1
	rm -rf --one-file-system "$REAL_WORK"
}

real_build() {
	local key
	key="$(real_suite) $(cat "$GUESTS_SOURCE"/inside/* "$REAL_SOURCE"/* | sha256sum)"
	mkdir -p "$REAL_DIR"
	set -o pipefail
	flock -n "$GUESTS_DIR/lock" true || guests_tell "waiting for another one that makes the guests"
	(
		flock 9 || exit
		guests_make real/system "$key" real_build_disk "$REAL_DIR"/{disk,kernel,initramfs}
	) 9>"$GUESTS_DIR/lock"
}
