#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# QEMU locks all of its memory (-overcommit mem-lock=on, libvirt's <locked/>) under `pagefuse run`: it starts, answers
# and ends as it does without, and doctor says why nothing of it is shared. A start that has come to a stop is told by
# its CPU time and memory.
#
# usage: test-locked.sh BUILD [PRELOAD]
set -u -o pipefail
# shellcheck source=tests/support/supervised.sh
. "$(dirname "$0")/../support/supervised.sh"
cd "$(dirname "$0")/../.." || exit 1

build=$1
command -v qemu-system-x86_64 >/dev/null || { echo "qemu-system-x86_64 is not installed"; exit 77; }
# shellcheck source=tests/guests/daemon.sh
. tests/guests/daemon.sh

STILL_SECONDS=$([ $# -gt 1 ] && echo 10 || echo 300) # without any CPU time or memory more; a control waits for that
RUN='' QEMU_PID=''

ended() {
	local status=$1
	[ -z "$QEMU_PID" ] || kill -KILL "$QEMU_PID" 2>/dev/null
	daemon_close || status=1
	[ -z "$RUN" ] || rm -rf --one-file-system "$RUN"
	return "$status"
}
interrupt_open ended
own_folder RUN pagefuse-locked || exit 1

# qemu_start NAME LAUNCHER…
qemu_start() {
	local name=$1
	shift
	mkfifo "$RUN/$name.in"
	: >"$RUN/$name.out"
	exec {in}<>"$RUN/$name.in"
	setsid "$@" qemu-system-x86_64 -accel tcg,tb-size=32 -m 64 -nodefaults -no-user-config -display none \
		-overcommit mem-lock=on -qmp stdio <"$RUN/$name.in" >"$RUN/$name.out" 2>"$RUN/$name.err" {in}>&- &
	QEMU_PID=$!
	guard process "$QEMU_PID"
}

# What moves while it gets on.
qemu_progress() {
	awk '{ print $14 + $15, $24 }' "/proc/$QEMU_PID/stat" 2>/dev/null
}

# qemu_has_replied NAME REPLIES
qemu_has_replied() {
	[ "$(grep -c '"return"' "$RUN/$1.out")" -ge "$2" ]
}

# qemu_ask NAME COMMAND REPLIES: waits until it has replied so often.
qemu_ask() {
	local before='' now deadline=0
	echo "{\"execute\": \"$2\"}" >"$RUN/$1.in"
	until qemu_has_replied "$1" "$3"; do
		# It may have ended just after it has replied.
		now=$(qemu_progress) || { qemu_has_replied "$1" "$3"; return; }
		if [ "$now" != "$before" ]; then
			before=$now deadline=$((SECONDS + STILL_SECONDS))
		elif [ "$SECONDS" -ge "$deadline" ]; then
			return 1
		fi
		interrupt_check
		sleep 0.05
	done
}

qemu_end() {
	qemu_ask "$1" quit 2 || return 1
	wait "$QEMU_PID" || return 1
	guard forget process "$QEMU_PID"
	QEMU_PID=''
}

has_refusal() {
	local findings
	findings=$("$PAGEFUSE" doctor --json locked) # ends with 1, as it has found something
	[ "$(jq '.findings | any(.vm == "locked" and .subject == "locked")' <<<"$findings")" = true ]
}

qemu_start plain
if ! qemu_ask plain qmp_capabilities 1 || ! qemu_end plain; then
	cat "$RUN/plain.err"
	echo "QEMU does not lock its memory here, without pagefuse"
	exit 77
fi
[ $# -lt 2 ] || export PAGEFUSE_PRELOAD=$2
daemon_open "$build" '[scan]' 'interval_seconds = 0' || exit 1
qemu_start locked "$PAGEFUSE" run --name locked --
if ! qemu_ask locked qmp_capabilities 1; then
	echo "damage: QEMU does not come on: $(qemu_progress)"
	cat "$RUN/locked.err"
	exit 1
fi
wait_until "$DAEMON_SECONDS" has_refusal || { echo "doctor does not say that it is locked"; exit 1; }
qemu_end locked || { echo "QEMU does not end"; exit 1; }
echo "all right"
