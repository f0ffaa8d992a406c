#!/bin/busybox sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=dash
# Runs the tests of /list on the kernel under test, and says on the serial line what became of them:
#   kernel-test begin NAME
#   kernel-test end NAME pass|fail|skip SECONDS REASON
/bin/busybox --install -s /bin
export PATH=/usr/bin:/usr/sbin:/bin:/sbin HOME=/
chmod 755 /
chmod 1777 /tmp
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -s /proc/self/fd /dev/fd
mount -t cgroup2 cgroup /sys/fs/cgroup && echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
ip link set lo up 2>/dev/null
echo "kernel-test kernel $(uname -r)"

uptime_seconds() {
	cut -d . -f 1 /proc/uptime
}

kernel_test() {
	name=$1 begin=$(uptime_seconds)
	shift
	echo "kernel-test begin $name"
	"$@" >/output 2>&1 </dev/null
	status=$?
	reason='' outcome=fail
	case $status in
	0) outcome=pass ;;
	77) outcome=skip reason=$(grep . /output | tail -n 1 | cut -c 1-300) reason=${reason#skipped: } ;;
	*)
		reason="exit status $status"
		tail -n 60 /output | sed 's/^/| /'
		;;
	esac
	echo "kernel-test end $name $outcome $(($(uptime_seconds) - begin)) $reason"
}

# With the first virtual machine and the last one KVM has the kernel patch its own code, in the scheduler too. QEMU's
# CPUs, which are threads, do not always survive that, or lose their way. So there is one all the time.
if [ -s /kvm ] && [ -e /dev/kvm ]; then
	"$(cat /kvm)" --hold 2>/dev/null &
	sleep 1
fi

# shellcheck disable=SC1091 # made by root.sh: calls of kernel_test
. /list
echo "kernel-test done"
