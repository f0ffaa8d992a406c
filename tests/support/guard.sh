#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The guard of interrupt.sh: reads on standard input what is to be undone, one thing per line, and undoes it, latest
# first, when that ends.
#
#   process PID | group PID | folder PATH | cgroup PATH | command TEXT | forget KIND WHAT
set -u
trap '' INT TERM HUP
# shellcheck source=tests/support/paths.sh
. "$(dirname "$0")/paths.sh"

END_TRIES=200 # of a tenth of a second: for a process that was told to end, before it is killed

# When a process began: a number that comes again may be another's.
born() {
	sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
}

end_process() { # pid born
	local tries
	for ((tries = 0; tries < END_TRIES; tries++)); do
		# One that has ended, but that nobody has waited for, is a zombie.
		[ -n "$2" ] && [ "$(born "$1")" = "$2" ] && ! grep -q '^State:.Z' "/proc/$1/status" || return
		[ $tries -gt 0 ] || kill -TERM "$1"
		sleep 0.1
	done
	kill -KILL "$1"
}

# Those that were killed may still write there while they end.
remove_folder() {
	local tries
	paths_below "$1" mounts | xargs -0 -r -n 1 umount -l
	for ((tries = 0; tries < END_TRIES; tries++)); do
		rm -rf --one-file-system "$1" && return
		sleep 0.1
	done
}

# It lets go of a thread a moment after that has ended.
remove_cgroup() {
	local tries
	for ((tries = 0; tries < END_TRIES; tries++)); do
		rmdir "$1" 2>/dev/null || [ ! -d "$1" ] || { sleep 0.1 && continue; }
		return
	done
}

declare -A births=()
things=()
while IFS= read -r thing; do
	case $thing in
	forget\ *)
		for i in "${!things[@]}"; do
			[ "${things[i]}" != "${thing#forget }" ] || unset "things[i]"
		done
		;;
	*)
		things+=("$thing")
		[ "${thing%% *}" != process ] || births[${thing#* }]=$(born "${thing#* }")
		;;
	esac
done

indices=("${!things[@]}")
for ((n = ${#indices[@]} - 1; n >= 0; n--)); do
	thing=${things[indices[n]]}
	what=${thing#* }
	case ${thing%% *} in
	process) end_process "$what" "${births[$what]}" ;;
	group) kill -KILL -- "-$what" ;;
	folder) remove_folder "$what" ;;
	cgroup) remove_cgroup "$what" ;;
	command) eval "$what" ;;
	esac
done
