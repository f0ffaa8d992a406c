# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The table and the plot of what run measured. To be sourced; $DOCS: whether to write them into docs/, too.

REAL_CONTENDERS=(real-pagefuse real-ksm-20000-10)
KIND_CONTENDERS=(pagefuse ksm-20000-10 ksm-1250-10 ksm-100-20)
SHORT_CONTENDERS=(short-without short-pagefuse short-ksmtuned short-ksm-20000-10 short-ksm-advisor)
declare -A CONTENDER_NAME=([pagefuse]=pagefuse [ksm-20000-10]='KSM 20000/10' [ksm-1250-10]='KSM 1250/10'
	[ksm-100-20]='KSM 100/20' [ksmtuned]='KSM by ksmtuned' [ksm-advisor]="KSM's advisor" [without]=nobody)

# calculate EXPRESSION FORMAT FIGURE…: the figures are a, b, c in the expression; "?" if one of them is not known.
calculate() {
	local expression=$1 format=$2 a b c
	shift 2
	a=$(figure_of "$1") b=$(figure_of "${2:-$1}") c=$(figure_of "${3:-$1}")
	case "$a$b$c" in
	*[!0-9.-]*) echo '?' ;;
	*) awk -v a="$a" -v b="$b" -v c="$c" "BEGIN { printf \"$format\", $expression }" ;;
	esac
}

ksm_best_mib() {
	local label
	for label in "${KIND_CONTENDERS[@]:1}"; do
		figure_of "$label.saved_mib"
	done | sort -n | tail -n 1
}

# of_these LABEL…: those of which something was measured become the $contenders.
of_these() {
	local label
	contenders=()
	for label; do
		! grep -q "^$label\." "$OUT/figures" || contenders+=("$label")
	done
}

# The line below the first row.
rule() {
	printf '|---|%s\n' "$(printf -- '---|%.0s' "${contenders[@]}")"
}

# section HEADING COMMAND: the table that the command prints, without rows of which nothing is known; if any is left.
section() {
	local table
	table=$("$2" | awk -F '|' '
		/^\|/ && NR > 2 {
			known = 0
			for (i = 3; i < NF; i++)
				known = known || $i !~ /\?/
			if (!known) next
		}
		{ print }')
	[ "$(grep -c '^|' <<<"$table")" -gt 2 ] || return 0
	printf '\n%s\n\n%s\n' "$1" "$table"
}

# row TITLE COMMAND…: the command is given the label of each of $contenders.
row() {
	local title=$1 label
	shift
	printf '| %s |' "$title"
	for label in "${contenders[@]}"; do
		printf ' %s |' "$("$@" "$label")"
	done
	printf '\n'
}

of_name() { local label=${1#real-}; echo "${CONTENDER_NAME[${label#short-}]}"; }
of_vms() { echo "${1#simulation-} VMs"; }
of_figure() { figure_of "$2.$1"; }
of_saved() { figure_of "$1.saved_mib"; }
of_seconds() { figure_of "$1.seconds_to_90"; }
of_common_goal() { [ -e "$OUT/$1.samples" ] && seconds_to "$1" "$goal_mib" || echo '?'; }
of_cpu() { calculate a %.2f "$1.cpu_to_99"; }
of_cpu_all() { calculate a %.2f "$1.cpu_all"; }
of_page() { calculate 'a * 1e6 / (b * 256)' %.1f "$1.cpu_to_99" "$1.saved_mib"; }
of_freed_page() { calculate 'a * 1e6 / (b * 256)' %.1f "$1.freed_cpu_to_99" "$1.freed_saved_mib"; }
of_pages_mib() { calculate a/256 %.1f "$2.pages_$1"; }
of_run_pages() { calculate 'b == 0 ? 0 : a / b' %.1f "$1.pages_shared" "$1.pages_runs"; }
of_real_churn() { calculate 'a - b' %d real-control.used_after_churn_mib "$1.used_after_churn_mib"; }
of_churn() { calculate 'a - b' %d control.used_after_churn_mib "$1.used_after_churn_mib"; }
of_rewrite() { calculate 'a - b' %d control.used_after_rewrite_mib "$1.used_after_rewrite_mib"; }
of_idle() { if [ "$1" = pagefuse ]; then figure_of slow.idle_percent; else figure_of "$1.idle_percent"; fi; }

real_table() {
	local -a contenders
	of_these "${REAL_CONTENDERS[@]}"
	row '' of_name
	rule
	row 'freed (AnonPages and Shmem), MiB' of_figure freed_saved_mib
	row 'time to 90 % of that, s' of_figure freed_seconds_to_90
	row 'time to all of it (99 %), s' of_figure freed_seconds_to_99
	row 'CPU time until then, s' of_figure freed_cpu_to_99
	row 'CPU time per freed page, µs' of_freed_page
	row 'CPU time until it was seen to be finished, s' of_cpu_all
	row 'saved, with page tables and slab counted, MiB' of_saved
	row 'saved after three churns of the page cache, MiB' of_real_churn
	row 'CPU use once it is finished, guests idle, % of a core' of_real_idle
}

of_real_idle() { if [ "$1" = real-pagefuse ]; then figure_of "$1-no-pass.idle_percent"; else of_idle "$1"; fi; }

left_table() {
	local -a contenders
	of_these "${REAL_CONTENDERS[@]}"
	row 'MiB' of_name
	rule
	row 'pages with content' of_pages_mib present
	row 'different contents' of_pages_mib contents
	row 'equal pages that are not shared' of_pages_mib left
	row '... changed within the pass between two looks, or 2 s' of_pages_mib left_volatile
	row '... written since they were shared' of_pages_mib left_diverged
	row '... in 2 MiB pages' of_pages_mib left_huge
	row '... in runs too short for the mappings that are left' of_pages_mib left_mappings
	row '... zeros' of_pages_mib left_zeros
	row '... others share this content' of_pages_mib left_refused
	row '... nobody shares this content' of_pages_mib left_unseen
	row '... kept more than once by who shares' of_pages_mib left_stored_twice
}

short_table() {
	local -a contenders
	of_these "${SHORT_CONTENDERS[@]}"
	row 'who shares' of_name
	rule
	row 'pages swapped out while the limit fell' of_figure fall_swapped_out
	row 'saved then, MiB' of_figure saved_mib
	row 'pages swapped out until the guests had read their files again' of_figure swapped_out
	row 'pages swapped in until then' of_figure swapped_in
	row 'major faults until then' of_figure major_faults
	row 'time to read the files again, s' of_figure work_seconds
	row 'CPU time of who shares, while the limit fell, s' of_cpu_all
	printf '\nFrom the state clear to 90 %% of what pagefuse saved from then on: %s s.\n' \
		"$(figure_of short-pagefuse.clear_seconds_to_90)"
}

# Two kinds of guests, two equations: what a page costs, and what each run costs besides.
runs_table() {
	local page run
	local -a contenders=(real-pagefuse pagefuse)
	echo '| | real guests | kind guests |'
	echo '|---|---|---|'
	row 'shared pages' of_figure pages_shared
	row 'in runs' of_figure pages_runs
	row 'pages per run, mean' of_run_pages
	row '... median' of_figure pages_runs_median
	row 'runs of one page' of_figure pages_runs_of_one
	row 'runs, had the store been ordered by who knew all guests beforehand' of_figure pages_runs_possible
	row 'stretches of pages that have a twin each: no order has fewer runs' of_figure pages_stretches
	row 'CPU time per freed page, µs' of_freed_page
	read -r page run < <(run_worth)
	printf '\nBy these two a freed page costs %s µs, and each run %s µs more.\n' "$page" "$run"
}

run_worth() {
	local name value
	local -a values=()
	for name in real-pagefuse pagefuse; do
		for value in freed_cpu_to_99 freed_saved_mib pages_runs; do
			values+=("$(figure_of "$name.$value")")
		done
	done
	case "${values[*]}" in *[!0-9.\ -]*) echo '? ?'; return ;; esac
	awk -v line="${values[*]}" 'BEGIN {
		split(line, v, " ")
		pages = v[2] * 256; kind_pages = v[5] * 256
		det = pages * v[6] - kind_pages * v[3]
		if (det == 0) { print "? ?"; exit }
		page = (v[1] * v[6] - v[4] * v[3]) / det
		printf "%.1f %.1f", page * 1e6, v[3] == 0 ? 0 : (v[1] - page * pages) * 1e6 / v[3] }'
}

kind_table() {
	local goal_mib
	local -a contenders
	of_these "${KIND_CONTENDERS[@]}"
	goal_mib=$(awk -v best="$(ksm_best_mib)" 'BEGIN { print 0.9 * best }')
	row '' of_name
	rule
	row 'saved, MiB' of_saved
	row 'time to 90 % of its own saving, s' of_seconds
	row "time to 90 % of KSM's best saving, s" of_common_goal
	row 'CPU time until 99 % was saved, s' of_cpu
	row 'CPU time per saved page, µs' of_page
	row 'CPU time until it was seen to be finished, s' of_cpu_all
	row 'saved after three churns of the page cache, MiB' of_churn
	row 'saved after the CPUs have rewritten what they had, MiB' of_rewrite
	row 'CPU use once converged, guests idle, % of a core' of_idle
}

writer_row() {
	local writer=writer-$1 title=$2 name
	printf '| %s |' "$title"
	for name in p50 p99 p999 max; do
		printf ' %s |' "$(calculate a/1000 %.1f "$writer.${name}_nsec")"
	done
	printf ' %s | %s |\n' "$(calculate 'a * 100 / b' %.2f "$writer.stalled" "$writer.writes")" \
		"$(calculate a/1000 %.1f "$writer.stalled_p99_nsec")"
}

writer_table() {
	echo '| one write takes, µs | p50 | p99 | p99.9 | max | longer than 10 µs, % | p99 of those |'
	echo '|---|---|---|---|---|---|---|'
	writer_row alone 'no pass under way'
	writer_row free-core 'passes all the time, a core free'
	writer_row quota 'the same, worker under a 20 % CPU quota'
	writer_row short-alone 'no pass, short of memory and swapping'
	writer_row short 'passes all the time, short of memory and swapping'
}

disk_row() {
	local label=$1 title=$2
	printf '| %s | %s | %s | %s | %s |\n' "$title" "$(of_churn "$label")" \
		"$(figure_of "$label.diverged_after_churn_mib")" "$(of_rewrite "$label")" \
		"$(figure_of "$label.diverged_after_rewrite_mib")"
}

disk_table() {
	local swap="$ZRAM_MIB MiB of swap on zram"
	echo '| MiB | saved after churn | diverged | saved after rewriting | diverged |'
	echo '|---|---|---|---|---|'
	disk_row pagefuse 'disks as QEMU opens them by itself, no swap'
	disk_row pagefuse-swap "the same, $swap"
	disk_row direct 'cache=none, aio=native, no swap'
	disk_row direct-swap "the same, $swap"
	disk_row uring 'aio=io_uring, no swap'
	disk_row uring-swap "the same, $swap"
}

reads_table() {
	local label name
	echo '| | pagefuse absent | with hints | times as long |'
	echo '|---|---|---|---|'
	for label in fresh-in-order fresh-at-random shared-in-order shared-at-random; do
		name=${label/-/ memory, }
		printf '| %s | %s µs | %s µs | %s |\n' "${name/-/ }" \
			"$(figure_of "reads-$label.absent_usec")" "$(figure_of "reads-$label.usec")" \
			"$(figure_of "reads-$label.ratio")"
	done
}

simulation_table() {
	local -a contenders
	of_these "${SIMULATION_VMS[@]/#/simulation-}"
	row '' of_vms
	rule
	row 'memory of each, MiB' of_figure mib_per_vm
	row 'of that saved, %' of_figure saved_percent
	row 'time per page, first pass, ns' of_figure nsec_per_page
	row 'time per page, a pass in which nothing has changed, ns' of_figure slow_nsec_per_page
	row "bookkeeping, % of the guests' memory" of_figure bookkeeping_percent
}

huge_table() {
	local -a contenders=(huge-absent huge-pagefuse)
	echo '| | pagefuse absent | there |'
	echo '|---|---|---|'
	row '2 MiB pages' of_figure pages
	row 'of these broken' of_figure broken
	row 'one read that depends on the one before, ns' of_figure step_nsec
	row 'CPU time of that, ns' of_figure step_cpu_nsec
}

other_table() {
	echo '| | |'
	echo '|---|---|'
	printf '| real guests: saved by hints, with no pass | %s MiB, for %s s of CPU time, %s µs per hinted page |\n' \
		"$(calculate 'a - b' %d real-control.used_mib real-hints.used_mib)" "$(figure_of real-hints.cpu)" \
		"$(calculate 'a * 1e6 / b' %.1f real-hints.cpu real-hints.hinted_pages)"
	printf '| new duplicates found by the slow pass of %s s | after %s s |\n' \
		"$(figure_of slow.interval_seconds)" "$(figure_of slow.found_after_seconds)"
	printf '| CPU use once converged, with no pass due | %s %% of a core |\n' \
		"$(figure_of pagefuse-no-pass.idle_percent)"
	printf '| scan: pages found, hashed, posted | %s GB/s of the worker, %s ns per page in the daemon |\n' \
		"$(figure_of rate.bytes_per_nsec)" "$(figure_of rate.daemon_nsec_per_page)"
	printf '| slow pass over memory that it knows, 1 %% filled anew, both | %s ns per page; %s if all is read |\n' \
		"$(figure_of again.nsec_per_page)" "$(figure_of again.read_nsec_per_page)"
	printf '| three VMs share, nobody else there | %s pages/s |\n' "$(figure_of besieged.quiet_pages_per_sec)"
	printf '| the same, another daemon besieged by %s peers | %s pages/s |\n' \
		"$(figure_of besieged.attackers)" "$(figure_of besieged.elsewhere_pages_per_sec)"
	printf '| the same, this daemon besieged by them | %s pages/s; %s times as long, and %s times the first |\n' \
		"$(figure_of besieged.besieged_pages_per_sec)" "$(figure_of besieged.ratio_to_elsewhere)" \
		"$(figure_of besieged.ratio)"
	printf '| bookkeeping: daemon and rings | %s MiB |\n' \
		"$(calculate a/1048576 %.1f pagefuse.overhead_daemon_bytes)"
	printf '| bookkeeping: kernel, for %s mappings | %s MiB |\n' \
		"$(figure_of pagefuse.mappings)" "$(calculate a/1048576 %.1f pagefuse.overhead_kernel_bytes)"
	printf '| both, less 250 bytes per mapping, of the memory scanned | %s %% |\n' "$(overhead_percent)"
}

overhead_percent() {
	local bytes
	bytes=$(calculate 'a + b - 250 * c' %d pagefuse.overhead_daemon_bytes pagefuse.overhead_kernel_bytes \
		pagefuse.mappings)
	[ "$bytes" = '?' ] && echo '?' || calculate "100 * $bytes / a" %.2f pagefuse.scanned_bytes
}

machine() {
	printf '%s, %s cores, %s GiB, Linux %s, %s, guests by %s; %s.\n' \
		"$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" \
		"$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)" "$(uname -r)" \
		"$(qemu-system-x86_64 --version | head -n 1)" "$(accelerator)" "$(date -u +%Y-%m-%d)"
}

accelerator() {
	case ${GUEST_ACCELERATOR[1]} in
	kvm) echo KVM ;;
	*) echo TCG ;;
	esac
}

all_tables() {
	echo "Machine: $(machine)"
	section "Three real guests of $GUEST_RAM_MIB MiB:" real_table
	section 'What equal pages of theirs are left:' left_table
	section 'Three real guests whose memory gets short by a quarter:' short_table
	section 'What a run of pages is worth:' runs_table
	section "Three kind guests of $GUEST_RAM_MIB MiB:" kind_table
	section "What a writer feels that writes one word of a random page of $WRITER_MIB MiB every 20 µs:" writer_table
	section 'What pagefuse saves once the guests have rewritten what they shared:' disk_table
	section "2 MiB pages while memory is plentiful, $HUGE_MIB MiB of them, of which half could be saved:" huge_table
	section "One read of 4 KiB from a guest's disk, past its page cache:" reads_table
	section 'The engine with many VMs, simulated:' simulation_table
	section 'Other figures:' other_table
}

# One file per contender: seconds since its start, MiB freed, seconds of CPU time; as many points as a logarithmic axis
# shows.
plot_data() {
	local label=$1
	awk -v start="$(last_figure_of "$label.start")" -v baseline="$(last_figure_of "$label.freed_baseline_kib")" '
		$1 < start { cpu = $3; next }
		$1 < next_time { next }
		{ printf "%.3f %.1f %.3f\n", $1 - start + 0.01, (baseline - $4) / 1024, ($3 - cpu) / 1e9 }
		{ next_time = $1 + ($1 - start) / 200 }' \
		"$OUT/$label.samples" >"$OUT/$label.plot"
}

plot() {
	local label
	local -a measured=()
	for label in "${REAL_CONTENDERS[@]}"; do
		[ -e "$OUT/$label.samples" ] && [ "$(figure_of "$label.start")" != '?' ] || continue
		plot_data "$label"
		measured+=("$OUT/$label.plot" "$(of_name "$label")")
	done
	[ ${#measured[@]} -eq 0 ] || gnuplot -c benchmarks/plot.gp "$OUT/plot.svg" "${measured[@]}" || return
	plot_simulation
}

# One line for each number of VMs: that, ns per page, percent of bookkeeping.
plot_simulation() {
	local vms
	[ "$(figure_of "simulation-${SIMULATION_VMS[0]}.nsec_per_page")" != '?' ] || return 0
	for vms in "${SIMULATION_VMS[@]}"; do
		echo "$vms $(figure_of "simulation-$vms.nsec_per_page")" \
			"$(figure_of "simulation-$vms.bookkeeping_percent")"
	done >"$OUT/simulation.plot"
	gnuplot -c benchmarks/plot-simulation.gp "$OUT/simulation.svg" "$OUT/simulation.plot"
}

report() {
	all_tables >"$OUT/table.md"
	cat "$OUT/table.md"
	plot || give_up "gnuplot failed; is gnuplot-nox installed?"
	echo
	say "written: $OUT/table.md"
	[ ! -e "$OUT/plot.svg" ] || say "written: $OUT/plot.svg"
	[ ! -e "$OUT/simulation.svg" ] || say "written: $OUT/simulation.svg"
	[ "$DOCS" = no ] || report_to_docs
}

# Between its markers the document is what the last run measured.
report_to_docs() {
	local more=''
	[ ! -e "$OUT/plot.svg" ] || cp "$OUT/plot.svg" docs/benchmarks.svg
	if [ -e "$OUT/simulation.svg" ]; then
		cp "$OUT/simulation.svg" docs/benchmarks-simulation.svg
		more='![time per page and bookkeeping by the number of VMs](benchmarks-simulation.svg)\n'
	fi
	awk -v table="$OUT/table.md" -v more="$more" '
		/^<!-- measured: begin/ {
			print; print ""
			while ((getline line < table) > 0) print line
			print "\n![saved memory and CPU time over time](benchmarks.svg)\n"
			if (more != "") print more
			skip = 1
		}
		/^<!-- measured: end/ { skip = 0 }
		!skip { print }' docs/benchmarks.md >"$OUT/benchmarks.md" && cp "$OUT/benchmarks.md" docs/benchmarks.md
	say "written: docs/benchmarks.md docs/benchmarks.svg"
}
