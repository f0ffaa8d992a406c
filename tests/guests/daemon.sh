# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A daemon of one's own from a build folder, and what it and the host say. To be sourced, after interrupt_open for
# scripts that shall leave nothing when they are interrupted.
#
#   daemon_open BUILD LINE…     starts it; the lines are its configuration. Sets $PAGEFUSE (the command) and exports
#                               $PAGEFUSE_SOCKET
#   daemon_restart SIGNAL       ends it by that, and starts another one in its place
#   daemon_close                ends it and looks whether it left anything: fails if so, and cleans up
#   launch_shared NAME          for guests_boot: under `pagefuse run`
#   launch_unshared NAME        the same, in the mode off, to be measured first
#   share_all NAME…             has those share from now on: modifyvm --page-fusion on
#   launch_plain NAME           for guests_boot: QEMU alone
#   status_numbers FILTER       numbers from `pagefuse status --json`, by jq, in one line
#   host_memory_kib             what sharing saves in, and costs
#   fleet_memory_kib PID…       the same of the daemon, its store and these processes alone, whoever else runs here
#   wait_until SECONDS COMMAND  tries until it succeeds

# shellcheck source=tests/support/paths.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/paths.sh"
# shellcheck source=tests/support/interrupt.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/interrupt.sh"

DAEMON_LAUNCHER=() # a command that becomes the daemon, if need be
DAEMON_SECONDS=300 # for what is a matter of moments, on a host that has much else to do

wait_until() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		interrupt_check
		sleep 0.05
	done
}

daemon_answers() {
	kill -0 "$DAEMON_PID" 2>/dev/null || return 0
	"$PAGEFUSE" status --json >/dev/null 2>&1
}

daemon_start() {
	# In a session of its own Ctrl-C does not reach it.
	setsid "${DAEMON_LAUNCHER[@]}" "$DAEMON_BUILD/daemon/pagefused" \
		--socket "$PAGEFUSE_SOCKET" --config "$DAEMON_DIR/config" \
		</dev/null >>"$DAEMON_DIR/log" 2>&1 &
	DAEMON_PID=$!
	guard process "$DAEMON_PID"
	if ! wait_until "$DAEMON_SECONDS" daemon_answers || ! kill -0 "$DAEMON_PID" 2>/dev/null; then
		echo "daemon: pagefused did not start:" >&2
		cat "$DAEMON_DIR/log" >&2
		return 1
	fi
}

daemon_open() {
	local build=$1
	shift
	own_folder DAEMON_DIR pagefuse-daemon || return 1
	PAGEFUSE=$build/cli/pagefuse DAEMON_BUILD=$build
	export PAGEFUSE_SOCKET=$DAEMON_DIR/pagefused.sock
	printf '%s\n' "$@" >"$DAEMON_DIR/config"
	daemon_start
}

daemon_restart() {
	kill "-$1" "$DAEMON_PID"
	{ wait "$DAEMON_PID"; } 2>/dev/null # of its death the shell would tell
	guard forget process "$DAEMON_PID"
	daemon_start
}

# What the daemon must not leave: mounts below its folder, its socket.
daemon_left_overs() {
	paths_below "$DAEMON_DIR" mounts | sed -z 's/^/mount /' | tr '\0' '\n'
	find "$DAEMON_DIR" -xdev -type s
}

daemon_unmount() {
	paths_below "$DAEMON_DIR" mounts | while IFS= read -r -d '' path; do
		umount -l "$path"
	done
}

# The daemon lets go of a VM's mount a moment after the process ended.
daemon_has_no_vm() {
	daemon_gone || ! paths_below "$DAEMON_DIR" mounts | grep -q -z '/vm-'
}

daemon_gone() {
	! kill -0 "$DAEMON_PID" 2>/dev/null
}

# Where the path of the build has blanks, `pagefuse run` has made a link to its preload, which stays for what runs on.
daemon_unlink() {
	local link
	for link in /run/pagefuse/libpagefuse-preload-*.so; do
		[ "$(readlink "$link")" != "$DAEMON_BUILD/preload/libpagefuse-preload.so" ] || rm -f "$link"
	done
	rmdir /run/pagefuse 2>/dev/null
}

daemon_close() {
	local left status=0
	[ -n "${DAEMON_DIR:-}" ] || return 0
	if [ -n "${DAEMON_PID:-}" ]; then
		wait_until "$DAEMON_SECONDS" daemon_has_no_vm ||
			echo "daemon: pagefused keeps the mount of a VM that ended" >&2
		kill -TERM "$DAEMON_PID" 2>/dev/null
		if ! wait_until "$DAEMON_SECONDS" daemon_gone; then
			echo "daemon: pagefused does not end when told to" >&2
			kill -KILL "$DAEMON_PID"
			status=1
		fi
		wait "$DAEMON_PID" || { echo "daemon: pagefused ended with status $?" >&2; status=1; }
	fi
	left=$(daemon_left_overs)
	if [ -n "$left" ]; then
		echo "daemon: pagefused left behind: $left" >&2
		status=1
	fi
	[ "$status" -eq 0 ] || cat "$DAEMON_DIR/log" >&2
	daemon_unmount
	daemon_unlink
	rm -rf --one-file-system "$DAEMON_DIR"
	guard forget process "$DAEMON_PID"
	guard forget folder "$DAEMON_DIR"
	DAEMON_DIR='' DAEMON_PID=''
	return "$status"
}

# shellcheck disable=SC2034 # for guests_boot
launch_shared() {
	GUEST_LAUNCHER=("$PAGEFUSE" run --name "$1" --)
}

launch_unshared() {
	GUEST_LAUNCHER=("$PAGEFUSE" run --mode off --name "$1" --)
}

share_all() {
	local name
	for name in "$@"; do
		"$PAGEFUSE" modifyvm --page-fusion on "$name" >/dev/null || return 1
	done
}

launch_plain() {
	:
}

status_numbers() {
	"$PAGEFUSE" status --json | jq -r "[$1] | map(floor) | @tsv"
}

host_memory_kib() {
	awk '/^(AnonPages|Shmem|PageTables|Slab):/ { sum += $2 } END { print sum }' /proc/meminfo
}

fleet_memory_kib() {
	local pid path kib=0
	for pid in "$DAEMON_PID" "$@"; do
		kib=$((kib + $(awk '/^(Anonymous|VmPTE):/ { sum += $2 } END { print sum + 0 }' \
			"/proc/$pid/smaps_rollup" "/proc/$pid/status")))
	done
	for path in "$PAGEFUSE_SOCKET".store/*/pages; do
		kib=$((kib + $(stat -f -c '(%b - %f) * %S / 1024' "$path")))
	done
	echo "$kib"
}
