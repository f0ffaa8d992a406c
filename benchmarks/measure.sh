# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Samples of memory and CPU time, and figures made of them. To be sourced; $OUT is the folder for results, $BUILD the
# build.
#
#   samples_open LABEL WHO…       starts benchmarks/sampler, into $OUT/LABEL.samples, and waits for a baseline
#   samples_start                 the moment from which all is counted; call it right before the work begins
#   samples_close
#   summarise LABEL               figures of what was saved, how fast, for how much CPU; those that begin with "freed_"
#                                 are the same of AnonPages and Shmem alone
#   idle_percent LABEL SECONDS    figure of the CPU use from now on
#   figure NAME VALUE             writes a figure down
#   figure_of NAME                prints it; the median, the lower of two, if it was measured several times
#   last_figure_of NAME           prints the last one

SAMPLE_MSEC=20
BASELINE_SECONDS=2

figure() {
	printf '%s %s\n' "$1" "$2" >>"$OUT/figures"
}

figure_of() {
	awk -v name="$1" '$1 == name { print $2 }' "$OUT/figures" | sort -g |
		awk '{ value[NR] = $1 } END { print NR == 0 ? "?" : value[int((NR + 1) / 2)] }'
}

last_figure_of() {
	awk -v name="$1" '$1 == name { value = $2 } END { print value == "" ? "?" : value }' "$OUT/figures"
}

samples_open() {
	SAMPLES=$OUT/$1.samples
	shift
	"$BUILD/benchmarks/sampler" "$SAMPLE_MSEC" "$@" >"$SAMPLES" &
	SAMPLER=$!
	guard process "$SAMPLER"
	nap $((BASELINE_SECONDS + 1))
}

samples_close() {
	[ -n "${SAMPLER:-}" ] || return 0
	kill "$SAMPLER" 2>/dev/null
	wait "$SAMPLER" 2>/dev/null
	SAMPLER=''
}

samples_start() {
	START=$EPOCHREALTIME
}

# last_samples SECONDS
last_samples() {
	tail -n "$(($1 * 1000 / SAMPLE_MSEC))" "$SAMPLES"
}

# What the whole host uses now, as the mean of a second.
memory_now_kib() {
	last_samples 1 | awk '{ sum += $2 } END { printf "%d", sum / NR }'
}

# Saved: from the mean before the start to the mean of the last second. CPU: until 99 % of that was saved, and in all.
summarise() {
	figure "$1.start" "$START"
	summarise_column "$1" '' 2
	summarise_column "$1" freed_ 4
}

summarise_column() {
	local label=$1 prefix=$2 last
	last=$(tail -n 1 "$SAMPLES" | cut -d ' ' -f 1)
	awk -v start="$START" -v baseline_seconds=$BASELINE_SECONDS -v last="$last" -v column="$3" '
		$1 < start - baseline_seconds { next }
		$1 < start { before += $column; befores++; cpu_before = $3; next }
		{ n++; time[n] = $1 - start; kib[n] = $column; cpu[n] = ($3 - cpu_before) / 1e9 }
		$1 > last - 1 { after += $column; afters++ }
		END {
			baseline = before / befores
			saved = baseline - after / afters
			for (i = 1; i <= n && baseline - kib[i] < 0.9 * saved; i++);
			for (j = i; j <= n && baseline - kib[j] < 0.99 * saved; j++);
			printf "baseline_kib %d\nsaved_mib %.1f\nseconds_to_90 %.2f\n", baseline, saved / 1024, time[i]
			printf "seconds_to_99 %.2f\ncpu_to_99 %.3f\ncpu_all %.3f\n", time[j], cpu[j], cpu[n]
		}' "$SAMPLES" | while read -r name value; do
		figure "$label.$prefix$name" "$value"
	done
}

# seconds_to LABEL MIB: when that much was saved for the first time.
seconds_to() {
	awk -v start="$(last_figure_of "$1.start")" -v baseline="$(last_figure_of "$1.baseline_kib")" -v want="$2" '
		$1 >= start && (baseline - $2) / 1024 >= want { printf "%.2f", $1 - start; found = 1; exit }
		END { if (!found) print "never" }' "$OUT/$1.samples"
}

idle_percent() {
	nap "$2"
	figure "$1.idle_percent" "$(last_samples "$2" | awk 'NR == 1 { time = $1; cpu = $3 }
		END { printf "%.2f", ($3 - cpu) / 1e7 / ($1 - time) }')"
}
