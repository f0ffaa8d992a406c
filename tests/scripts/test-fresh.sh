#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Which archives tests/fresh takes from apt's configuration, in both of its formats.
#
# usage: test-fresh.sh ROOT
set -u
command -v apt-get >/dev/null || { echo "needs apt"; exit 77; }

etc=$(mktemp -d) || exit 1
trap 'rm -rf "$etc"' EXIT
mkdir "$etc/parts" "$etc/state"
cat >"$etc/conf" <<END
Dir::Etc::sourcelist "$etc/list";
Dir::Etc::sourceparts "$etc/parts";
Dir::State::lists "$etc/state";
END
export APT_CONFIG=$etc/conf
faults=0

expect() { # suite lines
	local said
	said=$("$root/tests/fresh" --sources "$1")
	if [ "$said" = "$2" ]; then
		echo "ok: $1"
	else
		printf 'FAILED: %s should have\n%s\nand has\n%s\n' "$1" "$2" "$said"
		faults=$((faults + 1))
	fi
}

root=$1
: >"$etc/list"
expect trixie ''
cat >"$etc/list" <<'END'
# deb http://comment.invalid/debian trixie main
deb [arch=amd64] http://one.invalid/debian bookworm main contrib # http://comment.invalid/debian
deb-src http://source.invalid/debian bookworm main
deb http://one.invalid/debian bookworm-updates main
deb http://one.invalid/debian bookworm-backports main
deb http://vendor.invalid/debian vendor-bookworm main
deb http://vendor.invalid/debian bookworm stable
deb cdrom:[Debian]/ bookworm main
END
expect bookworm 'http://one.invalid/debian/ bookworm
http://one.invalid/debian/ bookworm-updates'
cat >"$etc/parts/debian.sources" <<'END'
Types: deb
# http://comment.invalid/debian
URIs: http://two.invalid/security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://disabled.invalid/debian
Suites: bookworm
Components: main
Enabled: no
END
expect trixie 'http://one.invalid/debian/ trixie
http://one.invalid/debian/ trixie-updates
http://two.invalid/security/ trixie-security'
[ $faults = 0 ]
