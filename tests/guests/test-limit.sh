#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A guest of 4 GiB reaches the limit of mappings in the middle of merges. QEMU can go on making threads, plugging in
# CPUs and memory, and giving memory back that the guest does not need; and the guest's memory is right.
#
# usage: test-limit.sh BUILD [PRELOAD]    with another preload: a control, without the reserve
set -u -o pipefail
# shellcheck source=tests/support/supervised.sh
. "$(dirname "$0")/../support/supervised.sh"
cd "$(dirname "$0")/../.." || exit 1

build=$1
[ $# -lt 2 ] || export PAGEFUSE_PRELOAD=$2
# shellcheck source=tests/guests/frame.sh
. tests/guests/frame.sh
# shellcheck source=tests/guests/monitor.sh
. tests/guests/monitor.sh

LIMIT=65530 # the kernel's default
OURS=$((LIMIT - LIMIT / 8))
BALLOONED=$((1600 << 20))
limit_before=$(cat /proc/sys/vm/max_map_count)
scan_pid=

at_end() {
	[ -z "$scan_pid" ] || kill "$scan_pid" 2>/dev/null
	[ "$limit_before" = "$LIMIT" ] || echo "$limit_before" >/proc/sys/vm/max_map_count
}

# What the reserve is there to prevent.
damage() {
	echo "damage: $*" >&2
	exit 1
}

# shellcheck disable=SC2034 # for guest_start
launch_limited() {
	launch_shared "$1"
	GUEST_MORE=(-m "slots=4,maxmem=8G" -smp "1,maxcpus=4" -device virtio-balloon-pci)
	# From Linux 6.9 on a guest takes CPUs that are plugged in only from a hypervisor that it knows. QEMU's own
	# emulation is none, but has the port by which VMware is told.
	[[ ${GUEST_ACCELERATOR[*]} != *tcg* ]] ||
		GUEST_MORE+=(-cpu "qemu64,hypervisor=off" -smbios "type=1,serial=VMware-pagefuse")
	monitor_options "$1"
}

do_now() {
	monitor_do one "$@" || damage "QEMU cannot do it: $*"
}

mappings() {
	wc -l <"/proc/${GUEST_PID[one]}/maps"
}

# Each is a thread of its own; they end again.
make_threads() {
	local i
	for ((i = 0; i < $1; i++)); do
		do_now object-add "{\"qom-type\": \"iothread\", \"id\": \"thread$i\"}"
	done
	for ((i = 0; i < $1; i++)); do
		do_now object-del "{\"id\": \"thread$i\"}"
	done
}

plug_cpu() {
	do_now query-hotpluggable-cpus
	do_now device_add "$(jq -c --arg id "cpu$1" '
		map(select(has("qom-path") | not)) | last | .props + {driver: .type, id: $id}' <<<"$MONITOR_REPLY")"
	cpus=$((cpus + 1))
}

plug_memory() {
	do_now object-add "{\"qom-type\": \"memory-backend-ram\", \"id\": \"memory$1\", \"size\": $((256 << 20))}"
	do_now device_add "{\"driver\": \"pc-dimm\", \"id\": \"dimm$1\", \"memdev\": \"memory$1\"}"
	ram_mib=$((ram_mib + 256))
}

ballooned_to() {
	do_now query-balloon
	[ "$(jq .actual <<<"$MONITOR_REPLY")" -eq "$1" ]
}

balloon() {
	do_now balloon "{\"value\": $1}"
	wait_until "$DAEMON_SECONDS" ballooned_to "$1" || damage "the balloon does not come to $1 bytes: $MONITOR_REPLY"
}

guest() {
	guests_do "$1" 120 one || damage "the guest cannot do it: $1"
}

# The guest sees what was plugged in, a moment later. The kernel keeps some of its memory to itself.
has_resources() {
	local line cpus memory_mib
	guest resources
	line=${GUEST_LINE#*ok }
	# shellcheck disable=SC2086 # "name=value" words
	declare $line
	[ "$cpus" -eq "$1" ] && [ "$memory_mib" -ge $(($2 * 95 / 100)) ]
}

check_resources() {
	wait_until "$DAEMON_SECONDS" has_resources "$cpus" "$ram_mib" ||
		damage "the guest has not $cpus CPUs and $ram_mib MiB, but: $GUEST_LINE"
	echo "$GUEST_LINE"
}

scanning() {
	kill -0 "$scan_pid" 2>/dev/null
}

scan_in_background() {
	"$PAGEFUSE" scan --wait >/dev/null &
	scan_pid=$!
}

scan_is_done() {
	wait "$scan_pid" || fail "pagefuse scan --wait: status $?"
	scan_pid=
}

# All that a VMM may want, while pages are merged until no mapping is left for that.
merge_once() {
	local rounds=0
	scan_in_background
	while scanning; do
		make_threads 4
		rounds=$((rounds + 1))
	done
	scan_is_done
	echo "threads were made $rounds times while pages were merged; $(mappings) mappings"
}

# Between two counts of its mappings the library takes every run for two more, though one next to another run costs one.
# So a pass stops short of the limit, by up to half of what it added since it last counted; the next one comes nearer.
merge_up_to_the_limit() {
	local pass
	for pass in 1 2 3 4 5; do
		merge_once
		[ "$(mappings)" -lt $((OURS * 9 / 10)) ] || break
	done
	at_least "$(mappings)" $((OURS * 9 / 10)) "mappings after $pass passes"
}

check_limit_is_told() {
	local used most refused real
	real=$(mappings)
	read -r used most refused < <(status_numbers '.vms[0] | .mappings, .mappings_limit, .no_mapping_pages')
	[ "$most" = "$LIMIT" ] || fail "status tells of a limit of $most"
	# The library errs upwards, but for what QEMU mapped since it counted. Each is less than half of the reserve.
	at_least "$used" $((real - LIMIT / 16)) "mappings by status"
	at_most "$used" $((LIMIT - LIMIT / 16)) "mappings by status, with half of the reserve"
	at_least "$refused" 10000 "pages refused to spare mappings"
	"$PAGEFUSE" doctor --json one | jq -e '.findings | any(.vm == "one" and .subject == "map-limit")' >/dev/null ||
		fail "doctor does not say that the limit is reached"
}

work_at_the_limit() {
	scan_in_background
	make_threads 32
	plug_cpu two
	plug_memory two
	guest thin-out
	balloon "$BALLOONED"
	make_threads 32
	scan_is_done
}

guard command "echo $limit_before >/proc/sys/vm/max_map_count"
[ "$limit_before" = "$LIMIT" ] || echo "$LIMIT" >/proc/sys/vm/max_map_count || exit 1
GUEST_RAM_MIB=4096
cpus=1 ram_mib=$GUEST_RAM_MIB
guests_open || exit 1
daemon_open "$build" '[scan]' 'interval_seconds = 0' || exit 1
guests_boot launch_limited one || fail "boot"
monitor_open one || fail "QEMU's monitor"
echo "the guest runs with: ${GUEST_ACCELERATOR[*]}"
guest scatter
guest sum
merge_up_to_the_limit
plug_cpu one
plug_memory one
make_threads 32
check_resources
check_limit_is_told
at_most "$(mappings)" $((LIMIT - LIMIT / 16)) "mappings, with half of the reserve"
guest check
work_at_the_limit
guest check
balloon $((ram_mib << 20))
check_resources
guest new-duplicates
scan
guest check
at_most "$(mappings)" $((LIMIT - LIMIT / 16)) "mappings, with half of the reserve"
monitor_close one
guests_off one || fail "power off"
daemon_close || exit 1
echo "all right"
