# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# For tests that try something in a minimal system of their own, made by archive.sh. To be sourced by root, in the
# project's root, after progress.sh and archive.sh.
#
#   system_open TOPIC FOLDER MIB   makes $work in FOLDER, in which that much memory is needed; it is removed at the end,
#                                  also after Ctrl-C. Skips all, as TOPIC, where this is no Debian of amd64
#   say, skip, step                progress; counts
#   system_find                    $suite is this machine's then, of which a system can be made and entered; else that
#                                  is skipped, and this ends
#   system_make COMMAND…           runs it with $suite, to make $work/root; ends if it fails
#   system_try SCRIPT              runs that script of the system in it; what it says by inside.sh is counted
#   finish                         the closing line, and the exit status

STEP_SECONDS=1200 # none of the steps takes so long, unless it hangs
work='' passed=0 failed=0 skipped=() suite=''

say() {
	printf '%02d:%02d  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"
}

skip() { # what reason
	skipped+=("$1: $2")
	say "$1: skipped: $2"
}

step() { # what command...
	local what=$1
	shift
	if interruptible "$@"; then
		passed=$((passed + 1))
		say "$what: passed"
	else
		failed=$((failed + 1))
		say "$what: FAILED"
		return 1
	fi
}

ended() { # exit status
	return "$1"
}

finish() {
	if [ ${#skipped[@]} -gt 0 ]; then
		printf '\nskipped:\n'
		printf '  %s\n' "${skipped[@]}"
	fi
	printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "${#skipped[@]}"
	[ "$failed" -eq 0 ]
	exit
}

system_open() {
	system_topic=$1 system_folder=$2 system_mib=$3
	if [ "$(id -u)" != 0 ]; then
		echo "tests/$system_topic: needs root, to make a system and to run it" >&2
		exit 1
	fi
	interrupt_open ended 'interrupted: ending what runs, removing the system'
	if [ "$(dpkg --print-architecture 2>/dev/null)" != amd64 ]; then
		skip "$system_topic" "this is no Debian system of the architecture amd64"
		finish
	fi
	say "$system_topic"
	interruptible tests/support/install-packages.sh debs build package || exit 1
	TMPDIR=$system_folder own_folder work "pagefuse-$system_topic" || exit 1
}

# Why no system can be made and entered here, if so.
system_obstacle() {
	local free
	if ! unshare --mount --pid --net --fork true 2>/dev/null; then
		echo "this machine allows no namespaces for mounts, processes and networks"
		return
	fi
	case ,$(findmnt -n -o OPTIONS -T "$system_folder"), in
	*,noexec,* | *,nodev,*)
		echo "$system_folder is mounted noexec or nodev; name another one by --folder"
		return
		;;
	esac
	free=$(df -m --output=avail "$system_folder" | tail -n 1)
	[ "$free" -ge "$system_mib" ] ||
		echo "needs $system_mib MiB in $system_folder, which has $((free)); name another one by --folder"
}

system_find() {
	local why
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	why=$(system_obstacle)
	case $suite in
	bookworm | trixie) ;;
	*) why="this machine's suite is '$suite', of which no system is made" ;;
	esac
	if [ -z "$why" ] && ! archive_find "$suite" "$work"; then
		why=$ARCHIVE_WHY
	fi
	[ -n "$why" ] || return 0
	skip "$suite" "$why"
	finish
}

system_make() {
	say "$suite: making a minimal system"
	progress_run "$work/log" "$@" "$suite" && return
	tail -n 20 "$work/log"
	failed=$((failed + 1))
	say "$suite: the system could not be made"
	finish
}

# Mounts, processes and networks are in namespaces of their own, so that nothing of them can stay. A sysfs of its own
# has no cgroups below it, in which something could be made. It is no chroot: in one, who makes a mount namespace, as
# libvirt does, would see files of the one before by other names than on a machine.
system_enter() {
	# shellcheck disable=SC2016 # for the inner shell
	timeout --foreground -s KILL "$STEP_SECONDS" unshare --mount --pid --net --fork --kill-child=KILL bash -c '
		mount --bind "$1" "$1" && mount -t proc proc "$1/proc" && mount -t tmpfs run "$1/run" &&
			mount -t sysfs sysfs "$1/sys" && mount --rbind /dev "$1/dev" &&
			cd "$1" && pivot_root . . && umount -l . && cd / &&
			exec env -i HOME=/root TERM=dumb LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin bash "$2"' \
		enter "$work/root" "$1" 2>&1 | tee "$work/inside.log"
}

system_try() {
	local status
	interruptible system_enter "$1"
	status=$?
	passed=$((passed + $(grep -c '^ok: ' "$work/inside.log")))
	failed=$((failed + $(grep -c '^FAILED: ' "$work/inside.log")))
	while read -r line; do
		skipped+=("$line")
	done < <(sed -n 's/^skipped: //p' "$work/inside.log")
	[ $status -eq 0 ] || grep -q '^FAILED: ' "$work/inside.log" || {
		failed=$((failed + 1))
		say "what is tried in the system ended with exit status $status"
	}
}
