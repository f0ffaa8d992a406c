#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# An ordinary user without a daemon: `pagefuse run` starts a private one, which keeps pages in memfds. VMMs share
# through it, it ends with the last of them, and nothing is left behind.
#
# usage: test-private.sh BUILD
set -u -o pipefail
# shellcheck source=tests/support/supervised.sh
. "$(dirname "$0")/../support/supervised.sh"
cd "$(dirname "$0")/../.." || exit 1

build=$1
# shellcheck source=tests/system/vmms.sh
. tests/system/vmms.sh

USER_ID=65534
unset PAGEFUSE_SOCKET
export XDG_RUNTIME_DIR=$RUN/user
install -d -m 700 -o "$USER_ID" -g "$USER_ID" "$XDG_RUNTIME_DIR"

pagefuse() {
	as "$USER_ID"
	"${AS[@]}" "$RUN/bin/pagefuse" "$@"
}

status() {
	pagefuse status --json | jq -r "$1"
}

daemon_is_gone() {
	! kill -0 "$private_pid" 2>/dev/null
}

expect_private_daemon() {
	private_pid=$(status .daemon.pid)
	[ "$(stat -c %u "/proc/$private_pid")" = "$USER_ID" ] || fail "the daemon is not the user's"
	[ "$(status .daemon.store)" = memfd ] || fail "the store is not of memfds"
}

expect_nothing_left() {
	local left
	wait_until "$DAEMON_SECONDS" daemon_is_gone || fail "the private daemon does not end with its last VM"
	left=$(find "$XDG_RUNTIME_DIR" -mindepth 1)
	[ -z "$left" ] || fail "the private daemon left behind: $left"
	pagefuse status >/dev/null 2>&1
	[ $? = 3 ] || fail "somebody answers still"
}

share() {
	vmm_start one "$USER_ID"
	expect_private_daemon
	vmm_start two "$USER_ID"
	[ "$(status .daemon.pid)" = "$private_pid" ] || fail "the second VMM has another daemon"
	pagefuse scan --wait >/dev/null || fail "scan"
	at_least "$(frames_shared one two)" $((2 * SAME_PAGES)) "pages that share a frame"
	doctor_says "$USER_ID" one store
	vmms_check one two
	[ "$(vmm_ask one write)" = written ] || fail "write"
	vmms_check one two
	vmm_end one
	vmms_check two
	vmm_start three "$USER_ID"
	[ "$(status .daemon.pid)" = "$private_pid" ] || fail "the daemon has not outlived its first VM"
	pagefuse scan --wait >/dev/null || fail "scan"
	at_least "$(frames_shared two three)" $((2 * SAME_PAGES)) "pages that share a frame with one that came later"
	vmms_check two three
	vmm_end two
	vmm_end three
	expect_nothing_left
}

# The kernel gives the user no userfaultfd: the VMM runs all the same, and doctor says what to do.
without_userfaultfd() {
	vmm_start four "$USER_ID"
	expect_private_daemon
	pagefuse scan --wait >/dev/null || fail "scan"
	doctor_says "$USER_ID" four no-userfaultfd
	vmms_check four
	vmm_end four
	expect_nothing_left
}

kernel_can_share || { echo "skipped: this kernel cannot move pages by userfaultfd"; exit 77; }
set_userfaultfd 1
share
set_userfaultfd 0
without_userfaultfd
echo "all right"
