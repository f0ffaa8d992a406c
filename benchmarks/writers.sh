# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What a writer feels, how fast a scan is, what one costs of memory that has been looked at before, and what becomes of
# 2 MiB pages, by the program writer.c instead of a guest. To be sourced by run.

WRITE_SECONDS=10
WRITER_DEADLINE_SECONDS=600
WRITER_MIB=256
SHORT_MIB=200      # what the writer may use in the test with too little memory
SWAP_MIB=512
RATE_MIB=1024
RATE_PASSES=5
AGAIN_SECONDS=4     # for a slow pass
AGAIN_TURNS=16      # slow passes in which each page is read once (LOOKS_PER_READ of library/looks.h)
AGAIN_PERMILLE=10   # of the pages are filled anew before each
HUGE_MIB=1024
HUGE_SECONDS=40     # one slow pass and more, with the default interval
CGROUP_CPU=/sys/fs/cgroup/cpu/pagefuse-benchmark
CGROUP_MEMORY=/sys/fs/cgroup/memory/pagefuse-benchmark
# shellcheck disable=SC2016 # for the inner shell
IN_CGROUP=(sh -c 'echo $$ >"$0/tasks" && exec "$@"') # CGROUP COMMAND…

# writer_read VARIABLE…: what it says, word by word.
writer_read() {
	local deadline=$((SECONDS + WRITER_DEADLINE_SECONDS))
	until read -r -t 1 -u "$WRITER_OUT" "$@"; do
		interrupt_check
		kill -0 "$WRITER" 2>/dev/null && [ "$SECONDS" -le $deadline ] || return
	done
}

WRITER_MORE=() # further arguments of the writer

# writer_open KIND MIB [COMMAND…]: started by the command, if there is one.
writer_open() {
	local kind=$1 mib=$2 word
	shift 2
	mkfifo "$GUESTS_RUN/writer.in" "$GUESTS_RUN/writer.out"
	exec {WRITER_IN}<>"$GUESTS_RUN/writer.in" {WRITER_OUT}<>"$GUESTS_RUN/writer.out"
	"$@" "$BUILD/benchmarks/writer" writer "$kind" "$mib" "${WRITER_MORE[@]}" \
		<"$GUESTS_RUN/writer.in" >"$GUESTS_RUN/writer.out" &
	WRITER=$!
	guard process "$WRITER"
	writer_read word WRITER_THREAD || give_up "the writer does not start"
	[ "$word" = ready ] || give_up "the writer says: $word $WRITER_THREAD"
}

writer_ask() {
	echo "$1" >&"$WRITER_IN"
	writer_read WRITER_ANSWER || give_up "the writer does not answer"
}

writer_close() {
	[ -z "${WRITER:-}" ] || { kill "$WRITER" 2>/dev/null; wait "$WRITER" 2>/dev/null; }
	if [ -n "${WRITER_IN:-}" ]; then
		exec {WRITER_IN}>&- {WRITER_OUT}>&-
		rm -f "$GUESTS_RUN"/writer.{in,out}
	fi
	WRITER='' WRITER_IN=''
	short_of_memory_end
	remove_cgroup $CGROUP_CPU
}

# A cgroup lets go of a thread a moment after its end.
remove_cgroup() {
	[ ! -d "$1" ] || wait_until "$DAEMON_SECONDS" rmdir "$1" 2>/dev/null ||
		echo "benchmarks/run: cannot remove $1" >&2
}

# Asks for one pass after the other until the file is gone.
scan_while_exists() {
	while [ -e "$1" ]; do
		"$PAGEFUSE" scan writer || return
		sleep 0.01
	done >/dev/null
}

# The writer writes, and passes follow each other meanwhile unless told otherwise.
writer_measure() {
	local label=$1 scanning=${2:-yes} scans='' word
	if [ "$scanning" = yes ]; then
		interruptible "$PAGEFUSE" scan --wait writer >/dev/null || give_up "scan"
		: >"$GUESTS_RUN/scanning"
		scan_while_exists "$GUESTS_RUN/scanning" &
		scans=$!
	fi
	writer_ask "write $WRITE_SECONDS"
	if [ -n "$scans" ]; then
		rm "$GUESTS_RUN/scanning"
		wait "$scans" || give_up "scan while the writer writes"
	fi
	for word in $WRITER_ANSWER; do
		figure "writer-$label.${word%%=*}" "${word#*=}"
	done
	say "writer, $label: $WRITER_ANSWER"
	writer_ask check
	[ "$WRITER_ANSWER" = wrong=0 ] || give_up "the writer's memory: $WRITER_ANSWER"
}

slow_down_worker() {
	guard cgroup $CGROUP_CPU
	mkdir -p $CGROUP_CPU &&
		echo 100000 >$CGROUP_CPU/cpu.cfs_period_us &&
		echo 20000 >$CGROUP_CPU/cpu.cfs_quota_us &&
		echo "$WRITER_THREAD" >$CGROUP_CPU/tasks
}

short_of_memory_begin() {
	[ -e "${CGROUP_MEMORY%/*}/memory.limit_in_bytes" ] || return 1
	SWAP_FILE=$OUT/swap
	guard cgroup $CGROUP_MEMORY
	guard command "$(printf 'swapoff %q; rm -f %q' "$SWAP_FILE" "$SWAP_FILE")"
	mkdir -p $CGROUP_MEMORY &&
		echo ${SHORT_MIB}M >$CGROUP_MEMORY/memory.limit_in_bytes &&
		dd if=/dev/zero of="$SWAP_FILE" bs=1M count=$SWAP_MIB status=none &&
		chmod 600 "$SWAP_FILE" && mkswap -q "$SWAP_FILE" && swapon "$SWAP_FILE"
}

short_of_memory_end() {
	if [ -n "${SWAP_FILE:-}" ]; then
		! grep -q "^$SWAP_FILE " /proc/swaps || swapoff "$SWAP_FILE"
		rm -f "$SWAP_FILE"
		SWAP_FILE=''
	fi
	remove_cgroup $CGROUP_MEMORY
}

part_writer() {
	say "writer: one core for it, one for pagefuse"
	daemon_open "$BUILD" '[scan]' 'interval_seconds = 0' || give_up "the daemon does not start"
	writer_open twins $WRITER_MIB
	writer_measure alone no
	writer_measure free-core
	if slow_down_worker 2>/dev/null; then
		writer_measure quota
	else
		say "writer: no cgroup v1 CPU controller here, not measured under a quota"
	fi
	writer_close
	if short_of_memory_begin; then
		writer_open twins $WRITER_MIB "${IN_CGROUP[@]}" $CGROUP_MEMORY
		writer_measure short-alone no
		writer_measure short
	else
		say "writer: no cgroup v1 memory controller here, not measured short of memory"
	fi
	writer_close
	daemon_close || give_up "the daemon left something behind"
}

# thread_nsec PID TID
thread_nsec() {
	cut -d ' ' -f 1 "/proc/$1/task/$2/schedstat"
}

process_nsec() {
	cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%d", sum }'
}

part_rate() {
	local worker daemon pass
	say "rate: passes over $RATE_MIB MiB in which nothing is equal"
	daemon_open "$BUILD" '[scan]' 'interval_seconds = 0' || give_up "the daemon does not start"
	writer_open unique $RATE_MIB
	interruptible "$PAGEFUSE" scan --wait writer >/dev/null || give_up "scan"
	worker=$(thread_nsec "$WRITER" "$WRITER_THREAD")
	daemon=$(process_nsec "$DAEMON_PID")
	for ((pass = 0; pass < RATE_PASSES; pass++)); do
		interruptible "$PAGEFUSE" scan --wait writer >/dev/null || give_up "scan"
	done
	worker=$(($(thread_nsec "$WRITER" "$WRITER_THREAD") - worker))
	daemon=$(($(process_nsec "$DAEMON_PID") - daemon))
	figure rate.bytes_per_nsec "$(awk -v n=$RATE_PASSES -v mib=$RATE_MIB -v nsec="$worker" \
		'BEGIN { printf "%.2f", n * mib * 1048576 / nsec }')"
	figure rate.daemon_nsec_per_page $((daemon / (RATE_PASSES * RATE_MIB * 256)))
	writer_close
	daemon_close || give_up "the daemon left something behind"
}

# Per page, in the worker and the daemon together: what is read because somebody asked, and what slow passes look at.
# These take their time, in which both use some without any; that is measured in a mode that has none, and taken off.
part_again() {
	local pages=$((RATE_MIB * 256)) before read again idle pass
	say "again: slow passes over $RATE_MIB MiB, of which $AGAIN_PERMILLE per mille are filled anew before each"
	daemon_open "$BUILD" '[scan]' "interval_seconds = $AGAIN_SECONDS" 'cpu_percent = 100' ||
		give_up "the daemon does not start"
	writer_open unique $RATE_MIB
	interruptible "$PAGEFUSE" scan --wait writer >/dev/null || give_up "scan"
	"$PAGEFUSE" modifyvm writer --mode hints >/dev/null || give_up "modifyvm"
	before=$(both_nsec)
	nap $((RATE_PASSES * AGAIN_SECONDS))
	idle=$((($(both_nsec) - before) / RATE_PASSES))
	"$PAGEFUSE" modifyvm writer --mode full >/dev/null || give_up "modifyvm"
	interruptible "$PAGEFUSE" scan --wait writer >/dev/null || give_up "scan"
	nap $(((3 + AGAIN_TURNS) * AGAIN_SECONDS)) # three that find all pages, and each has its first turn to be read
	before=$(both_nsec)
	for ((pass = 0; pass < RATE_PASSES; pass++)); do
		writer_ask "fill $AGAIN_PERMILLE"
		nap $AGAIN_SECONDS
	done
	again=$((($(both_nsec) - before) / RATE_PASSES))
	writer_ask check
	[ "$WRITER_ANSWER" = wrong=0 ] || give_up "the writer's memory: $WRITER_ANSWER"
	before=$(both_nsec)
	interruptible "$PAGEFUSE" scan --wait writer >/dev/null || give_up "scan"
	read=$(($(both_nsec) - before))
	figure again.read_nsec_per_page $((read / pages))
	figure again.nsec_per_page $(((again - idle) / pages))
	figure again.idle_nsec_per_page $((idle / pages))
	writer_close
	daemon_close || give_up "the daemon left something behind"
}

both_nsec() {
	echo $(($(thread_nsec "$WRITER" "$WRITER_THREAD") + $(process_nsec "$DAEMON_PID")))
}

# 2 MiB pages that the writer has.
huge_pages() {
	awk '/^AnonHugePages:/ { print int($2 / 2048) }' "/proc/$WRITER/smaps_rollup"
}

# Whether memory has been high for so many seconds.
is_high_since() {
	"$PAGEFUSE" status --json | jq -e --argjson seconds "$1" \
		'.memory.state == "high" and .memory.state_seconds >= $seconds' >/dev/null
}

# A load that is bound by memory, on 2 MiB pages of which half could be saved, while memory is plentiful.
part_huge() {
	local label=$1 before word
	local -a WRITER_MORE=()
	say "$label: $HUGE_MIB MiB of 2 MiB pages on a host with memory to spare"
	if [ "$label" = huge-pagefuse ]; then
		daemon_open "$BUILD" '[memory]' 'large_pages = keep' 'large_pages_hints = dense' ||
			give_up "the daemon does not start"
	else
		WRITER_MORE=(absent)
	fi
	writer_open twins $HUGE_MIB
	before=$(huge_pages)
	[ "$before" -gt 0 ] || give_up "this kernel gives no 2 MiB pages"
	[ "$label" = huge-absent ] || interruptible "$PAGEFUSE" scan --wait writer >/dev/null || give_up "scan"
	writer_ask "walk $HUGE_SECONDS"
	[ "$label" = huge-absent ] || is_high_since $HUGE_SECONDS ||
		give_up "this host's memory was not high all the time, see pagefused.conf(5)"
	for word in $WRITER_ANSWER; do
		figure "$label.${word%%=*}" "${word#*=}"
	done
	figure "$label.pages" "$before"
	figure "$label.broken" $((before - $(huge_pages)))
	say "$label: $WRITER_ANSWER, $(last_figure_of "$label.broken") of $before 2 MiB pages were broken"
	writer_ask check
	[ "$WRITER_ANSWER" = wrong=0 ] || give_up "the writer's memory: $WRITER_ANSWER"
	writer_close
	daemon_close || give_up "the daemon left something behind"
}
