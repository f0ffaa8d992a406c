# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Fetches a kernel of the distribution, or of another suite, without installing anything. To be sourced; needs no root.
#
#   kernel_fetch PACKAGE FOLDER    FOLDER/vmlinuz and FOLDER/modules/VERSION are there afterwards, and nothing else;
#                                  what FOLDER held is removed. PACKAGE may be NAME, NAME=VERSION or NAME/SUITE
#   kernel_version FOLDER          prints VERSION
#
# The package may be one that only depends on the real one, and a kernel may be one package or several: vmlinuz and the
# modules apart, vmlinuz below /boot or beside the modules. So all that it depends on is fetched whose name says that it
# is a part of a kernel. apt's sources are the host's, unless $APT_CONFIG names a configuration with others.

KERNEL_PARTS='linux-(image|binary|modules|base)-[^ ]+'

# kernel_parts PACKAGE…: prints these and those kernel packages that they depend on, as NAME or NAME=VERSION. What
# linux-base-VERSION has (how modules are ordered) can be done without, and an archive may have that package no more.
kernel_parts() {
	local -A seen=()
	local -a todo=("$@")
	local package depends
	while [ ${#todo[@]} -gt 0 ]; do
		package=${todo[0]}
		todo=("${todo[@]:1}")
		[ -z "${seen[$package]:-}" ] || continue
		seen[$package]=yes
		if ! depends=$(apt-cache show --no-all-versions "$package" 2>/dev/null) || [ -z "$depends" ]; then
			[[ $package == linux-base-* ]] && continue
			echo "${package%%=*} is not in the sources of apt" >&2
			return 1
		fi
		depends=$(sed -n 's/^Depends: //p' <<<"$depends")
		echo "$package"
		# "name (= version)", which is one version of several that apt may know.
		mapfile -t -O ${#todo[@]} todo < <(sed 's/, */\n/g; s/ | [^\n]*//g' <<<"$depends" |
			sed -nE "s/^($KERNEL_PARTS)( \(= ([^)]*)\))?.*/\1=\4/p" | sed 's/=$//')
	done
}

kernel_download() {
	local folder=$1 names
	names=$(kernel_parts "$2") && [ -n "$names" ] || return 1
	rm -rf "$folder"
	mkdir -p "$folder" || return 1
	# shellcheck disable=SC2086 # a list of words
	(cd "$folder" && kernel_download_each $names)
}

kernel_download_each() {
	local name
	for name; do
		apt-get -qq -o APT::Sandbox::User=root download "$name" || [[ $name == linux-base-* ]] || return 1
	done
}

# kernel_unpack DEBS FOLDER: what the archives in DEBS hold of a kernel.
kernel_unpack() {
	local tree=$1/tree folder=$2 archive vmlinuz modules
	mkdir -p "$tree"
	for archive in "$1"/*.deb; do
		dpkg-deb -x "$archive" "$tree" || return 1
	done
	vmlinuz=$(find "$tree" -type f \( -path '*/boot/vmlinuz-*' -o -path '*/lib/modules/*/vmlinuz' \) -print -quit)
	modules=$(find "$tree" -type d -path '*/lib/modules/*/kernel' -printf '%h\n' -quit)
	[ -n "$vmlinuz" ] && [ -n "$modules" ] || return 1
	mkdir -p "$folder/modules"
	mv "$vmlinuz" "$folder/vmlinuz" && mv "$modules" "$folder/modules/"
}

kernel_fetch() {
	local package=$1 folder=$2 parts=$2/parts log
	rm -rf "$folder"
	mkdir -p "$folder" || return 1
	# The lists may be absent, or too old to name files that still exist.
	if ! log=$(kernel_download "$parts" "$package" 2>&1) &&
		! log=$({ apt-get -qq update && kernel_download "$parts" "$package"; } 2>&1); then
		echo "kernel: cannot fetch the package $package: $log" >&2
		return 1
	fi
	if ! kernel_unpack "$parts" "$folder"; then
		echo "kernel: no vmlinuz, or no modules, in: $(cd "$parts" && echo *.deb)" >&2
		return 1
	fi
	rm -rf "$parts"
}

kernel_version() {
	(cd "$1/modules" 2>/dev/null && echo *)
}
