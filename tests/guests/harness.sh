# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Starts and steers the guests that build.sh makes. To be sourced by tests, ./demo and the benchmark; guests_open first,
# and guests_close in a trap. All lives in a folder of its own below the temporary directory and is gone afterwards.
#
#   guests_open                      builds the guests if need be, finds an accelerator, makes $GUESTS_RUN
#   guests_add_agent PROGRAM         guests have this agent from now on, which looks every second for what is cached
#   guest_start NAME [LAUNCHER…]     starts a guest, by a launcher such as: pagefuse run --name NAME --
#   guest_expect NAME REGEX SECONDS  waits for a line on its serial line, which is left in $GUEST_LINE. It is given up
#                                    when it has used so much CPU time, or none for a minute, without printing anything
#   guest_tell NAME COMMAND          sends a command of inside/guest.c
#   guests_do COMMAND SECONDS NAME…  sends it to all and waits for all to answer "ok", as guest_expect does
#   guests_off NAME…                 powers off and waits for the processes' end
#   guests_close                     kills what is left and removes the folder
#   guest_waits NAME LINE            may be defined: called about every second of a wait, with what was printed last
#
# How slow a guest is depends on what else the host does, so its time is counted in its own CPU time.
#
# A guest's QEMU talks through two FIFOs; all that it ever printed is in $GUESTS_RUN/NAME.log.

# shellcheck source=tests/guests/build.sh
. "$(dirname "${BASH_SOURCE[0]}")/build.sh"
# shellcheck source=tests/support/interrupt.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/interrupt.sh"

GUEST_RAM_MIB=512
GUEST_BOOT_SECONDS=90     # of CPU time without a word; it boots in five
GUEST_PROBE_SECONDS=3     # the same for a kernel on KVM, which boots in one
GUEST_STILL_SECONDS=60    # without any CPU time
GUEST_PROBE_STILL_SECONDS=15
GUEST_SLOWEST=20          # times as long as it would take with a CPU of its own
GUEST_END_SECONDS=300     # for QEMU's own end
GUEST_DISK_OPTIONS=${GUEST_DISK_OPTIONS:-}   # further -drive options, such as ,cache=none,aio=native
GUEST_MORE=()                                # further options of the next guest; a launcher function may set them
GUEST_WORDS=                                 # further words on the kernel's command line
GUEST_INITRAMFS=                             # another one than the guests' own
declare -A GUEST_PID=() GUEST_IN=() GUEST_OUT=()

# What guests are booted from; real/build.sh has others.
guests_use_kind() {
	GUEST_FILES=$GUESTS_DIR GUEST_DISK_ACCESS=readonly=on GUEST_FILES_WORDS=
	GUEST_FILES_BOOT_SECONDS=$GUEST_BOOT_SECONDS
}
guests_use_kind

guests_say() {
	echo "guests: $*" >&2
}

guest_waits() {
	:
}

# A kernel that tests its timer panics, and one that watches for stalls complains amid our lines, where QEMU does not
# get its share of the CPUs at once.
GUEST_KERNEL_WORDS='console=ttyS0 panic=-1 no_timer_check nowatchdog rcupdate.rcu_cpu_stall_suppress=1'

# guest_options NAME: sets $GUEST_OPTIONS, what every guest has in common.
guest_options() {
	GUEST_OPTIONS=("${GUEST_ACCELERATOR[@]}" -m "$GUEST_RAM_MIB"
		-nodefaults -no-user-config -display none -no-reboot
		-kernel "$GUEST_FILES/kernel" -initrd "${GUEST_INITRAMFS:-$GUEST_FILES/initramfs}"
		-append "$GUEST_KERNEL_WORDS guest.name=$1 systemd.hostname=$1 $GUEST_FILES_WORDS $GUEST_WORDS")
}

# Whether the guests' kernel comes as far as to its first process. The answer is kept until the host boots anew, or
# another QEMU or kernel is there.
guests_boot_here() {
	local GUEST_WORDS=guest.probe GUEST_STILL_SECONDS=$GUEST_PROBE_STILL_SECONDS works=no about
	about=$(cat /proc/sys/kernel/random/boot_id; qemu-system-x86_64 --version
		stat -c '%i %s %Y' "$GUESTS_DIR/kernel")
	if [ "$(sed '$d' "$GUESTS_DIR/kvm" 2>/dev/null)" = "$about" ]; then
		works=$(tail -n 1 "$GUESTS_DIR/kvm")
	else
		guest_start probe
		guest_expect probe 'guest: probed' "$GUEST_PROBE_SECONDS" 2>/dev/null && works=yes
		guest_kill probe
		interrupt_check
		printf '%s\n' "$about" $works >"$GUESTS_DIR/kvm"
	fi
	[ "$works" = yes ]
}

# KVM if it boots the guests' kernel, else TCG.
guests_find_accelerator() {
	GUEST_ACCELERATOR=(-accel kvm -cpu "host,vmx=off,svm=off")
	GUEST_ACCELERATOR_WHY=KVM
	if [ ! -e /dev/kvm ]; then
		GUEST_ACCELERATOR_WHY='TCG, slower, as there is no /dev/kvm'
	elif [ ! -w /dev/kvm ]; then
		GUEST_ACCELERATOR_WHY='TCG, slower, as /dev/kvm may not be opened'
	elif ! guests_boot_here; then
		# shellcheck disable=SC2034 # for ./demo
		GUEST_ACCELERATOR_WHY="TCG, slower, as KVM does not boot the guests' kernel here"
	else
		return
	fi
	GUEST_ACCELERATOR=(-accel "tcg,thread=multi")
}

guests_open() {
	interruptible guests_build || return 1
	own_folder GUESTS_RUN pagefuse-guests || return 1
	guests_find_accelerator
}

guests_add_agent() {
	local root=$GUESTS_RUN/agent
	mkdir "$root" && cp "$1" "$root/pagefuse-agent" || return 1
	printf '%s\n' 'root = /disk' 'interval_seconds = 1' 'cpu_permille = 1000' >"$root/agent.conf"
	# The kernel unpacks one archive after the other.
	GUEST_INITRAMFS=$GUESTS_RUN/initramfs
	cp "$GUESTS_DIR/initramfs" "$GUEST_INITRAMFS" || return 1
	(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >>"$GUEST_INITRAMFS"
}

guest_start() {
	local name=$1 base=$GUESTS_RUN/$1 in out
	shift
	mkfifo "$base.in" "$base.out"
	exec {in}<>"$base.in" {out}<>"$base.out"
	GUEST_IN[$name]=$in
	GUEST_OUT[$name]=$out
	guest_options "$name"
	# In a session of its own Ctrl-C does not reach it.
	setsid "$@" qemu-system-x86_64 -name "guest=$name" "${GUEST_OPTIONS[@]}" -pidfile "$base.pid" \
		-chardev "pipe,id=serial,path=${base//,/,,},logfile=${base//,/,,}.log" -serial chardev:serial \
		-drive "file=${GUEST_FILES//,/,,}/disk,format=raw,if=virtio,$GUEST_DISK_ACCESS$GUEST_DISK_OPTIONS" \
		"${GUEST_MORE[@]}" </dev/null >"$base.stdout" 2>"$base.stderr" {in}>&- {out}>&- &
	GUEST_PID[$name]=$!
	guard process "${GUEST_PID[$name]}"
}

guest_fails() {
	guests_say "$1: $2"
	cat "$GUESTS_RUN/$1.stderr" >&2
	tail -n 20 "$GUESTS_RUN/$1.log" >&2
	return 1
}

# Sets $TICKS to the CPU time of its QEMU.
guest_ticks() {
	local stat
	TICKS=0
	read -r stat 2>/dev/null <"/proc/${GUEST_PID[$1]}/stat" || return
	# shellcheck disable=SC2086 # words
	set -- ${stat##*) }
	TICKS=$((${12} + ${13}))
}

# guest_lives NAME SECONDS: whether it is waited for still. Since $from, when its CPU time was $ticks, it has printed
# nothing; since $moved its CPU time is $spent.
guest_lives() {
	local hertz=100 # of /proc, on every Linux
	guest_ticks "$1"
	if [ "$TICKS" != "$spent" ]; then
		spent=$TICKS
		moved=$SECONDS
	fi
	[ $(((TICKS - ticks) / hertz)) -le "$2" ] &&
		[ $((SECONDS - moved)) -le "$GUEST_STILL_SECONDS" ] &&
		[ $((SECONDS - from)) -le $(($2 * GUEST_SLOWEST + GUEST_STILL_SECONDS)) ]
}

# guest_read NAME: a line, or a part of one, is added to $GUEST_LINE. 1: a part, or nothing, within a second.
guest_read() {
	local piece status=0
	IFS= read -r -t 1 -u "${GUEST_OUT[$1]}" piece || status=1
	interrupt_check
	GUEST_LINE=$GUEST_LINE${piece%$'\r'}
	[ -z "$piece" ] || { guest_ticks "$1" && from=$SECONDS moved=$SECONDS ticks=$TICKS; }
	return $status
}

guest_expect() {
	local name=$1 regex=$2 from=$SECONDS moved=$SECONDS ticks spent=0 last=''
	local bad='Kernel panic|guest: [a-z-]+ failed'
	guest_ticks "$name"
	ticks=$TICKS
	GUEST_LINE=
	while guest_lives "$name" "$3"; do
		if guest_read "$name"; then
			if [[ $GUEST_LINE =~ $regex ]]; then
				return 0
			elif [[ $GUEST_LINE =~ $bad ]]; then
				guest_fails "$name" "$GUEST_LINE"
				return 1
			fi
			last=$GUEST_LINE GUEST_LINE=
		elif ! kill -0 "${GUEST_PID[$name]}" 2>/dev/null; then
			guest_fails "$name" "ended while waiting for '$regex'"
			return 1
		fi
		guest_waits "$name" "$last"
	done
	guest_fails "$name" \
		"no '$regex'; silent for $((SECONDS - from)) s, in which it used $((spent - ticks)) ticks of CPU time"
}

guest_tell() {
	echo "$2" >&"${GUEST_IN[$1]}"
}

guests_do() {
	local command=$1 seconds=$2 name
	shift 2
	for name; do
		guest_tell "$name" "$command"
	done
	for name; do
		guest_expect "$name" "^guest: $command ok" "$seconds" || return 1
	done
}

# guests_boot LAUNCHER-FUNCTION NAME…: starts all, each by "LAUNCHER-FUNCTION NAME" that fills the arrays GUEST_LAUNCHER
# and GUEST_MORE, and waits until all are ready.
guests_boot() {
	local launcher=$1 name
	shift
	for name; do
		GUEST_LAUNCHER=() GUEST_MORE=()
		"$launcher" "$name"
		guest_start "$name" "${GUEST_LAUNCHER[@]}"
	done
	for name; do
		guest_expect "$name" '^guest: ready' "$GUEST_FILES_BOOT_SECONDS" || return 1
	done
}

guest_forget() {
	local in=${GUEST_IN[$1]} out=${GUEST_OUT[$1]}
	exec {in}>&- {out}>&-
	rm -f "$GUESTS_RUN/$1".{in,out,pid}
	guard forget process "${GUEST_PID[$1]}"
	unset "GUEST_PID[$1]" "GUEST_IN[$1]" "GUEST_OUT[$1]"
}

# Waits for the end of a child, by pid. Fails if it does not come.
guests_wait_gone() {
	local deadline=$((SECONDS + GUEST_END_SECONDS))
	while kill -0 "$1" 2>/dev/null; do
		[ "$SECONDS" -le "$deadline" ] || return 1
		interrupt_check
		sleep 0.05
	done
	wait "$1"
}

guests_off() {
	local name
	guests_do poweroff 30 "$@" || return 1
	for name; do
		guests_wait_gone "${GUEST_PID[$name]}" || { guest_fails "$name" "did not power off well"; return 1; }
		guest_forget "$name"
	done
}

guest_kill() {
	kill -KILL "${GUEST_PID[$1]}" 2>/dev/null
	wait "${GUEST_PID[$1]}" 2>/dev/null
	guest_forget "$1"
}

guests_close() {
	local name
	for name in "${!GUEST_PID[@]}"; do
		guest_kill "$name"
	done
	[ -z "${GUESTS_RUN:-}" ] || rm -rf "$GUESTS_RUN"
}
