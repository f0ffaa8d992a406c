# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# QEMU's own monitor (QMP) of a guest. To be sourced, after harness.sh.
#
#   monitor_options NAME                   adds it to $GUEST_MORE; for launcher functions
#   monitor_open NAME                      waits for its greeting
#   monitor_do NAME COMMAND [ARGUMENTS]    sends a command; $MONITOR_REPLY is what it returned. Fails if QEMU refuses
#   monitor_close NAME

MONITOR_SECONDS=600 # QEMU answers at once, but for what else the host does
declare -A MONITOR_IN=() MONITOR_OUT=()

monitor_options() {
	local base=$GUESTS_RUN/$1.qmp in out
	mkfifo "$base.in" "$base.out"
	exec {in}<>"$base.in" {out}<>"$base.out"
	MONITOR_IN[$1]=$in
	MONITOR_OUT[$1]=$out
	GUEST_MORE+=(-chardev "pipe,id=qmp,path=${base//,/,,}" -mon "chardev=qmp,mode=control")
}

# monitor_read NAME KEY…: the next message that has one of these keys, in $MONITOR_MESSAGE; others are passed over.
monitor_read() {
	local name=$1 deadline=$((SECONDS + MONITOR_SECONDS)) piece key
	shift
	MONITOR_MESSAGE=
	while [ "$SECONDS" -le "$deadline" ]; do
		if ! IFS= read -r -t 1 -u "${MONITOR_OUT[$name]}" piece; then
			interrupt_check
			MONITOR_MESSAGE+=$piece
			kill -0 "${GUEST_PID[$name]}" 2>/dev/null && continue
			guests_say "$name: QEMU ended: $(tail -n 3 "$GUESTS_RUN/$name.stderr")"
			return 1
		fi
		MONITOR_MESSAGE+=$piece
		for key; do
			[[ $MONITOR_MESSAGE != "{\"$key\":"* ]] || return 0
		done
		MONITOR_MESSAGE=
	done
	guests_say "$name: QEMU does not answer within $MONITOR_SECONDS s"
	return 1
}

monitor_do() {
	echo "{\"execute\": \"$2\", \"arguments\": ${3:-{\}}}" >&"${MONITOR_IN[$1]}"
	monitor_read "$1" return error || return 1
	if [[ $MONITOR_MESSAGE == '{"error":'* ]]; then
		guests_say "$1: $2 ${3:-}: $MONITOR_MESSAGE"
		return 1
	fi
	MONITOR_REPLY=$(jq -c .return <<<"$MONITOR_MESSAGE")
}

monitor_open() {
	monitor_read "$1" QMP && monitor_do "$1" qmp_capabilities
}

monitor_close() {
	local in=${MONITOR_IN[$1]} out=${MONITOR_OUT[$1]}
	exec {in}>&- {out}>&-
	unset "MONITOR_IN[$1]" "MONITOR_OUT[$1]"
}
