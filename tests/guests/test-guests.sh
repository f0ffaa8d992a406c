#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Real guests in the distribution's QEMU, under its system call filter, sharing their memory and checking it.
#
# usage: test-guests.sh BUILD share      sharing, proved by page frames and by what the host uses; counters that follow
#        test-guests.sh BUILD direct     guests that read their disks with direct I/O, one by libaio, the other by
#                                        io_uring, while all is merged; $PAGEFUSE_TEST_ROUNDS times, once by default
#        test-guests.sh BUILD agent      with agents that name what is cached; one guest has memory above 4 GiB
set -u -o pipefail
# shellcheck source=tests/support/supervised.sh
. "$(dirname "$0")/../support/supervised.sh"
cd "$(dirname "$0")/../.." || exit 1

build=$1 topic=$2
case $topic in
share) guests=(one two three) ;;
agent) guests=(one two) ;;
direct)
	guests=(one two)
	rounds=${PAGEFUSE_TEST_ROUNDS:-1}
	;;
*)
	echo "unknown topic '$topic'" >&2
	exit 2
	;;
esac
# shellcheck source=tests/guests/frame.sh
. tests/guests/frame.sh

# As libvirt starts it: QEMU denies itself some calls, none of them the library's. What sharing saves is measured from
# before anything is shared.
launch_confined() {
	case $topic in
	share | agent) launch_unshared "$1" ;;
	*) launch_shared "$1" ;;
	esac
	# shellcheck disable=SC2034 # for guests_boot
	GUEST_MORE=(-sandbox "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
	case "$topic $1" in
	'direct one') GUEST_DISK_OPTIONS=,cache=none,aio=native ;;
	'direct two') GUEST_DISK_OPTIONS=,cache=none,aio=io_uring ;;
	esac
	[ "$topic $1" != 'agent two' ] || GUEST_MORE+=(-machine "pc,max-ram-below-4g=256M")
}

census() {
	"$build/tests/guests/pfn-census" "${GUEST_PID[@]}" || fail "pfn-census"
}

# What sharing with others saves. The host's "saved" counts zero pages as well, and those a guest may have many of.
TWINS='.host.shared_pages - .host.common_pages'

# What the counters say must be what the page frames say. Guests write a little all the time, and the counters know what
# diverged only once somebody looked: within a tenth.
check_against_frames() {
	local line pages frames shared_pages shared_frames zero_pages shared common
	line=$(census) || exit 1
	# shellcheck disable=SC2086 # "name=value" words that pfn-census prints
	declare $line
	read -r shared common < <(status_numbers '.host.shared_pages, .host.common_pages')
	echo "frames: $line; counters: shared $shared common $common"
	at_least $((shared_pages)) $((shared * 9 / 10)) "pages that really share a frame"
	at_least $((pages - frames)) $(((shared - common) * 9 / 10)) "pages really saved by that"
	at_most $((shared_frames)) $((common * 11 / 10 + 100)) "frames really shared"
	# 16 MiB of each guest, and what it never used. As 2 MiB pages are split, the kernel gives some back by itself.
	[ "$topic" = agent ] || at_least $((zero_pages)) $(($# * 12 * 256)) "pages that read the kernel's zero page"
}

check_sharing() {
	local before after saved saved_by_vms twins estimated
	guests_do sum 120 "${guests[@]}" && guests_do idle 20 "${guests[@]}" || fail "sums"
	before=$(fleet_memory_kib "${GUEST_PID[@]}")
	# Of guests that share nothing, and do not for that.
	estimated=$("$PAGEFUSE" estimate --look --json | jq '[.domains[].would_save_pages] | add') || fail "estimate"
	[ "$(status_numbers '.host.saved_pages')" = 0 ] || fail "something is shared for an estimate"
	share_all "${guests[@]}" || fail "modifyvm"
	scan
	scan
	after=$(fleet_memory_kib "${GUEST_PID[@]}")
	read -r saved saved_by_vms < <(status_numbers '.host.saved_pages, ([.vms[].saved_pages] | add)')
	read -r twins < <(status_numbers "$TWINS")
	# Of each guest 240 MiB of files, 32 of equal memory and 8 of one page: two guests of three share.
	at_least "$twins" $((500 * 256)) "pages that need no memory, as they share a slot"
	at_least "$saved" $((estimated * 9 / 10)) "pages saved, of $estimated that were estimated"
	at_most "$saved" $((estimated * 11 / 10)) "pages saved, of $estimated that were estimated"
	[ "$saved_by_vms" = "$saved" ] || fail "the VMs' saved pages are $saved_by_vms in all, the host's $saved"
	at_least $(((before - after) / 4)) $((saved * 8 / 10)) "pages really freed"
	check_against_frames "${guests[@]}"
}

# The map says of each page what it is: as many map the store as the kernel says, and the rest of the RAM is told, too.
check_map() {
	local line store_pages of_store all kinds
	line=$("$build/tests/guests/pfn-census" "${GUEST_PID[$1]}") || fail "pfn-census"
	# shellcheck disable=SC2086 # "name=value" words that pfn-census prints
	declare $line
	"$PAGEFUSE" map --json --labels "$1" >"$GUESTS_RUN/map" || fail "map $1"
	read -r of_store all kinds < <(jq -r '[.pages.shared + .pages.common, (.pages | add),
		([.labels[].kind] | unique | join(" "))] | @tsv' "$GUESTS_RUN/map")
	echo "map of $1: $of_store of $all pages map the store, by the kernel $store_pages; labels: $kinds"
	at_least "$of_store" $((store_pages * 9 / 10)) "pages of the map that map the store"
	at_most "$of_store" $((store_pages * 11 / 10)) "pages of the map that map the store"
	at_least "$all" $((GUEST_RAM_MIB * 256)) "pages of the map"
	[ "$topic" != agent ] || [[ $kinds == *file*kernel*program* ]] || fail "the map lacks what the agent has named"
	jq -e '[.runs[] | .cells as $cells | (.shared // 0) + (.common // 0) | . * $cells] | add == '"$of_store" \
		"$GUESTS_RUN/map" >/dev/null || fail "the runs of the map are not what it says in all"
	"$PAGEFUSE" map --png "$GUESTS_RUN/map.png" --with two "$1" | tail -n 12
	[ "$(head -c 8 "$GUESTS_RUN/map.png" | od -An -tx1)" = ' 89 50 4e 47 0d 0a 1a 0a' ] || fail "no picture of $1"
}

check_new_duplicates() {
	local before after
	read -r before < <(status_numbers "$TWINS")
	guests_do new-duplicates 60 "${guests[@]}" || fail "new duplicates"
	scan
	scan
	read -r after < <(status_numbers "$TWINS")
	at_least $((after - before)) $((2 * 16 * 256 * 8 / 10)) "pages of the new duplicates that share a slot"
}

check_end() {
	local shared store
	guests_do check 120 "${guests[@]}" || fail "a guest's memory or files are wrong"
	scan
	check_against_frames "${guests[@]}"
	guests_off one || fail "power off"
	check_against_frames two three
	guests_do check 120 two three || fail "a guest's memory or files are wrong after another one's end"
	guests_off two three || fail "power off"
	wait_until "$DAEMON_SECONDS" nothing_left || {
		read -r shared store < <(status_numbers '.host.shared_pages, .host.store_bytes')
		fail "all guests are gone, but $shared pages are shared and the store holds $store bytes"
	}
}

nothing_left() {
	[ "$(status_numbers '(.vms | length), .host.shared_pages, .host.zero_pages, .host.store_bytes')" = \
		$'0\t0\t0\t0' ]
}

share() {
	check_sharing
	check_map one
	check_new_duplicates # while the writers rest: what they write is shared no more, and would count against it
	guests_do busy 20 "${guests[@]}" || fail "busy"
	scan
	guests_do churn 120 "${guests[@]}" || fail "churn"
	scan
	check_end
}

answer=

at_end() {
	[ -z "$answer" ] || kill "$answer" 2>/dev/null
}

# scan_while_guests_do COMMAND SECONDS: sends it to all, and scans again and again until all have answered.
scan_while_guests_do() {
	local passes=0
	guests_do "$1" "$2" "${guests[@]}" &
	answer=$!
	while kill -0 "$answer" 2>/dev/null; do
		scan
		passes=$((passes + 1))
	done
	wait "$answer" || fail "$1 while pages are merged"
	answer=
	echo "$1: right after $passes passes"
}

direct_io() {
	local round twins
	guests_do sum 120 "${guests[@]}" || fail "sums"
	scan
	for ((round = 1; round <= rounds; round++)); do
		echo "round $round of $rounds"
		scan_while_guests_do check-disk 120
		scan_while_guests_do churn 120
		scan_while_guests_do check 120
	done
	read -r twins < <(status_numbers "$TWINS")
	at_least "$twins" $((40 * 256)) "pages that need no memory, as they share a slot"
	guests_off "${guests[@]}" || fail "power off"
}

# Nothing that is read from now on is to be shared for that, and there is no pass: only what the agents name is.
agents() {
	local name
	guests_do sum 120 "${guests[@]}" && guests_do idle 20 "${guests[@]}" || fail "sums"
	for name in "${guests[@]}"; do
		"$PAGEFUSE" modifyvm "$name" --mode hints >/dev/null || fail "modifyvm $name"
	done
	guests_do agent 20 "${guests[@]}" || fail "the agents do not start"
	wait_until "$DAEMON_SECONDS" twins_are $((180 * 256)) ||
		fail "what the agents name is not shared: $("$PAGEFUSE" status)"
	wait_until "$DAEMON_SECONDS" twins_rest || fail "the agents never end: $("$PAGEFUSE" status)"
	"$PAGEFUSE" status
	check_against_frames "${guests[@]}"
	modules
	check_map one
	guests_do check 120 "${guests[@]}" || fail "a guest's memory or files are wrong"
	guests_off "${guests[@]}" || fail "power off"
	wait_until "$DAEMON_SECONDS" nothing_left || fail "something is left: $("$PAGEFUSE" status)"
}

# They have the same kernel and the same files, and nearly all that is shared are pages of these.
modules() {
	local named
	named=$("$PAGEFUSE" modules --json) || fail "modules"
	"$PAGEFUSE" modules | sed -n "1,12p;\$p"
	jq -e '.vms_with_agent == 2 and
		([.modules[] | select(.kind != "disk-image") | .shared_pages] | add) * 10 > .shared_pages * 8 and
		(.named.saved_pages - ([.modules[].saved_pages] | add) | . >= 0 and . <= 2 * 8192) and
		([.modules[] | select(.vms == 2 and .saved_pages > 0) | .kind] | contains(["kernel", "file"]))' \
		>/dev/null <<<"$named" || fail "modules are not what is shared: $(head -c 2000 <<<"$named")"
}

twins_are() {
	local twins
	read -r twins < <(status_numbers "$TWINS")
	[ "$twins" -ge "$1" ]
}

# Counters and frames are to be of one moment.
twins_rest() {
	local before after
	read -r before < <(status_numbers "$TWINS")
	sleep 3
	read -r after < <(status_numbers "$TWINS")
	[ "$after" -ge $((before - before / 100)) ] && [ "$after" -le $((before + before / 100)) ]
}

guests_open || exit 1
[ "$topic" != agent ] || guests_add_agent "$build/agent/pagefuse-agent" || exit 1
daemon_open "$build" '[scan]' 'interval_seconds = 0' || exit 1
guests_boot launch_confined "${guests[@]}" || fail "boot"
echo "guests run with: ${GUEST_ACCELERATOR[*]}"
case $topic in
share) share ;;
agent) agents ;;
direct) direct_io ;;
esac
daemon_close || exit 1
echo "all right"
