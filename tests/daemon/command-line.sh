#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# pagefused as a person meets it: options, exit codes, bad settings, sockets that are taken or stale, what is left.
set -u

directory=$(mktemp -d -t pagefuse-test-XXXXXX) || exit 1
socket=$directory/socket
daemon=
failures=0

clean_up() {
	[ -n "$daemon" ] && kill "$daemon" 2>/dev/null && wait "$daemon"
	rm -rf "$directory"
}
trap clean_up EXIT

fail() {
	echo "failed: $*" >&2
	failures=$((failures + 1))
}

# expect CODE TEXT ARGUMENT...: the exit code, and TEXT in the one line that says why.
expect() {
	code=$1 text=$2
	shift 2
	"$PAGEFUSED" "$@" >"$directory/out" 2>&1
	got=$?
	[ "$got" -eq "$code" ] || fail "pagefused $*: exit code $got, not $code"
	grep -qF -- "$text" "$directory/out" || fail "pagefused $*: does not say \"$text\" but: $(cat "$directory/out")"
}

# Its messages come through a FIFO, so that waiting for one needs no sleep. They are kept in $messages.
mkfifo "$directory/log" || exit 1
exec 3<>"$directory/log"

start() {
	messages=
	"$PAGEFUSED" --socket "$socket" "$@" 2>&3 3>&- &
	daemon=$!
	until [[ $messages == *"serving VMs"* ]]; do
		if ! read -r -t 300 line <&3; then
			fail "does not start, but says: $messages"
			return
		fi
		messages+="$line;"
	done
}

stop() {
	kill -"$1" "$daemon"
	wait "$daemon"
	got=$?
	daemon=
}

expect 0 "Usage: pagefused" --help
expect 0 "pagefused " --version
expect 2 "--fly" --fly
expect 2 "requires an argument" --socket
expect 2 "\"now\"" now
expect 2 "1 to 107 bytes" --socket "/tmp/$(printf %0200d 0)"
expect 1 "No such file" --socket "$directory/none/socket"
expect 1 "$directory/none" --config "$directory/none" --socket "$socket"
expect 1 "cannot read the settings in $directory: Is a directory" --config "$directory" --socket "$socket"
expect 0 "cpu_percent = 10" --help

settings() {
	printf '%b' "$1" >"$directory/settings"
	expect 1 "$2" --config "$directory/settings" --socket "$socket"
}
settings '[scan]\ncpu_percent = 101\n' 'settings:2: cpu_percent = "101": should be a number from 1 to 100'
settings '[scan]\ncpu_percent = \n' 'cpu_percent = ""'
settings '[scan]\ninterval_seconds = -1\n' 'interval_seconds = "-1"'
settings '[store]\nsize = 101%\n' 'size = "101%"'
settings '[store]\nsize = 12Q\n' 'size = "12Q"'
settings '[store]\nkind = disk\n' 'auto, tmpfs or memfd'
settings '[limits]\nvm_ram_size = 99999999999999999999\n' 'vm_ram_size'
settings '[limits]\nfoo = 1\n' 'no setting "foo" in section [limits]'
settings 'nonsense\n' 'settings:1:'

touch "$socket"
expect 1 "is no socket" --socket "$socket"
rm "$socket"

start
expect 1 "another pagefused" --socket "$socket"
if [ "$(id -u)" -eq 0 ] && getent group pagefuse >/dev/null; then mode=660; else mode=600; fi
[ "$(stat -c %a "$socket")" = $mode ] || fail "the socket has mode $(stat -c %a "$socket")"
stop TERM
[ "$got" -eq 0 ] || fail "SIGTERM: exit code $got"

start
stop INT
[ "$got" -eq 0 ] || fail "SIGINT: exit code $got"
[ ! -e "$socket" ] || fail "SIGINT: the socket is left"
[ ! -e "$socket.store" ] || fail "SIGINT: the store is left"

start
stop KILL
[ -S "$socket" ] || fail "a killed daemon's socket is gone: this test does not test"
start # a stale socket is replaced
stop TERM

printf '[store]\nkind = memfd\n' >"$directory/settings"
start --config "$directory/settings"
[[ $messages == *"kept in a memfd"* ]] || fail "kind = memfd was not heeded"
stop TERM
printf '[store]\nsize = 16M\n[scan]\ncpu_percent = 3\n[limits]\nvm_store_size = 1G\n' >"$directory/settings"
start --config "$directory/settings"
stop TERM

left=$(cd "$directory" && echo ./*)
[ "$left" = "./log ./out ./settings" ] || fail "left: $left"
! grep -q "$directory" /proc/self/mounts || fail "a mount is left"
[ $failures -eq 0 ]
