# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What reads of 4 KiB from a guest's disk cost under pagefuse, beside the same guest without it. To be sourced by run.

READS_ROUNDS=7
READS_PAGES=8192 # as in tests/guests/inside/reads.c
READS_SECONDS=240

launch_for_reads() {
	if [ "$1" = plain ]; then launch_plain "$1"; else launch_hints "$1"; fi
}

# time_reads GUEST COMMAND: sets $READS_USEC. All read the same, so the sum is always the same.
time_reads() {
	guests_do "$2" $READS_SECONDS "$1" || give_up "$1 does not read"
	[[ $GUEST_LINE =~ usec=([0-9]+)\ sum=([0-9a-f]+) ]] || give_up "$1 says: $GUEST_LINE"
	READS_USEC=${BASH_REMATCH[1]}
	[ "${reads_sum:=${BASH_REMATCH[2]}}" = "${BASH_REMATCH[2]}" ] || give_up "$1 has read what is not on the disk"
}

# compare_reads LABEL COMMAND ROUND: both, one after the other, and each goes first by turns.
compare_reads() {
	local label=$1 guest
	local -a order=(plain hinted)
	local -A usec=()
	[ $(($3 % 2)) -eq 0 ] || order=(hinted plain)
	for guest in "${order[@]}"; do
		time_reads "$guest" "$2"
		usec[$guest]=$READS_USEC
	done
	figure "$label.absent_usec" "$(awk "BEGIN { printf \"%.2f\", ${usec[plain]} / $READS_PAGES }")"
	figure "$label.usec" "$(awk "BEGIN { printf \"%.2f\", ${usec[hinted]} / $READS_PAGES }")"
	figure "$label.ratio" "$(awk "BEGIN { printf \"%.4f\", ${usec[hinted]} / ${usec[plain]} }")"
}

reads_are_shared() {
	local pages
	read -r pages < <(status_numbers '.vms[] | select(.name == "hinted").shared_pages')
	[ "$pages" -ge $((READS_PAGES * 9 / 10)) ]
}

part_reads() {
	local round order reads_sum=''
	say "reads: from a guest's disk, with hints and without pagefuse"
	daemon_open "$BUILD" '[scan]' 'interval_seconds = 0' || give_up "the daemon does not start"
	guests_use kind
	guests_boot launch_for_reads plain hinted twin || give_up "the guests do not boot"
	guests_do idle 20 plain hinted twin || give_up "the guests do not answer"
	for ((round = 0; round < READS_ROUNDS; round++)); do
		for order in in-order at-random; do
			guests_do fill-pages $READS_SECONDS plain hinted twin || give_up "the guests do not write"
			compare_reads "reads-fresh-$order" "read-$order" "$round"
			time_reads twin "read-$order"
			wait_until "$DAEMON_SECONDS" reads_are_shared || give_up "what was read is not shared"
			compare_reads "reads-shared-$order" "read-$order" "$round"
		done
	done
	guests_off plain hinted twin || give_up "power off"
	daemon_close || give_up "the daemon left something behind"
}
