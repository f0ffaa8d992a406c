# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The archive of Debian that this machine's apt uses, and systems made from it. To be sourced, after interrupt.sh; needs
# the packages of which "packages" says that they make systems.
#
#   archive_sources SUITE          prints "URI SUITE" of what would be tried as that suite's archives
#   archive_find SUITE FOLDER      FOLDER/sources has what is served of the suite afterwards; else $ARCHIVE_WHY says
#                                  why not
#   archive_make SUITE FOLDER ROOT [OPTION…]
#                                  a minimal system in ROOT, after archive_find, by mmdebstrap with further options;
#                                  what else is needed for it is in FOLDER. It has mounts below ROOT while it runs, and
#                                  leaves them if it is killed
#
# What may be needed to reach the archive is in the system, too: apt's settings for getting files, and passwords for it.

ARCHIVE_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# What this machine's apt is told of getting files: proxies above all. Not what has to do with this machine alone.
archive_settings() {
	apt-config dump | grep '^Acquire::' | grep -v -i -E '^Acquire::(IndexTargets|cdrom)|Proxy-Auto-Detect'
}

# Of what is enabled in apt's configuration: the suite itself, its updates, its security updates. Others' archives name
# their suites otherwise, or have no "main"; what passes for one of Debian's all the same is not signed by Debian, which
# archive_serves sees.
archive_sources() {
	# shellcheck disable=SC2016 # for apt-get
	apt-get indextargets --no-release-info 'Created-By: Packages' \
		--format '$(REPO_URI) $(RELEASE) $(COMPONENT)' |
		awk -v suite="$1" '
			$1 ~ /^(cdrom|file|copy):/ || $3 != "main" { next }
			match($2, /-(updates|security)$/) { more = substr($2, RSTART); $2 = substr($2, 1, RSTART - 1) }
			$2 ~ /^((old)*stable|testing|unstable|sid|bullseye|bookworm|trixie|forky|duke)$/ {
				if (!seen[$1, more]++) print $1, suite more }
			{ more = "" }'
}

# archive_apt FOLDER …: apt with folders of its own, and without what it calls on this machine afterwards.
archive_apt() {
	local folder=$1/apt
	shift
	mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
	printf '#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n' >"$folder/conf"
	apt-get -c "$folder/conf" -q -o Dir::Etc::sourcelist="$folder/sources" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$folder/lists" -o Dir::Cache="$folder/cache" -o APT::Sandbox::User=root "$@"
}

# archive_serves FOLDER LINE: whether the archive in that line of a sources.list serves a suite that Debian signed:
# nothing but its Release file is fetched.
archive_serves() {
	mkdir -p "$1/apt"
	echo "$2" >"$1/apt/sources"
	archive_apt "$1" --error-on=any -o Acquire::IndexTargets::deb::Packages::DefaultEnabled=false \
		-o Acquire::IndexTargets::deb::Translations::DefaultEnabled=false update >"$1/apt/log" 2>&1
}

archive_find() {
	local suite=$1 folder=$2 uri name line reason='' got=' '
	: >"$folder/sources"
	ARCHIVE_WHY="apt's configuration names no archive of Debian"
	while read -r uri name; do
		case $got in *" $name "*) continue ;; esac
		line="deb [signed-by=$ARCHIVE_KEYRING] $uri $name main"
		if interruptible archive_serves "$folder" "$line"; then
			echo "$line" >>"$folder/sources"
			got="$got$name "
		elif [ "$name" = "$suite" ]; then
			reason=$(grep -E '^(E|W|Err):' "$folder/apt/log" | tail -n 1)
			ARCHIVE_WHY="the archive does not serve $suite, or there is no network: $reason"
		fi
	done < <(archive_sources "$suite")
	case $got in *" $suite "*) return 0 ;; esac
	return 1
}

archive_make() {
	local suite=$1 folder=$2 root=$3 more=()
	shift 3
	archive_settings >"$folder/apt.conf"
	! grep -q ' https:' "$folder/sources" || more+=(--include=ca-certificates)
	# shellcheck disable=SC2016 # for the hook's shell
	TMPDIR=$folder mmdebstrap --variant=minbase --aptopt="$folder/apt.conf" --dpkgopt=force-unsafe-io \
		--setup-hook='cp -a /etc/apt/auth.conf* "$1/etc/apt/" 2>/dev/null || :' \
		"${more[@]}" "$@" "$suite" "$root" "$folder/sources"
}
