#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# report makes a page of what other commands tell, which nothing that somebody is called can change, and writes it
# at once.
# shellcheck source=tests/cli/support.sh
. "${0%/*}/support.sh"
here=${0%/*}
page=$directory/page.html document=$directory/document.json

# are_fine [--like OTHER-PAGE] PAGE...
are_fine() {
	local faults
	faults=$("$here/report-page.py" "$@") || fail "$faults"
}

# ---- the page, from documents

"$here/report-document.sh" >"$document"
run 0 report --from "$document" --output "$page"
cmp -s "$page" "$here/report.html" ||
	fail "it is not as tests/cli/report.html: $(diff "$here/report.html" "$page" | head -n 20)"
output=$(cat "$page")
prints '<title>Page sharing on vmhost3</title>'
prints '/usr/lib/postgresql/17/bin/postgres'
cp "$page" "$directory/like.html"
for count in 0 1 50; do
	"$here/report-document.sh" "$count" | "$PAGEFUSE" report --from - >"$directory/with-$count-vms" ||
		fail "with $count VMs"
done
are_fine "$page" "$directory"/with-*
run 0 report --from "$document" --json
equal 'the document' "$(jq -S . "$document")" "$(jq -S . <<<"$output")"
run 0 report --from "$document" --title 'Rack 7 <b>' --output -
prints '<h1>Rack 7 &lt;b&gt;</h1>'

# Where nothing is sampled the page says how to begin.
jq '.samples = []' "$document" >"$directory/unsampled.json"
run 0 report --from "$directory/unsampled.json"
prints '<code>pagefuse metrics setup --period 360 --samples 240 &#39;*&#39;'
prints ' &#39;*/Shared,RAM/VMM/Saved,RAM/VMM/Used&#39;</code>'

# What is not covered, held, or not told.
jq '.status.host += {uncovered_bytes: 1073741824, exposure_held_vms: 2} |
	.status.memory.exposure_max_bytes = 4294967296 |
	(.estimate | .domains, .vms)[].would_save_pages = null | .doctor.errors = 3 | .status.memory.error = "gone" |
	.status.domains += .status.domains' "$document" >"$directory/short.json"
run 0 report --from "$directory/short.json" --output "$page"
are_fine "$page"
output=$(cat "$page")
for part in '1 GiB of it is not covered' 'Nothing new is shared of 2 of the VMs' 'Limit (exposure_max)' 'not told' \
	'Errors' 'There are no new figures: gone' 'By domain'; do
	prints "$part"
done

# ---- names of others

EVIL='"'"'"'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;b>]]><!--</style></svg>'
EVIL+='\u202e\u2066\u001b\u0085\ufffe'
jq --argjson evil "\"${EVIL//\"/\\\"}\"" 'def words: ["host", "RAM/VMM/Saved", "RAM/VMM/Used",
		"Guest/RAM/Usage/Shared", "error", "warning", "note", "high"];
	walk(if type == "string" and ([. == words[]] | any | not) then . + $evil else . end)' \
	"$document" >"$directory/evil.json"
run 0 report --from "$directory/evil.json" --output "$page"
are_fine --like "$directory/like.html" "$page"
output=$(cat "$page")
prints 'web1&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;'
prints '\u202e\u2066\u001b\u0085\ufffe'
# The control: without escaping the judge finds each of these.
mv "$page" "$directory/evil.html"
for what in 's/&lt;img src=x onerror=alert(1)&gt;/<img src="x"\/>/' \
	's/&lt;script&gt;alert(1)&lt;\/script&gt;/<script\/>/' \
	's/<bdi>web1&quot;/<bdi onclick="x">/' 's/\\u202e/\xe2\x80\xae/' 's/&amp;lt;b&gt;/<b\/>/' 's/&lt;/</g'; do
	sed "$what" "$directory/evil.html" >"$page"
	cmp -s "$page" "$directory/evil.html" && fail "the control changes nothing: $what"
	"$here/report-page.py" --like "$directory/like.html" "$page" >/dev/null 2>&1 &&
		fail "the judge is blind for: $what"
done

# Figures that nobody has, those of another kind, and parts that are missing.
jq 'walk(if type == "number" then "NUMBER" else . end) | .report = 1' "$document" >"$directory/numbers.json"
for number in 9223372036854775807 -9223372036854775808 1e308 -1 '"x"' null '[]' '{}' true; do
	sed "s/\"NUMBER\"/$number/" "$directory/numbers.json" >"$directory/odd.json"
	run 0 report --from "$directory/odd.json" --output "$directory/all-are-$number"
done
for part in samples estimate.vms estimate.pairs modules.modules doctor.findings status.host status.memory title; do
	jq "del(.$part)" "$document" >"$directory/odd.json"
	run 0 report --from "$directory/odd.json" --output "$directory/without-$part"
done
are_fine "$directory"/all-are-* "$directory"/without-*

# ---- from a daemon

metric() { # OBJECT HOST METRIC VALUES ENABLED
	printf '{"object": "%s", "host": %s, "metric": "%s", "values": %s, "enabled": %s,
		"period": 60, "samples": 9}' "$@"
}
METRICS="{\"metrics\": [$(metric web1 false Guest/RAM/Usage/Shared '[4, 8, 12]' true),
	$(metric db2 false Guest/RAM/Usage/Shared '[5]' false), $(metric host true RAM/VMM/Saved '[100, 90]' true),
	$(metric host true RAM/VMM/Used '[7]' false)]}"
ESTIMATE=$(jq -c '.estimate + {finished: true, since: 5}' "$document")
MODULES=$(jq -c .modules "$document")
start_daemon "{\"status\": [$STATUS], \"metrics\": [$METRICS], \"modules\": [$MODULES],
	\"estimate\": [{\"finished\": false, \"since\": 5, \"done_pages\": 0, \"total_pages\": 9}, $ESTIMATE]}"
run 0 report --json
json '.report == 1 and .version != "" and .time > 1e9 and .title == "Page sharing on \(.host_name)"'
json '.status.vms | map(.name) == ["web1", "db2"]'
json '.samples | map([.object, .host, .metric, .unit, .period, .values]) ==
	[["host", true, "RAM/VMM/Saved", "kB", 60, [100, 90]],
	 ["web1", false, "Guest/RAM/Usage/Shared", "kB", 60, [4, 8, 12]]]'
json '(.estimate | has("since") | not) and (.modules.modules | length) == 7'
json '.doctor.findings | any(.vm == "db2" and .subject == "locked")'
equal 'the status' "$(jq -S . <<<"$STATUS")" "$(jq -S .status <<<"$output")"
equal 'the requests' '{"command":"status"}
{"command":"metrics","object":"*","metrics":["RAM/VMM/Used","RAM/VMM/Saved","Guest/RAM/Usage/Shared"]}
{"command":"estimate","names":[],"pairs":1000,"look":false}
{"command":"estimate","names":[],"pairs":1000,"look":false,"since":5}
{"command":"modules","most":1000}' "$(cat "$directory/requests")"
printf '%s\n' "$output" >"$document"
run 0 report
prints '<bdi>web1</bdi>'
prints 'locked by mlock or mlockall'
run 0 report --output "$page"
are_fine "$page"

# ---- writing it

chmod 600 "$page"
(umask 027 && "$PAGEFUSE" report --output "$page") || fail 'a file that is there'
equal 'mode of the new file' 640 "$(stat -c %a "$page")"
equal 'files' "$page" "$(echo "$page"*)"
complains 1 "$directory/no/page: No such file or directory; name a file in a folder" \
	report --output "$directory/no/page"
complains 1 'that is a folder; name a file in it' report --output "$directory"
ln -s "$page" "$directory/link"
complains 1 'that is a symbolic link' report -o "$directory/link"
mkfifo "$directory/fifo"
complains 1 'that is no ordinary file' report -o "$directory/fifo"
cp "$page" "$directory/before"
if [ -w /dev/full ]; then
	"$PAGEFUSE" report >/dev/full 2>"$directory/complaint"
	equal 'exit code with standard output full' 1 $?
fi
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
	seen=$(script -qec "'$PAGEFUSE' report" /dev/null </dev/null) && fail 'a terminal is taken'
	[[ $seen == *'the page is not for a terminal; give --output FILE, or -'* ]] || fail "in a terminal: $seen"
	seen=$(script -qec "'$PAGEFUSE' report --output -" /dev/null </dev/null) || fail "nothing in a terminal: $seen"
	[[ $seen == *'</html>'* ]] || fail "no source in a terminal: $seen"
fi

# ---- what goes wrong

start_daemon "{\"status\": [$STATUS], \"metrics\": [$METRICS], \"modules\": [\"close\"], \"estimate\": [$ESTIMATE]}"
complains 3 'has closed the connection' report --output "$page"
cmp -s "$page" "$directory/before" || fail 'a failure has changed the file'
stop_daemon
complains 3 'no pagefused answers' report
complains 1 "$directory/none: No such file or directory; --from takes a file" report --from "$directory/none"
for text in '' '[]' '{"status": {}}' '{"report": 2}' \
	'{"report": 1, "status": {}, "estimate": {}, "modules": {}, "doctor": {}}' \
	$'{"report": 1, "title": "\xff"}' '{"report": 1, "report": 1}'; do
	printf '%s' "$text" >"$directory/odd.json"
	complains 1 'has written' report --from "$directory/odd.json"
done
complains 2 "'web1': report takes no argument" report web1
complains 2 "--title ''" report --title ''
complains 2 'of UTF-8' report --title $'\xff'
complains 2 'of UTF-8' report --title "$(printf '%0201d' 0)"
complains 2 "--output ''" report --output ''
end
