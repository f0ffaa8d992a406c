# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The frame of a test with real guests: what it needs, that it cleans up, how it judges. To be sourced from the
# project's root, with $build set to the build folder.
#
#   fail TEXT…                     ends the test
#   at_least FIGURE LIMIT WHAT     prints it, and fails if it is less
#   at_most FIGURE LIMIT WHAT
#   scan                           one full pass over all, waited for
#   at_end                         a function that a test may define: called before the guests are killed

[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
command -v qemu-system-x86_64 >/dev/null || { echo "needs qemu-system-x86_64"; exit 77; }

# shellcheck source=tests/guests/harness.sh
. tests/guests/harness.sh
# shellcheck source=tests/guests/daemon.sh
. tests/guests/daemon.sh

at_end() {
	:
}

ended() {
	local status=$1
	at_end
	guests_close
	daemon_close || status=1
	return "$status"
}
interrupt_open ended

fail() {
	echo "FAILED: $*" >&2
	"$PAGEFUSE" status >&2
	exit 1
}

at_least() {
	echo "$3: $1 (at least $2)"
	[ "$1" -ge "$2" ] || fail "$3 is $1, should be at least $2"
}

at_most() {
	echo "$3: $1 (at most $2)"
	[ "$1" -le "$2" ] || fail "$3 is $1, should be at most $2"
}

scan() {
	interruptible "$PAGEFUSE" scan --wait >/dev/null || fail "pagefuse scan --wait: status $?"
}
