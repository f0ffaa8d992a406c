#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Installs what is missing of the given sets of Debian packages; the sets are in the file "packages" beside this.
# Does nothing, and needs no rights, if all is there.
set -eu

list=$(dirname "$0")/packages

if [ $# -eq 0 ] || [ "$1" = --help ]; then
	echo "usage: $0 SET...   sets: $(sed -n 's/^\([a-z]\{1,\}\) .*/\1/p' "$list" | sort -u | tr '\n' ' ')"
	exit 2
fi

missing=
for set in "$@"; do
	packages=$(awk -v set="$set" '$1 == set { print $2 }' "$list")
	if [ -z "$packages" ]; then
		echo "$0: no set of packages is called '$set'" >&2
		exit 2
	fi
	for package in $packages; do
		case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true) in
		*' installed') ;;
		*) missing="$missing $package" ;;
		esac
	done
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "$0: this is no Debian system; install by hand what these packages hold:$missing" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "$0: missing packages; as root: apt-get install --no-install-recommends$missing" >&2
	exit 1
fi

echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# The package lists may be absent (a fresh container) or too old to name files that still exist: only then fetch them.
install() {
	# shellcheck disable=SC2086 # a list of words
	apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 $missing </dev/null
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! install >"$log" 2>&1; then
	if ! { apt-get update -q && install; } >"$log" 2>&1 </dev/null; then
		tail -n 30 "$log" >&2
		echo "$0: apt-get could not install:$missing" >&2
		exit 1
	fi
fi
