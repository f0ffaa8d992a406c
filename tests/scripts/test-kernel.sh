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
# apt-cache show --no-all-versions PACKAGE[=VERSION]…, apt-cache pkgnames
if [ "$1" = pkgnames ]; then
	for part in binary-9.1.2 binary-9.1.10 binary-9.2.1 modules-9.1.2; do
		echo "linux-$part-cloud-amd64"
	done
	exit
fi
case $3 in
linux-image-9*)
	for package in "$@"; do
		name=${package#linux-image-}
		case $package in
		linux-image-9.0*) printf 'Package: %s\nDepends: kmod, linux-base (>= 1)\n\n' "$package" ;;
		linux-image-9*) printf 'Package: %s\nDepends: kmod, linux-binary-%s (= 1), linux-modules-%s, x\n\n' \
			"$package" "$name" "$name" ;;
		esac
	done
	;;
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
# shellcheck source=tests/kernels.d/packages.sh
. tests/kernels.d/packages.sh

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

# Of 9.1 the older one is whole, of 9.2 none is.
for version in 9.0.1 9.1.2 9.1.10 9.2.1; do
	echo "$version linux-image-$version-cloud-amd64"
done >"$directory/all"
absent=linux-modules-9.2.1-cloud-amd64
served=$(packages_newest <"$directory/all" 2>"$directory/left-out")
if [ "$served" != $'9.0 linux-image-9.0.1-cloud-amd64\n9.1 linux-image-9.1.2-cloud-amd64' ] ||
	[ "$(<"$directory/left-out")" != "Linux 9.2: left out, as the archive has no $absent" ]; then
	echo "FAILED: served are: $served"
	cat "$directory/left-out"
	faults=$((faults + 1))
fi
exit $((faults > 0))
