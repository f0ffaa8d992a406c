# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What the black-box tests of the CLI have in common: a directory of their own, a fake daemon, and looking at what
# `pagefuse` printed and how it ended. Needs $PAGEFUSE and $FAKE_DAEMON, the programs.

set -u
: "${PAGEFUSE:?names the program under test}" "${FAKE_DAEMON:?names the fake daemon}"

directory=$(mktemp -d)
failures=0
daemon_pid=

finish() {
	stop_daemon
	rm -rf "$directory"
}
trap finish EXIT

export PAGEFUSE_SOCKET=$directory/socket
unset PAGEFUSE_DOMAIN PAGEFUSE_MODE PAGEFUSE_NAME XDG_RUNTIME_DIR

stop_daemon() {
	[ -n "$daemon_pid" ] || return 0
	kill "$daemon_pid" 2>/dev/null
	wait "$daemon_pid" 2>/dev/null
	daemon_pid=
	rm -f "$PAGEFUSE_SOCKET"
}

# start_daemon SCRIPT: a fake daemon that answers as the JSON text SCRIPT says.
start_daemon() {
	stop_daemon
	printf '%s\n' "$1" >"$directory/script.json"
	rm -f "$directory/requests" "$directory/ready"
	mkfifo "$directory/ready"
	FAKE_SCRIPT=$directory/script.json FAKE_REQUESTS=$directory/requests \
		"$FAKE_DAEMON" --socket "$PAGEFUSE_SOCKET" >"$directory/ready" &
	daemon_pid=$!
	read -r -t 300 <"$directory/ready" || { echo "the fake daemon does not start"; exit 1; }
}

fail() {
	printf 'FAILED: %s\n' "$*"
	failures=$((failures + 1))
}

# run EXIT-CODE ARGUMENT...: runs pagefuse; its output is in $output, its complaints in $complaint afterwards.
run() {
	local expected=$1 code
	shift
	"$PAGEFUSE" "$@" >"$directory/output" 2>"$directory/complaint" </dev/null
	code=$?
	output=$(cat "$directory/output")
	complaint=$(cat "$directory/complaint")
	[ "$code" = "$expected" ] || fail "pagefuse $*: exit code $code, not $expected: $complaint"
}

# complains EXIT-CODE PART ARGUMENT...: it must end so, with one line on standard error that has PART and nothing else.
complains() {
	local code=$1 part=$2
	shift 2
	run "$code" "$@"
	[ "$(wc -l <"$directory/complaint")" = 1 ] || fail "pagefuse $*: not one line of complaint: $complaint"
	case $complaint in
	"pagefuse: "*"$part"*) ;;
	*) fail "pagefuse $*: no '$part' in: $complaint" ;;
	esac
	[ -z "$output" ] || fail "pagefuse $*: prints although it fails: $output"
}

# prints PART: the last run's output has it.
prints() {
	case $output in
	*"$1"*) ;;
	*) fail "no '$1' in: $output" ;;
	esac
}

# json FILTER: the last run's output is JSON for which the jq filter is true.
json() {
	printf '%s\n' "$output" | jq -e "$1" >/dev/null 2>&1 || fail "not $1: $output"
}

# equal WHAT EXPECTED SEEN
equal() {
	[ "$2" = "$3" ] || fail "$1: '$3', not '$2'"
}

end() {
	[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
	exit 0
}

# Of the same shape as what the daemon says, which tests/system sees to.
STATUS=$(cat "${BASH_SOURCE[0]%/*}/status.json")
# shellcheck disable=SC2034 # used by those who source this
EMPTY_STATUS=$(jq -c '.vms = [] | .host |= map_values(0)' <<<"$STATUS")
