# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# KSM's knobs: remembered before the first change and put back at the end. To be sourced.
#
#   ksm_save, ksm_restore
#   ksm_start PAGES_TO_SCAN SLEEP_MILLISECS
#   ksm_passes               full passes over all memory so far

KSM=/sys/kernel/mm/ksm
KSM_KNOBS=(pages_to_scan sleep_millisecs)

ksm_save() {
	local knob
	[ -w "$KSM/run" ] || { echo "benchmark: this kernel has no KSM, or you are not root" >&2; return 1; }
	if [ "$(cat "$KSM/run")" != 0 ]; then
		echo "benchmark: KSM is at work on this host: stop it first (echo 2 > $KSM/run)" >&2
		return 1
	fi
	KSM_UNDO="echo 2 >$KSM/run; echo 0 >$KSM/run"
	for knob in "${KSM_KNOBS[@]}"; do
		KSM_UNDO+="; echo $(cat "$KSM/$knob") >$KSM/$knob"
	done
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

ksm_passes() {
	cat "$KSM/full_scans"
}
