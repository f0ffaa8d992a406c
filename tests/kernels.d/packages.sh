# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Kernels from Debian's archive, for any machine that has apt: lists, sources and archives are in a folder of their own,
# the host's are not touched. To be sourced, after interrupt.sh; needs no root.
#
#   packages_open          fetches the lists of all suites; fails, and sets $PACKAGES_WHY, if there are none
#   packages_served        the newest whole kernel of each series: lines "SERIES PACKAGE", old to new; of a series
#                          that has none a line on stderr says what is missing
#   packages_find WORD     the same of a series (6.12), the beginning of a version (6.12.43), or a package's name
#   packages_fetch PACKAGE FOLDER    as kernel_fetch

# shellcheck source=tests/guests/kernel.sh
. tests/guests/kernel.sh

PACKAGES_SUITES=(bookworm bookworm-backports trixie trixie-backports forky sid)
PACKAGES_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirrors of Debian that the host's apt is configured with, as apt understands its configuration.
packages_mirrors() {
	apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
		sed -n 's/ main$//p' | grep -E '/debian(\.list)?/?$' | sort -u
}

packages_configure() {
	local mirror=$1 suite
	mkdir -p "$PACKAGES_DIR"/{lists,archives}/partial || return 1
	: >"$PACKAGES_DIR/status"
	for suite in "${PACKAGES_SUITES[@]}"; do
		echo "deb [arch=amd64 signed-by=$PACKAGES_KEYRING] $mirror $suite main"
	done >"$PACKAGES_DIR/sources"
	cat >"$PACKAGES_DIR/apt.conf" <<-END
		Dir::State "$PACKAGES_DIR";
		Dir::State::lists "$PACKAGES_DIR/lists";
		Dir::State::status "$PACKAGES_DIR/status";
		Dir::Cache "$PACKAGES_DIR";
		Dir::Etc::sourcelist "$PACKAGES_DIR/sources";
		Dir::Etc::sourceparts "-";
		Acquire::Languages "none";
		Acquire::Retries "2";
		APT::Sandbox::User "root";
		Debug::NoLocking "true";
	END
	export APT_CONFIG=$PACKAGES_DIR/apt.conf
}

packages_open() {
	local lock status=0
	if ! mkdir -p "$KERNELS_DIR" || ! exec {lock}>"$KERNELS_DIR/lock"; then
		PACKAGES_WHY="cannot write to $KERNELS_DIR"
		return 1
	fi
	interruptible flock "$lock" # others may be at it
	packages_update || status=1
	exec {lock}>&-
	return "$status"
}

packages_update() {
	local mirror mirrors
	PACKAGES_DIR=$KERNELS_DIR/apt
	command -v apt-get >/dev/null || { PACKAGES_WHY="no apt on this machine"; return 1; }
	[ -r "$PACKAGES_KEYRING" ] || { PACKAGES_WHY="no $PACKAGES_KEYRING, with Debian's keys"; return 1; }
	mirrors=$(packages_mirrors)
	[ -n "$mirrors" ] || { PACKAGES_WHY="apt is configured with no mirror of Debian"; return 1; }
	for mirror in $mirrors; do
		packages_configure "$mirror" || { PACKAGES_WHY="cannot write to $PACKAGES_DIR"; return 1; }
		# It may lack some of the suites, and may be out of reach: what is there, also from before, counts.
		interruptible apt-get -qq update >"$PACKAGES_DIR/log" 2>&1
		[ -z "$(packages_all)" ] || return 0
	done
	PACKAGES_WHY="no kernels to be had from ${mirrors//$'\n'/ }: $(head -n 1 "$PACKAGES_DIR/log")"
	return 1
}

# All cloud kernels: lines "VERSION PACKAGE", old to new.
packages_all() {
	apt-cache pkgnames linux-image- 2>/dev/null |
		sed -nE 's/^linux-image-([0-9]+\.[0-9]+[^-]*(-[0-9]+)?)-cloud-amd64$/\1 &/p' | sort -V
}

# Which of these PACKAGEs are not there as a whole, as an archive keeps some parts longer than others: lines "PACKAGE
# PART", with the first part that is not there.
packages_broken() {
	apt-cache show --no-all-versions "$@" 2>/dev/null | awk '
		FILENAME != "-" { served[$1]; next }
		$1 == "Package:" { package = $2 }
		$1 == "Depends:" {
			for (i = 2; i <= NF; i++) {
				sub(/,$/, "", $i)
				if ($i ~ /^linux-(image|binary|modules)-/ && !($i in served)) {
					print package, $i
					break
				}
			}
		}' <(apt-cache pkgnames linux-) -
}

# Of lines "VERSION PACKAGE", old to new, the newest whole one of each series.
packages_newest() {
	local -a lines
	local -A missing=() newest=() lacking=()
	local line package part series
	mapfile -t lines
	[ ${#lines[@]} -gt 0 ] || return 0
	while read -r package part; do
		missing[$package]=$part
	done < <(packages_broken "${lines[@]#* }")
	for line in "${lines[@]}"; do
		[[ $line =~ ^[0-9]+\.[0-9]+ ]] || continue
		series=${BASH_REMATCH[0]} package=${line#* }
		if [ -z "${missing[$package]:-}" ]; then
			newest[$series]=$package
		else
			lacking[$series]=${missing[$package]}
		fi
	done
	for series in "${!lacking[@]}"; do
		[ -n "${newest[$series]:-}" ] ||
			echo "Linux $series: left out, as the archive has no ${lacking[$series]}" >&2
	done
	for series in "${!newest[@]}"; do
		echo "$series ${newest[$series]}"
	done | sort -V
}

packages_served() {
	packages_all | packages_newest
}

packages_find() {
	packages_all |
		awk -v word="$1" '$2 == word || $1 == word || index($1, word ".") == 1 || index($1, word "+") == 1' |
		packages_newest | tail -n 1
}

packages_fetch() {
	(flock 9 && kernel_fetch "$@") 9>"$KERNELS_DIR/lock"
}
