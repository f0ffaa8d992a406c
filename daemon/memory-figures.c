/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/memory-figures.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/figures.h"

#define MEMINFO "/proc/meminfo"
#define TEXT_BYTES 16384u /* what is beyond is not looked at: /proc/meminfo and memory.stat have less */

void memory_figures_of_cgroup(const struct memory_figures *host, uint64_t limit, uint64_t usage, uint64_t cache,
			      uint64_t swap, struct memory_figures *ret)
{
	if (limit >= host->total_bytes) {
		*ret = *host;
		return;
	}
	if (cache > usage) /* counted at another moment */
		cache = usage;
	usage -= cache;
	ret->total_bytes = limit;
	ret->free_bytes = usage < limit ? limit - usage : 0;
	if (ret->free_bytes > host->free_bytes)
		ret->free_bytes = host->free_bytes;
	ret->swap_bytes = swap < host->swap_bytes ? swap : host->swap_bytes;
}

/* ---- files ---- */

/* The text of the file @name in @directory (AT_FDCWD: @name is a path). @return 0 or -errno. */
static int read_text(int directory, const char *name, char ret[TEXT_BYTES])
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t size = 0;
	ssize_t got = 1;
	struct stat st;
	int r = 0;

	ret[0] = 0;
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) /* anything else may never end */
		r = -EINVAL;
	while (r == 0 && got > 0 && size < TEXT_BYTES - 1) {
		got = read(fd, ret + size, TEXT_BYTES - 1 - size);
		if (got > 0)
			size += (size_t)got;
		else if (got < 0)
			r = -errno;
	}
	close(fd);
	ret[size] = 0;
	return r;
}

struct reading {
	const char *source;
	char *error;
	size_t error_size;
};

static int complain(const struct reading *reading, const char *name, int r)
{
	snprintf(reading->error, reading->error_size, "%s%s%s: %s", reading->source, *name ? "/" : "", name,
		 r == -EINVAL ? "not as it should be" : strerror(-r));
	return r;
}

static int read_meminfo(const struct reading *reading, const char *path, struct memory_figures *ret)
{
	char text[TEXT_BYTES];
	int r = read_text(AT_FDCWD, path, text);

	if (r < 0)
		return complain(reading, "", r);
	r = figures_bytes(text, "MemTotal", &ret->total_bytes);
	if (r == 0)
		r = figures_bytes(text, "MemAvailable", &ret->free_bytes);
	if (r < 0) {
		snprintf(reading->error, reading->error_size,
			 "%s: MemTotal or MemAvailable is missing, or no number of kB", path);
		return r;
	}
	r = figures_bytes(text, "SwapFree", &ret->swap_bytes);
	if (r == -EINVAL)
		snprintf(reading->error, reading->error_size, "%s: SwapFree is no number of kB", path);
	return r == -ENOENT ? 0 : r;
}

/* The number in the file @name of a cgroup; UINT64_MAX if there is no such file, and that is @fine. */
static int read_number(const struct reading *reading, int cgroup, const char *name, bool fine, uint64_t *ret)
{
	char text[TEXT_BYTES];
	int r = read_text(cgroup, name, text);

	if (r == -ENOENT && fine) {
		*ret = UINT64_MAX;
		return 0;
	}
	if (r == 0)
		r = figures_number(text, ret);
	return r < 0 ? complain(reading, name, r) : 0;
}

static int read_cache(const struct reading *reading, int cgroup, const char *active, const char *inactive,
		      uint64_t *ret)
{
	char text[TEXT_BYTES];
	uint64_t more = 0;
	int r = read_text(cgroup, "memory.stat", text);

	if (r == 0)
		r = figures_count(text, active, ret);
	if (r == 0)
		r = figures_count(text, inactive, &more);
	if (r < 0)
		return complain(reading, "memory.stat", r == -ENOENT ? -EINVAL : r);
	*ret = *ret > UINT64_MAX - more ? UINT64_MAX : *ret + more;
	return 0;
}

struct usage {
	uint64_t limit, usage, cache, swap; /* bytes; swap: that it may still have */
};

static int read_cgroup1(const struct reading *reading, int cgroup, struct usage *ret)
{
	int r = read_number(reading, cgroup, "memory.limit_in_bytes", false, &ret->limit);

	if (r == 0)
		r = read_number(reading, cgroup, "memory.usage_in_bytes", false, &ret->usage);
	return r == 0 ? read_cache(reading, cgroup, "total_active_file", "total_inactive_file", &ret->cache) : r;
}

/* Without swap accounting there are no such files, and no limit. */
static int read_swap(const struct reading *reading, int cgroup, uint64_t *ret)
{
	uint64_t limit = UINT64_MAX, usage = 0;
	int r = read_number(reading, cgroup, "memory.swap.max", true, &limit);

	if (r == 0 && limit != UINT64_MAX)
		r = read_number(reading, cgroup, "memory.swap.current", false, &usage);
	if (r == 0)
		*ret = usage < limit ? limit - usage : 0;
	return r;
}

/* The root has neither limit nor usage. memory.high is a limit, too: who is above it is slowed down. */
static int read_cgroup2(const struct reading *reading, int cgroup, struct usage *ret)
{
	uint64_t high = UINT64_MAX;
	int r = read_number(reading, cgroup, "memory.max", true, &ret->limit);

	if (r == 0)
		r = read_number(reading, cgroup, "memory.high", true, &high);
	if (r == 0 && high < ret->limit)
		ret->limit = high;
	if (r < 0 || ret->limit == UINT64_MAX)
		return r;
	r = read_number(reading, cgroup, "memory.current", false, &ret->usage);
	if (r == 0)
		r = read_swap(reading, cgroup, &ret->swap);
	return r == 0 ? read_cache(reading, cgroup, "active_file", "inactive_file", &ret->cache) : r;
}

static int read_cgroup(const struct reading *reading, int cgroup, struct memory_figures *ret,
		       enum memory_kind *ret_kind)
{
	const struct reading of_host = { MEMINFO, reading->error, reading->error_size };
	struct usage usage = { .limit = UINT64_MAX };
	struct memory_figures host = { 0 };
	int r;

	if (faccessat(cgroup, "memory.limit_in_bytes", F_OK, 0) == 0) {
		*ret_kind = MEMORY_OF_CGROUP1;
		r = read_cgroup1(reading, cgroup, &usage);
	} else if (faccessat(cgroup, "cgroup.controllers", F_OK, 0) == 0) {
		*ret_kind = MEMORY_OF_CGROUP2;
		r = read_cgroup2(reading, cgroup, &usage);
	} else {
		snprintf(reading->error, reading->error_size, "%s: a directory, and no cgroup of the memory controller",
			 reading->source);
		return -EINVAL;
	}
	if (r == 0)
		r = read_meminfo(&of_host, MEMINFO, &host);
	if (r < 0)
		return r;
	if (!memory_figures_are_sane(&host))
		return complain(&of_host, "", -EINVAL);
	memory_figures_of_cgroup(&host, usage.limit, usage.usage, usage.cache, usage.swap, ret);
	if (usage.limit >= host.total_bytes)
		*ret_kind = MEMORY_OF_HOST;
	return 0;
}

const char *memory_kind_name(enum memory_kind kind)
{
	switch (kind) {
	case MEMORY_OF_HOST:
		return "host";
	case MEMORY_OF_CGROUP1:
	case MEMORY_OF_CGROUP2:
		return "cgroup";
	default:
		return "file";
	}
}

int memory_figures_read(const char *source, struct memory_figures *ret, enum memory_kind *ret_kind, char *ret_error,
			size_t error_size)
{
	bool of_host = strcmp(source, MEMORY_SOURCE_HOST) == 0;
	const char *path = of_host ? MEMINFO : source;
	const struct reading reading = { path, ret_error, error_size };
	int cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	*ret = (struct memory_figures){ 0 };
	*ret_kind = of_host ? MEMORY_OF_HOST : MEMORY_OF_FILE;
	if (cgroup < 0)
		r = errno == ENOTDIR ? read_meminfo(&reading, path, ret) : complain(&reading, "", -errno);
	else
		r = read_cgroup(&reading, cgroup, ret, ret_kind);
	if (cgroup >= 0)
		close(cgroup);
	if (r == 0 && !memory_figures_are_sane(ret)) {
		snprintf(ret_error, error_size, "%s: %llu bytes in all, %llu of these free: that cannot be", path,
			 (unsigned long long)ret->total_bytes, (unsigned long long)ret->free_bytes);
		r = -ERANGE;
	}
	return r;
}
