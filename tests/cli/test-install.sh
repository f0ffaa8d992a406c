#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What `meson install` puts into a DESTDIR runs from there, and from where that is moved to: `pagefuse run` uses the
# preload and the daemon of that tree. Also where their paths have blanks and colons, which LD_PRELOAD cannot hold.
#
# usage: test-install.sh MESON BUILD BINDIR
set -u
meson=$1 build=$2 bindir=$3
directory=$(mktemp -d)
link=
trap '[ -z "$link" ] || rm -f "$link"; rm -rf "$directory"' EXIT
unset PAGEFUSE_PRELOAD PAGEFUSED LD_PRELOAD PAGEFUSE_NAME PAGEFUSE_MODE
export PAGEFUSE_SOCKET=$directory/socket

fail() {
	echo "FAILED: $*"
	exit 1
}

# runs_from TREE: the command in there gives its command the preload in there, and starts the daemon in there.
runs_from() {
	local tree=$1 said daemon
	# shellcheck disable=SC2016 # for the inner shell
	said=$("$tree$bindir/pagefuse" run --name web1 -- sh -c 'echo "$LD_PRELOAD"; cat /proc/$$/maps') ||
		fail "run from $tree"
	preload=${said%%$'\n'*}
	case $(realpath "$preload") in
	"$tree"/*/libpagefuse-preload.so) ;;
	*) fail "run from $tree takes the preload $preload" ;;
	esac
	grep -qF "$(realpath "$preload")" <<<"$said" || fail "$preload was not loaded"
	daemon=$("$tree$bindir/pagefuse" status --json | jq .daemon.pid) || fail "status"
	case $(readlink "/proc/$daemon/exe") in
	"$tree"/*) ;;
	*) fail "run from $tree started $(readlink "/proc/$daemon/exe")" ;;
	esac
	kill "$daemon"
	while [ -e "/proc/$daemon" ]; do sleep 0.05; done # until then it has the store's directory
}

"$meson" install -C "$build" --no-rebuild --destdir "$directory/staged" >"$directory/log" 2>&1 ||
	fail "$(cat "$directory/log")"
runs_from "$directory/staged"
mv "$directory/staged" "$directory/moved"
runs_from "$directory/moved"
mv "$directory/moved" "$directory/a b:c"
runs_from "$directory/a b:c"
link=$preload
[ -L "$link" ] || fail "no link in place of a path that LD_PRELOAD cannot hold"
runs_from "$directory/a b:c"
[ "$preload" = "$link" ] || fail "another link: $preload, not $link"
ln -sf /dev/null "$link"
"$directory/a b:c$bindir/pagefuse" run -- true 2>/dev/null && fail "a link to something else is used"
rm "$link"
rmdir "${link%/*}" 2>/dev/null
echo "all right"
