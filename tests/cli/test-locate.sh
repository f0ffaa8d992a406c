#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# An installed command finds its preload and its daemon wherever the tree is: in a DESTDIR, moved, renamed; and nothing
# that another user put there.
#
# usage: test-locate.sh PROGRAM LIBDIR     of locate-main.c, for the prefix /no/such/usr, and that libdir below it
set -u
program=$1 libdir=$2
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
unset PAGEFUSE_PRELOAD PAGEFUSED

fail() {
	echo "FAILED: $*"
	exit 1
}

# install_in PREFIX
install_in() {
	install -D -m 755 "$program" "$1/bin/pagefuse"
	install -D -m 755 /dev/null "$1/sbin/pagefused"
	install -D -m 644 /dev/null "$1/$libdir/libpagefuse-preload.so"
}

# finds PROGRAM PRELOAD DAEMON
finds() {
	local found
	found=$("$1")
	[ "$found" = "$2"$'\n'"$3" ] || fail "$1 finds $found; not $2, $3"
}

# finds_in PREFIX [NAME-OF-BIN]
finds_in() {
	finds "$1/bin/pagefuse" "$1/$libdir/libpagefuse-preload.so" "$1/sbin/pagefused"
}

staged=$directory/staged/no/such/usr
install_in "$staged"
finds_in "$staged"
mkdir "$directory/a place"
moved=$directory/a\ place/moved
mv "$staged" "$moved"
finds_in "$moved"
ln -s "$moved/bin/pagefuse" "$directory/link"
finds "$directory/link" "$moved/$libdir/libpagefuse-preload.so" "$moved/sbin/pagefused"

# Without its tree, and where the names are others, nothing is taken for it.
absent='No such file or directory'
cp "$program" "$moved/lonely"
finds "$moved/lonely" "$absent" "$absent"
mkdir "$moved/cabin"
cp "$program" "$moved/cabin/pagefuse"
finds "$moved/cabin/pagefuse" "$absent" "$absent"

# What the environment says counts alone.
PAGEFUSE_PRELOAD=$directory/none PAGEFUSED=$program finds "$moved/bin/pagefuse" "$absent" \
	"$(realpath "$program")"

# What others can write, or have made, is not used.
chmod 646 "$moved/$libdir/libpagefuse-preload.so"
finds "$moved/bin/pagefuse" "$absent" "$moved/sbin/pagefused"
chmod 644 "$moved/$libdir/libpagefuse-preload.so"
if [ "$(id -u)" = 0 ]; then
	chown 65534 "$moved/$libdir/libpagefuse-preload.so" "$moved/sbin/pagefused"
	finds "$moved/bin/pagefuse" "$absent" "$absent"
	chown 65534 "$moved/bin/pagefuse"
	finds_in "$moved" # all of it is his
fi
echo "all right"
