# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the kernels boot: one disk with the tests of a build folder and all that they load, at the paths that they have
# here; and an initramfs with each kernel's own modules. To be sourced.
#
#   root_tests BUILD SELECTION NAMES     the tests to run, as JSON of `meson introspect`. SELECTION: all, or quick;
#                                        NAMES: a regular expression
#   root_build BUILD SELECTION NAMES FOLDER    makes FOLDER/disk
#   root_initramfs KERNEL FOLDER   makes FOLDER/initramfs for a kernel that kernel_fetch has made

# Busybox has the others; it does not know all that is asked of these, and nothing can be preloaded into it.
ROOT_PROGRAMS=(bash sh jq setpriv unshare install rm find stat true)
ROOT_MODULES='virtio*.ko* ext4.ko* jbd2.ko* mbcache.ko* crc16.ko* crc32c*.ko* kvm.ko* kvm-amd.ko* irqbypass.ko*'
ROOT_MODULES+=' fuse.ko* overlay.ko*'
ROOT_DISK_MIB=1024 # the tests add swap files to it

# Pure logic, which is what is tested with cmocka and from a corpus, needs no kernel; scripts of Python look at files or
# at QEMU. Quick: no controls, which wait for damage by chance, one of them for ten minutes here; of the writers, who go
# on for long, few, and for a shorter time; nothing of the daemon, which asks little of a kernel that others do not.
root_tests() {
	local build=$1 selection=$2 names=$3 program
	meson introspect --tests "$build" | jq -c --arg selection "$selection" --arg names "$names" '
		.[] | (.suite | map(sub(".*:"; ""))) as $suites
		| select($suites | any(. == "safety" or . == "daemon" or . == "preload" or . == "system"))
		| select(.name | test($names) and (startswith("corpus-") | not))
		| select($selection != "quick" or
			(($suites | any(. == "control") | not) and (.env.PAGEFUSE_TEST_SECONDS == null or
				(.name | test("-(small|huge-age|swap)$"))) and ($suites | any(. == "daemon") | not)))
		| if $selection == "quick" then .env |= del(.PAGEFUSE_TEST_SECONDS) else . end
		| select(.cmd[0] | endswith(".py") | not)' | while IFS= read -r test; do
		program=$(jq -r '.cmd[0]' <<<"$test")
		ldd "$program" 2>/dev/null | grep -q libcmocka || printf '%s\n' "$test"
	done
}

# root_copy FOLDER FILE…: with the libraries that they load, to the same paths below FOLDER.
root_copy() {
	local folder=$1
	shift
	{
		printf '%s\n' "$@"
		# It fails for scripts, and says so of static programs.
		{ ldd "$@" 2>/dev/null || true; } | sed -nE 's|^[^/]*(/[^ ]+) \(0x.*|\1|p'
	} | sort -u | while read -r file; do
		mkdir -p "$folder${file%/*}" && cp -L "$file" "$folder$file" || return 1
	done
}

# One line for each test: the environment and the command, quoted for a shell.
root_list() {
	jq -r '"kernel_test \(.name | @sh) env \(.env | to_entries | map("\(.key)=\(.value)" | @sh) | join(" ")) " +
		(.cmd | map(@sh) | join(" "))'
}

# AppArmor's parser, and what profiles include: of this machine's release, as it loads its libc; without installing it.
# Where it is not to be had, the tests that need it are skipped.
root_apparmor() {
	local root=$1 packed=$2/apparmor
	mkdir -p "$packed" && (
		cd "$packed" && unset APT_CONFIG &&
			apt-get -qq -o APT::Sandbox::User=root download apparmor 2>/dev/null &&
			dpkg-deb -x apparmor_*.deb "$root"
	)
}

root_build() {
	local build=$1 selection=$2 names=$3 folder=$4 root=$4/root program path
	local -a files=()
	rm -rf "$root"
	mkdir -p "$root"/{bin,usr/bin,proc,sys,dev,tmp,run,etc,mnt} || return 1
	for program in "${ROOT_PROGRAMS[@]}"; do
		path=$(type -P "$program") || { echo "kernels: there is no $program here" >&2; return 1; }
		files+=("$path")
		[ "$path" = "/bin/$program" ] || ln -s "$path" "$root/bin/$program" || return 1
	done
	# libc loads this one when a thread ends by pthread_exit().
	files+=("$(realpath "$(gcc -print-file-name=libgcc_s.so.1)")")
	mapfile -t -O ${#files[@]} files < <(find "$build" -type f -perm -u+x ! -path '*.p/*' ! -path '*/meson-*')
	root_copy "$root" "${files[@]}" || return 1
	mkdir -p "$root$PWD" && cp -r tests packaging "$root$PWD/" || return 1
	root_apparmor "$root" "$folder" || echo "no AppArmor to be had from this machine's apt: not tried" >&2
	install -m 755 tests/kernels.d/inside.sh "$root/inside.sh"
	cp "$(command -v busybox)" "$root/bin/busybox"
	echo 'root:x:0:0::/:/bin/sh' >"$root/etc/passwd"
	root_tests "$build" "$selection" "$names" | root_list >"$root/list"
	[ ! -e "$build/tests/safety/safety-kvm" ] || echo "$build/tests/safety/safety-kvm" >"$root/kvm"
	[ -s "$root/list" ] || { echo "kernels: $build has no such tests" >&2; return 1; }
	rm -f "$folder/disk"
	mke2fs -q -t ext4 -m 0 -d "$root" "$folder/disk" "${ROOT_DISK_MIB}M" >/dev/null || return 1
	rm -rf "$root" "$folder/apparmor"
}

root_initramfs() {
	local kernel=$1 folder=$2 root=$2/initramfs.root version to pattern
	local -a names=()
	version=$(kernel_version "$kernel")
	to=$root/lib/modules/$version
	rm -rf "$root"
	mkdir -p "$root/bin" "$to" || return 1
	for pattern in $ROOT_MODULES; do
		names+=(-o -name "$pattern")
	done
	find "$kernel/modules/$version" -maxdepth 1 \( -name modules.order -o -name modules.builtin \) \
		-exec cp -t "$to" {} + || return 1
	find "$kernel/modules/$version" -type f \( "${names[@]:1}" \) -exec cp -t "$to" {} +
	find "$to" -name '*.xz' -exec xz -d {} + || return 1
	find "$to" -name '*.zst' -exec zstd -q -d --rm {} + || return 1
	cp "$(command -v busybox)" "$root/bin/busybox" || return 1
	"$root/bin/busybox" depmod -b "$root" "$version"
	install -m 755 tests/kernels.d/init "$root/init" || return 1
	(cd "$root" && find . | "$root/bin/busybox" cpio -o -H newc 2>/dev/null) >"$folder/initramfs" || return 1
	rm -rf "$root"
}
