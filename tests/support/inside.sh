# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# For what is tried in a system of its own (system.sh), which counts what is said here: "ok: WHAT", "FAILED: WHAT: WHY",
# "skipped: WHAT: WHY". To be sourced, in a folder that can be written.
#
#   ok WHAT, fail WHAT WHY          says so; $faults counts
#   expect WHAT COMMAND…            it has to succeed, and what it says is shown if it does not
#   same WHAT EXPECTED FOUND        two texts
#   wait_for COMMAND…               until it succeeds; fails after what only a hang reaches
#   start_daemon, stop_daemon       pagefused, whose log is added to pagefused.log

DEADLINE_SECONDS=300
daemon='' faults=0

ok() {
	echo "ok: $*"
}

fail() {
	echo "FAILED: $1: $2"
	faults=$((faults + 1))
}

expect() {
	local what=$1
	shift
	# No subshell, as it may start something.
	if "$@" >said 2>&1; then ok "$what"; else fail "$what" "$(tail -n 20 said)"; fi
}

same() {
	if [ "$2" = "$3" ]; then ok "$1"; else fail "$1" "$(diff <(echo "$2") <(echo "$3") | head -n 20)"; fi
}

wait_for() {
	local end=$((SECONDS + DEADLINE_SECONDS))
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

start_daemon() {
	pagefused 2>>pagefused.log &
	daemon=$!
	wait_for pagefuse status
}

stop_daemon() {
	kill "$daemon" && wait "$daemon"
}
