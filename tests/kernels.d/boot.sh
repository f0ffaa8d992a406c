# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Boots a kernel with the tests' disk under QEMU, without KVM, and follows what it says. To be sourced.
#
#   boot_kernel KERNEL FOLDER RESULTS    RESULTS gets a line for each test, of OUTCOME, NAME, SECONDS, REASON, with tabs
#                                        between. Fails, with $BOOT_WHY set, if it did not come to the end of its tests
#   boot_end                             for a trap: nothing of it is left

BOOT_RAM_MIB=3072
# How long nothing may be said: by CPU time of the guest while it has some, as a loaded machine gives it little.
BOOT_SILENT_CPU_SECONDS=900
BOOT_SILENT_SECONDS=3600
BOOT_PID=''

boot_end() {
	[ -z "$BOOT_PID" ] || kill -KILL "$BOOT_PID" 2>/dev/null
	[ -z "$BOOT_PID" ] || wait "$BOOT_PID" 2>/dev/null
	[ -z "$BOOT_PID" ] || guard forget process "$BOOT_PID"
	BOOT_PID=''
}

# Of QEMU and all its threads; nothing once it has ended.
boot_cpu_seconds() {
	local stat
	{ read -r stat </proc/"$BOOT_PID"/stat; } 2>/dev/null || return 1
	# shellcheck disable=SC2086 # words are what is wanted
	set -- ${stat##*) }
	[ "$1" != Z ] && echo $(((${12} + ${13}) / BOOT_TICKS))
}

boot_start() {
	local kernel=$1 folder=$2
	BOOT_TICKS=$(getconf CLK_TCK)
	rm -f "$folder/serial"
	mkfifo "$folder/serial" || return 1
	exec {BOOT_SERIAL}<>"$folder/serial"
	nice -n 5 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m "$BOOT_RAM_MIB" \
		-nodefaults -no-user-config -display none -no-reboot -serial stdio \
		-kernel "$kernel/vmlinuz" -initrd "$folder/initramfs" \
		-append 'console=ttyS0 quiet panic=-1 oops=panic' \
		-drive "file=$folder/disk,format=raw,if=virtio,snapshot=on" \
		</dev/null >"$folder/serial" 2>"$folder/stderr" {BOOT_SERIAL}>&- &
	BOOT_PID=$!
	guard process "$BOOT_PID"
}

# boot_line LINE RESULTS: takes note of what the guest has said.
boot_line() {
	local line=$1 word name outcome seconds reason
	echo "$line" >>"$2.log"
	[[ $line == *kernel-test\ * ]] || return 0
	read -r word name outcome seconds reason <<<"${line#*kernel-test }"
	case $word in
	begin) BOOT_AT=$name ;;
	end)
		BOOT_AT='between tests'
		printf '%s\t%s\t%s\t%s\n' "$outcome" "$name" "$seconds" "$reason" >>"$2"
		printf '  %-4s %5s s  %s%s\n' "$outcome" "$seconds" "$name" "${reason:+: $reason}"
		;;
	'done') BOOT_DONE=yes ;;
	esac
}

boot_follow() {
	local results=$1 line='' piece cpu silent=$SECONDS cpu_silent=0
	while [ "$BOOT_DONE" = no ]; do
		interrupt_check
		if IFS= read -r -t 2 -u "$BOOT_SERIAL" piece; then
			line+=${piece%$'\r'}
			boot_line "$line" "$results"
			# The kernel's own messages, which begin with the time, are no progress.
			[[ $line =~ ^\[\ *[0-9]+\.[0-9]+\] ]] || silent=$SECONDS cpu_silent=${cpu:-0}
			line=''
			cpu=$(boot_cpu_seconds) || continue # until all that it has said is read
		else
			line+=$piece
			cpu=$(boot_cpu_seconds) || { BOOT_WHY="ended at: $BOOT_AT"; return 1; }
		fi
		if [ $((cpu - cpu_silent)) -gt "$BOOT_SILENT_CPU_SECONDS" ] ||
			[ $((SECONDS - silent)) -gt "$BOOT_SILENT_SECONDS" ]; then
			BOOT_WHY="says nothing any more at: $BOOT_AT"
			return 1
		fi
	done
}

boot_kernel() {
	local kernel=$1 folder=$2 results=$3 status=0
	BOOT_AT='its start' BOOT_DONE=no BOOT_WHY=''
	: >"$results"
	: >"$results.log"
	boot_start "$kernel" "$folder" || { BOOT_WHY="QEMU cannot be started"; return 1; }
	boot_follow "$results" || status=1
	boot_end
	exec {BOOT_SERIAL}>&-
	[ "$status" -eq 0 ] || cat "$folder/stderr" >>"$results.log"
	return "$status"
}
