#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Prints the map of docs/map.md: `pagefuse map` of a VM of 512 MiB whose figures are made up.
#
# usage: PAGEFUSE=build/cli/pagefuse FAKE_DAEMON=build/tests/cli/fake-daemon tests/cli/map-example.sh
PAGEFUSE=$(realpath "$PAGEFUSE") FAKE_DAEMON=$(realpath "$FAKE_DAEMON")
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"
export LC_ALL=C

# Cells of 128 pages: how many of them, and what is in each.
MAP=$(jq -nc '[[1, {private: 97, shared: 63}], [1, {private: 96}], [6, {}],
	[12, {common: 128, label: 1}], [20, {common: 90, private: 38, label: 1}], [40, {huge: 128}],
	[128, {zero: 128}], [16, {zero: 100, private: 28}],
	[96, {common: 120, shared: 8, label: 0}], [30, {shared: 128, label: 2}],
	[34, {shared: 70, diverged: 58, label: 2}], [24, {diverged: 128}],
	[8, {busy: 80, diverged: 48}], [160, {huge: 128}],
	[64, {shared: 110, private: 18, label: 0}], [384, {private: 128}]] |
	reduce .[] as [$cells, $what] ([0, []]; [.[0] + $cells,
		.[1] + (if $what == {} then [] else [{address: (.[0] * 524288), cells: $cells} + $what] end)]) |
	.[1] as $runs |
	{name: "web1", addresses: "guest-physical", cell_bytes: 524288, next: null,
	 pages: (reduce ("shared", "common", "zero", "diverged", "huge", "busy", "private") as $state ({};
		.[$state] = ([$runs[] | (.[$state] // 0) * .cells] | add))),
	 labels_count: 3, named_pages: 28884, runs: $runs,
	 labels: [{kind: "disk-image", label: "/images/debian-13.qcow2", shared_pages: 19328, common_pages: 11520},
		{kind: "kernel", label: "Linux 6.12.48", shared_pages: 3336, common_pages: 3336},
		{kind: "program", label: "/usr/lib/postgresql/17/bin/postgres", shared_pages: 6220, common_pages: 0}]}')

start_daemon "{\"map\": [$MAP]}"
run 0 map --with web2 --labels web1
echo "$output"
end
