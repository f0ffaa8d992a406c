/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "library/descriptors.h"
#include "library/proc.h"
#include "library/protections.h"
#include "library/region.h"
#include "library/sys.h"

/* linux/magic.h of newer kernels */
#define PID_FS_MAGIC_ 0x50494446

#define JUDGE_ATTEMPTS 8u
#define RING_ATTEMPTS 20u /* the ring's lock is held briefly, while requests are taken */
#define RING_NAP_NSEC 50000
#define RING_NAMES 2u
#define LOOK_COUNTS_MSEC 10000u /* the worker looks every second if it gets a CPU and has a daemon */

static _Atomic uint64_t looked_msec; /* when all files were looked at, successfully */
static atomic_bool pins_possible, lasting_pins_possible, references_possible;

bool files_may_reference(void)
{
	return PROTECTED(PROTECT_REFERENCES) && atomic_load(&references_possible);
}

bool files_pins_noted(void)
{
	return atomic_load(&pins_possible);
}

static uint64_t now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool files_pins_are_brief(void)
{
	if (!atomic_load(&pins_possible) || files_may_reference())
		return false;
	return !PROTECTED(PROTECT_LASTING_PINS) ||
	       (!atomic_load(&lasting_pins_possible) && now_msec() - atomic_load(&looked_msec) <= LOOK_COUNTS_MSEC);
}

void files_note_pins(void)
{
	atomic_store(&pins_possible, true);
}

void files_note_lasting_pins(void)
{
	atomic_store(&lasting_pins_possible, true);
	files_note_pins();
}

void files_note_references(void)
{
	if (atomic_load(&references_possible))
		return;
	memory_lock(); /* a hold that is under way ends first */
	atomic_store(&references_possible, true);
	memory_unlock();
}

/* ---- one file ---- */

/** What a read from a file, or a command to it, does to the memory it fills, from the best to the worst. */
enum manner { COPIES,
	      PINS,       /* until the request is done */
	      KEEPS_PINS, /* or may keep them */
	      REFERENCES };

static void note(enum manner manner)
{
	if (manner >= KEEPS_PINS)
		files_note_lasting_pins();
	else if (manner != COPIES)
		files_note_pins();
	if (manner == REFERENCES)
		files_note_references();
}

/** A descriptor in a thread's table. */
struct file {
	const char *folder, *name; /* /proc/…/fd and the number */
	int directory;             /* that folder, open; -1: not open */
	int fd;                    /* -1: in another table than this thread's */
	struct statx st;           /* its type, device and inode; no type: an anonymous inode */
	bool unknown;              /* st could not be read */
	int flags;                 /* of open() */
	char target[48];           /* the start of its link in /proc, if that tells its type; else "" */
	bool unreadable;           /* its properties cannot be read now */
	bool insists;              /* wait until its state can be read */
	bool untold;               /* not insists: its state cannot be read now */
};

struct rule {
	uint32_t what;
	enum manner buffered, direct;
};

/**
 * How files on a file system are read. Those not listed may do anything: overlayfs passes I/O on to the file system
 * below.
 */
static const struct rule file_systems[] = {
	/* By the block layer, which pins, on all kernels that can move pages (6.8 on). */
	{ EXT4_SUPER_MAGIC, COPIES, PINS },
	{ XFS_SUPER_MAGIC, COPIES, PINS },
	{ BTRFS_SUPER_MAGIC, COPIES, PINS },
	{ F2FS_SUPER_MAGIC, COPIES, PINS },
	{ MSDOS_SUPER_MAGIC, COPIES, PINS },
	{ EXFAT_SUPER_MAGIC, COPIES, PINS },
	{ ISOFS_SUPER_MAGIC, COPIES, PINS },
	{ SQUASHFS_MAGIC, COPIES, PINS },
	/* Memory: there is no direct I/O, or direct I/O copies as well. */
	{ TMPFS_MAGIC, COPIES, COPIES },
	{ RAMFS_MAGIC, COPIES, COPIES },
	/* Files that the kernel generates. */
	{ PROC_SUPER_MAGIC, COPIES, PINS },
	{ SYSFS_MAGIC, COPIES, PINS },
	{ CGROUP_SUPER_MAGIC, COPIES, PINS },
	{ CGROUP2_SUPER_MAGIC, COPIES, PINS },
	{ NSFS_MAGIC, COPIES, PINS },
	{ PID_FS_MAGIC_, COPIES, PINS },
	/* May do direct I/O without O_DIRECT (FOPEN_DIRECT_IO, cache=none). */
	{ FUSE_SUPER_MAGIC, PINS, PINS },
	{ CIFS_SUPER_MAGIC, PINS, PINS },
	{ SMB2_SUPER_MAGIC, PINS, PINS },
	{ V9FS_MAGIC, REFERENCES, REFERENCES },
};

static enum manner judge_file_system(uint32_t type, int flags)
{
	for (size_t i = 0; i < sizeof(file_systems) / sizeof(*file_systems); i++)
		if (file_systems[i].what == type)
			return flags & O_DIRECT ? file_systems[i].direct : file_systems[i].buffered;
	return flags & O_DIRECT ? REFERENCES : PINS;
}

/** "" for use with the descriptor itself, or the path of the link in another thread's table. */
static void path_of(const struct file *file, char *ret_path, size_t size)
{
	if (file->fd >= 0)
		ret_path[0] = 0;
	else
		snprintf(ret_path, size, "%s/%s", file->folder, file->name);
}

/**
 * After a call on a descriptor has failed: whether the descriptor or its thread has gone, or the number is now another
 * file's.
 */
static bool closed_meanwhile(void)
{
	return errno == EBADF || errno == ENOENT || errno == ESRCH || errno == ENOTSOCK;
}

static enum manner judge_regular(const struct file *file)
{
	struct statfs fs;
	char path[96];
	int r;

	if ((file->flags & O_ACCMODE) == O_WRONLY)
		return COPIES; /* no read at all */
	path_of(file, path, sizeof(path));
	r = file->fd >= 0 ? fstatfs(file->fd, &fs) : statfs(path, &fs);
	if (r != 0)
		return closed_meanwhile() ? COPIES : REFERENCES;
	return judge_file_system((uint32_t)fs.f_type, file->flags);
}

/**
 * A receive copies, except for crypto (AF_ALG), AF_XDP, RDS and the like; a socket with TLS decrypts into the memory.
 */
static enum manner judge_socket(const struct file *file)
{
	int domain = -1;
	socklen_t length = sizeof(domain);
	char protocol[16] = "";

	if (file->fd < 0)
		return KEEPS_PINS;
	if (getsockopt(file->fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0)
		return closed_meanwhile() ? COPIES : KEEPS_PINS;
	if (domain == AF_UNIX || domain == AF_NETLINK || domain == AF_VSOCK || domain == AF_PACKET)
		return COPIES;
	if (domain != AF_INET && domain != AF_INET6)
		return KEEPS_PINS;
	length = sizeof(protocol) - 1;
	if (getsockopt(file->fd, IPPROTO_TCP, TCP_ULP, protocol, &length) == 0 && strcmp(protocol, "tls") == 0)
		return REFERENCES;
	return COPIES;
}

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/** The device's minor number is dynamic. If the VMM has no /dev, the name under which it was opened tells. */
static bool is_userfaultfd_device(const struct file *file, unsigned major, unsigned minor)
{
	static const char path[] = "/dev/userfaultfd";
	struct statx st;

	if (strcmp(file->target, path) == 0)
		return true;
	return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0 && S_ISCHR(st.stx_mode) &&
	       st.stx_rdev_major == major && st.stx_rdev_minor == minor;
}

/** By number, as a device can have any name. */
static enum manner judge_character_device(const struct file *file, unsigned major, unsigned minor)
{
	static const uint8_t misc[] = { 200, 232, 238, 241 }; /* net/tun, kvm, vhost-net, vhost-vsock */

	if (major == 1) /* null, zero, full, random, urandom */
		return minor == 3 || minor == 5 || minor == 7 || minor == 8 || minor == 9 ? COPIES : KEEPS_PINS;
	if (major == 4 || major == 5 || (major >= 136 && major <= 143)) /* terminals */
		return COPIES;
	for (size_t i = 0; i < sizeof(misc) && major == 10; i++)
		if (misc[i] == minor)
			return COPIES;
	if (begins(file->target, "/dev/vhost-scsi"))
		return REFERENCES;
	return is_userfaultfd_device(file, major, minor) ? COPIES : KEEPS_PINS;
}

/** Reads a descriptor's fdinfo. @return its length, or -errno. */
static long read_info(const struct file *file, char *text, size_t size)
{
	char path[96];

	snprintf(path, sizeof(path), "%sinfo/%s", file->folder, file->name);
	return proc_read(path, text, size);
}

/** The number after @name, in base @base; ULONG_MAX if it is missing, for example because the text was cut. */
static unsigned long number_after(const char *text, const char *name, int base)
{
	const char *found = strstr(text, name);

	return found != NULL ? strtoul(found + strlen(name), NULL, base) : ULONG_MAX;
}

/**
 * Whether the whole lines in @text say that something is registered with a ring. *found: bits of the names that were
 * found. Moves the rest after the last line to the start of @text. @return its length.
 */
static size_t look_at_lines(char *text, unsigned *found, bool *ret_registered)
{
	static const char *const names[RING_NAMES] = { "UserFiles:", "UserBufs:" };
	char *end = strrchr(text, '\n');
	size_t rest;

	if (end == NULL)
		return strlen(text);
	*end = 0;
	for (unsigned i = 0; i < RING_NAMES; i++) {
		if (strstr(text, names[i]) == NULL)
			continue;
		*found |= 1u << i;
		*ret_registered |= number_after(text, names[i], 10) != 0;
	}
	rest = strlen(end + 1);
	memmove(text, end + 1, rest);
	return rest;
}

/**
 * The ring's fdinfo lists what is registered after all requests in flight, in lines of some 150 bytes at most, and
 * omits it while the ring's lock is held. @return whether it was listed; *ret: COPIES or KEEPS_PINS.
 */
static bool look_at_ring(struct file *file, enum manner *ret)
{
	struct descriptor *info;
	char path[96], text[1024];
	bool registered = false;
	unsigned found = 0;
	size_t kept = 0;
	uint64_t offset = 0;
	long r;

	snprintf(path, sizeof(path), "%sinfo/%s", file->folder, file->name);
	r = descriptor_open_passing(path, 0, &info);
	file->unreadable = r < 0 && r != -ENOENT;
	*ret = COPIES;
	if (r < 0)
		return true;
	while ((r = descriptor_read(info, text + kept, sizeof(text) - 1 - kept, offset)) > 0) {
		offset += (uint64_t)r;
		text[kept + (size_t)r] = 0;
		kept = look_at_lines(text, &found, &registered);
		if (kept == sizeof(text) - 1)
			break;
	}
	descriptor_close(&info);
	*ret = registered ? KEEPS_PINS : COPIES;
	return registered || found == (1u << RING_NAMES) - 1;
}

/** Fixed buffers stay pinned as long as the ring lives; a registered file need not be among the process's own. */
static enum manner judge_ring(struct file *file)
{
	enum manner manner;

	for (unsigned attempts = 1; !look_at_ring(file, &manner); attempts++) {
		file->untold = !file->insists && PROTECTED(PROTECT_UNTOLD);
		if (!file->insists)
			return COPIES;
		if (attempts == RING_ATTEMPTS)
			return PROTECTED(PROTECT_UNTOLD) ? KEEPS_PINS : COPIES;
		sys_nap(RING_NAP_NSEC);
	}
	return manner;
}

static enum manner judge_anonymous(struct file *file)
{
	static const char *const known[] = {
		"[eventfd]",
		"[eventpoll]",
		"[timerfd]",
		"[signalfd]",
		"inotify",
		"[pidfd]",
		"[userfaultfd]",
		"[perf_event]",
		"kvm-vm",
		"kvm-vcpu",
		"kvm-coalesced",
		"kvm-stats",
		"kvm-vcpu-stats",
		"kvm-device",
		"kvm-xics",
		"[fanotify]",
	};
	const char *name = file->target + strlen("anon_inode:");

	if (strcmp(name, "[io_uring]") == 0)
		return judge_ring(file);
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(name, known[i]) == 0)
			return COPIES;
	return begins(name, "kvm-vcpu:") ? COPIES : KEEPS_PINS;
}

static enum manner judge(struct file *file)
{
	if (file->flags & O_PATH)
		return COPIES;
	if (begins(file->target, "anon_inode:"))
		return judge_anonymous(file);
	if (file->unknown)
		return KEEPS_PINS;
	switch (file->st.stx_mode & S_IFMT) {
	case S_IFREG:
		return judge_regular(file);
	case S_IFSOCK:
		return judge_socket(file);
	case S_IFCHR:
		return judge_character_device(file, file->st.stx_rdev_major, file->st.stx_rdev_minor);
	case S_IFIFO:
	case S_IFDIR:
		return COPIES;
	case S_IFBLK: /* disks accept commands that bypass the page cache (SG_IO), which pin without O_DIRECT */
		return PINS;
	default:
		return KEEPS_PINS;
	}
}

/** Reads the type. @return whether the descriptor is there. */
static bool look_at_type(struct file *file)
{
	bool ours = file->fd >= 0;
	char path[96];

	path_of(file, path, sizeof(path));
	/* Does not ask a server, which may not answer. */
	file->unknown = statx(ours ? file->fd : AT_FDCWD, path, AT_STATX_DONT_SYNC | (ours ? AT_EMPTY_PATH : 0),
			      STATX_TYPE | STATX_INO, &file->st) != 0;
	return !file->unknown || !closed_meanwhile();
}

/** Only for some files: reading the link takes several times as long as everything else together. */
static bool is_told_by_link(const struct file *file)
{
	mode_t type = file->st.stx_mode & S_IFMT;

	return file->unknown || type == 0 || type == S_IFCHR;
}

static long read_link(int directory, const char *path, struct file *file)
{
	return sys_raw(SYS_readlinkat, directory, (long)path, (long)file->target, sizeof(file->target) - 1, 0, 0);
}

/**
 * Reading from the open folder takes half the time. But its number may just have been given up to the VMM, so if the
 * link is not found there, it is read by its path.
 */
static bool look_at_link(struct file *file)
{
	long length = file->directory >= 0 ? read_link(file->directory, file->name, file) : -EBADF;
	char path[96];

	if (length < 0) {
		snprintf(path, sizeof(path), "%s/%s", file->folder, file->name);
		length = read_link(AT_FDCWD, path, file);
	}
	file->target[length < 0 ? 0 : length] = 0;
	return length >= 0;
}

/** For a file in another table, the fdinfo has them. @return the flags of open(), or -1: the descriptor has gone. */
static int flags_of(struct file *file)
{
	char text[256];
	long r;

	if (file->fd >= 0)
		return (int)sys_raw(SYS_fcntl, file->fd, F_GETFL, 0, 0, 0, 0);
	r = read_info(file, text, sizeof(text));
	if (r > 0 && strstr(text, "flags:") != NULL)
		return (int)number_after(text, "flags:", 8);
	file->unreadable = r != -ENOENT && r != -ESRCH;
	return file->unreadable ? 0 : -1;
}

/** Fills in the file's properties. @return whether the descriptor is (still) there. */
static bool look_closer(struct file *file)
{
	file->target[0] = 0;
	file->unreadable = file->untold = false;
	if (!look_at_type(file) || (is_told_by_link(file) && !look_at_link(file)))
		return false;
	file->flags = flags_of(file);
	return file->flags >= 0;
}

void files_note(int fd, bool direct)
{
	char name[16];
	struct file file = {
		.folder = "/proc/thread-self/fd", .name = name, .directory = -1, .fd = fd, .insists = true
	};
	int saved = errno;

	snprintf(name, sizeof(name), "%d", fd);
	if (atomic_load(&lasting_pins_possible) && atomic_load(&references_possible))
		return;
	if (!look_closer(&file)) {
		errno = saved;
		return;
	}
	file.flags |= direct ? O_DIRECT : 0;
	note(judge(&file));
	if (file.unreadable)
		note(KEEPS_PINS);
	errno = saved;
}

/* ---- all files ---- */

struct dirent64_raw {
	uint64_t d_ino;
	int64_t d_off;
	uint16_t d_reclen;
	uint8_t d_type;
	char d_name[];
};

struct findings {
	enum manner worst;
	bool kvm;
	bool failed;   /* not everything could be looked at: assume the worst as long as this lasts */
	bool insists;  /* wait for files whose state cannot be read now */
	bool untold;   /* not insists: there are such files; assume at most pins as long as this lasts */
	bool foreign;  /* the table looked at is not this thread's */
	int directory; /* the folder whose entries are looked at, open */
};

typedef void look_function(const char *folder, const char *name, struct findings *found);

static long next_entries(const struct descriptor *directory, char *entries, size_t size)
{
	bool had = descriptors_open();
	long length = -EBADF;

	if (descriptor_is_there(directory))
		length = sys_raw(SYS_getdents64, descriptor_number(directory), (long)entries, (long)size, 0, 0, 0);
	descriptors_opened(had);
	return length;
}

/** Calls @look for each entry of a folder. @return 0 or -errno. */
static int for_each_entry(const char *folder, look_function *look, struct findings *found)
{
	_Alignas(8) char entries[2048];
	struct descriptor *directory;
	long length = descriptor_open_passing(folder, O_DIRECTORY, &directory);

	if (length < 0)
		return (int)length;
	while ((length = next_entries(directory, entries, sizeof(entries))) > 0) {
		for (long at = 0; at < length;) {
			const struct dirent64_raw *entry = (const void *)(entries + at);

			at += entry->d_reclen; /* NOLINT(*Assign): the system call has written it */
			found->directory = descriptor_number(directory);
			if (entry->d_name[0] != '.')
				look(folder, entry->d_name, found);
		}
	}
	descriptor_close(&directory);
	return (int)length;
}

static bool is_same(const struct file *a, const struct file *b)
{
	return a->flags == b->flags && a->unknown == b->unknown &&
	       (a->unknown || (a->st.stx_mode == b->st.stx_mode && a->st.stx_ino == b->st.stx_ino &&
			       a->st.stx_dev_major == b->st.stx_dev_major &&
			       a->st.stx_dev_minor == b->st.stx_dev_minor)) &&
	       strcmp(a->target, b->target) == 0;
}

/**
 * A number can be reused for another file at any time, so the properties that are judged may be partly those of another
 * file. A verdict is never taken back, so after the judgement the number must still lead to the same file as before.
 * @return whether the descriptor is there; if it is closed meanwhile, the verdict stands.
 */
static bool judge_descriptor(struct file *file, enum manner *ret_manner)
{
	for (unsigned i = 0; i < JUDGE_ATTEMPTS; i++) {
		struct file after = *file;

		if (!look_closer(file))
			return false;
		*ret_manner = judge(file);
		if (*ret_manner == COPIES || !look_closer(&after) || is_same(&after, file))
			break;
	}
	return true;
}

static void look_at_descriptor(const char *folder, const char *name, struct findings *found)
{
	struct file file = { .folder = folder,
			     .name = name,
			     .directory = found->foreign ? -1 : found->directory,
			     .fd = found->foreign ? -1 : atoi(name),
			     .insists = found->insists };
	enum manner manner = COPIES;

	if (!judge_descriptor(&file, &manner))
		return;
	found->failed |= file.unreadable;
	found->untold |= file.untold;
	found->worst = manner > found->worst ? manner : found->worst;
	if (strcmp(file.target, "anon_inode:kvm-vm") == 0 || begins(file.target, "anon_inode:kvm-vcpu"))
		found->kvm = true;
}

/** A thread can have a descriptor table of its own (unshare(CLONE_FILES)), which other threads do not see. */
static void look_at_thread(const char *folder, const char *name, struct findings *found)
{
	long other = atoi(name), self = sys_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);
	char path[64];
	int r;

	if (sys_raw(SYS_kcmp, self, other, KCMP_FILES, 0, 0, 0) == 0)
		return;
	snprintf(path, sizeof(path), "%s/%s/fd", folder, name);
	found->foreign = true;
	r = for_each_entry(path, look_at_descriptor, found);
	if (r < 0 && r != -ENOENT && r != -ESRCH && PROTECTED(PROTECT_UNTOLD)) /* the thread has not ended meanwhile */
		found->failed = true;
}

/**
 * The kernel counts memory that is pinned for longer until it is unpinned, including fixed buffers of a ring to which
 * no descriptor leads. So if the count cannot be read now, a later look will do as well.
 */
static void look_at_pinned(struct findings *found)
{
	char text[2048];

	if (proc_read("/proc/thread-self/status", text, sizeof(text)) <= 0)
		found->failed = true;
	else if (number_after(text, "VmPin:", 10) != 0)
		found->worst = KEEPS_PINS;
}

bool files_pins_may_last(void)
{
	struct findings found = { .worst = COPIES };

	if (!PROTECTED(PROTECT_LASTING_PINS))
		return false;
	if (!atomic_load(&lasting_pins_possible))
		look_at_pinned(&found);
	note(found.worst);
	return found.failed || atomic_load(&lasting_pins_possible);
}

static struct findings look(bool insists)
{
	struct findings found = { .worst = COPIES, .insists = insists };
	uint64_t begin = now_msec();

	look_at_pinned(&found);
	/* Not /proc/self/fd, which is the main thread's: it may have exited. */
	if (for_each_entry("/proc/thread-self/fd", look_at_descriptor, &found) < 0 ||
	    for_each_entry("/proc/self/task", look_at_thread, &found) < 0)
		found.failed = true;
	if (found.worst != COPIES)
		files_note_pins();
	if (found.worst >= KEEPS_PINS)
		files_note_lasting_pins();
	if (!found.failed && !found.untold)
		atomic_store(&looked_msec, begin);
	return found;
}

bool files_may_pin(void)
{
	struct findings found;

	if (atomic_load(&pins_possible))
		return true;
	found = look(false);
	return found.failed || found.untold || found.worst != COPIES;
}

int files_look(bool *ret_kvm)
{
	struct findings found = look(true);

	*ret_kvm = found.kvm;
	if (found.worst == REFERENCES)
		files_note_references();
	return found.failed ? -EIO : 0;
}
