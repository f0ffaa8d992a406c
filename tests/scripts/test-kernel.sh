#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Which packages make a kernel, by an apt-cache that knows those of several ways in which Debian has split them.
# usage: test-kernel.sh ROOT
set -u
cd "$1" || exit 1
faults=0
directory=$(mktemp -d) || exit 1
trap 'rm -rf "$directory"' EXIT

cat >"$directory/apt-cache" <<'END'
#!/bin/sh
# apt-cache show --no-all-versions PACKAGE[=VERSION]
case $3 in
whole) echo 'Depends: kmod, linux-base-whole (= 1), initramfs-tools (>= 0.1) | dracut' ;;
linux-base-whole*) echo 'Package: linux-base-whole' ;;
old) echo 'Depends: kmod, linux-base-old (= 1)' ;; # which is not there any more
meta) echo 'Depends: linux-image-parts (= 2)' ;;
linux-image-parts*) printf 'Package: x\nDepends: linux-binary-parts (= 2), linux-modules-parts (= 2)\n' ;;
linux-binary-parts* | linux-modules-parts*) echo 'Package: x' ;;
broken) echo 'Depends: linux-modules-gone (= 2)' ;;
*)
	echo 'E: No packages found' >&2
	exit 100
	;;
esac
END
chmod +x "$directory/apt-cache"
PATH=$directory:$PATH
# shellcheck source=tests/guests/kernel.sh
. tests/guests/kernel.sh

expect() { # package, the packages that it takes; none: it cannot be had
	local package=$1 parts
	shift
	parts=$(kernel_parts "$package") || parts=''
	[ "${parts//$'\n'/ }" = "$*" ] && echo "ok: $package" && return
	echo "FAILED: $package: '$parts', not '$*'"
	faults=$((faults + 1))
}

expect whole whole linux-base-whole=1
expect old old
expect meta meta linux-image-parts=2 linux-binary-parts=2 linux-modules-parts=2
expect broken
expect nonsense
exit $((faults > 0))
