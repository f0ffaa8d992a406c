#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# No daemon, a strange daemon, a refusal: each gets its exit code and its line.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"

for command in status list 'showvminfo web1' 'scan web1' 'scan --wait' modules 'doctor web1'; do
	# shellcheck disable=SC2086 # words are wanted
	complains 3 "$PAGEFUSE_SOCKET: no pagefused answers there" $command
done

# A socket that nobody listens at any more.
python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).bind(sys.argv[1])' \
	"$PAGEFUSE_SOCKET"
complains 3 'no pagefused answers there' list
rm "$PAGEFUSE_SOCKET"

mkdir "$directory/elsewhere"
complains 3 "$directory/elsewhere/x: no pagefused" --socket "$directory/elsewhere/x" list
complains 3 "$directory/elsewhere/y: no pagefused" list --socket "$directory/elsewhere/y"
cd "$directory" || exit 1
complains 3 "$directory/relative: no pagefused" --socket relative list
: >"$directory/file"
complains 3 "$directory/file: no pagefused" --socket "$directory/file" list

start_daemon '{"status": ["close"]}'
complains 3 'has closed the connection' status
for reply in garbage other-version not-json other-type; do
	start_daemon "{\"status\": [\"$reply\"]}"
	complains 1 'does not speak this protocol' status
done
for reply in '[]' '{}' '{"daemon": {}, "host": {}}' '{"daemon": 1, "host": {}, "vms": []}' \
	'{"daemon": {}, "host": {}, "vms": {}}'; do
	start_daemon "{\"status\": [$reply]}"
	complains 1 'does not speak this protocol' list
done

# refused CODE MESSAGE-PART
refused() {
	start_daemon "{\"scan\": [{\"error\": {\"code\": \"$1\", \"message\": \"it is so\", \"value\": \"web9\"}}]}"
	complains 1 "$2" scan web9
}
refused unknown-vm "'web9' is no VM that pagefused knows"
refused not-permitted "'web9': not permitted"
refused no-memory 'out of memory'
refused unknown-command "does not know 'web9'"
refused bad-request 'it is so'
refused never-heard-of 'it is so'

start_daemon '{"scan": [{"tickets": 5}]}'
complains 1 'does not speak this protocol' scan
# shellcheck disable=SC2046 # words are wanted
complains 1 'too many names' scan $(seq -f 'name-%.0f' 4000)

start_daemon "{\"status\": [$STATUS], \"kept\": [{\"vms\": []}]}"
complains 1 "'web9' is no VM" showvminfo web9
complains 1 "'web9' is neither" doctor web9

# ---- another user, who may reach neither the build folder nor that of the test ----
if [ "$(id -u)" = 0 ]; then
	# shellcheck source=tests/support/other-user.sh
	. "${0%/*}/../support/other-user.sh"
	reachable=$(reachable_folder cli) || exit 1
	trap 'rm -rf "$reachable"; finish' EXIT
	stop_daemon
	copy_for_others "$reachable" "$PAGEFUSE"
	PAGEFUSE=$reachable/pagefuse PAGEFUSE_SOCKET=$reachable/socket
	start_daemon "{\"status\": [$STATUS]}"
	as 65534
	chmod 777 "$PAGEFUSE_SOCKET"
	equal 'what a user sees who may connect' web1 "$("${AS[@]}" "$PAGEFUSE" list 2>&1 | head -n 1)"
	chmod 700 "$PAGEFUSE_SOCKET"
	"${AS[@]}" "$PAGEFUSE" list >"$directory/output" 2>"$directory/complaint"
	equal 'exit code without permission' 1 "$?"
	grep -q 'no permission to connect' "$directory/complaint" || fail "$(cat "$directory/complaint")"
	equal 'what is printed without permission' '' "$(cat "$directory/output")"
fi
end
