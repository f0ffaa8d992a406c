#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# pagefuse-exporter against a fake daemon: every figure of the status document, in both formats, over HTTP and as a
# file; names that are meant to break out of their labels; a daemon that is away, and comes back; hostile clients.
# Needs $EXPORTER, the program, besides what support.sh needs.
# shellcheck source-path=SCRIPTDIR
. "${BASH_SOURCE[0]%/*}/support.sh"
: "${EXPORTER:?names the exporter}"

# exporter EXIT-CODE ARGUMENT...: as run() does it with pagefuse.
exporter() {
	PAGEFUSE=$EXPORTER run "$@"
}

lacks() {
	case $output in
	*"$1"*) fail "'$1' in: $output" ;;
	esac
}

# has LINE: among the lines of the last output.
has() {
	grep -qxF -e "$1" <<<"$output" || fail "no line '$1' in: $output"
}

# ---- HTTP ----

exporter_pid='' url=''
serve() {
	rm -f "$directory/where"
	mkfifo "$directory/where"
	"$EXPORTER" --listen "$1" >"$directory/where" 2>"$directory/complaints" </dev/null &
	exporter_pid=$!
	read -r -t 300 url <"$directory/where" && return
	cat "$directory/complaints"
	echo 'the exporter does not start'
	exit 1
}

serve_no_more() {
	local code
	kill -TERM "$exporter_pid"
	wait "$exporter_pid"
	code=$?
	exporter_pid=''
	equal 'exit code after SIGTERM' 0 "$code"
}

finish_exporter() {
	[ -z "$exporter_pid" ] || kill -KILL "$exporter_pid"
	finish
}
trap finish_exporter EXIT

# get METHOD PATH [ACCEPT]: $output is "STATUS CONTENT-TYPE", and the lines of the body.
get() {
	output=$(python3 - "$1" "$url" "$2" "${3:-}" <<-'END'
		import http.client, sys, urllib.parse
		method, url, path, accept = sys.argv[1:]
		connection = http.client.HTTPConnection(urllib.parse.urlparse(url).netloc, timeout=300)
		connection.request(method, path, headers={'Accept': accept} if accept else {})
		reply = connection.getresponse()
		print(reply.status, reply.headers['Content-Type'])
		sys.stdout.write(reply.read().decode())
	END
	)
}

# ---- every figure ----

start_daemon "{\"status\": [$STATUS]}"
exporter 0 --textfile -
has 'pagefuse_up 1'
has 'pagefuse_daemon_info{version="0.1.0",store="tmpfs"} 1'
has 'pagefuse_daemon_cpu_seconds_total 1.5'
has '# TYPE pagefuse_daemon_cpu_seconds_total counter'
has 'pagefuse_daemon_turn_max_seconds 0.0052'
has 'pagefuse_host_saved_bytes 167772160'
has 'pagefuse_host_store_full 0'
has 'pagefuse_host_vms 2'
has 'pagefuse_domain_saved_pages{domain="team"} 20480'
has 'pagefuse_memory_state{state="clear"} 1'
has 'pagefuse_memory_state{state="high"} 0'
has 'pagefuse_memory_threshold_bytes{state="soft"} 632836587'
has 'pagefuse_vm_info{domain="team",vm="db2",uuid="",mode="zero",pid="999999992",uid="1000"} 1'
has 'pagefuse_vm_shared_pages{domain="uid-0",vm="web1"} 25600'
has 'pagefuse_vm_busy_pages_total{domain="uid-0",vm="web1"} 3'
has 'pagefuse_vm_hold_p99_seconds{domain="team",vm="db2"} 0.00019'
has 'pagefuse_vm_refused_bytes{domain="team",vm="db2",reason="locked"} 2097152'
has 'pagefuse_vm_scanning{domain="team",vm="db2"} 1'
lacks '# EOF'
# Nothing of the document is left out: each number or truth of each object has a sample of its own.
for part in daemon host domain vm; do
	case $part in
	daemon | host) object=".$part" ;;
	*) object=".${part}s[0]" ;;
	esac
	fields=$(jq -r "$object"' | to_entries[] | select(.value | type | IN("number", "boolean")) | .key' <<<"$STATUS")
	for field in $fields; do
		case $part/$field in
		daemon/pid | vm/pid | vm/uid | vm/mode_kept | domain/vms) continue ;; # labels, and counted by them
		esac
		grep -qE "^pagefuse_${part}_${field/%_usec/_seconds}(_total)?[{ ]" <<<"$output" ||
			fail "nothing of $part's $field"
	done
done
# Each family once, its samples together.
repeated=$(grep '^# TYPE' <<<"$output" | sort | uniq -d)
equal 'families that are there twice' '' "$repeated"

# ---- names that want out ----

start_daemon "$(jq -c '{status: [.vms[0].name = "a\"} 1\npagefuse_up 0\n# EOF\n\\"]}' <<<"$STATUS")"
exporter 0 --textfile -
equal 'how often it is up' 'pagefuse_up 1' "$(grep '^pagefuse_up' <<<"$output")"
lacks $'\n# EOF'
prints 'vm="a\"} 1\npagefuse_up 0\n# EOF\n\\"'

# ---- as a file ----

start_daemon "{\"status\": [$STATUS]}"
exporter 0 --textfile "$directory/pagefuse.prom"
equal 'what it prints' '' "$output"
equal 'mode of the file' 644 "$(stat -c %a "$directory/pagefuse.prom")"
grep -qx 'pagefuse_up 1' "$directory/pagefuse.prom" || fail 'the file does not say that the daemon is up'
equal 'what is left beside it' pagefuse.prom "$(cd "$directory" && echo pagefuse.prom*)"
PAGEFUSE=$EXPORTER complains 1 'cannot write' --textfile "$directory/no/such/folder/pagefuse.prom"
stop_daemon
exporter 3 --textfile "$directory/pagefuse.prom"
grep -qx 'pagefuse_up 0' "$directory/pagefuse.prom" || fail 'the file does not say that the daemon is down'

# ---- over HTTP ----

start_daemon "{\"status\": [$STATUS]}"
serve 127.0.0.1:0
get GET /metrics
prints '200 text/plain; version=0.0.4'
has 'pagefuse_host_saved_pages 40960'
get GET /metrics 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1'
prints '200 application/openmetrics-text; version=1.0.0'
has '# TYPE pagefuse_daemon_cpu_seconds counter'
has 'pagefuse_daemon_cpu_seconds_total 1.5'
equal 'the last line' '# EOF' "$(tail -n 1 <<<"$output")"
get HEAD /metrics
equal 'lines after HEAD' 1 "$(wc -l <<<"$output")"
get GET /
prints /metrics
get GET /../../etc/passwd
prints 404
get POST /metrics
prints 405

# Whoever says nothing takes a place for a while, and no more than his own.
exec 5<>"/dev/tcp/127.0.0.1/$(grep -o '[0-9]*/metrics' <<<"$url" | grep -o '^[0-9]*')"
printf 'GET /metrics HTTP/1.1\r\n' >&5
get GET /metrics
prints 200
exec 5>&-

# It goes away, that is said once, and comes back.
stop_daemon
until get GET /metrics && grep -qx 'pagefuse_up 0' <<<"$output"; do :; done
get GET /metrics
start_daemon "{\"status\": [$STATUS]}"
until get GET /metrics && grep -qx 'pagefuse_up 1' <<<"$output"; do :; done
serve_no_more
equal 'complaints while it is away' 1 "$(grep -c 'no pagefused answers' "$directory/complaints")"
equal 'complaints when it is back' 1 "$(grep -c 'answers again' "$directory/complaints")"

if grep -q ' lo$' /proc/net/if_inet6 2>/dev/null; then # this host has IPv6
	serve '[::1]:0'
	case $url in
	'http://[::1]:'*) ;;
	*) fail "listens at $url" ;;
	esac
	get GET /metrics
	prints 200
	serve_no_more
fi

# ---- a daemon that refuses, or makes no sense ----

for reply in garbage not-json other-version close '{"error":{"code":"no-memory","message":"","value":""}}'; do
	start_daemon "{\"status\": [$(jq -c . <<<"$reply" 2>/dev/null || jq -Rc . <<<"$reply")]}"
	exporter 3 --textfile -
	has 'pagefuse_up 0'
	equal "complaints about $reply" 1 "$(wc -l <<<"$complaint")"
done

# ---- the command line ----

export PAGEFUSE=$EXPORTER
for place in '' x :1 1:2:3 127.0.0.1: 127.0.0.1:65536 '[::1]' '[::1' example.org:80 -1; do
	complains 2 "--listen '$place'" --listen "$place"
done
complains 2 'one of them' --listen 0 --textfile -
complains 2 "'x'" x
complains 2 --no-such --no-such
complains 2 'needs a value' --listen
run 0 --help
prints --textfile
run 0 --version
prints 0.1.0
end
