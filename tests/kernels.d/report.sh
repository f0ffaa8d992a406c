# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Runs one kernel and keeps what came of it; the counts; the table of docs/kernels.md. To be sourced.
#
#   run_kernel SERIES PACKAGE     uses $folder, with the disk, and $selection
#   report_end                    the closing line; the exit status of all
#   report_to_docs

PASSED=0 FAILED=0 SKIPPED=0

# QEMU that emulates two CPUs by two threads has been seen to run kernel code that was half patched. So a kernel that
# panics gets a second chance, and the panic is shown; one that panics twice has failed.
boot_patiently() {
	boot_kernel "$@" && return
	grep -q 'Kernel panic' "$3.log" || return 1
	echo "  the kernel has panicked ($BOOT_WHY), once more:"
	grep -m 1 -A 3 'RIP: ' "$3.log"
	boot_kernel "$@"
}

# Results: a line "# PACKAGE DATE" and the lines of boot_kernel.
run_kernel() {
	local series=$1 package=$2 kept=$KERNELS_DIR/results/$1 results=$folder/results kernel=$KERNELS_DIR/$2
	[ "$selection" = all ] || kept+=.$selection
	echo "== Linux $series: $package"
	if [ ! -e "$kernel/vmlinuz" ] && ! interruptible packages_fetch "$package" "$kernel"; then
		echo "  skip: the package cannot be fetched"
		SKIPPED=$((SKIPPED + 1))
		return
	fi
	if ! interruptible root_initramfs "$kernel" "$folder" || ! boot_patiently "$kernel" "$folder" "$results"; then
		printf 'fail\t%s\t0\t%s\n' 'kernel' "${BOOT_WHY:-no initramfs can be made}" >>"$results"
		echo "  FAIL: ${BOOT_WHY:-no initramfs can be made}"
		tail -n 40 "$results.log"
	fi
	grep -B 60 $'^kernel-test end [^ ]* fail' "$results.log" | grep '^| \|kernel-test end [^ ]* fail'
	{ echo "# $package $(date -u +%Y-%m-%d)"; cat "$results"; } >"$kept"
	cp "$results.log" "$kept.log"
	PASSED=$((PASSED + $(report_count pass "$results")))
	FAILED=$((FAILED + $(report_count fail "$results")))
	SKIPPED=$((SKIPPED + $(report_count skip "$results")))
}

report_count() {
	grep -c "^$1" "$2"
}

report_end() {
	echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
	[ "$FAILED" -eq 0 ] && [ $((PASSED + SKIPPED)) -gt 0 ]
}

# The full run of each kernel that was run, or else the quick one.
report_kept() {
	local kept
	for kept in "$KERNELS_DIR"/results/*.quick; do
		[ -e "${kept%.quick}" ] || [ ! -e "$kept" ] || echo "$kept"
	done | cat - <(find "$KERNELS_DIR/results" -regextype posix-extended -regex '.*/[0-9]+\.[0-9]+') | sort -V
}

report_series() {
	local name=${1##*/}
	echo "${name%.quick}"
}

report_table() {
	local kept package day tests
	echo '| Linux | package | tests | passed | failed | skipped | on |'
	echo '|---|---|---|---|---|---|---|'
	report_kept | while read -r kept; do
		read -r _ package day <"$kept"
		tests=all
		[[ $kept != *.quick ]] || tests=quick
		printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$(report_series "$kept")" "$package" "$tests" \
			"$(report_count pass "$kept")" \
			"$(report_count fail "$kept")" "$(report_count skip "$kept")" "$day"
	done
	printf '\nNot passed:\n\n| Linux | test | |\n|---|---|---|\n'
	report_not_passed
}

# Tests that did the same for the same reason on several kernels, or several at once, are one row.
report_not_passed() {
	report_kept | while read -r kept; do
		awk -F '\t' -v OFS='\t' -v series="$(report_series "$kept")" \
			'/^(fail|skip)/ { print series, $1, $2, $4 }' "$kept"
	done | awk -F '\t' '
		{ key = $3 FS ($2 == "fail" ? "failed: " : "") $4 }
		!(key in on) { order[++n] = key }
		{ on[key] = on[key] (on[key] ? ", " : "") $1 }
		END {
			for (i = 1; i <= n; i++) {
				split(order[i], part, FS)
				row = on[order[i]] FS part[2]
				if (!(row in tests)) rows[++m] = row
				tests[row] = tests[row] (tests[row] ? ", " : "") part[1]
			}
			for (i = 1; i <= m; i++) {
				split(rows[i], part, FS)
				printf "| %s | %s | %s |\n", part[1], tests[rows[i]], part[2]
			}
		}'
}

# Between its markers the document is what was seen last.
report_to_docs() {
	report_table >"$folder/table"
	awk -v table="$folder/table" '
		/^<!-- seen: begin/ {
			print; print ""
			while ((getline line < table) > 0) print line
			print ""
			skip = 1
		}
		/^<!-- seen: end/ { skip = 0 }
		!skip { print }' docs/kernels.md >"$folder/kernels.md" && cp "$folder/kernels.md" docs/kernels.md
	echo "written: docs/kernels.md"
}
