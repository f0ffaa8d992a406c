#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# VMMs that come by the preload alone share nothing before somebody says so, if that is the setting; what is said is
# kept for the VM, also when the daemon is killed, and when the VM is started anew. A VM is known by the UUID on its
# command line.
#
# usage: test-kept.sh BUILD
set -u -o pipefail
# shellcheck source=tests/support/supervised.sh
. "$(dirname "$0")/../support/supervised.sh"
cd "$(dirname "$0")/../.." || exit 1

build=$1
# shellcheck source=tests/system/vmms.sh
. tests/system/vmms.sh

UUID=6ba7b810-9dad-11d1-80b4-00c04fd430c8

mode_of() {
	"$PAGEFUSE" status --json | jq -r --arg name "$1" '.vms[] | select(.name == $name) | "\(.mode) \(.mode_kept)"'
}

has_mode() {
	[ "$(mode_of "$1")" = "$2" ]
}

expect_mode() {
	wait_until "$DAEMON_SECONDS" has_mode "$1" "$2" || fail "$1 has mode $(mode_of "$1"), not $2"
}

# The daemon is killed, and another takes its place.
another_daemon() {
	kill -KILL "$DAEMON_PID"
	wait "$DAEMON_PID" 2>/dev/null
	setsid "$build/daemon/pagefused" --socket "$PAGEFUSE_SOCKET" --config "$DAEMON_DIR/config" \
		</dev/null >>"$DAEMON_DIR/log" 2>&1 &
	DAEMON_PID=$!
	guard process "$DAEMON_PID"
	wait_until "$DAEMON_SECONDS" daemon_answers || fail "no daemon any more"
}

pages_shared() {
	"$PAGEFUSE" scan --wait >/dev/null || fail "scan"
	frames_shared one two
}

daemon_open "$build" '[scan]' 'interval_seconds = 0' 'audit_interval_seconds = 1' || exit 1
kernel_can_share || { echo "skipped: this kernel cannot move pages by userfaultfd"; exit 77; }

# By the preload alone, with the name and the arguments of a QEMU.
bare() { # NAME ARGUMENT…
	local name=$1
	shift
	# shellcheck disable=SC2016,SC2034 # for the inner shell; for vmm_start
	VMM_LAUNCHER=(bash -c 'LD_PRELOAD=$0 exec -a qemu-vmm "$@"' "$RUN/bin/preload.so" "$RUN/bin/vmm" "$@")
	vmm_start "$name" 0
}

bare one -uuid "$UUID" -name guest=one,debug-threads=on
bare two -name two
expect_mode one 'off false'
[ "$(pages_shared)" = 0 ] || fail "what nobody has said is shared"
doctor_says 0 one mode
said=$("$PAGEFUSE" doctor one) # it is an error to doctor
grep -q 'mode off, as \[vms\] preload_mode says' <<<"$said" ||
	fail "doctor does not say who wants it so: $said"
said=$("$PAGEFUSE" showvminfo one)
grep -A1 'disabled, mode off (by \[vms\] preload_mode)$' <<<"$said" |
	grep -q 'To share it: *pagefuse modifyvm one --page-fusion on$' ||
	fail "showvminfo does not say how to share it: $said"

"$PAGEFUSE" modifyvm one --page-fusion on >/dev/null || fail "modifyvm"
"$PAGEFUSE" modifyvm two --page-fusion on >/dev/null || fail "modifyvm"
at_least "$(pages_shared)" $((2 * SAME_PAGES)) "pages that share a frame once it was said"

another_daemon
expect_mode one 'full true'
wait_until "$DAEMON_SECONDS" vmm_is_known two 0 || fail "two does not come back"
vmms_check one two
"$PAGEFUSE" modifyvm --wait one --page-fusion off >/dev/null || fail "modifyvm"
[ "$(pages_shared)" = 0 ] || fail "pages are shared of a VM that was switched off"
another_daemon
expect_mode one 'off true'
[ "$(pages_shared)" = 0 ] || fail "switched off, and shared again by another daemon"
vmms_check one two
vmm_end one

bare renamed -uuid "$UUID" -name renamed
expect_mode renamed 'off true'
bare one -name one
expect_mode one 'off false'
"$PAGEFUSE" showvminfo two | grep -q 'mode full (kept by modifyvm)$' || fail "showvminfo"
vmm_end renamed
vmm_end one
vmm_end two
echo "all right"
