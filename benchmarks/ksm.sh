# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# KSM's knobs: remembered before the first change and put back at the end. To be sourced.
#
#   ksm_save, ksm_restore
#   ksm_start PAGES_TO_SCAN SLEEP_MILLISECS
#   ksm_start_advisor        as fast as the kernel's advisor for a scan time finds right; fails if there is none
#   ksm_passes               full passes over all memory so far
#
#   ksmtuned_open            from now on KSM is steered as by ksmtuned with its defaults
#   ksmtuned_look TOTAL_KIB FREE_KIB PID…    its look at memory and at the VMMs; to be called at $KSMTUNED_NEXT, which
#                            is one of $SECONDS, and empty if there is no ksmtuned
#   ksmtuned_close

KSM=/sys/kernel/mm/ksm
KSM_KNOBS=(pages_to_scan sleep_millisecs)
KSMTUNED_MONITOR_SECONDS=60
KSMTUNED_BOOST_PAGES=300 KSMTUNED_DECAY_PAGES=50
KSMTUNED_MIN_PAGES=64 KSMTUNED_MAX_PAGES=1250
KSMTUNED_SLEEP_MSEC=10       # on a host of 16 GiB, longer on a smaller one, and at least this
KSMTUNED_THRESHOLD_PERCENT=20
KSMTUNED_NEXT=''

ksm_save() {
	local knob
	[ -w "$KSM/run" ] || { echo "benchmark: this kernel has no KSM, or you are not root" >&2; return 1; }
	if [ "$(cat "$KSM/run")" != 0 ]; then
		echo "benchmark: KSM is at work on this host: stop it first (echo 2 > $KSM/run)" >&2
		return 1
	fi
	KSM_UNDO="echo 2 >$KSM/run; echo 0 >$KSM/run"
	# With an advisor the other knobs cannot be written.
	[ ! -e "$KSM/advisor_mode" ] || KSM_UNDO+="; echo none >$KSM/advisor_mode"
	for knob in "${KSM_KNOBS[@]}"; do
		KSM_UNDO+="; echo $(cat "$KSM/$knob") >$KSM/$knob"
	done
	! grep -q '\[scan-time\]' "$KSM/advisor_mode" 2>/dev/null || KSM_UNDO+="; echo scan-time >$KSM/advisor_mode"
}

ksm_restore() {
	[ -n "${KSM_UNDO:-}" ] || return 0
	eval "$KSM_UNDO"
	guard forget command "$KSM_UNDO"
}

ksm_start() {
	guard command "$KSM_UNDO"
	echo "$1" >"$KSM/pages_to_scan"
	echo "$2" >"$KSM/sleep_millisecs"
	echo 1 >"$KSM/run"
}

ksm_start_advisor() {
	[ -w "$KSM/advisor_mode" ] || return
	guard command "$KSM_UNDO"
	echo scan-time >"$KSM/advisor_mode" && echo 1 >"$KSM/run"
}

ksm_passes() {
	cat "$KSM/full_scans"
}

ksmtuned_open() {
	KSMTUNED_PAGES=0 KSMTUNED_NEXT=$SECONDS
}

# By what is free and what the VMMs have: faster and faster while little is free, slower while it is enough, and not at
# all while what the VMMs have leaves enough, too.
ksmtuned_look() {
	local total=$1 free=$2 threshold=$(($1 * KSMTUNED_THRESHOLD_PERCENT / 100)) committed sleep_msec
	shift 2
	local -a processes=("${@/#//proc/}")
	KSMTUNED_NEXT=$((SECONDS + KSMTUNED_MONITOR_SECONDS))
	committed=$(cat "${processes[@]/%//status}" | awk '/^VmRSS:/ { sum += $2 } END { print sum + 0 }')
	if [ $((committed + threshold)) -lt "$total" ] && [ "$free" -gt $threshold ]; then
		echo 0 >"$KSM/run"
		return
	elif [ "$free" -lt $threshold ]; then
		KSMTUNED_PAGES=$((KSMTUNED_PAGES + KSMTUNED_BOOST_PAGES))
	else
		KSMTUNED_PAGES=$((KSMTUNED_PAGES - KSMTUNED_DECAY_PAGES))
	fi
	[ $KSMTUNED_PAGES -ge $KSMTUNED_MIN_PAGES ] || KSMTUNED_PAGES=$KSMTUNED_MIN_PAGES
	[ $KSMTUNED_PAGES -le $KSMTUNED_MAX_PAGES ] || KSMTUNED_PAGES=$KSMTUNED_MAX_PAGES
	sleep_msec=$((KSMTUNED_SLEEP_MSEC * 16 * 1024 * 1024 / total))
	[ $sleep_msec -ge $KSMTUNED_SLEEP_MSEC ] || sleep_msec=$KSMTUNED_SLEEP_MSEC
	ksm_start $KSMTUNED_PAGES $sleep_msec
}

# shellcheck disable=SC2034 # for who calls ksmtuned_look
ksmtuned_close() {
	KSMTUNED_NEXT=''
}
