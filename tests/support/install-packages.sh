#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Installs what is missing of the given sets of Debian packages; the sets are in the file "packages" beside this.
# Does nothing, and needs no rights, if all is there. With --missing it only prints what is missing.
set -u -o pipefail

support=$(cd "$(dirname "$0")" && pwd) || exit 1
list=$support/packages
# shellcheck source=tests/support/progress.sh
. "$support/progress.sh"

only_print=no
if [ "${1-}" = --missing ]; then
	only_print=yes
	shift
fi
if [ $# -eq 0 ] || [ "$1" = --help ]; then
	sets=$(sed -n 's/^\([a-z]\{1,\}\) .*/\1/p' "$list" | sort -u | tr '\n' ' ')
	echo "usage: $0 [--missing] SET...   sets: $sets"
	[ $# -gt 0 ] && exit
	exit 2
fi

missing=()
for set in "$@"; do
	packages=$(awk -v set="$set" '$1 == set { print $2 }' "$list")
	if [ -z "$packages" ]; then
		echo "$0: no set of packages is called '$set'" >&2
		exit 2
	fi
	for package in $packages; do
		case " ${missing[*]} $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" in
		*" $package "* | *' installed') ;;
		*) missing+=("$package") ;;
		esac
	done
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ $only_print = yes ]; then
	printf '%s\n' "${missing[@]}"
	exit
fi

if ! command -v apt-get >/dev/null; then
	echo "$0: this is no Debian system; install by hand what these packages hold: ${missing[*]}" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "$0: missing packages; as root: apt-get install --no-install-recommends ${missing[*]}" >&2
	exit 1
fi

echo "installing: ${missing[*]}" | fold -s -w 110 | sed "s/^/$PROGRESS_INDENT/"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
# Without names, so that nothing is left, however this ends.
log=$(mktemp) && exec {log_fd}<>"$log" && rm "$log" || exit 1
status=$(mktemp) && exec {status_fd}<>"$status" && rm "$status" || exit 1
log=/proc/$$/fd/$log_fd status=/proc/$$/fd/$status_fd

# What apt-get says for programs: kind:package or file:percent:words.
progress_of_apt() {
	local kind percent words
	while IFS=: read -r kind _ percent words; do
		case $kind in
		dlstatus) printf 'progress: downloading, %3d %%: %s\n' "${percent%.*}" "$words" ;;
		pmstatus) printf 'progress: installing, %3d %%: %s\n' "${percent%.*}" "$words" ;;
		esac
	done
}

apt() {
	apt-get -y -q -o DPkg::Lock::Timeout=300 -o APT::Status-Fd=3 "$@" 3>&1 >>"$log" 2>&1 </dev/null |
		progress_of_apt | progress_show
}

# Who ends dpkg in the middle has packages that are half installed. So it is in a session of its own, in which nothing
# reaches it that ends this script, and it goes on to its end; what it says is read from a file, as it would end with
# the reader of a pipe.
apt_to_its_end() {
	local apt
	setsid apt-get -y -q -o DPkg::Lock::Timeout=300 -o APT::Status-Fd=3 "$@" 3>"$status" >>"$log" 2>&1 </dev/null &
	apt=$!
	tail -n +1 -s 0.2 -f --pid="$apt" "$status" 2>/dev/null | progress_of_apt | progress_show
	wait "$apt"
}

install() {
	apt --no-install-recommends --download-only install "${missing[@]}" &&
		apt_to_its_end --no-install-recommends install "${missing[@]}"
}

# The package lists may be absent (a fresh container) or too old to name files that still exist, and who ran this before
# may have been interrupted: only then put that right. What is missing after that is said by the second try.
put_right() {
	setsid dpkg --configure -a >>"$log" 2>&1 </dev/null
	echo "${PROGRESS_INDENT}fetching the lists of packages"
	apt update
	apt_to_its_end --no-install-recommends --no-remove -f install
}

if ! install && ! { put_right; install; }; then
	tail -n 30 "$log" >&2
	echo "$0: apt-get could not install: ${missing[*]}" >&2
	echo "$0: the last words of apt-get are above; does \`apt-get update\` work?" >&2
	exit 1
fi
