#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# VMMs of users without any privilege, that may not have a userfaultfd of their own, share under a daemon of root's like
# any other, which lends them one, and with each other where its settings make them one domain. Without what it lends
# nothing is shared, nothing is harmed, and doctor says why.
#
# usage: test-unprivileged.sh BUILD
set -u -o pipefail
# shellcheck source=tests/support/supervised.sh
. "$(dirname "$0")/../support/supervised.sh"
cd "$(dirname "$0")/../.." || exit 1

build=$1
# shellcheck source=tests/system/vmms.sh
. tests/system/vmms.sh

open_daemon() {
	daemon_open "$build" '[scan]' 'interval_seconds = 0' '[access]' 'group = *' '[domain team]' 'user = *' || exit 1
	chmod 755 "$DAEMON_DIR"
}

expect_none_of_their_own() {
	local name
	for name; do
		[ "$(vmm_ask "$name" userfaultfd)" = "Operation not permitted" ] ||
			fail "user ${name#user} can have a userfaultfd, so nothing is tested here"
	done
}

# What a user whose /dev has no userfaultfd, as in the mount namespace that libvirt makes, is told of the daemon's.
told_elsewhere() {
	as 65534
	# shellcheck disable=SC2016 # for the inner shell
	"$build/tests/support/own-mounts" sh -c 'mount -t tmpfs dev /dev && exec "$@"' sh "${AS[@]}" \
		"$RUN/bin/pagefuse" run --name told -- true 2>&1
}

share() {
	open_daemon
	[ -z "$(told_elsewhere)" ] || fail "a user without /dev/userfaultfd is told: $(told_elsewhere)"
	vmm_start root 0
	vmm_start user65534 65534
	vmm_start user65533 65533
	expect_none_of_their_own user65534 user65533
	"$PAGEFUSE" scan --wait >/dev/null || fail "scan"
	at_least "$(frames_shared root user65534)" $((2 * SAME_PAGES)) "pages shared by root's VMM and a user's"
	at_least "$(frames_shared user65533 user65534)" $((2 * SAME_PAGES)) "pages shared by two users' VMMs"
	vmms_check root user65534 user65533
	[ "$(vmm_ask user65534 write)" = written ] || fail "write"
	vmms_check root user65534 user65533
	"$PAGEFUSE" scan --wait >/dev/null || fail "scan"
	vmms_check root user65534 user65533
	at_least "$(frames_shared root user65533)" $((2 * SAME_PAGES)) "after a third has written, shared by the others"
	vmm_end user65533
	vmms_check root user65534
	vmm_end root
	vmm_end user65534
	daemon_close || exit 1
}

# A daemon to which /dev/userfaultfd is of no use.
without_the_device() {
	# shellcheck disable=SC2034,SC2016 # for daemon_open; for the inner shell
	DAEMON_LAUNCHER=("$build/tests/support/own-mounts"
		sh -c 'mount --bind /dev/null /dev/userfaultfd && exec "$@"' sh)
	open_daemon
	vmm_start user65534 65534
	vmm_start user65533 65533
	expect_none_of_their_own user65534 user65533
	"$PAGEFUSE" scan --wait >/dev/null || fail "scan"
	[ "$(frames_shared user65533 user65534)" = 0 ] || fail "pages are shared without a userfaultfd"
	doctor_says 0 user65534 no-userfaultfd
	vmms_check user65533 user65534
	vmm_end user65533
	vmm_end user65534
	daemon_close || exit 1
}

# And one that has none.
without_any_device() {
	# shellcheck disable=SC2034,SC2016 # for daemon_open; for the inner shell
	DAEMON_LAUNCHER=("$build/tests/support/own-mounts" sh -c 'mount -t tmpfs dev /dev && exec "$@"' sh)
	open_daemon
	told_elsewhere | grep -q 'does not see faults of kernel mode' || fail "nothing is said without a userfaultfd"
	daemon_close || exit 1
}

kernel_can_share || { echo "skipped: this kernel cannot move pages by userfaultfd"; exit 77; }
set_userfaultfd 0
share
[ ! -e /dev/userfaultfd ] || without_the_device
without_any_device
echo "all right"
