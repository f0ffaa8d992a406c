#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Prints a document of `pagefuse report --json` of a host whose figures are made up, with so many VMs, 8 unless
# said: what the page of docs/report.md is made of.
#
# usage: tests/cli/report-document.sh [VMS] | build/cli/pagefuse report --from - --output report.html
jq -n --argjson count "${1:-8}" --slurpfile like "${0%/*}/status.json" '
	def mib: . * 256;         # pages
	def bytes: . * 4096;
	def sum(f): map(f) | add // 0;
	# The same for each run, and without a pattern that one sees.
	def noise($i; $most): (($i * 7919 + 104729) % 1013) * $most / 1013 | floor;
	["web", "web", "web", "db", "ci", "ci", "desktop", "web", "ci", "db"] as $kinds |
	[range($count) | . as $i | $kinds[$i % 10] as $kind | {i: $i, kind: $kind,
		name: "\($kind)\($i + 1)", ram: ({web: 2048, db: 4096, ci: 4096, desktop: 8192}[$kind]),
		shared: (({web: 700, db: 420, ci: 1150, desktop: 900}[$kind]) + noise($i; 260)),
		zero: noise($i + 3; 320), off: ($i % 10 == 6)}] as $all |
	($all | map(if .off then .shared = 0 else . end)) as $all |
	($like[0].vms[0]) as $vm |
	($all | map(. as $v | $vm + {name, domain: "uid-0", pid: (4000 + .i),
		mode: (if .off then "zero" else "full" end),
		ram_bytes: (.ram | mib | bytes), present_pages: ((.ram * 0.55 + .shared * 0.4) | floor | mib),
		shared_pages: (.shared | mib), zero_pages: (.zero | mib),
		saved_pages: ((.shared * 0.74 + .zero) | floor | mib), exposed_pages: (.shared + .zero | mib),
		diverged_pages: (noise(.i + 5; 60) | mib), would_save_pages: 0,
		refused: (if .kind == "db" then [{reason: "locked", text: "locked by mlock or mlockall",
			bytes: (256 | mib | bytes)}] else [] end)})) as $vms |
	($vms | sum(.shared_pages)) as $shared | ($vms | sum(.zero_pages)) as $zero |
	($shared * 0.26 | floor) as $common |
	($like[0] | .vms = $vms |
		.host += {shared_pages: $shared, common_pages: $common, zero_pages: $zero,
			saved_pages: ($shared - $common + $zero), saved_bytes: ($shared - $common + $zero | bytes),
			exposed_pages: ($shared + $zero), store_bytes: ($common | bytes),
			overhead_bytes: (48 | mib | bytes)} |
		.daemon += {uptime_seconds: 273600.5, cpu_seconds: 512.4} |
		.memory += {state: "high", free_bytes: (9200 | mib | bytes), swap_free_bytes: (4096 | mib | bytes)} |
		.domains = (.domains[0:1] | map(. + {vms: $count}))) as $status |
	[$all[] as $a | $all[] | select(.i > $a.i and .off == false and $a.off == false) |
		((if .kind == $a.kind then 0.8 else 0.35 end) * ([.shared, $a.shared] | min) +
			noise(.i * 31 + $a.i; 40) | floor | mib) as $pages |
		{names: [$a.name, .name], domain: "uid-0", common_pages: $pages,
			shared_pages: ($pages * 0.9 | floor)}] as $pairs |
	def figures: {ram_bytes: .ram_bytes, present_pages: .present_pages,
		looked_pages: (if .mode == "zero" then 0 else .present_pages end),
		shared_pages: .shared_pages, zero_pages: .zero_pages,
		would_zero_pages: (if .mode == "zero" then 0 else (6 | mib) end),
		would_share_pages: (if .mode == "zero" then (810 | mib) else (22 | mib) end)} |
		.would_save_pages = .would_share_pages + .would_zero_pages;
	($vms | map(figures + {name, domain, mode, estimated: true, looked_seconds: 41.5})) as $estimated |
	def rows: [["disk-image", "/images/debian-13.qcow2", 0.34], ["kernel", "Linux 6.12.48", 0.16],
		["program", "/usr/lib/x86_64-linux-gnu/libLLVM.so.19.1", 0.11],
		["program", "/usr/lib/postgresql/17/bin/postgres", 0.06],
		["file", "/usr/lib/locale/locale-archive", 0.04],
		["program", "/usr/lib/x86_64-linux-gnu/libc.so.6", 0.03],
		["file", "/var/cache/apt/pkgcache.bin", 0.02]];
	[rows[] as [$kind, $what, $part] | ($shared * $part | floor) as $pages | select($pages > 0) |
		{kind: $kind, label: $what, vms: $count, pages: ($pages * 1.2 | floor), shared_pages: $pages,
			saved_pages: ($pages * 0.74 | floor)}] as $modules |
	def sums: {pages: sum(.pages), shared_pages: sum(.shared_pages), saved_pages: sum(.saved_pages)};
	def curve($i; $count; $full): $full * (1 - pow(0.97; $i)) * (1 - noise($i; 6) / 100) | floor;
	{report: 1, title: "Page sharing on vmhost3", host_name: "vmhost3", version: "0.1.0", time: 1764244800,
	 status: $status,
	 samples: (if $count == 0 then [] else
		[{object: "host", host: true, metric: "RAM/VMM/Saved", unit: "kB", period: 360,
			values: [range(240) | curve(.; 240; $status.host.saved_pages * 4)]},
		 {object: "host", host: true, metric: "RAM/VMM/Used", unit: "kB", period: 360,
			values: [range(240) | ($vms | sum(.ram_bytes)) / 1024 * 0.62 -
				curve(.; 240; $shared * 3) | floor]}] +
		[$vms[] | . as $v | select(.shared_pages > 0) | {object: .name, host: false,
			metric: "Guest/RAM/Usage/Shared", unit: "kB", period: 360,
			values: [range(60) | curve(. + ($v.pid % 7); 60; $v.shared_pages * 4)]}] end),
	 estimate: {domains: (if $count == 0 then [] else [{name: "uid-0", age_seconds: 1.2, vms: $count,
			pair_vms: $count, one_in: 1, common_pages: $common, saved_pages: $status.host.saved_pages} +
			(["ram_bytes", "present_pages", "looked_pages", "shared_pages", "zero_pages",
				"would_share_pages", "would_zero_pages", "would_save_pages"] |
				map(. as $figure | {($figure): ($estimated | sum(.[$figure]))}) |
				add)] end), vms: $estimated,
		pairs: ($pairs | sort_by(-.common_pages, .names) | .[0:1000]),
		pairs_left_out: ([($pairs | length) - 1000, 0] | max)},
	 modules: {vms: $count, vms_with_agent: ($count / 2 | floor), vms_with_images: $count,
		shared_pages: ($shared + $zero), named: ($modules | sums), modules_count: ($modules | length),
		rest: {pages: 0, shared_pages: 0, saved_pages: 0}, modules: $modules},
	 doctor: (([$vms[] | select(.refused != []) | {severity: "warning", subject: "locked", vm: .name,
			text: "256M of its memory are left alone: locked by mlock or mlockall",
			remedy: "Start the VM without -overcommit mem-lock=on and without realtime locking."}] +
		[$vms[] | select(.mode == "zero") | {severity: "note", subject: "mode", vm: .name,
			text: "it is in mode zero: only pages full of zeros are given back",
			remedy: "pagefuse modifyvm --mode full shares all of it."}] +
		[{severity: "note", subject: "swap", vm: null,
			text: "no swap: in VMs with direct I/O, shared pages that were written stay private for good",
			remedy: "Configure some swap, for instance 64 MiB of zram: hardly any of it will be in use."
		}]) |
		{errors: 0, warnings: (map(select(.severity == "warning")) | length), findings: .})}'
