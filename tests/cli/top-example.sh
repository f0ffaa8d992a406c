#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Prints the screen of docs/top.md: `pagefuse top` with five VMs whose figures are made up. So that it is the same each
# time it is 12:00:00, and the second refresh is asked for by a key, not waited for; 2 seconds are shown nevertheless.
#
# usage: PAGEFUSE=build/cli/pagefuse FAKE_DAEMON=build/tests/cli/fake-daemon tests/cli/top-example.sh
PAGEFUSE=$(realpath "$PAGEFUSE") FAKE_DAEMON=$(realpath "$FAKE_DAEMON")
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"
# shellcheck source=tests/cli/screen.sh
. "${0%/*}/screen.sh"
trap 'screen_close; finish' EXIT
export LC_ALL=C

FIRST=$(jq -c '.vms[0] as $vm | .daemon.uptime_seconds = 93784 |
	.host |= (.shared_pages = 1162496 | .common_pages = 201728 | .zero_pages = 79360 | .saved_pages = 1040128 |
		.exposed_pages = 1241856 | .store_bytes = 830472192 | .overhead_bytes = 48234496) |
	.memory |= (.state = "high" | .free_bytes = 6291456000 | .swap_free_bytes = 4294967296) |
	.vms = [["web1", "full", 512000, 342016, 21760, 301056, 5120],
		["web2", "full", 505600, 339712, 20480, 299264, 4864],
		["ci-runner-7", "full", 486400, 301312, 33024, 284672, 12800],
		["db", "hints", 921600, 179456, 4096, 155136, 640],
		["gpu", "full", 262144, 0, 0, 0, 0]] |
	.vms |= map(. as [$name, $mode, $present, $shared, $zero, $saved, $diverged] | $vm |
		.name = $name | .mode = $mode | .present_pages = $present | .shared_pages = $shared |
		.zero_pages = $zero | .saved_pages = $saved | .diverged_pages = $diverged) |
	.vms[2].scanning = true |
	.vms[4].refused = [{"reason": "device-dma", "text": "", "bytes": 1073741824}]' <<<"$STATUS")
SECOND=$(jq -c '.daemon.uptime_seconds += 2 |
	.vms[0] |= (.diverged_pages += 61 | .worker_cpu_seconds += 0.01) | .vms[1].diverged_pages -= 24 |
	.vms[2] |= (.diverged_pages += 1802 | .worker_cpu_seconds += 0.37)' <<<"$FIRST")

start_daemon "{\"status\": [$FIRST, $SECOND]}"
screen_open 110 14
screen_type "clear; ${PAGEFUSE@Q} top -d 86400"
screen_keys Enter
screen_shows WHY
screen_keys Space
screen_shows 901.0
echo "${seen/every 86400s/every 2s}"
screen_keys q
screen_waits screen_has_not WHY || fail "it does not end: $seen"
end
