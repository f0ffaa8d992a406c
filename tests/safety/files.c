/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an open file allows: each kind in a process of its own, which then may have pinned memory, or may not, or may
 * have pinned it for longer than a request, or may even have taken plain references. What is unknown counts as the
 * worst.
 *
 * --only NAME   only that kind
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_alg.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#endif
#include <linux/magic.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library/files.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"

#define NOT_HERE 3   /* exit status: files of that kind are not to be had */
#define CHANGING 5u  /* files that have a number by turns */
#define LOOKS 10000u /* while they have */

enum { NOTHING,
       PINS,
       LASTING_PINS,
       REFERENCES,
       ABSENT };

static int temporary(int flags)
{
	char path[] = "pagefuse-files-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC | flags);

	if (fd >= 0)
		unlink(path);
	return fd;
}

static bool is_of(int fd, unsigned long type)
{
	struct statfs fs;

	return fd >= 0 && fstatfs(fd, &fs) == 0 && (unsigned long)fs.f_type == type;
}

static bool is_on_disk(int fd)
{
	return is_of(fd, EXT4_SUPER_MAGIC) || is_of(fd, XFS_SUPER_MAGIC) || is_of(fd, BTRFS_SUPER_MAGIC);
}

/* ---- what copies ---- */

static int ordinary(void)
{
	int fd = temporary(0);

	if (!is_on_disk(fd) && !is_of(fd, TMPFS_MAGIC))
		return ABSENT; /* the working directory is on something that is not known */
	return NOTHING;
}

static int memory_files(void)
{
	test_check(memfd_create("pagefuse", MFD_CLOEXEC) >= 0, "memfd_create: %s", strerror(errno));
	return NOTHING;
}

static int of_the_kernel(void)
{
	test_check(open("/proc/self/maps", O_RDONLY) >= 0 && open("/sys/kernel", O_RDONLY) >= 0, "open");
	test_check(open("/dev/null", O_RDWR) >= 0 && open("/dev/zero", O_RDWR) >= 0,
		   "open");
	return NOTHING;
}

static int events(void)
{
	sigset_t none;
	int pipes[2];

	sigemptyset(&none);
	test_check(eventfd(0, 0) >= 0 && epoll_create1(0) >= 0 && timerfd_create(CLOCK_MONOTONIC, 0) >= 0 &&
			   signalfd(-1, &none, 0) >= 0 && pipe(pipes) == 0 && syscall(SYS_pidfd_open, getpid(), 0) >= 0,
		   "%s", strerror(errno));
	return NOTHING;
}

static int sockets(void)
{
	int pair[2];

	test_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && socket(AF_NETLINK, SOCK_RAW, 0) >= 0, "socket: %s",
		   strerror(errno));
	socket(AF_INET, SOCK_STREAM, 0); /* as far as this machine has them */
	socket(AF_INET6, SOCK_DGRAM, 0);
	return NOTHING;
}

static atomic_uint looks; /* LOOKS: that was enough */

/** One number leads to one harmless file after the other; to another one in each look, at any moment of it. */
static void *exchange(void *numbers)
{
	const int *number = numbers;
	uint64_t random = test_seed(1);

	for (unsigned i = 1, seen = 0; seen < LOOKS; i = i % CHANGING + 1) {
		while (atomic_load(&looks) == seen)
			sched_yield();
		seen = atomic_load(&looks);
		for (uint64_t wait = test_random(&random) % 4096; wait > 0; wait--)
			atomic_load(&looks);
		test_check(number[i] < 0 || dup2(number[i], number[0]) == number[0], "dup2: %s", strerror(errno));
	}
	return NULL;
}

/** Numbers that are given to other files while they are looked at: of none of these there is anything to be feared. */
static int changing(void)
{
	int numbers[1 + CHANGING], pair[2];
	pthread_t thread;
	bool kvm;

	test_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair: %s", strerror(errno));
	numbers[0] = dup(pair[0]);
	numbers[1] = pair[1];
	numbers[2] = memfd_create("pagefuse", 0);
	numbers[3] = open("/dev/userfaultfd", O_RDWR);
	numbers[4] = eventfd(0, 0);
	numbers[5] = open("/dev/null", O_RDWR);
	test_check(pthread_create(&thread, NULL, exchange, numbers) == 0, "no thread");
	for (unsigned i = 0; i < LOOKS; i++) {
		atomic_fetch_add(&looks, 1);
		test_check(files_look(&kvm) == 0, "not everything could be looked at");
	}
	pthread_join(thread, NULL);
	return NOTHING;
}

static int written_only(void)
{
	return open("/dev/null", O_WRONLY) >= 0 && open("/", O_PATH) >= 0 ? NOTHING : ABSENT;
}

/* ---- what pins ---- */

/** On a file system that is not known to pin it would count as even worse. */
static int direct(void)
{
	int fd = temporary(O_DIRECT);

	if (is_of(fd, TMPFS_MAGIC))
		return ABSENT;
	return is_on_disk(fd) ? PINS : ABSENT;
}

static int direct_and_gone(void)
{
	int result = direct(), fd = result == PINS ? temporary(O_DIRECT) : -1;

	if (result != PINS)
		return ABSENT;
	files_note(fd, false); /* as the preload does */
	for (int i = 3; i < 64; i++)
		close(i);
	return PINS;
}

static int direct_later(void)
{
	int fd = temporary(0);

	if (!is_on_disk(fd))
		return ABSENT;
	files_note(fd, true);
	return PINS;
}

static int result_of_thread;
static pthread_barrier_t opened;

static void *open_in_own_table(void *unused)
{
	test_check(unshare(CLONE_FILES) == 0, "unshare: %s", strerror(errno));
	result_of_thread = direct();
	pthread_barrier_wait(&opened);
	for (;;)
		pause();
	return unused;
}

static int in_another_table(void)
{
	pthread_t thread;

	pthread_barrier_init(&opened, NULL, 2);
	test_check(pthread_create(&thread, NULL, open_in_own_table, NULL) == 0, "no thread");
	pthread_barrier_wait(&opened);
	return result_of_thread;
}

/** However few descriptors are free, which the look itself needs some of. */
static int in_another_table_without_descriptors(void)
{
	int expected = in_another_table(), first_free = dup(0);
	struct rlimit limit, few;

	test_check(first_free >= 0 && close(first_free) == 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0, "%s",
		   strerror(errno));
	few = limit;
	for (few.rlim_cur = (rlim_t)first_free; !files_pins_noted(); few.rlim_cur++) {
		test_check(few.rlim_cur <= limit.rlim_cur && setrlimit(RLIMIT_NOFILE, &few) == 0, "%s",
			   strerror(errno));
		if (!files_may_pin())
			test_damage("with %d free descriptors a thread's file is not seen",
				    (int)few.rlim_cur - first_free);
	}
	test_check(setrlimit(RLIMIT_NOFILE, &limit) == 0, "%s", strerror(errno));
	return expected;
}

static void *expect_alone(void *unused)
{
	static bool kvm;

	while (access("/proc/self/fd/0", F_OK) == 0) /* the first thread's */
		sched_yield();
	files_look(&kvm);
	_exit(files_may_pin() ? 0 : 1);
	return unused;
}

/** The first thread has left: what /proc/self says is empty from then on. */
static int without_first_thread(void)
{
	pthread_t thread;

	if (direct() != PINS || access("/proc/self/fd/0", F_OK) != 0)
		return ABSENT;
	test_check(pthread_create(&thread, NULL, expect_alone, NULL) == 0, "no thread");
	pthread_exit(NULL);
}

static int crypto(void)
{
	struct sockaddr_alg name = { .salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha256" };
	int fd = socket(AF_ALG, SOCK_SEQPACKET, 0);

	return fd >= 0 && bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0 ? LASTING_PINS : ABSENT;
}

static int block_device(void)
{
	static const char *const names[] = { "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop0" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (open(names[i], O_RDONLY) >= 0)
			return PINS;
	return ABSENT;
}

/** Not on the list of those that copy. */
static int unknown_device(void)
{
	return open("/dev/fuse", O_RDWR) >= 0 || open("/dev/hpet", O_RDONLY) >= 0 ? LASTING_PINS : ABSENT;
}

#ifdef HAVE_LIBURING
static struct io_uring ring;

static int plain_ring(void)
{
	return io_uring_queue_init(4, &ring, 0) == 0 ? NOTHING : ABSENT;
}

/** Nobody has taken what is done, and the kernel lists it before it tells what is registered. */
static int busy_ring(void)
{
	if (io_uring_queue_init(64, &ring, 0) != 0)
		return ABSENT;
	for (unsigned i = 0; i < 100; i++) {
		io_uring_prep_nop(io_uring_get_sqe(&ring));
		test_check(io_uring_submit(&ring) == 1, "io_uring_submit");
	}
	return NOTHING;
}

/** Asks the ring what it can do, which reads that memory with the lock held. */
static void *lock_ring(void *memory)
{
	syscall(SYS_io_uring_register, ring.ring_fd, IORING_REGISTER_PROBE, memory, 1);
	return NULL;
}

struct lock_holder {
	int faults; /* a userfaultfd, of the memory that the holder waits for */
	uint64_t memory;
	pthread_t thread;
};

static void let_lock_go(const struct lock_holder *holder)
{
	struct uffdio_zeropage zeros = { .range = { holder->memory, PAGE_BYTES } };

	test_check(ioctl(holder->faults, UFFDIO_ZEROPAGE, &zeros) == 0 && pthread_join(holder->thread, NULL) == 0,
		   "%s", strerror(errno));
}

static bool ring_tells(void)
{
	char path[64], text[4096];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ring.ring_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	test_check(length >= 0, "%s: %s", path, strerror(errno));
	close(fd);
	text[length] = 0;
	return strstr(text, "UserBufs:") != NULL;
}

/** @return whether somebody has the ring's lock from now on, and it does not tell what it has: older kernels do. */
static bool hold_lock(struct lock_holder *holder)
{
	void *memory = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register registration = { .range = { (uint64_t)memory, PAGE_BYTES },
						.mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	struct uffd_msg fault;

	holder->memory = (uint64_t)memory;
	holder->faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (plain_ring() == ABSENT || holder->faults < 0)
		return false;
	test_check(ioctl(holder->faults, UFFDIO_API, &api) == 0 &&
			   ioctl(holder->faults, UFFDIO_REGISTER, &registration) == 0 &&
			   pthread_create(&holder->thread, NULL, lock_ring, memory) == 0 &&
			   read(holder->faults, &fault, sizeof(fault)) == sizeof(fault),
		   "a ring's lock is not held: %s", strerror(errno));
	if (!ring_tells())
		return true;
	let_lock_go(holder);
	return false;
}

/** The ring tells nothing while a hold looks at it: it may pin as long as that lasts, and not a look longer. */
static int locked_ring(void)
{
	struct lock_holder holder;

	if (!hold_lock(&holder))
		return ABSENT;
	if (!files_may_pin())
		test_damage("a ring whose lock is held counts as one that does not pin");
	let_lock_go(&holder);
	return NOTHING;
}

/** Nor does it after the worker has waited: what it has registered may be gone before it tells. */
static int long_locked_ring(void)
{
	struct lock_holder holder;
	bool kvm;

	if (!hold_lock(&holder))
		return ABSENT;
	test_check(files_look(&kvm) == 0, "a ring whose lock is held keeps the process from sharing at all");
	close(ring.ring_fd);
	let_lock_go(&holder);
	return LASTING_PINS;
}

static int received_locked_ring(void)
{
	struct lock_holder holder;

	if (!hold_lock(&holder))
		return ABSENT;
	files_note(ring.ring_fd, false);
	close(ring.ring_fd);
	let_lock_go(&holder);
	return LASTING_PINS;
}

static int fixed_buffers(void)
{
	static _Alignas(4096) char buffer[4096];
	struct iovec vector = { buffer, sizeof(buffer) };

	if (plain_ring() == ABSENT)
		return ABSENT;
	test_check(io_uring_register_buffers(&ring, &vector, 1) == 0, "io_uring_register_buffers");
	test_check(pages_pinned() == 0 || files_pins_may_last(), "pins that the kernel counts are not seen");
	return LASTING_PINS;
}

/** No descriptor leads to the ring any more; what it has pinned is counted, but by 7.2 and newer. */
static int hidden_ring(void)
{
	if (fixed_buffers() == ABSENT || io_uring_register_ring_fd(&ring) != 1 || pages_pinned() == 0)
		return ABSENT;
	close(ring.ring_fd);
	return LASTING_PINS;
}

static int registered_file(void)
{
	int fd = temporary(0);

	if (plain_ring() == ABSENT || fd < 0)
		return ABSENT;
	test_check(io_uring_register_files(&ring, &fd, 1) == 0, "io_uring_register_files");
	close(fd);
	return LASTING_PINS;
}
#endif

/* ---- what cannot be known ---- */

/** In a mount namespace of this process's own, over a folder that every system has. */
static int overlay(void)
{
	if (unshare(CLONE_NEWNS) != 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("pagefuse-test", "/mnt", "tmpfs", 0, NULL) != 0)
		return ABSENT;
	mkdir("/mnt/lower", 0700);
	mkdir("/mnt/upper", 0700);
	mkdir("/mnt/work", 0700);
	mkdir("/mnt/all", 0700);
	if (mount("pagefuse-test", "/mnt/all", "overlay", 0,
		  "lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work") != 0)
		return ABSENT;
	return open("/mnt/all/file", O_CREAT | O_RDWR | O_DIRECT, 0600) >= 0 ? REFERENCES : ABSENT;
}

/** The kernel may have no TLS, or no network here. */
static int decrypting(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

	if (listener < 0 || fd < 0 || listen(listener, 1) != 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) != 0)
		return ABSENT;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return ABSENT;
	files_note(fd, false);
	test_check(!files_pins_noted(), "a socket that copies is not known to");
	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) != 0)
		return ABSENT;
	files_note(fd, false); /* as the preload does */
	close(fd);
	return REFERENCES;
}

static const struct {
	const char *name;
	int (*make)(void);
} kinds[] = {
	{ "an ordinary file", ordinary },
	{ "memfd", memory_files },
	{ "what the kernel tells", of_the_kernel },
	{ "eventfd and the like", events },
	{ "sockets", sockets },
	{ "numbers that change hands", changing },
	{ "files that are not read", written_only },
	{ "direct I/O", direct },
	{ "direct I/O of a file that is closed", direct_and_gone },
	{ "a file that is switched to direct I/O", direct_later },
	{ "a file in another thread's table", in_another_table },
	{ "the same with hardly a descriptor", in_another_table_without_descriptors },
	{ "direct I/O without the first thread", without_first_thread },
	{ "AF_ALG", crypto },
	{ "a block device", block_device },
	{ "a device that is not known", unknown_device },
#ifdef HAVE_LIBURING
	{ "io_uring", plain_ring },
	{ "a busy io_uring", busy_ring },
	{ "an io_uring whose lock is held", locked_ring },
	{ "an io_uring whose lock is held for long", long_locked_ring },
	{ "an io_uring that comes with its lock held", received_locked_ring },
	{ "fixed buffers", fixed_buffers },
	{ "a ring without descriptor", hidden_ring },
	{ "a registered file", registered_file },
#endif
	{ "direct I/O on overlayfs", overlay },
	{ "a socket that decrypts", decrypting },
};

static void look_at(size_t which)
{
	int expected = kinds[which].make(), found;
	bool kvm;

	if (expected == ABSENT) {
		fprintf(stderr, "%s: not here\n", kinds[which].name);
		_exit(NOT_HERE);
	}
	test_check(files_look(&kvm) == 0, "not everything could be looked at");
	found = files_may_pin() ? PINS : NOTHING;
	found = files_pins_may_last() ? LASTING_PINS : found;
	found = files_may_reference() ? REFERENCES : found;
	fprintf(stderr, "%s: %d\n", kinds[which].name, found);
	if (found != expected)
		test_damage("%s counts as %d, should be %d", kinds[which].name, found, expected);
	_exit(0);
}

/** @return the exit status of a process that is of this kind. */
static int in_a_process(size_t which)
{
	int pid = test_fork(), status;

	if (pid == 0)
		look_at(which);
	status = test_wait_child(pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
	const char *only = test_begin(argc, argv) == 3 && test_wants("--only") ? argv[2] : NULL;
	unsigned seen = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		int status;

		if (only != NULL && strcmp(kinds[i].name, only) != 0)
			continue;
		status = in_a_process(i);
		if (status != 0 && status != NOT_HERE)
			return status;
		seen += status == 0;
	}
	if (seen == 0)
		test_skip("no such file to be had here");
	return 0;
}
