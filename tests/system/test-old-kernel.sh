#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A kernel that cannot move pages by userfaultfd: `pagefuse run` says that nothing is shared, and why, and runs the VMM.
# One that has the preload all the same, as by libvirt's configuration, runs on undisturbed, and doctor says why it
# shares nothing. On a kernel that can, a system call filter stands for one that cannot.
#
# usage: test-old-kernel.sh BUILD
set -u -o pipefail
# shellcheck source=tests/support/supervised.sh
. "$(dirname "$0")/../support/supervised.sh"
cd "$(dirname "$0")/../.." || exit 1

build=$1
# shellcheck source=tests/system/vmms.sh
. tests/system/vmms.sh

if kernel_can_share; then
	older=("$build/tests/system/without-userfaultfd")
	"${older[@]}" true || exit 77
else
	older=()
fi

says_so_and_runs() {
	local answers
	answers=$(printf 'write\ncheck\nend\n' |
		"${older[@]}" "$RUN/bin/pagefuse" run --name zero -- "$RUN/bin/vmm" zero 2>"$RUN/zero.err") ||
		fail "exit status $?"
	[ "$answers" = $'ready\nwritten\nright' ] || fail "the VMM answers $answers"
	[[ $(<"$RUN/zero.err") == "pagefuse: 'zero' runs, but nothing of it is shared: "*userfaultfd* ]] ||
		fail "pagefuse run does not say that nothing is shared"
}

# The daemon is on the same kernel, which has no device to lend.
runs_undisturbed() {
	local name
	# shellcheck disable=SC2034,SC2016 # for daemon_open; for the inner shell
	DAEMON_LAUNCHER=("${older[@]}" "$build/tests/support/own-mounts" sh -c
		'[ ! -e /dev/userfaultfd ] || mount --bind /dev/null /dev/userfaultfd && exec "$@"' sh)
	daemon_open "$build" '[scan]' 'interval_seconds = 0' || exit 1
	for name in one two; do
		# shellcheck disable=SC2034 # for vmm_start
		VMM_LAUNCHER=("${older[@]}" env LD_PRELOAD="$RUN/bin/preload.so" PAGEFUSE_NAME="$name"
			PAGEFUSE_MODE=full PAGEFUSE_SECCOMP=1)
		vmm_start "$name" 0
	done
	"$PAGEFUSE" scan --wait >/dev/null || fail "scan"
	doctor_says 0 one no-userfaultfd
	[ "$(frames_shared one two)" = 0 ] || fail "pages are shared"
	[ "$(vmm_ask one write)" = written ] || fail "write"
	vmms_check one two
	vmm_end one
	vmm_end two
	daemon_close || exit 1
}

says_so_and_runs
runs_undisturbed
echo "all right"
