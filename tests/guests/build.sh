# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Builds what the real guests boot, from the distribution's own packages, without installing any of them: the cloud
# kernel, an initramfs with busybox and the program of inside/, and an ext4 image of a small system with Python, Perl,
# git, nginx and PostgreSQL. Kept in a folder of the project for the next time. To be sourced.
#
#   guests_build     builds what is missing; $GUESTS_DIR/{kernel,initramfs,disk} are there afterwards

# shellcheck source=tests/guests/kernel.sh
. "$(dirname "${BASH_SOURCE[0]}")/kernel.sh"

GUESTS_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
GUESTS_DIR=${PAGEFUSE_GUESTS:-$(cd "$GUESTS_SOURCE/../.." && pwd)/.cache/guests}
GUESTS_WORK=$GUESTS_DIR/work
GUESTS_KERNEL_PACKAGE=${PAGEFUSE_GUEST_KERNEL:-linux-image-cloud-amd64} # another, as kernel_fetch takes it
GUESTS_DISK_PACKAGES=(base-files python3 perl git nginx postgresql)
GUESTS_MODULES='virtio*.ko* ext4.ko* jbd2.ko* mbcache.ko* crc16.ko* crc32c*.ko*'
# What a guest of 512 MiB reads and keeps in its page cache, and what it reads in between to drive that out.
GUESTS_FIRST_MIB=240
GUESTS_OTHERS_MIB=100

guests_tell() {
	echo "progress: $*"
}

# apt-get that sees no package as installed and keeps what it fetches to itself.
guests_apt() {
	local state=$GUESTS_WORK/apt
	mkdir -p "$state/archives/partial"
	: >"$state/status"
	apt-get -qq -y -o Dir::State::status="$state/status" -o Dir::Cache::archives="$state/archives" \
		-o APT::Sandbox::User=root -o Debug::NoLocking=1 -o APT::Install-Recommends=0 \
		-o APT::Status-Fd=3 "$@" 3>&1 >/dev/null | guests_tell_of_apt
}

# What apt-get says for programs: kind:number:percent:words.
guests_tell_of_apt() {
	local kind percent words
	while IFS=: read -r kind _ percent words; do
		[ "$kind" != dlstatus ] || guests_tell "fetching the guests' packages, ${percent%.*} %: $words"
	done
}

# guests_unpack FOLDER ARCHIVE…
guests_unpack() {
	local folder=$1 archive
	shift
	mkdir -p "$folder"
	for archive in "$@"; do
		[ ! -e "$archive" ] || dpkg-deb -x "$archive" "$folder" || return 1
	done
}

guests_download() {
	apt-get -qq -o APT::Sandbox::User=root download "$1"
}

# guests_fetch_one FOLDER PACKAGE: that package alone.
guests_fetch_one() {
	local archives=$GUESTS_WORK/one
	rm -rf "$archives" "$1"
	mkdir -p "$archives"
	guests_tell "fetching $2"
	(cd "$archives" && { guests_download "$2" || { apt-get -qq update && guests_download "$2"; }; }) || return 1
	guests_unpack "$1" "$archives"/*.deb
	rm -rf "$archives"
}

guests_fetch_kernel() {
	guests_tell "fetching the kernel, $GUESTS_KERNEL_PACKAGE"
	kernel_fetch "$GUESTS_KERNEL_PACKAGE" "$GUESTS_WORK/kernel" || return 1
	cp "$GUESTS_WORK/kernel/vmlinuz" "$GUESTS_DIR/kernel"
}

# The packages and all that they depend on, unpacked. base-files first: on a merged system it brings the links that
# others unpack through.
guests_fetch_system() {
	local archives=$GUESTS_WORK/apt/archives system=$GUESTS_WORK/system
	rm -rf "$archives" "$system"
	guests_tell "fetching the packages of the guests' disk"
	guests_apt --download-only install "${GUESTS_DISK_PACKAGES[@]}" || { apt-get -qq update &&
		guests_apt --download-only install "${GUESTS_DISK_PACKAGES[@]}"; } || return 1
	guests_tell "unpacking the packages of the guests' disk"
	guests_unpack "$system" "$archives"/base-files_*.deb "$archives"/*.deb || return 1
	mkdir -p "$system"/{proc,dev,tmp}
	rm -rf "$archives"
}

# guests_list FROM_MIB LENGTH_MIB: the regular files of the current folder, in a fixed order, that begin in that part of
# all their bytes.
guests_list() {
	find . -type f -printf '%s %P\n' | LC_ALL=C sort -k 2 |
		awk -v from="$1" -v length_mib="$2" '
			{ size = $1; sub(/^[0-9]+ /, "") }
			sum >= from * 1048576 && sum < (from + length_mib) * 1048576
			{ sum += size }'
}

# guests_compile PROGRAM SOURCE…: static, as it may run in the guest.
guests_compile() {
	local program=$1
	shift
	(cd "$GUESTS_SOURCE/inside" && "${CC:-cc}" -O2 -std=gnu11 -D_GNU_SOURCE -static -pthread -o "$program" "$@")
}

guests_build_disk() {
	local system=$GUESTS_WORK/system lists=$GUESTS_DIR/lists manifest=$GUESTS_WORK/manifest
	guests_fetch_system || return 1
	mkdir -p "$lists"
	guests_tell "taking sums of the disk's files"
	guests_compile "$manifest" manifest.c files.c || return 1
	(cd "$system" && guests_list 0 "$GUESTS_FIRST_MIB" | "$manifest" >"$lists/first" &&
		guests_list "$GUESTS_FIRST_MIB" "$GUESTS_OTHERS_MIB" | "$manifest" >"$lists/others") || return 1
	rm -f "$GUESTS_DIR/disk"
	guests_tell "making the disk's file system"
	mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$system" "$GUESTS_DIR/disk" \
		"$(($(du -sm --apparent-size "$system" | cut -f 1) * 5 / 4 + 64))M" >/dev/null || return 1
	rm -rf "$system"
}

# The kernel's modules that a guest may need; some kernels have some of them built in.
guests_copy_modules() {
	local root=$1 version from to pattern
	local -a names=()
	version=$(kernel_version "$GUESTS_WORK/kernel")
	from=$GUESTS_WORK/kernel/modules/$version
	to=$root/lib/modules/$version
	for pattern in $GUESTS_MODULES; do
		names+=(-o -name "$pattern")
	done
	mkdir -p "$to"
	find "$from" -maxdepth 1 \( -name modules.order -o -name modules.builtin \) -exec cp -t "$to" {} +
	find "$from" -type f \( "${names[@]:1}" \) -exec cp -t "$to" {} +
	find "$to" -name '*.xz' -exec xz -d {} +
	find "$to" -name '*.zst' -exec zstd -q -d --rm {} +
	"$root/bin/busybox" depmod -b "$root" "$version"
}

guests_build_initramfs() {
	local root=$GUESTS_WORK/initramfs
	rm -rf "$root"
	mkdir -p "$root"/{bin,lists}
	guests_fetch_one "$GUESTS_WORK/busybox" busybox-static || return 1
	find "$GUESTS_WORK/busybox" -type f -path '*/bin/busybox' -exec install -m 755 {} "$root/bin/busybox" \;
	guests_tell "making the initramfs"
	guests_compile "$root/guest" guest.c files.c memory.c reads.c || return 1
	install -m 755 "$GUESTS_SOURCE/inside/"{init,agent} "$root"
	cp "$GUESTS_DIR"/lists/{first,others} "$root/lists"
	tac "$GUESTS_DIR/lists/first" >"$root/lists/check"
	guests_copy_modules "$root" || return 1
	(cd "$root" && find . | "$root/bin/busybox" cpio -o -H newc 2>/dev/null) >"$GUESTS_DIR/initramfs" || return 1
	rm -rf "$root" "$GUESTS_WORK/busybox"
}

# guests_make STAMP KEY FUNCTION PATH…: calls the function unless it succeeded with the same key before, and what it
# made is still there.
guests_make() {
	local stamp=$GUESTS_DIR/$1.made
	if [ "$(cat "$stamp" 2>/dev/null)" = "$2" ] && stat -- "${@:4}" >/dev/null 2>&1; then
		return 0
	fi
	rm -f "$stamp"
	"$3" || { echo "guests: cannot build the guests' $1 in $GUESTS_DIR" >&2; return 1; }
	echo "$2" >"$stamp"
}

guests_build_all() {
	local disk="${GUESTS_DISK_PACKAGES[*]} $GUESTS_FIRST_MIB $GUESTS_OTHERS_MIB" kernel inside
	kernel="$GUESTS_KERNEL_PACKAGE $(sha256sum <"$GUESTS_SOURCE/kernel.sh")"
	inside=$(cat "$GUESTS_SOURCE"/inside/* "$GUESTS_SOURCE/build.sh" | sha256sum)
	guests_make kernel "$kernel" guests_fetch_kernel "$GUESTS_DIR/kernel" "$GUESTS_WORK/kernel/modules" &&
		guests_make disk "$disk" guests_build_disk "$GUESTS_DIR"/{disk,lists/first,lists/others} &&
		guests_make initramfs "$disk $(kernel_version "$GUESTS_WORK/kernel") $inside" guests_build_initramfs \
			"$GUESTS_DIR/initramfs"
}

# Whether guests_build has little or nothing to do.
guests_are_built() {
	[ -e "$GUESTS_DIR/kernel.made" ] && [ -e "$GUESTS_DIR/disk.made" ] && [ -e "$GUESTS_DIR/initramfs.made" ]
}

guests_build() {
	mkdir -p "$GUESTS_WORK"
	set -o pipefail
	# Two tests may want them at the same time.
	flock -n "$GUESTS_DIR/lock" true || guests_tell "waiting for another one that makes the guests"
	(flock 9 && guests_build_all) 9>"$GUESTS_DIR/lock"
}
