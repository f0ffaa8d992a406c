# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Starts and steers the guests that build.sh makes. To be sourced by tests, ./demo and the benchmark; guests_open first,
# and guests_close in a trap. All lives in a folder of its own below the temporary directory and is gone afterwards.
#
#   guests_open                      builds the guests if need be, finds an accelerator, makes $GUESTS_RUN
#   guest_start NAME [LAUNCHER…]     starts a guest, by a launcher such as: pagefuse run --name NAME --
#   guest_expect NAME REGEX SECONDS  waits for a line on its serial line, which is left in $GUEST_LINE
#   guest_tell NAME COMMAND          sends a command of inside/guest.c
#   guests_do COMMAND SECONDS NAME…  sends it to all and waits for all to answer "ok"
#   guests_off NAME…                 powers off and waits for the processes' end
#   guests_close                     kills what is left and removes the folder
#
# A guest's QEMU talks through two FIFOs; all that it ever printed is in $GUESTS_RUN/NAME.log.

# shellcheck source=tests/guests/build.sh
. "$(dirname "${BASH_SOURCE[0]}")/build.sh"

GUEST_RAM_MIB=512
GUEST_BOOT_SECONDS=90
GUEST_DISK_OPTIONS=${GUEST_DISK_OPTIONS:-}   # further -drive options, such as ,cache=none,aio=native
GUEST_MORE=()                                # further options of the next guest; a launcher function may set them
declare -A GUEST_PID=() GUEST_IN=() GUEST_OUT=()

guests_say() {
	echo "guests: $*" >&2
}

# guest_options KERNEL-ARGUMENT: sets $GUEST_OPTIONS, what every guest has in common.
guest_options() {
	GUEST_OPTIONS=("${GUEST_ACCELERATOR[@]}" -m "$GUEST_RAM_MIB"
		-nodefaults -no-user-config -display none -no-reboot
		-kernel "$GUESTS_DIR/kernel" -initrd "$GUESTS_DIR/initramfs"
		-append "console=ttyS0 quiet panic=-1 $1")
}

# KVM if it boots the guests' kernel, else TCG.
guests_find_accelerator() {
	GUEST_ACCELERATOR=(-accel kvm -cpu host,vmx=off,svm=off)
	guest_options guest.probe
	if [ -w /dev/kvm ] && (timeout 20 qemu-system-x86_64 "${GUEST_OPTIONS[@]}" -serial stdio </dev/null 2>&1) \
		2>/dev/null | grep -q 'guest: probed'; then
		return
	fi
	GUEST_ACCELERATOR=(-accel "tcg,thread=multi")
}

guests_open() {
	guests_build || return 1
	guests_find_accelerator
	GUESTS_RUN=$(mktemp -d "${TMPDIR:-/tmp}/pagefuse-guests.XXXXXX")
}

guest_start() {
	local name=$1 base=$GUESTS_RUN/$1 in out
	shift
	mkfifo "$base.in" "$base.out"
	exec {in}<>"$base.in" {out}<>"$base.out"
	GUEST_IN[$name]=$in
	GUEST_OUT[$name]=$out
	guest_options "guest.name=$name"
	"$@" qemu-system-x86_64 -name "guest=$name" "${GUEST_OPTIONS[@]}" -pidfile "$base.pid" \
		-chardev "pipe,id=serial,path=$base,logfile=$base.log" -serial chardev:serial \
		-drive "file=$GUESTS_DIR/disk,format=raw,if=virtio,readonly=on$GUEST_DISK_OPTIONS" \
		"${GUEST_MORE[@]}" </dev/null >"$base.stdout" 2>"$base.stderr" {in}>&- {out}>&- &
	GUEST_PID[$name]=$!
}

guest_fails() {
	guests_say "$1: $2"
	cat "$GUESTS_RUN/$1.stderr" >&2
	tail -n 20 "$GUESTS_RUN/$1.log" >&2
	return 1
}

guest_expect() {
	local name=$1 regex=$2 deadline=$((SECONDS + $3)) line
	local bad='Kernel panic|guest: [a-z-]+ failed'
	# A line may arrive in pieces; GUEST_LINE holds what is there of it.
	GUEST_LINE=
	while [ "$SECONDS" -le "$deadline" ]; do
		if IFS= read -r -t 1 -u "${GUEST_OUT[$name]}" line; then
			GUEST_LINE=${GUEST_LINE}${line%$'\r'}
			if [[ $GUEST_LINE =~ $regex ]]; then
				return 0
			elif [[ $GUEST_LINE =~ $bad ]]; then
				guest_fails "$name" "$GUEST_LINE"
				return 1
			fi
			GUEST_LINE=
			continue
		fi
		GUEST_LINE=${GUEST_LINE}${line}
		if ! kill -0 "${GUEST_PID[$name]}" 2>/dev/null; then
			guest_fails "$name" "ended while waiting for '$regex'"
			return 1
		fi
	done
	guest_fails "$name" "no '$regex' within $3 s"
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
		guest_expect "$name" '^guest: ready' "$GUEST_BOOT_SECONDS" || return 1
	done
}

guest_forget() {
	local in=${GUEST_IN[$1]} out=${GUEST_OUT[$1]}
	exec {in}>&- {out}>&-
	rm -f "$GUESTS_RUN/$1".{in,out,pid}
	unset "GUEST_PID[$1]" "GUEST_IN[$1]" "GUEST_OUT[$1]"
}

# Waits for the end of a child, by pid. Fails if it does not come in time.
guests_wait_gone() {
	local deadline=$((SECONDS + $2))
	while kill -0 "$1" 2>/dev/null; do
		[ "$SECONDS" -le "$deadline" ] || return 1
		sleep 0.05
	done
	wait "$1"
}

guests_off() {
	local name
	guests_do poweroff 30 "$@" || return 1
	for name; do
		guests_wait_gone "${GUEST_PID[$name]}" 30 || { guest_fails "$name" "did not power off well"; return 1; }
		guest_forget "$name"
	done
}

guests_close() {
	local name
	for name in "${!GUEST_PID[@]}"; do
		kill -KILL "${GUEST_PID[$name]}" 2>/dev/null
		wait "${GUEST_PID[$name]}" 2>/dev/null
		guest_forget "$name"
	done
	[ -z "${GUESTS_RUN:-}" ] || rm -rf "$GUESTS_RUN"
}
