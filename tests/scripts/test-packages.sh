#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# install-packages.sh over a stand-in for apt: what is being installed is installed to its end, whatever becomes of who
# asked for it, as a dpkg that is killed leaves packages that are half installed; and a control, that has no session of
# its own, and is killed.
#
# usage: test-packages.sh ROOT
set -u

[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
faults=0
mkdir "$tree/bin" "$tree/support"
cp "$1"/tests/support/{install-packages.sh,progress.sh,interrupt.sh,packages} "$tree/support"

# It installs until it is told to end, which the test does; and says what it is doing.
cat >"$tree/bin/apt-get" <<END
#!/bin/bash
case " \$* " in *' --download-only '*) exit 0 ;; esac
echo 'pmstatus:some:10.0:Unpacking some' >&3
echo \$\$ >"$tree/began"
until [ -e "$tree/may-end" ]; do sleep 0.1; done
echo 'pmstatus:some:90.0:Configuring some' >&3
touch "$tree/ended"
END
printf '#!/bin/sh\nexit 1\n' >"$tree/bin/dpkg-query"
printf '#!/bin/sh\nexit 0\n' >"$tree/bin/dpkg"
chmod +x "$tree"/bin/*

judge() { # WHAT WANTED SEEN
	if [ "$2" = "$3" ]; then
		echo "ok: $1: $3"
	else
		echo "FAILED: $1: wanted $2, got $3"
		faults=$((faults + 1))
	fi
}

# start: in a process group of its own, as all that may be killed is; $job is that then.
start() {
	rm -f "$tree"/{began,may-end,ended}
	PATH=$tree/bin:$PATH setsid bash "$tree/support/install-packages.sh" plot >"$tree/said" 2>&1 &
	job=$!
	until [ -s "$tree/began" ]; do
		kill -0 "$job" 2>/dev/null || { cat "$tree/said"; exit 1; }
		sleep 0.1
	done
}

# Whether what installs still does so after all of the group is killed; it is ended then.
survives_kill() {
	local installer
	start
	installer=$(<"$tree/began")
	kill -KILL -- "-$job"
	wait "$job" 2>/dev/null
	touch "$tree/may-end"
	while kill -0 "$installer" 2>/dev/null; do sleep 0.1; done
	if [ -e "$tree/ended" ]; then echo yes; else echo no; fi
}

start
touch "$tree/may-end"
wait "$job"
judge "what installs ends well" 0 $?
judge "it says what it does" "installing: gnuplot-nox" "$(sed 's/^ *//; q' "$tree/said")"
judge "it is installed to its end although its script is killed" yes "$(survives_kill)"
sed -i 's/setsid apt-get/apt-get/' "$tree/support/install-packages.sh"
judge "without a session of its own it is not" no "$(survives_kill)"
exit $((faults > 0))
