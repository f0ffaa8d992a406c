#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Scripts that take long are told to end by each signal in their slow steps, over stand-ins for the programs that take
# the time: they end at once, with the signal's exit status, and leave no process and no file.
#
# usage: test-interrupted.sh ROOT [control | deaf]
#
# control: a script that waits for what it runs. deaf: one that gets the SIGINT itself.
set -u

[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || { echo "needs Debian of amd64"; exit 77; }
# Its own mounts and processes: whatever a fault leaves is gone with it.
if [ -z "${INTERRUPTED_INSIDE-}" ]; then
	unshare --mount --pid --fork true 2>/dev/null || { echo "needs namespaces for mounts and processes"; exit 77; }
	INTERRUPTED_INSIDE=yes exec unshare --mount --pid --fork --mount-proc --kill-child "$0" "$@"
fi

COMES_TENTHS=6000 # a script comes to where it waits, or ends, within that
ENDS_TENTHS=3000  # and ends then; none of the stand-ins would let it end so soon
tree=$(mktemp -d) || exit 1
trap 'rm -rf --one-file-system "$tree"' EXIT
mkdir "$tree/bin" "$tree/tmp"
(cd "$1" && tar -c --exclude='./build*' --exclude=./.cache --exclude=./.git .) | tar -x -C "$tree" || exit 1
printf '#!/bin/sh\nexit 0\n' >"$tree/tests/support/install-packages.sh"
faults=0

# stand_in NAME [WORD]: NAME, if it is called with that word, says that it has come so far, and never ends by itself.
# What is fetched by apt is there at once.
stand_in() {
	local called='*'
	[ $# -eq 1 ] || called="*' $2 '*"
	rm -f "$tree"/bin/*
	cat >"$tree/bin/apt-get" <<-'TEXT'
		#!/bin/sh
		[ "$1" != indextargets ] || printf 'http://archive.invalid/debian/ %s\n' 'bookworm main' main
	TEXT
	cat >"$tree/bin/apt-cache" <<-'TEXT'
		#!/bin/sh
		[ "$1" != pkgnames ] || echo linux-image-6.12.43-cloud-amd64
	TEXT
	[ ! -e "$tree/bin/$1" ] || mv "$tree/bin/$1" "$tree/bin/other"
	cat >"$tree/bin/$1" <<-TEXT
		#!/bin/sh
		case " \$* " in
		$called)
			touch "$tree/at"
			exec sleep 1000
			;;
		esac
		exec "$tree/bin/other" "\$@"
	TEXT
	chmod +x "$tree"/bin/*
}

# A minimal system has no git, and the clone here is none that git knows.
stand_in_git() {
	printf '#!/bin/sh\nexit 0\n' >"$tree/bin/git" && chmod +x "$tree/bin/git"
}

# told_to_end SIGNAL STATUS COMMAND…, 0 if it tells itself
told_to_end() {
	local signal=$1 wanted=$2 script status tenths began fault=''
	shift 2
	# A job of a script ignores SIGINT, and one under nohup SIGHUP, unless told otherwise.
	(cd "$tree" && PATH=$tree/bin:$PATH TMPDIR=$tree/tmp PAGEFUSE_KERNELS=$tree/kernels \
		exec setsid env --default-signal=INT,TERM,HUP "$@") >"$tree/said" 2>&1 &
	script=$!
	for ((tenths = 0; tenths < COMES_TENTHS; tenths++)); do
		[ ! -e "$tree/at" ] || break
		kill -0 "$script" 2>/dev/null || break
		sleep 0.1
	done
	began=$SECONDS
	kill "-$signal" "$script" 2>/dev/null
	for ((tenths = 0; tenths < ENDS_TENTHS; tenths++)); do
		kill -0 "$script" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL "$script" 2>/dev/null
	wait "$script"
	status=$?
	[ -e "$tree/at" ] || fault+=' it did not come so far;'
	[ "$status" = "$wanted" ] || fault+=" exit status $status;"
	[ "$tenths" -lt $ENDS_TENTHS ] || fault+=" damage: it did not end;"
	! pgrep -x sleep >/dev/null || fault+=" what it waited for goes on;"
	[ -z "$(ls -A "$tree/tmp")" ] || fault+=" left $(ls -A "$tree/tmp");"
	if [ -z "$fault" ]; then
		echo "ok: $*: SIG$signal, ended after $((SECONDS - began)) s"
	else
		printf 'FAILED: %s: SIG%s:%s it said:\n' "$*" "$signal" "${fault/ damage:/$'\n'damage:}"
		tail -n 5 "$tree/said"
		faults=$((faults + 1))
	fi
	pkill -KILL -x sleep
	rm -rf "${tree:?}/tmp" "$tree/at" && mkdir "$tree/tmp"
}

tried() {
	told_to_end INT 130 "$@"
	told_to_end TERM 143 "$@"
	told_to_end HUP 129 "$@"
}

# ctrl_c_is_heard TIMES: Ctrl-C, which reaches everything that runs on the terminal, at moments in which a script reads
# what commands print.
ctrl_c_is_heard() {
	local script status heard=0
	cat >"$tree/reads" <<-'TEXT'
		#!/bin/bash
		. "${0%/*}/tests/support/supervised.sh"
		. "${0%/*}/tests/support/interrupt.sh"
		interrupt_open exit
		touch "${0%/*}/at"
		for ((i = 0; i < 1000; i++)); do
			last=$(awk 'END { print NR }' /proc/meminfo)
			interrupt_check
		done
	TEXT
	chmod +x "$tree/reads"
	while [ $heard -lt "$1" ]; do
		(cd "$tree" && PATH=$tree/bin:$PATH exec setsid env --default-signal=INT ./reads) >/dev/null 2>&1 &
		script=$!
		while [ ! -e "$tree/at" ] && kill -0 "$script" 2>/dev/null; do
			sleep 0.05
		done
		sleep "0.0$((RANDOM % 10))"
		kill -INT -- "-$script"
		wait "$script"
		status=$?
		rm -f "$tree/at"
		if [ $status != 130 ]; then
			printf 'FAILED:\ndamage: the Ctrl-C after %d others: exit status %d\n' $heard $status
			faults=$((faults + 1))
			return
		fi
		heard=$((heard + 1))
	done
	echo "ok: Ctrl-C is heard while commands are read, $heard times"
}

# Who kills a script has what that waits for ended, too, by its guard.
kill_leaves_nothing() {
	local script tenths
	(cd "$tree" && exec setsid ./waits) >/dev/null 2>&1 &
	script=$!
	until [ -e "$tree/at" ]; do
		sleep 0.1
	done
	kill -KILL -- "-$script"
	wait "$script" 2>/dev/null
	for ((tenths = 0; tenths < ENDS_TENTHS; tenths++)); do
		pgrep -f 'sleep 999' >/dev/null || break
		sleep 0.1
	done
	rm -f "$tree/at"
	if [ $tenths -eq $ENDS_TENTHS ]; then
		echo "FAILED: SIGKILL: what it waited for goes on"
		faults=$((faults + 1))
		return
	fi
	echo "ok: a script that is killed leaves nothing"
}

# What it starts in its own process group stops along.
ctrl_z_stops() {
	local supervisor script state
	cat >"$tree/counts" <<-'TEXT'
		#!/bin/bash
		. "${0%/*}/tests/support/supervised.sh"
		echo $$ >"${0%/*}/at"
		while :; do
			sleep 0.1
			echo >>"${0%/*}/at"
		done
	TEXT
	chmod +x "$tree/counts"
	set -m # in a session of its own nobody could have it go on
	(cd "$tree" && exec ./counts) >/dev/null 2>&1 &
	supervisor=$!
	set +m
	until [ -s "$tree/at" ]; do
		sleep 0.1
	done
	script=$(head -n 1 "$tree/at")
	kill -TSTP "$supervisor"
	for state in "$supervisor" "$script"; do
		until grep -q '^State:.T' "/proc/$state/status"; do
			sleep 0.1
		done
	done
	: >"$tree/at"
	kill -CONT "$supervisor"
	until [ -s "$tree/at" ]; do
		sleep 0.1
	done
	kill -TERM "$supervisor"
	wait "$supervisor"
	state=$?
	rm -f "$tree/at"
	if [ $state != 143 ] || [ -e "/proc/$script" ]; then
		echo "FAILED: what was stopped and went on ended with $state"
		faults=$((faults + 1))
		return
	fi
	echo "ok: Ctrl-Z stops a script, and it goes on"
}

if [ "${2-}" = deaf ]; then
	echo INTERRUPT_SUPERVISED=yes >"$tree/tests/support/supervised.sh"
	ctrl_c_is_heard 2000 # of which some in a hundred are not
	exit $faults
fi
if [ "${2-}" = control ]; then
	cat >>"$tree/tests/support/interrupt.sh" <<-'TEXT'
		interruptible() {
			set -m
			("$@")
			set +m
		}
	TEXT
	ENDS_TENTHS=200
	stand_in meson
	told_to_end TERM 143 tests/kernels --build new
	exit $faults
fi

# A signal that comes when a job has begun and nobody waits for it yet, and no other one.
cat >"$tree/early" <<-'TEXT'
	#!/bin/bash
	. "${0%/*}/tests/support/supervised.sh"
	. "${0%/*}/tests/support/interrupt.sh"
	guard() {
		[ "$1" != group ] || { kill "-$signal" $$ && touch "${0%/*}/at"; }
	}
	signal=$1
	interrupt_open exit
	interruptible sleep 1000
TEXT
chmod +x "$tree/early"
told_to_end 0 130 ./early USR1
told_to_end 0 143 ./early TERM
told_to_end 0 129 ./early HUP

ctrl_c_is_heard 60
ctrl_z_stops

# What a script waits for in its own process group is told, too.
cat >"$tree/waits" <<-'TEXT'
	#!/bin/bash
	. "${0%/*}/tests/support/supervised.sh"
	. "${0%/*}/tests/support/interrupt.sh"
	interrupt_open exit
	touch "${0%/*}/at"
	sleep 999
	interrupt_check
TEXT
chmod +x "$tree/waits"
tried ./waits
kill_leaves_nothing
stand_in apt-get update
tried tests/kernels --list
stand_in_git
tried tests/fresh bookworm
stand_in meson
tried tests/kernels --build new
stand_in dpkg-buildpackage
tried packaging/build-debs "$tree/debs"
tried tests/packages
tried tests/libvirt
stand_in mmdebstrap
stand_in_git
tried tests/fresh bookworm
stand_in meson
tried .ci/run
[ $faults = 0 ]
