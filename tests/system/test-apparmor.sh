#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# VMMs of a user without any privilege in profiles of AppArmor's. With the rules of the package they share, and nothing
# that is done in them is denied; without these rules they run on, with every byte, and doctor says that nothing is
# shared.
#
# usage: test-apparmor.sh BUILD
set -u -o pipefail
# shellcheck source=tests/support/supervised.sh
. "$(dirname "$0")/../support/supervised.sh"
cd "$(dirname "$0")/../.." || exit 1

for program in apparmor_parser aa-exec; do
	command -v "$program" >/dev/null || { echo "skipped: $program is not installed"; exit 77; }
done
[ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] ||
	{ echo "skipped: this kernel has no AppArmor, or it is off"; exit 77; }
[ -w /sys/kernel/security/apparmor/.load ] || { echo "skipped: no securityfs is mounted"; exit 77; }

build=$1
# shellcheck source=tests/system/vmms.sh
. tests/system/vmms.sh

UID_OF_VMMS=65534

kernel_can_share || { echo "skipped: this kernel cannot move pages by userfaultfd"; exit 77; }

at_end() {
	denied_with | tail -n 20 >&2
	apparmor_parser --remove "$RUN/profiles" 2>/dev/null
}

# The package's rules, for a daemon, a command and a preload that are elsewhere.
rules() {
	sed -e "s|/{var/,}run/pagefuse/|$DAEMON_DIR/|" -e "s|/usr/bin/pagefuse |$RUN/bin/pagefuse |" \
		packaging/apparmor/pagefuse
}

# What a VMM's own profile allows, as that of libvirt's domains does.
profile() { # NAME RULES
	printf 'profile %s flags=(attach_disconnected) {\n' "$1"
	printf '\tinclude <abstractions/base>\n'
	printf '\t%s/bin/{vmm,pagefuse} rix,\n\t%s/bin/*.so mr,\n\t%s/*.{in,out,err} rw,\n' "$RUN" "$RUN" "$RUN"
	printf '%s\n}\n' "$2"
}

load_profiles() {
	rules >"$RUN/rules"
	[ "$(grep -c -F -e "$DAEMON_DIR/" -e "$RUN/bin/" "$RUN/rules")" -eq 3 ] ||
		fail "the package's rules name other places than this test knows"
	{
		printf 'include <tunables/global>\n'
		profile pagefuse-test-with "$(<"$RUN/rules")"
		profile pagefuse-test-without ''
	} >"$RUN/profiles"
	guard command "apparmor_parser --remove $RUN/profiles"
	apparmor_parser --replace --skip-cache "$RUN/profiles" || fail "the parser does not take the profiles"
}

denied_with() {
	dmesg | grep 'apparmor="DENIED"' | grep -F 'profile="pagefuse-test-with"'
}

start_in_profile() { # PROFILE NAME
	VMM_LAUNCHER=(aa-exec -p "$1" -- "$RUN/bin/pagefuse" run --name "$2" --)
	vmm_start "$2" "$UID_OF_VMMS"
	[[ $(<"/proc/${VMM_PID[$2]}/attr/current") == "$1 (enforce)" ]] || fail "$2 is not in profile $1"
}

with_the_rules() {
	local before after
	before=$(denied_with | wc -l)
	start_in_profile pagefuse-test-with one
	start_in_profile pagefuse-test-with two
	"$PAGEFUSE" scan --wait >/dev/null || fail "scan"
	at_least "$(frames_shared one two)" $((2 * SAME_PAGES)) "pages shared by two VMMs in a profile"
	[ "$(vmm_ask one rewrite)" = written ] && [ "$(vmm_ask two rewrite)" = written ] || fail "write"
	"$PAGEFUSE" scan --wait >/dev/null || fail "scan"
	at_least "$(frames_shared one two)" $((2 * SAME_PAGES)) "pages shared after both have written"
	vmms_check one two
	[ "$(vmm_ask one withdraw)" = withdrawn ] && [ "$(vmm_ask one offer)" = offered ] || fail "offer"
	vmms_check one two
	after=$(denied_with | wc -l)
	[ "$after" -eq "$before" ] || fail "the kernel has denied $((after - before)) times what the VMMs wanted"
	vmm_end one
	vmm_end two
}

without_the_rules() {
	local answers
	answers=$(printf 'write\ncheck\nend\n' | "${AS[@]}" aa-exec -p pagefuse-test-without -- \
		"$RUN/bin/pagefuse" run --name without -- "$RUN/bin/vmm" without 2>"$RUN/without.err") ||
		fail "exit status $?"
	[ "$answers" = $'ready\nwritten\nright' ] || fail "the VMM answers $answers"
	[[ $(<"$RUN/without.err") == *"nothing of it is shared"* ]] || fail "nobody says that nothing is shared"
}

daemon_open "$build" '[scan]' 'interval_seconds = 0' '[access]' 'group = *' || exit 1
chmod 755 "$DAEMON_DIR"
load_profiles
with_the_rules
as "$UID_OF_VMMS"
without_the_rules
daemon_close || exit 1
echo "all right"
