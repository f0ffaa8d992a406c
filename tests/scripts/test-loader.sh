#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is said of a libdir in which the dynamic loader finds no library, and whether an installation has it look anew.
#
# usage: test-loader.sh ROOT
set -u
loader=$1/packaging/loader.sh
directory=$(mktemp -d) || exit 1
trap 'rm -rf "$directory"' EXIT
mkdir "$directory/bin" "$directory/lib64" "$directory/looked at"
ln -s 'looked at' "$directory/linked"
faults=0

# As that of glibc says it: one directory is there, one is not. With other arguments it would have changed something.
cat >"$directory/bin/ldconfig" <<END
#!/bin/sh
case \$* in
'-v -N -X')
	printf "%s: Can't stat %s: No such file or directory\n" "\$0" "$directory/absent" >&2
	printf '%s: (from /etc/ld.so.conf.d/a.conf:1)\n\tlibnone.so.0 -> libnone.so.0.1\n' "$directory/looked at"
	;;
'') echo anew >>"$directory/anew" ;;
*) exit 1 ;;
esac
END
chmod +x "$directory/bin/ldconfig"
PATH=$directory/bin:$PATH
unset DESTDIR

# expect STATUS WORDS ARGUMENT…: WORDS are in what is said; none: nothing is
expect() {
	local wanted=$1 words=$2 said status
	shift 2
	said=$("$loader" "$@" 2>&1)
	status=$?
	if [ "$status" = "$wanted" ] && [[ $said == *"$words"* ]] && { [ -n "$words" ] || [ -z "$said" ]; }; then
		echo "ok: $*"
	else
		echo "FAILED: $*: status $status: $said"
		faults=$((faults + 1))
	fi
}

# looked_anew TIMES: so often until now
looked_anew() {
	local times=0
	[ ! -e "$directory/anew" ] || times=$(wc -l <"$directory/anew")
	[ "$times" = "$1" ] && return
	echo "FAILED: the loader looked anew $times times, not $1"
	faults=$((faults + 1))
}

expect 0 '' tell "$directory/looked at"
expect 0 '' tell "$directory/linked"
expect 0 '' tell "$directory/absent" # it is made by the installation
expect 1 "libdir is $directory/lib64, where the dynamic loader does not look" tell "$directory/lib64"
expect 1 "echo $directory/lib64 > /etc/ld.so.conf.d/pagefuse.conf && ldconfig" tell "$directory/lib64"
expect 1 "PKG_CONFIG_PATH=$directory/lib64/pkgconfig" tell "$directory/lib64"
looked_anew 0

expect 0 '' refresh "$directory/lib64"
DESTDIR=$directory/staged expect 0 '' refresh "$directory/looked at"
looked_anew 0
expect 0 '' refresh "$directory/looked at"
[ "$(id -u)" != 0 ] || looked_anew 1
[ $faults = 0 ]
