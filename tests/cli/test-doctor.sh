#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# doctor shows findings in both forms, and its exit code says whether one is an error. The judgement itself is tested in
# test-host-checks.c and test-vm-checks.c.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"

# Names that no QEMU of another test has: doctor looks at all of the host's.
web=web1-$$ db=db2-$$ stray=stray-$$
STATUS=${STATUS//web1/$web}
STATUS=${STATUS//db2/$db}

# Errors of this host are beside the point: they are the same in both runs.
"$PAGEFUSE" doctor --json >"$directory/alone" 2>&1
host=$?
jq -e '.findings | any(.subject == "daemon" and .severity == "warning" and .vm == null)' \
	"$directory/alone" >/dev/null ||
	fail "no word of the missing daemon: $(cat "$directory/alone")"
equal 'exit code follows errors' "$host" "$(jq 'if .errors > 0 then 1 else 0 end' "$directory/alone")"

start_daemon "{\"status\": [$STATUS]}"
run "$host" doctor --json
json '.findings | any(.vm == "'$db'" and .subject == "locked" and .severity == "warning" and (.text | test("2M")))'
json '.findings | any(.vm == "'$db'" and .subject == "map-limit" and (.remedy | test("vm.max_map_count=131072")))'
json '.findings | any(.vm == "'$db'" and .subject == "mode" and .severity == "note")'
json '.findings | all(.vm != "'$web'")'
json '.findings | all(has("severity") and has("subject") and has("vm") and has("text") and has("remedy"))'
json '(.findings | map(select(.severity == "warning")) | length) == .warnings'

run "$host" doctor
prints "warning: $db: 2M of its memory are left alone: locked by mlock or mlockall"
prints '    Start the VM without -overcommit mem-lock=on'

run "$host" doctor --json "$web"
json '.findings | all(.vm == null)'

# A VM none of whose memory can take part is an error.
start_daemon "$(jq -c '{status: [.vms |= [.[1] | .ram_bytes = 0]]}' <<<"$STATUS")"
run 1 doctor --json "$db"
json '.errors >= 1 and (.findings | any(.severity == "error" and .subject == "locked"))'

start_daemon "$(jq -c '{status: [.daemon.store = "memfd" | .daemon.version = "0.0.1"]}' <<<"$STATUS")"
run "$host" doctor --json
json '.findings | any(.subject == "store") and any(.subject == "version" and (.text | test("0.0.1")))'

start_daemon "$(jq -c '{status: [.host.uncovered_bytes = 9437184 | .vms[0].exposure_held = true |
	.vms[0].exposure_held_pages = 7]}' <<<"$STATUS")"
run "$host" doctor --json
json '.findings | any(.subject == "uncovered" and .vm == null and (.text | test("210M, of which 9M are not free")))'
json '.findings | any(.subject == "exposure" and .vm == "'$web'" and (.text | test("exposure_max: 7 times")))'

# A QEMU without the preload is found by name.
cat >"$directory/qemu-system-fake" <<'END'
#!/bin/sh
echo started
read -r line
END
chmod +x "$directory/qemu-system-fake"
mkfifo "$directory/out" "$directory/in"
# A process can be called anything, a VM cannot: its name is made to fit.
# The name that counts is the process's first argument; the shell's own would be that of its interpreter.
bash -c 'exec -a qemu-system-fake sh "$0" -name "guest=$1" -machine pc,mem-merge=off' \
	"$directory/qemu-system-fake" "$stray"$'\xe9' >"$directory/out" <"$directory/in" &
stray_pid=$!
exec 7<"$directory/out" 8>"$directory/in" # in the order in which it opens them
read -r -t 300 <&7 || fail 'the stray QEMU does not start'
run 1 doctor --json "${stray}_"
json '.findings | any(.vm == "'$stray'_" and .severity == "error" and .subject == "preload-missing")'
json '.findings | any(.vm == "'$stray'_" and .subject == "mem-merge")'
run "$host" doctor --json
json '.findings | any(.vm == "'$stray'_" and .severity == "warning" and .subject == "preload-missing")'
exec 8>&-
wait "$stray_pid"
end
