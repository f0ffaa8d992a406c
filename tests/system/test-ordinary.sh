#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# `pagefuse run` of an ordinary user whom the environment names no folder for sockets: where it goes, and what it says
# when it starts where nothing can be shared. In a mount namespace of its own, with nothing in /run and a
# /dev/userfaultfd that may be changed.
#
# usage: test-ordinary.sh BUILD
set -u -o pipefail
# shellcheck source=tests/support/supervised.sh
. "$(dirname "$0")/../support/supervised.sh"
if [ "${2:-}" != inside ]; then
	[ "$(id -u)" = 0 ] || { echo "needs root, to become another user and to see page frames"; exit 77; }
	[ -c /dev/userfaultfd ] || { echo "there is no /dev/userfaultfd"; exit 77; }
	exec "$1/tests/support/own-mounts" "$0" "$1" inside
fi
cd "$(dirname "$0")/../.." || exit 1

build=$1
# shellcheck source=tests/system/vmms.sh
. tests/system/vmms.sh

kernel_can_share || { echo "skipped: this kernel cannot move pages by userfaultfd"; exit 77; }
USER_ID=$((61184 + $$ % 4000)) # whom nobody is likely to be, nor another run of this
IN_TMP=/tmp/pagefuse-$USER_ID
NOTE='runs, but nothing of it is shared'
unset PAGEFUSE_SOCKET XDG_RUNTIME_DIR
[ ! -e "$IN_TMP" ] || { echo "$IN_TMP is there already"; exit 77; }
root_daemon=
# shellcheck disable=SC2317 # called when the test ends
at_end() {
	[ -z "$root_daemon" ] || kill "$root_daemon"
	rm -rf "$IN_TMP"
}

mount -t tmpfs -o mode=755 tmpfs /run || fail "mount"
device_numbers=$(stat -c '%Hr %Lr' /dev/userfaultfd)
# shellcheck disable=SC2086 # two words
mknod -m 600 /run/device c $device_numbers && mount --bind /run/device /dev/userfaultfd || fail "mknod"

pagefuse() {
	as "$USER_ID"
	"${AS[@]}" "$RUN/bin/pagefuse" "$@"
}

pagefuse_status() {
	pagefuse status --json | jq -r "$1"
}

nobody_answers() {
	pagefuse list >/dev/null 2>&1
	[ $? = 3 ]
}

# expect_note NAME: one line, in the words that doctor has, too.
expect_note() {
	local line text
	line=$(cat "$RUN/$1.err")
	[ "$(wc -l <<<"$line")" = 1 ] && [[ $line == "pagefuse: '$1' $NOTE: "*"/dev/userfaultfd"* ]] ||
		fail "the note of $1 is: $line"
	text=$(pagefuse doctor --json | jq -r '.findings[] | select(.subject == "unprivileged-userfaultfd") |
		.text + ". " + .remedy')
	[ -n "$text" ] && [ "${line#*shared: }" = "$text" ] || fail "doctor says '$text', run says '$line'"
}

expect_silence() {
	local name
	for name; do
		[ ! -s "$RUN/$name.err" ] || fail "run says of $name: $(cat "$RUN/$name.err")"
	done
	! pagefuse doctor --json | grep -q unprivileged-userfaultfd || fail "doctor finds fault with the userfaultfd"
}

expect_socket() {
	[ "$(pagefuse_status .daemon.socket)" = "$1" ] || fail "the socket is $(pagefuse_status .daemon.socket), not $1"
}

# refused PART COMMAND…
refused() {
	local part=$1 said
	shift
	said=$("$@" 2>&1) && fail "not refused: $*"
	[[ $said == *"$part"* ]] || fail "no '$part' in: $said"
}

# expect_private NAME SOCKET: it runs with a private daemon there, shares nothing, says so, and leaves nothing.
expect_private() {
	vmm_start "$1" "$USER_ID"
	expect_socket "$2"
	expect_note "$1"
	vmms_check "$1"
	vmm_end "$1"
	wait_until "$DAEMON_SECONDS" test ! -e "${2%/*}" ||
		fail "the private daemon does not end, or leaves: $(find "${2%/*}")"
}

folder_of_his_own() {
	local XDG_RUNTIME_DIR=/run/named
	install -d -m 700 -o "$USER_ID" "$XDG_RUNTIME_DIR"
	export XDG_RUNTIME_DIR
	expect_private named /run/named/pagefuse/pagefused.sock
}

folder_of_a_session() {
	install -d -m 700 -o "$USER_ID" "/run/user/$USER_ID"
	expect_private session "/run/user/$USER_ID/pagefuse/pagefused.sock"
	chmod 755 "/run/user/$USER_ID"
	expect_private open_to_all "$IN_TMP/pagefused.sock"
	rm -r /run/user
}

# What anybody could have made there first is not used; nor is a daemon that another user made.
foreign_folder() {
	local run=(pagefuse run -- true)
	install -d -m 755 -o "$USER_ID" "$IN_TMP"
	refused "not this user's alone" "${run[@]}"
	refused 'belong to this user alone' as_user "$RUN/bin/pagefused"
	chmod 700 "$IN_TMP"
	chown 65534 "$IN_TMP"
	refused "$IN_TMP/pagefused.sock" "${run[@]}"
	mv "$IN_TMP" "$RUN/elsewhere"
	chown "$USER_ID" "$RUN/elsewhere"
	ln -s "$RUN/elsewhere" "$IN_TMP"
	refused "not this user's alone" "${run[@]}"
	rm "$IN_TMP"
	mv "$RUN/elsewhere" "$IN_TMP"
	"$build/daemon/pagefused" --socket "$IN_TMP/pagefused.sock" --private >/dev/null 2>&1 &
	root_daemon=$!
	wait_until "$DAEMON_SECONDS" test -S "$IN_TMP/pagefused.sock" || fail "root's daemon does not start there"
	refused "another user's" "${run[@]}"
	refused "another user's" pagefuse list
	kill "$root_daemon" && wait "$root_daemon"
	root_daemon=
	rm -rf "$IN_TMP"
}

# LD_PRELOAD cannot hold such a path; nor can it that of a link in such a folder.
path_with_blanks() {
	local PAGEFUSE_PRELOAD="$RUN/bin/a b/preload.so" link
	install -d -m 755 "$RUN/bin/a b"
	copy_for_others "$RUN/bin/a b" "$RUN/bin/preload.so"
	# shellcheck disable=SC2016 # for the inner shell
	link=$(pagefuse run -- sh -c 'echo "$LD_PRELOAD"; grep -q "a b/preload.so" /proc/$$/maps' 2>/dev/null) ||
		fail "a preload at a path with blanks is not loaded"
	[ "${link%/*}" = "$IN_TMP" ] || fail "the link is $link"
	kill "$(pagefuse_status .daemon.pid)" || fail "no private daemon"
	wait_until "$DAEMON_SECONDS" nobody_answers || fail "the private daemon does not end when told to"
	rm -r "$IN_TMP"
	install -d -m 700 -o "$USER_ID" "/run/a b"
	XDG_RUNTIME_DIR="/run/a b" refused 'LD_PRELOAD cannot hold' pagefuse run -- true
}

as_user() {
	as "$USER_ID"
	"${AS[@]}" "$@"
}

share() {
	vmm_start "$1" "$USER_ID"
	vmm_start "$2" "$USER_ID"
	expect_silence "$1" "$2"
	pagefuse scan --wait >/dev/null || fail "scan"
	at_least "$(frames_shared "$1" "$2")" $((2 * SAME_PAGES)) "pages of $1 and $2 that share a frame"
	vmms_check "$1" "$2"
}

device_of_his_own() {
	chown "$USER_ID" /run/device
	share three four
	expect_socket "$IN_TMP/pagefused.sock"
	vmm_end three
	vmm_end four
	wait_until "$DAEMON_SECONDS" nobody_answers || fail "the private daemon does not end with its VMs"
	chown 0 /run/device
}

# The system's daemon serves who is named no other place, and is nobody's hindrance if he may not connect.
daemon_of_the_system() {
	printf '[access]\ngroup = *\n' >"$RUN/daemon.conf"
	"$build/daemon/pagefused" --config "$RUN/daemon.conf" >"$RUN/daemon.err" 2>&1 &
	root_daemon=$!
	wait_until "$DAEMON_SECONDS" test -S /run/pagefuse/pagefused.sock || fail "the system's daemon does not start"
	wait_until "$DAEMON_SECONDS" pagefuse list >/dev/null || fail "the system's daemon does not answer"
	share five six
	expect_socket /run/pagefuse/pagefused.sock
	vmm_end five
	vmm_end six
	chmod 600 /run/pagefuse/pagefused.sock
	expect_private shut_out "$IN_TMP/pagefused.sock"
	kill "$root_daemon"
	wait "$root_daemon" || fail "the system's daemon ended with status $?"
	root_daemon=
}

set_userfaultfd 0
expect_private plain "$IN_TMP/pagefused.sock"
folder_of_his_own
folder_of_a_session
foreign_folder
path_with_blanks
device_of_his_own
daemon_of_the_system
set_userfaultfd 1
share allowed too
echo "all right"
