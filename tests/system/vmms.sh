# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Starts and steers VMMs (vmm.c) as any user, by `pagefuse run`. To be sourced from the project's root, with $build set.
# Everything that other users need is in a folder of its own, as neither the build folder nor the usual place for
# temporary files need be theirs to read.
#
#   as UID                 as in tests/support/other-user.sh
#   vmm_start NAME UID     starts one, and waits until its daemon knows its memory; its pid is in ${VMM_PID[NAME]}
#   vmm_ask NAME COMMAND   its answer is printed
#   vmm_end NAME           ends it by itself; fails if it does not end well
#   doctor_says UID NAME SUBJECT   that it has such a finding of that VM, asked as that user; fails if not
#   census FIGURE NAME…    what pfn-census counts of them by that name
#   frames_shared NAME…    how many of their pages really share a page frame with another one of theirs
#   kernel_can_share       whether it can move pages by userfaultfd
#   set_userfaultfd 0|1    vm.unprivileged_userfaultfd, restored at the end
#   at_end                 a function that a test may define: called before the VMMs are ended
#   fail, at_least         as in tests/guests/frame.sh

[ "$(id -u)" = 0 ] || { echo "needs root, to become another user and to see page frames"; exit 77; }
[ -w /proc/sys/vm/unprivileged_userfaultfd ] || { echo "this kernel has no vm.unprivileged_userfaultfd"; exit 77; }

# shellcheck source=tests/guests/daemon.sh
. tests/guests/daemon.sh
# shellcheck source=tests/support/other-user.sh
. tests/support/other-user.sh

SAME_PAGES=4096 # of each VMM, as in vmm.c
VMM_LAUNCHER=() # a command that becomes the next VMM, in place of pagefuse run
declare -A VMM_PID=() VMM_IN=() VMM_OUT=()
RUN=
userfaultfd_before=$(cat /proc/sys/vm/unprivileged_userfaultfd)

at_end() {
	:
}

ended() {
	local status=$1 name
	at_end
	for name in "${!VMM_PID[@]}"; do
		kill -KILL "${VMM_PID[$name]}" 2>/dev/null
		wait "${VMM_PID[$name]}" 2>/dev/null
	done
	daemon_close || status=1
	echo "$userfaultfd_before" >/proc/sys/vm/unprivileged_userfaultfd
	[ -z "$RUN" ] || rm -rf --one-file-system "$RUN"
	return "$status"
}
interrupt_open ended
guard command "echo $userfaultfd_before >/proc/sys/vm/unprivileged_userfaultfd"
# A name that pfn-census does not take for the store's.
RUN=$(trap '' INT TERM HUP; reachable_folder vmms) ||
	{ echo "other users reach no folder for temporary files"; exit 77; }
guard folder "$RUN"
export TMPDIR=$RUN # the daemon's folder, too

fail() {
	echo "FAILED: $*" >&2
	cat "$RUN"/*.err >&2
	"${AS[@]}" "$RUN/bin/pagefuse" status --json 2>/dev/null | jq -c '.vms[]' >&2 # of whoever was last
	exit 1
}

at_least() {
	echo "$3: $1 (at least $2)"
	[ "$1" -ge "$2" ] || fail "$3 is $1, should be at least $2"
}

set_userfaultfd() {
	echo "$1" >/proc/sys/vm/unprivileged_userfaultfd || fail "vm.unprivileged_userfaultfd=$1"
}

kernel_can_share() {
	local findings
	findings=$(PAGEFUSE_SOCKET=/nonexistent "$RUN/bin/pagefuse" doctor --json)
	[ "$(jq '.findings | any(.subject == "userfaultfd" and .severity == "error")' <<<"$findings")" = false ]
}

install -d -m 755 "$RUN/bin"
copy_for_others "$RUN/bin" "$build"/{cli/pagefuse,daemon/pagefused,tests/system/vmm,preload/libpagefuse-preload.so} ||
	exit 1
mv "$RUN/bin/libpagefuse-preload.so" "$RUN/bin/preload.so"
export PAGEFUSED=$RUN/bin/pagefused PAGEFUSE_PRELOAD=$RUN/bin/preload.so

vmm_start() {
	local name=$1 uid=$2 in out
	local -a launcher=("${VMM_LAUNCHER[@]}")
	mkfifo "$RUN/$name.in" "$RUN/$name.out"
	exec {in}<>"$RUN/$name.in" {out}<>"$RUN/$name.out"
	as "$uid"
	[ ${#VMM_LAUNCHER[@]} -gt 0 ] || launcher=("$RUN/bin/pagefuse" run --name "$name" --)
	"${AS[@]}" "${launcher[@]}" "$RUN/bin/vmm" "$name" \
		<"$RUN/$name.in" >&"$out" 2>"$RUN/$name.err" {in}>&- {out}>&- &
	guard process $!
	VMM_PID[$name]=$! VMM_IN[$name]=$in VMM_OUT[$name]=$out
	[ "$(vmm_answer "$name")" = ready ] || fail "VMM $name of user $uid does not start"
	[ "$(stat -c %u "/proc/${VMM_PID[$name]}")" = "$uid" ] || fail "VMM $name does not run as user $uid"
	wait_until "$DAEMON_SECONDS" vmm_is_known "$name" "$uid" ||
		fail "VMM $name of user $uid does not come to its daemon"
}

vmm_is_known() {
	local known
	as "$2"
	known=$("${AS[@]}" "$RUN/bin/pagefuse" status --json 2>/dev/null |
		jq --arg name "$1" '.vms | any(.name == $name and .ram_bytes > 0)')
	[ "$known" = true ]
}

vmm_answer() {
	local line end=$((SECONDS + DAEMON_SECONDS))
	until IFS= read -r -t 1 -u "${VMM_OUT[$1]}" line; do
		kill -0 "${VMM_PID[$1]}" 2>/dev/null && [ $SECONDS -lt $end ] || return
	done
	echo "$line"
}

vmm_ask() {
	echo "$2" >&"${VMM_IN[$1]}"
	vmm_answer "$1"
}

vmm_end() {
	local in=${VMM_IN[$1]} out=${VMM_OUT[$1]} pid=${VMM_PID[$1]}
	echo end >&"$in"
	exec {in}>&- {out}>&-
	unset "VMM_PID[$1]" "VMM_IN[$1]" "VMM_OUT[$1]"
	rm -f "$RUN/$1.in" "$RUN/$1.out"
	wait "$pid" || fail "VMM $1 ended with status $?"
}

vmms_check() {
	local name
	for name; do
		[ "$(vmm_ask "$name" check)" = right ] || fail "the memory of VMM $name is wrong"
	done
}

# Its exit status is 1 if what it finds is an error.
doctor_says() {
	local findings
	as "$1"
	findings=$("${AS[@]}" "$RUN/bin/pagefuse" doctor --json "$2")
	[ "$(jq --arg subject "$3" '.findings | any(.subject == $subject)' <<<"$findings")" = true ] ||
		fail "doctor does not say $3 of $2: $findings"
}

census() {
	local line name figure=$1
	local -a pids=()
	shift
	for name; do
		pids+=("${VMM_PID[$name]}")
	done
	line=$("$build/tests/guests/pfn-census" "${pids[@]}") || fail "pfn-census"
	grep -o "\b$figure=[0-9]*" <<<"$line" | cut -d = -f 2
}

frames_shared() {
	census shared_pages "$@"
}
