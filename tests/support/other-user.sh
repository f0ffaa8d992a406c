# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# To run programs as another user, who may be unable to reach the project and the folder for temporary files: either may
# be below a folder that is the caller's only, or where nothing can be executed. To be sourced, by root.
#
#   as UID                   sets $AS to what runs a command as that user, with no privilege at all if it is not 0
#   reachable_folder NAME    makes a new folder, and prints it: any user reaches it and can execute what is in it
#   copy_for_others FOLDER FILE…   copies programs and libraries there so that any user may use them, whatever the umask

as() {
	AS=()
	[ "$1" = 0 ] ||
		AS=(setpriv --reuid "$1" --regid "$1" --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs)
}

reachable_folder() {
	local place folder
	as 65534
	for place in "${TMPDIR:-/tmp}" /tmp /var/tmp /dev/shm /run; do
		folder=$(mktemp -d "$place/$1.XXXXXX") || continue
		# Not by setpriv itself, which still has root's capabilities where it looks for its command.
		if chmod 755 "$folder" && copy_for_others "$folder" "$(type -P true)" &&
			"${AS[@]}" sh -c '"$1"' sh "$folder/true" 2>/dev/null; then
			rm "$folder/true"
			echo "$folder"
			return 0
		fi
		rm -rf "$folder"
	done
	echo "user 65534 can execute nothing in a folder below ${TMPDIR:-/tmp}, /tmp, /var/tmp, /dev/shm or /run" >&2
	return 1
}

copy_for_others() {
	local folder=$1
	shift
	install -m 755 -t "$folder" -- "$@"
}
