#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# run gives its command the preload, a name, a mode, a socket and a daemon, and refuses commands that it cannot help.
# Needs $DUMMY_PRELOAD, any shared library, and $STATIC_PROGRAM.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"

# LD_PRELOAD cannot hold every path that a build folder may have.
cp "$DUMMY_PRELOAD" "$directory/dummy.so"
DUMMY_PRELOAD=$directory/dummy.so

probe=$(PAGEFUSED=$directory/none PAGEFUSE_PRELOAD=$DUMMY_PRELOAD "$PAGEFUSE" run -- true 2>&1)
case $probe in
*'cannot move pages by userfaultfd'* | *'cannot scan the pagemap'*) echo "skipped: $probe"; exit 77 ;;
esac

export PAGEFUSE_PRELOAD=$DUMMY_PRELOAD
# A pagefuse built with it would mind an LD_PRELOAD of the test's own.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0

# has LINE: the environment that `env` printed has it.
has() {
	grep -qxF "$1" <<<"$output" || fail "no $1 in the environment"
}

# ---- what the command gets ----
start_daemon "{\"status\": [$STATUS]}"
run 0 run -- env
has "LD_PRELOAD=$DUMMY_PRELOAD"
has PAGEFUSE_MODE=full
has "PAGEFUSE_SOCKET=$PAGEFUSE_SOCKET"
grep -qE '^PAGEFUSE_NAME=env-[0-9]+$' <<<"$output" || fail 'no name made of program and pid'
run 0 run --name web1 --mode zero -- env
has PAGEFUSE_NAME=web1
has PAGEFUSE_MODE=zero
run 0 run -n web2 -m full -d team env
has PAGEFUSE_NAME=web2
has PAGEFUSE_DOMAIN=team
run 2 run --domain a/b env
equal 'what the daemon is asked' '{"command":"admit","name":"web2","domain":"team","uuid":""}' \
	"$(tail -n 1 "$directory/requests")"
start_daemon '{"admit": [{"domain": "team", "kept_mode": "off"}, {"domain": "team", "kept_mode": "full"}]}'
run 0 run -n web2 env
grep -qF "'web2' has mode off, not full: pagefuse modifyvm has kept that" <<<"$complaint" || fail "$complaint"
run 0 run -n web2 env
[ -z "$complaint" ] || fail "what is kept is what is asked for, and still: $complaint"
start_daemon '{"admit": [{"error": {"code": "not-permitted", "message": "user 7 may not", "value": "team"}}]}'
run 0 run -n web2 -d team env
has PAGEFUSE_DOMAIN=team
grep -qF "'web2' runs, but nothing of it is shared: user 7 may not." <<<"$complaint" || fail "$complaint"
start_daemon "{\"status\": [$STATUS]}"

cd "$directory" || exit 1
run 0 run --socket ./socket -- env
has "PAGEFUSE_SOCKET=$directory/./socket"

# shellcheck disable=SC2016 # for the inner shell
run 0 run -- sh -c 'echo "$PAGEFUSE_NAME $$"'
equal 'the pid in the name' "sh-${output#* }" "${output% *}"

LD_PRELOAD=$DUMMY_PRELOAD run 0 run -- env
has "LD_PRELOAD=$DUMMY_PRELOAD"
cp "$DUMMY_PRELOAD" "$directory/other.so"
LD_PRELOAD=$directory/other.so run 0 run -- env
has "LD_PRELOAD=$directory/other.so:$DUMMY_PRELOAD"

run 7 run -- sh -c 'exit 7'

# ---- the name that QEMU is told ----
cat >"$directory/qemu-system-fake" <<'END'
#!/bin/sh
echo "$PAGEFUSE_NAME"
END
chmod +x "$directory/qemu-system-fake"
qemu_name() {
	run 0 run -- "$directory/qemu-system-fake" -m 512 -name "$1" -nographic
	equal "the name in -name $1" "$2" "$output"
}
qemu_name web1 web1
qemu_name guest=web1,debug-threads=on web1
qemu_name process=p,guest=web1 web1
qemu_name web1,process=p web1
qemu_name 'a,,b,process=p' 'a,b'
# libvirt's domains may have names that a VM cannot have.
qemu_name 'guest=my guest,debug-threads=on' my_guest
qemu_name $'guest=\303\274ber' __ber
qemu_name "guest=$(printf '%070d' 0),debug-threads=on" "$(printf '%063d' 0)"

# ---- the agent's port ----
cat >"$directory/qemu-system-x86_64" <<'END'
#!/bin/sh
if [ "$*" = --version ]; then
	[ -z "$LD_PRELOAD" ] || exit 1
	read -r line
	echo "${VERSION-QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)}"
	echo 'warned' >&2
	exit 1
fi
for argument; do echo "$argument"; done
END
chmod +x "$directory/qemu-system-x86_64"
# ports WANTED ARGUMENT...: whether QEMU gets a port with that command line.
ports() {
	local wanted=$1
	shift
	run 0 run "${options[@]}" -- "$directory/qemu-system-x86_64" "$@"
	equal "the ports of $*" "$wanted" "$(grep -c '^virtserialport,.*,name=org.pagefuse.agent.0$' <<<"$output")"
}
options=()
ports 0 -m 512 # the daemon does not listen to agents
python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$PAGEFUSE_SOCKET.agent"
ports 1 -m 512
equal 'what QEMU gets besides' "-m
512
-chardev
socket,id=pagefuse-agent,path=$PAGEFUSE_SOCKET.agent,reconnect=1
-device
virtio-serial-pci,id=pagefuse-agent-bus
-device
virtserialport,bus=pagefuse-agent-bus.0,chardev=pagefuse-agent,name=org.pagefuse.agent.0" "$output"
# reconnects VERSION OPTION: how a QEMU of that version is told to look for the socket again and again.
reconnects() {
	export VERSION="QEMU emulator version $1"
	ports 1 -m 512
	equal "for QEMU $1" "socket,id=pagefuse-agent,path=$PAGEFUSE_SOCKET.agent,$2" "$(grep ^socket, <<<"$output")"
}
reconnects 8.0.92 reconnect=1
reconnects 9.1.3 reconnect=1
reconnects 9.2.0 reconnect-ms=1000
reconnects '10.0.2 (Debian 1:10.0.2+ds-2)' reconnect-ms=1000
reconnects 11.0.50 reconnect-ms=1000
for VERSION in '' 'QEMU emulator' 'version ten' "$(printf '%01000d' 0) version 7.2"; do
	ports 0 -m 512
	"$PAGEFUSE" run -- "$directory/qemu-system-x86_64" -m 512 2>&1 | grep -qF 'gets no port for an agent' ||
		fail "nothing is said of version '$VERSION'"
done
unset VERSION
# One that does not end is ended, with what it has started, and then run as it is told to.
cat >"$directory/hangs" <<'END'
#!/bin/sh
[ "$*" = --version ] || exec echo runs
sleep 1000 &
echo $! >"${0%/*}/started"
wait
END
mkdir "$directory/hanging"
mv "$directory/hangs" "$directory/hanging/qemu-system-x86_64"
chmod +x "$directory/hanging/qemu-system-x86_64"
run 0 run -- "$directory/hanging/qemu-system-x86_64" -m 512
equal 'what it does after that' runs "$output"
[[ $complaint == *'it does not end, so it gets no port for an agent'* ]] || fail "of one that hangs: $complaint"
grep -q '^State:[[:space:]]*[RSD]' "/proc/$(cat "$directory/hanging/started")/status" 2>/dev/null &&
	fail 'what it has started goes on'
ports 1 -machine q35,accel=kvm
ports 0 -machine accel=kvm,type=microvm
ports 0 -M isapc
ports 0 -readconfig machine
# The devices of a VM that comes from elsewhere are those that it has where `pagefuse run` started it.
ports 1 --incoming tcp:0:1234
ports 1 -loadvm now
run 0 run -- "$directory/qemu-system-x86_64" -device virtserialport,x=y,name=org.pagefuse.agent.0
equal 'ports where the command line has one' 1 "$(grep -c virtserialport <<<"$output")"
options=(--no-agent-port)
ports 0 -m 512
run 0 run -- "$directory/qemu-system-fake" -m 512 # of another machine
prints qemu-system-fake
rm "$PAGEFUSE_SOCKET.agent"

# ---- commands that cannot be run, or in which the preload cannot be ----
complains 1 "'no-such-program': no such program" run -- no-such-program
complains 1 "'$directory/nothing': no such program" run -- "$directory/nothing"
complains 1 "'$directory' is a directory" run -- "$directory"
complains 1 "'$directory/script.json' is not executable" run -- "$directory/script.json"
complains 1 'statically linked' run -- "$STATIC_PROGRAM"
complains 1 'is a Go program' run -- "$GO_PROGRAM"
printf '\177ELF\1\1\1\0\0\0\0\0\0\0\0\0\2\0\3\0' >"$directory/foreign"
chmod +x "$directory/foreign"
complains 1 'another architecture' run -- "$directory/foreign"
printf '\177ELF\2\1\1' >"$directory/cut"
chmod +x "$directory/cut"
complains 1 'another architecture' run -- "$directory/cut"
if [ "$(id -u)" = 0 ]; then
	cp "$(command -v env)" "$directory/setuid"
	chown 65534 "$directory/setuid"
	chmod 4755 "$directory/setuid"
	complains 1 'is setuid or setgid' run -- "$directory/setuid"
	chown 0:65534 "$directory/setuid"
	chmod 2755 "$directory/setuid"
	complains 1 'is setuid or setgid' run -- "$directory/setuid"
fi

# ---- the preload ----
PAGEFUSE_PRELOAD=$directory/nothing.so complains 1 "'$directory/nothing.so': no preload there" run -- env
mkdir "$directory/a b"
cp "$DUMMY_PRELOAD" "$directory/a b/preload.so"
PAGEFUSE_PRELOAD="$directory/a b/preload.so" run 0 run -- env
link=$(sed -n 's/^LD_PRELOAD=//p' <<<"$output")
equal 'where the link for a path with blanks leads' "$directory/a b/preload.so" "$(readlink "$link")"
rm -f "$link"
rmdir "${link%/*}" 2>/dev/null
stop_daemon

# ---- where nothing can be shared ----
# runs_unshared WHAT-IS-LACKING TEXT: the command runs, one line says that nothing is shared and why, in doctor's words.
runs_unshared() {
	"$WITHOUT" "$1" "$PAGEFUSE" run --name web1 -- env >"$directory/output" 2>"$directory/complaint"
	equal "the exit code without $1" 0 "$?"
	output=$(cat "$directory/output")
	[ "$(wc -l <"$directory/complaint")" = 1 ] || fail "without $1, not one line: $(cat "$directory/complaint")"
	grep -qF "pagefuse: 'web1' runs, but nothing of it is shared: $2" "$directory/complaint" ||
		fail "without $1: $(cat "$directory/complaint")"
	"$WITHOUT" "$1" "$PAGEFUSE" doctor | tr -s '[:space:]' ' ' | grep -qF "$2" || fail "doctor does not say: $2"
}

start_daemon "{\"status\": [$STATUS]}"
"$WITHOUT" userfaultfd true
if [ $? = 77 ]; then
	echo 'not tested where nothing can be shared: no seccomp'
else
	for lacking in 'userfaultfd:the kernel has no userfaultfd' 'pagemap-scan:kernel .* cannot scan the pagemap'; do
		text=${lacking#*:}
		runs_unshared "${lacking%%:*}" "${text/.\*/$(uname -r)}"
		if grep -q '^LD_PRELOAD=' <<<"$output"; then fail "a preload without ${lacking%%:*}"; fi
	done
fi
stop_daemon

# ---- a daemon that will not serve it ----
# runs_unserved REPLY TEXT
runs_unserved() {
	start_daemon "{\"status\": [$1]}"
	run 0 run --name web1 -- env
	has PAGEFUSE_NAME=web1
	equal "what is said of a daemon's $1" "pagefuse: 'web1' runs, but nothing of it is shared: $2" "$complaint"
}
runs_unserved '"refuse"' "pagefused at $PAGEFUSE_SOCKET refuses: it is full. Its log tells more."
runs_unserved '"close"' "pagefused at $PAGEFUSE_SOCKET has closed the connection. Its log says why."
version=$("$PAGEFUSE" --version)
runs_unserved '"other-version"' \
	"what answers at $PAGEFUSE_SOCKET does not speak this protocol. Use the pagefused of version ${version#* }."
start_daemon "{\"status\": [$STATUS]}"
run 0 run -- env
equal 'what is said of a daemon that answers' '' "$complaint"
stop_daemon

# ---- a daemon that is not there, and that nobody wants to have started ----
run 0 run --no-private-daemon --name web1 -- env
has "LD_PRELOAD=$DUMMY_PRELOAD"
has "PAGEFUSE_SOCKET=$PAGEFUSE_SOCKET"
equal 'what is said without a daemon' "pagefuse: 'web1' runs, but nothing of it is shared: no pagefused answers at \
$PAGEFUSE_SOCKET. Start it: systemctl start pagefused; the VM takes part from then on." "$complaint"
[ ! -e "$PAGEFUSE_SOCKET" ] || fail 'a daemon was started'
mkdir "$directory/closed"
ln -s loop "$directory/closed/loop"
PAGEFUSE_SOCKET=$directory/closed/loop/socket run 0 run --no-private-daemon --name web1 -- env
has "LD_PRELOAD=$DUMMY_PRELOAD"
case $complaint in
*'/loop/socket cannot be asked (Too many levels of symbolic links).'*) ;;
*) fail "what is said of a socket that cannot be reached: $complaint" ;;
esac

# ---- a private daemon ----
printf '{"status": [%s]}\n' "$STATUS" >"$directory/private.json"
export FAKE_SCRIPT=$directory/private.json
export PAGEFUSED=$FAKE_DAEMON FAKE_PID=$directory/pid
PAGEFUSE_SOCKET=$directory/runtime/pagefused.sock
exec 9<"$0"
run 0 run --name web1 -- env
exec 9<&-
has PAGEFUSE_NAME=web1
if grep -q '^NOTIFY_SOCKET=' <<<"$output"; then fail 'the command got NOTIFY_SOCKET'; fi
pid=$(cat "$directory/pid")
kill -0 "$pid" 2>/dev/null || fail 'no private daemon runs'
own_session=$(ps -o sid= -p $$)
[ "$(ps -o sid= -p "$pid")" != "$own_session" ] || fail 'the private daemon is in our session'
equal 'the parent of the private daemon is no process of ours' '' "$(ps -o ppid= -p "$pid" | grep -xF " *$$")"
[ ! -e "/proc/$pid/fd/9" ] || fail 'the private daemon has a descriptor of ours'
if tr '\0' '\n' <"/proc/$pid/environ" | grep -q '^LD_PRELOAD='; then fail 'the private daemon is preloaded'; fi
equal 'its directory' / "$(readlink "/proc/$pid/cwd")"
equal 'its log' ready "$(cat "$PAGEFUSE_SOCKET.log")"
run 0 run --name web2 -- env
equal 'one daemon serves both' "$pid" "$(cat "$directory/pid")"
kill "$pid"
rm -f "$PAGEFUSE_SOCKET"

FAKE_START=fail complains 3 "did not start (it ended); '$PAGEFUSE_SOCKET.log' says why" run -- env
equal 'its log' 'told to fail' "$(tail -n 1 "$PAGEFUSE_SOCKET.log")"
PAGEFUSED=$directory/nothing complains 3 "'$directory/nothing': no pagefused there" run -- env
PAGEFUSE_SOCKET=$directory/no/such/socket complains 3 'private pagefused there (No such file or directory)' run -- env
end
