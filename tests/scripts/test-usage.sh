#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the scripts answer to --help, which needs no rights and changes nothing, and to what they do not know.
#
# usage: test-usage.sh ROOT
set -u
cd "$1" || exit 1
faults=0

expect() { # status pattern command...
	local status=$1 pattern=$2 got said
	shift 2
	said=$("$@" 2>&1 </dev/null)
	got=$?
	if [ $got = "$status" ] && grep -q -e "$pattern" <<<"$said"; then
		echo "ok: $*"
	else
		echo "FAILED: $*: wanted '$pattern' and exit status $status, got $got and:"
		echo "$said"
		faults=$((faults + 1))
	fi
}

nobody=()
[ "$(id -u)" != 0 ] || nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
if [ ${#nobody[@]} -gt 0 ] && ! "${nobody[@]}" test -r "$1/check"; then
	nobody=() # a folder of root's
fi
for script in ./demo ./check benchmarks/run tests/fresh tests/packages tests/libvirt packaging/build-debs \
	tests/support/install-packages.sh; do
	expect 0 '^usage: ' "${nobody[@]}" $script --help
done
for script in ./demo ./check benchmarks/run tests/fresh tests/packages tests/libvirt packaging/build-debs; do
	expect 2 "'--nonsense'; see .*--help" "${nobody[@]}" $script --nonsense
done
expect 2 "'nonsense'" benchmarks/run nonsense
expect 2 'needs a folder' benchmarks/run --output
expect 2 'needs a folder' ./demo --build
expect 2 'needs a folder' tests/fresh --folder
expect 2 'needs a value' ./check --only
expect 2 'needs a value' tests/packages --folder
expect 2 'needs a value' tests/libvirt --folder
expect 2 'needs a value' packaging/build-debs --version
expect 2 "'1-2' is no version" packaging/build-debs --version 1-2
expect 2 "not 'x'" packaging/build-debs --jobs x
expect 2 "'nosuch' is no suite; there are: agent cli" ./check --only nosuch
expect 2 'is no suite' ./check --only ''
expect 2 "called 'nonsense'" tests/support/install-packages.sh nonsense
[ $faults = 0 ]
