# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Real guests that get short of memory: what has to be swapped, by who shares meanwhile. To be sourced by run.
#
# Guests, and pagefused with its store, are in a memory cgroup. Its limit falls from more than they use to less, so that
# memory becomes short as it does on a host that fills; swap is on zram. Then the guests read all of their files again.
# shellcheck disable=SC2154 # $guests is run's

SHORT_FROM_PERMILLE=1240  # of what the guests use: 19 % of the limit are free, and memory is high
SHORT_TO_PERMILLE=750
SHORT_STEP_PERMILLE=5     # in a second
SHORT_SWAP_MIB=2048
SHORT_SETTLE_SECONDS=20
SHORT_TCG_MIB=128         # for QEMU's translations, which are no guest's memory, and grow to a GiB by themselves
CGROUP_SHORT=/sys/fs/cgroup/memory/pagefuse-benchmark-short

# short_open LABEL: sets $SHORT_WHY if it cannot be measured here.
short_open() {
	SHORT_WHY=
	if [ "$(wc -l </proc/swaps)" -ne 1 ]; then
		SHORT_WHY='this host has swap of its own'
	elif [ ! -e "${CGROUP_SHORT%/*}/memory.limit_in_bytes" ]; then
		SHORT_WHY='no cgroup v1 memory controller here'
	elif [ "$1" = short-ksm-advisor ] && [ ! -e "$KSM/advisor_mode" ]; then
		SHORT_WHY="this kernel's KSM has no advisor"
	elif ! zram_open $SHORT_SWAP_MIB; then
		SHORT_WHY='no zram here'
	fi
	[ -z "$SHORT_WHY" ] || return
	guard cgroup $CGROUP_SHORT
	mkdir -p $CGROUP_SHORT || give_up "cannot make $CGROUP_SHORT"
	SHORT_MADE=yes
}

short_close() {
	zram_close
	[ -z "${SHORT_MADE:-}" ] || remove_cgroup $CGROUP_SHORT
	SHORT_MADE=''
}

# shellcheck disable=SC2034 # for guests_boot
launch_short() {
	[ "$SHORT_LABEL" != short-pagefuse ] || launch_unshared "$1"
	GUEST_LAUNCHER=("${IN_CGROUP[@]}" "$CGROUP_SHORT" "${GUEST_LAUNCHER[@]}")
}

# Prints the group's limit and what is used of it, in KiB. As pagefused reckons, the cache of files is free.
short_memory_kib() {
	(cd $CGROUP_SHORT && cat memory.limit_in_bytes memory.usage_in_bytes memory.stat) | awk '
		NR == 1 { limit = $1 }
		NR == 2 { usage = $1 }
		/^total_(in)?active_file / { usage -= $2 }
		END { printf "%.0f %.0f\n", limit / 1024, usage / 1024 }'
}

# Called about every second of a wait, too.
guest_waits() {
	[ -z "$KSMTUNED_NEXT" ] || [ "$SECONDS" -lt "$KSMTUNED_NEXT" ] || short_tune
}

short_tune() {
	local limit used
	read -r limit used < <(short_memory_kib)
	ksmtuned_look "$limit" $((limit - used)) "${GUEST_PID[@]}"
}

# Sets $SHORT_CLEAR to the moment at which the daemon's state has become clear, or worse.
short_see_clear() {
	local short msec
	[ -n "${DAEMON_PID:-}" ] && [ -z "$SHORT_CLEAR" ] || return
	read -r short msec < <(status_numbers \
		'(if .memory.state == "high" then 0 else 1 end), .memory.state_seconds * 1000')
	[ "$short" = 0 ] ||
		SHORT_CLEAR=$(awk -v now="$EPOCHREALTIME" -v msec="$msec" 'BEGIN { printf "%.3f", now - msec / 1000 }')
}

# The kernel refuses a limit that it cannot make room for; the next one is lower still.
short_limit() {
	echo "${1}K" 2>/dev/null >$CGROUP_SHORT/memory.limit_in_bytes
}

short_fall() {
	local used_kib=$1 permille
	for ((permille = SHORT_FROM_PERMILLE; permille >= SHORT_TO_PERMILLE; permille -= SHORT_STEP_PERMILLE)); do
		short_limit $((used_kib * permille / 1000))
		guest_waits
		short_see_clear
		nap 1
	done
	wait_until 60 short_limit $((used_kib * SHORT_TO_PERMILLE / 1000)) 2>/dev/null ||
		give_up "the kernel cannot make the limit $((used_kib * SHORT_TO_PERMILLE / 1000)) KiB"
}

# Prints how many pages were swapped out and in, and the group's major faults.
short_counters() {
	awk '/^(pswpin|pswpout|total_pgmajfault) / { value[$1] = $2 }
		END { print value["pswpout"], value["pswpin"], value["total_pgmajfault"] }' \
		/proc/vmstat $CGROUP_SHORT/memory.stat
}

# short_figures PREFIX OUT IN FAULTS: what the counters have grown by since these.
short_figures() {
	local out in faults
	read -r out in faults < <(short_counters)
	figure "$1swapped_out" $((out - $2))
	figure "$1swapped_in" $((in - $3))
	figure "$1major_faults" $((faults - $4))
}

# Whose CPU time counts, and from when on.
short_samples_open() {
	case $1 in
	short-pagefuse) samples_open_pagefuse "$1" ;;
	short-ksm*) samples_open "$1" "all:$(pgrep -x ksmd)" ;;
	*) samples_open "$1" ;;
	esac
	samples_start
}

# Who shares begins, or is told that he may.
short_begin() {
	case $1 in
	short-pagefuse)
		share_all "${guests[@]}" || give_up "pagefuse modifyvm"
		scan_until_still # hashes are ready then, as after some slow passes
		;;
	short-ksmtuned) ksmtuned_open ;;
	short-ksm-20000-10) ksm_start 20000 10 ;;
	short-ksm-advisor) ksm_start_advisor ;;
	esac
}

# What was saved wherever the rest is, in memory or in swap; of pagefuse also what was from the state clear on.
short_summarise() {
	figure "$1.start" "$START"
	summarise_column "$1" '' 5
	[ -n "$SHORT_CLEAR" ] || return
	START=$SHORT_CLEAR
	summarise_column "$1" clear_ 5
}

short_work() {
	local begun=$EPOCHREALTIME
	guests_do check 240 "${guests[@]}" || give_up "a guest's memory or files are wrong"
	figure "$1.work_seconds" "$(seconds_since "$begun")"
}

short_measure() {
	local label=$1 used_kib
	local -a counters
	read -r _ used_kib < <(short_memory_kib)
	figure "$label.used_mib" $((used_kib / 1024))
	short_samples_open "$label"
	read -r -a counters < <(short_counters)
	short_begin "$label"
	say "$label: the guests use $((used_kib / 1024)) MiB; the limit falls" \
		"to $((used_kib * SHORT_TO_PERMILLE / 1024000)) MiB"
	short_fall "$used_kib"
	nap $SHORT_SETTLE_SECONDS
	short_figures "$label.fall_" "${counters[@]}"
	short_summarise "$label"
	say "$label: $(figure_of "$label.saved_mib") MiB saved," \
		"$(figure_of "$label.fall_swapped_out") pages swapped out; the guests read their files again"
	short_work "$label"
	short_figures "$label." "${counters[@]}"
	samples_close
	guests_off "${guests[@]}" || give_up "power off"
}

part_short() {
	local SHORT_LABEL=$1 SHORT_CLEAR=''
	local -a accelerator=("${GUEST_ACCELERATOR[@]/thread=multi/thread=multi,tb-size=$SHORT_TCG_MIB}")
	local -a GUEST_ACCELERATOR=("${accelerator[@]}")
	# shellcheck disable=SC2034 # for daemon_open
	local -a DAEMON_LAUNCHER=("${IN_CGROUP[@]}" "$CGROUP_SHORT")
	say "$1: real guests whose memory gets short"
	if ! short_open "$1"; then
		say "$1: $SHORT_WHY, not measured"
		short_close
		return
	fi
	if [ "$1" = short-pagefuse ]; then
		daemon_open "$BUILD" '[memory]' "source = $CGROUP_SHORT" \
			'large_pages = keep' 'large_pages_hints = dense' || give_up "the daemon does not start"
	fi
	boot launch_short "$1"
	short_measure "$1"
	ksmtuned_close
	ksm_restore
	daemon_close || give_up "the daemon left something behind"
	short_close
}
