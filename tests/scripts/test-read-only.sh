#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# In a tree that cannot be written the scripts end at once, and say so.
#
# usage: test-read-only.sh ROOT
set -u

cd "$1" || exit 1
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
# Its own mounts: what is read-only here is so for nobody else.
if [ $# -eq 1 ]; then
	unshare --mount true || { echo "needs a mount namespace of its own"; exit 77; }
	exec unshare --mount "$0" "$1" inside
fi
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && cd "$1" || { echo "cannot mount"; exit 77; }

faults=0
for script in ./demo ./check benchmarks/run packaging/build-debs tests/kernels; do
	said=$($script 2>&1)
	status=$?
	if [ $status = 1 ] && [[ $said == "$script: cannot write to $1/"*"Read-only file system"* ]]; then
		echo "ok: $said"
	else
		echo "FAILED: $script: status $status: $said"
		faults=1
	fi
done
exit $faults
