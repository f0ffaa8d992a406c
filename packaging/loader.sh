#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Whether the dynamic loader finds libpagefuse in LIBDIR. Only programs that link the library need that; the command
# pagefuse and VMs under it do not.
#
# usage: loader.sh tell LIBDIR       says what to do, and ends with 1, if the loader does not look there
#        loader.sh refresh LIBDIR    after an installation: has it look anew, by root where it is not for another place
set -u
libdir=$2
PATH=$PATH:/usr/sbin:/sbin

# -N and -X: nothing is changed. It says "/lib: (from …)", or "Can't stat /lib:" of one that does not exist yet.
looked_at=$(LC_ALL=C ldconfig -v -N -X 2>&1) || exit 0 # a loader of another kind
is_looked_at() {
	printf '%s\n' "$looked_at" | sed "s/.*Can't stat //" | grep '^/' | cut -d : -f 1 | {
		while read -r directory; do
			[ "$directory" != "$libdir" ] && ! [ "$directory" -ef "$libdir" ] || exit 0
		done
		exit 1
	}
}

if ! is_looked_at; then
	[ "$1" = tell ] || exit 0
	cat <<-END
		libdir is $libdir, where the dynamic loader does not look. The command pagefuse works from there; for
		programs that link libpagefuse choose another one by --libdir, or, as root, once it is installed:
		    echo $libdir > /etc/ld.so.conf.d/pagefuse.conf && ldconfig
		and build them with PKG_CONFIG_PATH=$libdir/pkgconfig
	END
	exit 1
fi
[ "$1" = tell ] || [ -n "${DESTDIR:-}" ] || [ "$(id -u)" != 0 ] || ldconfig
