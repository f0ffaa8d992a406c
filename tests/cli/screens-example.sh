#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Prints docs/screens.md with what its commands say: each block of it that begins with "$ COMMAND" is written anew. They
# are run against a daemon whose figures are made up.
#
# usage: PAGEFUSE=build/cli/pagefuse FAKE_DAEMON=build/tests/cli/fake-daemon tests/cli/screens-example.sh
PAGEFUSE=$(realpath "$PAGEFUSE") FAKE_DAEMON=$(realpath "$FAKE_DAEMON")
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"
export LC_ALL=C PATH=${PAGEFUSE%/*}:$PATH

VMS=$(jq -c '.vms[0] as $vm |
	.daemon |= (.uptime_seconds = 93784 | .cpu_seconds = 71.4 | .memory_bytes = 25165824) |
	.host |= (.shared_pages = 1162496 | .common_pages = 201728 | .zero_pages = 79360 | .saved_pages = 1040128 |
		.saved_bytes = 4260364288 | .exposed_pages = 1241856 | .store_bytes = 830472192 |
		.overhead_bytes = 48234496 | .whole_2m = 512 | .broken_2m = 4300 | .ready_pages = 262144 |
		.would_save_pages = 3072) |
	.memory |= (.state = "high" | .state_seconds = 93784 | .large_pages = "always" | .scan_interval_seconds = 60 |
		.free_bytes = 6291456000 | .swap_free_bytes = 4294967296) |
	.vms = [["web1", "full", 512000, 342016, 21760, 301056, 5120],
		["web2", "full", 505600, 339712, 20480, 299264, 4864],
		["ci-runner-7", "full", 486400, 301312, 33024, 284672, 12800],
		["db", "hints", 921600, 179456, 4096, 155136, 640]] |
	.vms |= map(. as [$name, $mode, $present, $shared, $zero, $saved, $diverged] | $vm |
		.name = $name | .mode = $mode | .present_pages = $present | .shared_pages = $shared |
		.ram_bytes = 4294967296 | .mappings = ($shared / 14 | floor) | .whole_2m = 128 | .broken_2m = 1075 |
		.would_save_pages = 768 | .hinted_pages = $present / 2 | .hinted_hashed_pages = $present / 2 |
		.hinted_shared_pages = ($shared * 3 / 4 | floor) |
		.zero_pages = $zero | .saved_pages = $saved | .exposed_pages = $shared + $zero |
		.diverged_pages = $diverged) |
	(.vms[] | .uuid) |= "" | .vms[0].uuid = $vm.uuid |
	.vms[3].refused = [{"reason": "locked", "text": "locked by mlock or mlockall", "bytes": 268435456}] |
	.domains = [.host + {name: "uid-0", vms: 4}]' <<<"$STATUS")

ESTIMATE=$(jq -nc '{finished: true, since: 0, pairs_left_out: 0,
	domains: [{name: "uid-0", age_seconds: 0.4, vms: 3, pair_vms: 3, one_in: 1, ram_bytes: 12884901888,
		present_pages: 1504000, looked_pages: 1504000, zero_pages: 75264, would_zero_pages: 77824,
		common_pages: 201728, saved_pages: 884992, shared_pages: 983040, would_share_pages: 990000,
		would_save_pages: 888064}],
	vms: [["web1", 512000, 342016, 21760, 301056, 43], ["web2", 505600, 339712, 20480, 299264, 51],
		["ci-runner-7", 486400, 301312, 33024, 284672, 12]] |
		map(. as [$name, $present, $shared, $zero, $saved, $age] |
			{name: $name, domain: "uid-0", mode: "full", estimated: true, looked_seconds: $age,
			 ram_bytes: 4294967296, present_pages: $present, looked_pages: $present, zero_pages: $zero,
			 would_zero_pages: ($zero + 853), shared_pages: $shared, would_share_pages: ($shared + 2320),
			 would_save_pages: ($saved + 1024)}),
	pairs: [{names: ["web1", "web2"], domain: "uid-0", common_pages: 331264, shared_pages: 329984},
		{names: ["web1", "ci-runner-7"], domain: "uid-0", common_pages: 253696, shared_pages: 252160},
		{names: ["web2", "ci-runner-7"], domain: "uid-0", common_pages: 252928, shared_pages: 251904}]}')

MODULES=$(jq -nc 'def sum($pages; $shared; $saved): {pages: $pages, shared_pages: $shared, saved_pages: $saved};
	{vms: 4, vms_with_agent: 2, vms_with_images: 4, shared_pages: 1162496, modules_count: 3,
	 named: sum(938240; 917504; 709632), rest: sum(0; 0; 0),
	 modules: [
		{kind: "disk-image", label: "/images/debian-13.qcow2", vms: 4} + sum(860160; 849920; 652288),
		{kind: "program", label: "/usr/lib/postgresql/17/bin/postgres", vms: 2} + sum(53760; 44032; 38400),
		{kind: "kernel", label: "Linux 6.12.48", vms: 2} + sum(24320; 23552; 18944)]}')

METRICS=$(jq -nc 'def metric($object; $metric; $values): {object: $object, host: ($object == "host"), metric: $metric,
		values: $values, enabled: true, period: 5, samples: 3};
	{metrics: [metric("web1"; "Guest/RAM/Usage/Shared"; [1362944, 1366528, 1368064]),
		metric("db"; "Guest/RAM/Usage/Shared"; [717824, 717824, 717824]),
		metric("host"; "RAM/VMM/Shared"; [4642816, 4648448, 4649984])]}')

start_daemon "$(jq -nc --argjson vms "$VMS" --argjson estimate "$ESTIMATE" --argjson modules "$MODULES" \
	--argjson metrics "$METRICS" '{status: [$vms], estimate: [$estimate], modules: [$modules], metrics: [$metrics],
	scan: [{tickets: [{name: "web1", ticket: 1}, {name: "web2", ticket: 2}]}],
	modify: [{name: "web1", mode: "off", running: true, kept: true, problem: "", unsharing_pages: 363776}],
	"scan-progress": [{vms: [{name: "web1", done_pages: 1048576, total_pages: 1048576, finished: true, gone: false},
		{name: "web2", done_pages: 1048576, total_pages: 1048576, finished: true, gone: false}]}]}')"

skipping=no
while IFS= read -r line; do
	case $line in
	'```')
		skipping=no
		echo "$line"
		;;
	'$ '*)
		echo "$line"
		bash -c "${line#$ }" 2>&1 </dev/null
		skipping=yes
		;;
	*) [ $skipping = yes ] || printf '%s\n' "$line" ;;
	esac
done <"${0%/*}/../../docs/screens.md"
end
