# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What tests may change on the host for a while, and putting it back when they could not. To be sourced.
#
#   host_begin FOLDER   all temporary files from here on go to a folder of our own, all processes bear a mark; the state
#                       is noted in FOLDER. What is built and run there is in the current folder
#   host_unchanged      prints what is new since then, in that folder too, and fails if anything is
#   host_end            ends and removes what is left of that; does nothing if nothing is

# shellcheck source=tests/support/paths.sh
. "$(dirname "${BASH_SOURCE[0]}")/paths.sh"

HOST_TMPDIR=

host_state() {
	{
		grep -H . /sys/kernel/mm/ksm/{run,pages_to_scan,sleep_millisecs} \
			/proc/sys/vm/{max_map_count,unprivileged_userfaultfd,swappiness,overcommit_memory}
		sed 's/.*\[\(.*\)\].*/transparent_hugepage: \1/' /sys/kernel/mm/transparent_hugepage/enabled
		tail -n +2 /proc/swaps | cut -d ' ' -f 1
		find /sys/fs/cgroup -maxdepth 3 -type d -name '*pagefuse*'
		find /proc/[0-9]* -maxdepth 1 -name exe -lname "$PWD/build-check/*" -printf '%h %l\n'
	} 2>/dev/null | sort
	return 0 # not every kernel has all of them
}

host_begin() {
	local parent=${TMPDIR:-/tmp}
	HOST_NOTES=$1
	[ ${#parent} -le 30 ] || parent=/tmp # names of sockets have 107 bytes
	# Not "pagefuse", as pfn-census takes files of such paths for the store's.
	HOST_TMPDIR=$(mktemp -d "$parent/pf-check.XXXXXX") || return
	chmod 755 "$HOST_TMPDIR" # some tests are other users for a while
	export TMPDIR=$HOST_TMPDIR PAGEFUSE_CHECK=$HOST_TMPDIR
	host_state >"$HOST_NOTES/host-before"
}

# Only what is new counts: somebody else's daemon may have ended meanwhile.
host_news() {
	host_state >"$HOST_NOTES/host-after"
	comm -13 "$HOST_NOTES/host-before" "$HOST_NOTES/host-after"
}

host_unchanged() {
	! {
		host_news
		paths_below "$HOST_TMPDIR" mounts | tr '\0' '\n' | sed 's/^/mount /'
		find "$HOST_TMPDIR" -mindepth 1 -printf 'file %p\n'
	} | grep .
}

# Who bears our mark: whatever a test has started, in whatever session, unless it gave up its environment. Not those
# that look for it here.
host_marked() (
	unset PAGEFUSE_CHECK
	grep -lsF "PAGEFUSE_CHECK=$HOST_TMPDIR" /proc/[0-9]*/environ | grep -o '[0-9]\+'
)

# To the end of each of them: a daemon whose mounts are taken away would see to it, otherwise.
host_kill() {
	local tries
	local -a pids
	for ((tries = 0; tries < 600; tries++)); do
		mapfile -t pids < <(host_marked)
		[ ${#pids[@]} -gt 0 ] || return
		kill -KILL "${pids[@]}" 2>/dev/null
		sleep 0.1
	done
	echo "these processes do not end: ${pids[*]}" >&2
}

host_restore_knobs() {
	local line file
	comm -23 "$HOST_NOTES/host-before" <(host_state) | grep -E '^/(proc/sys|sys/kernel)/' | while read -r line; do
		file=${line%%:*}
		echo "${line#*:}" >"$file"
	done
}

host_end() {
	local path
	[ -n "$HOST_TMPDIR" ] || return 0
	host_kill
	paths_below "$HOST_TMPDIR" mounts | while IFS= read -r -d '' path; do
		umount -l "$path"
	done
	paths_below "$PWD/build-check" swaps | while IFS= read -r -d '' path; do
		swapoff "$path" && rm -f "$path"
	done
	host_restore_knobs
	host_news | grep '^/sys/fs/cgroup/' | sort -r | while read -r path; do
		rmdir "$path" 2>/dev/null
	done
	rm -rf --one-file-system "$HOST_TMPDIR"
	HOST_TMPDIR=
}
