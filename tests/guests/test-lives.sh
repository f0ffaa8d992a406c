#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Real guests with agents, in mode hints, and what ends and begins anew beneath them: the agents, the daemon, a guest
# that goes back to a snapshot, one that boots again, one that migrates to another QEMU. Afterwards the same is shared
# as before, is known by name, and every byte is right.
#
# usage: test-lives.sh BUILD
set -u -o pipefail
# shellcheck source=tests/support/supervised.sh
. "$(dirname "$0")/../support/supervised.sh"
cd "$(dirname "$0")/../.." || exit 1

build=$1
guests=(one two)
# shellcheck source=tests/guests/frame.sh
. tests/guests/frame.sh
# shellcheck source=tests/guests/monitor.sh
. tests/guests/monitor.sh

TWINS='.host.shared_pages - .host.common_pages'
ENOUGH=$((180 * 256)) # pages, of 240 MiB of files that both have read

# A snapshot needs a disk that it can be in: QEMU makes one over this.
launch() {
	local state=$GUESTS_RUN/$1.state
	launch_unshared "$1"
	truncate -s 64M "$state" || fail "$state"
	GUEST_MORE=(-action reboot=reset -drive "file=${state//,/,,},if=virtio,format=raw,snapshot=on")
	monitor_options "$1"
}

# Agents name at least four fifths of what is shared, and that is as much as both guests have in common.
all_is_back() {
	local twins
	read -r twins < <(status_numbers "$TWINS")
	[ "$twins" -ge "$ENOUGH" ] && "$PAGEFUSE" modules --json 2>/dev/null |
		jq -e '([.modules[] | select(.kind != "disk-image") | .shared_pages] | add) as $named |
			.vms == 2 and .vms_with_agent == 2 and $named * 10 >= .shared_pages * 8' >/dev/null
}

# What was written meanwhile is told of with the next audit, a second later at most.
all_stays() {
	all_is_back && sleep 3 && all_is_back
}

lives() { # after what
	guests_do check 120 "${guests[@]}" || fail "after $1 a guest's memory or files are wrong"
	wait_until "$DAEMON_SECONDS" all_stays ||
		fail "after $1 not everything is shared again: $("$PAGEFUSE" status; "$PAGEFUSE" modules)"
	echo "after $1: $(status_numbers "$TWINS") pages need no memory; all bytes are right"
}

say() { # to QEMU's monitor for people, which answers with what is wrong
	monitor_do one human-monitor-command "{\"command-line\": \"$1\"}" && [ "$MONITOR_REPLY" = '""' ] ||
		fail "QEMU: $1: $MONITOR_REPLY"
}

boot_again() {
	monitor_do one system_reset || fail "reset"
	guest_expect one '^guest: ready' "$GUEST_BOOT_SECONDS" || fail "it does not boot again"
	guests_do sum 120 one && guests_do idle 20 one || fail "sums"
	guests_do agent 20 one || fail "its agent does not start"
}

migrated() {
	monitor_do two query-migrate && [ "$(jq -r .status <<<"$MONITOR_REPLY")" = completed ]
}

# The guest "two" goes on in a QEMU that is called "three". It is stopped meanwhile: of one that runs, QEMU's TCG loses
# writes now and then, where the host does much else, with or without pagefuse.
migrate() {
	local uri="{\"uri\": \"unix:$GUESTS_RUN/migration\"}"
	launch three
	GUEST_MORE+=(-incoming defer)
	guest_start three "${GUEST_LAUNCHER[@]}"
	monitor_open three && monitor_do two stop && monitor_do three migrate-incoming "$uri" &&
		monitor_do two migrate "$uri" || fail "migration"
	wait_until "$DAEMON_SECONDS" migrated || fail "it does not migrate: $MONITOR_REPLY"
	monitor_do three cont || fail "it does not go on"
	monitor_close two
	guest_kill two
	guests=(one three)
	"$PAGEFUSE" modifyvm three --mode hints >/dev/null || fail "modifyvm three"
}

guests_open || exit 1
guests_add_agent "$build/agent/pagefuse-agent" || exit 1
daemon_open "$build" '[scan]' 'interval_seconds = 0' 'audit_interval_seconds = 1' || exit 1
guests_boot launch "${guests[@]}" || fail "boot"
for name in "${guests[@]}"; do
	monitor_open "$name" || fail "QEMU's monitor"
done
guests_do sum 120 "${guests[@]}" && guests_do idle 20 "${guests[@]}" || fail "sums"
for name in "${guests[@]}"; do
	"$PAGEFUSE" modifyvm "$name" --mode hints >/dev/null || fail "modifyvm $name"
done
guests_do agent 20 "${guests[@]}" || fail "the agents do not start"
lives "the agents' start"
say 'savevm before'
guests_do agent 20 "${guests[@]}" || fail "the agents do not start again"
lives "the agents' end and new start"
daemon_restart TERM || fail "the daemon does not start again"
lives "the daemon's end and new start"
daemon_restart KILL || fail "the daemon does not start again"
lives "the daemon's death and new start"
say 'loadvm before'
lives "a snapshot's return"
boot_again
lives "a guest's reboot"
migrate
lives "a guest's migration"
for name in "${guests[@]}"; do
	monitor_close "$name"
done
guests_off "${guests[@]}" || fail "power off"
daemon_close || exit 1
echo "all right"
