/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/series.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/figures.h"
#include "common/page.h"
#include "daemon/metrics.h"

#define PAGE_KB (PAGE_BYTES / 1024)

/* Also for what a VMM says of its RAM. */
static int64_t kb_of_pages(uint64_t pages)
{
	return pages > SERIES_VALUE_MAX / PAGE_KB ? SERIES_VALUE_MAX : (int64_t)(pages * PAGE_KB);
}

/* @return whether the file was there, with a beginning that fits @text. */
static bool read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, text, size - 1) : -1;

	if (fd >= 0)
		close(fd);
	text[length > 0 ? length : 0] = 0;
	return length > 0;
}

static void take_host(int64_t kb[SERIES_END], const struct metrics_snapshot *snapshot)
{
	uint64_t mapped_bytes = snapshot->host.common_pages * PAGE_BYTES;
	struct figure memory[] = { { .key = "MemTotal" }, { .key = "MemAvailable" } };

	figures_read(fopen("/proc/meminfo", "re"), memory, 2);
	kb[SERIES_HOST_TOTAL] = (int64_t)(memory[0].value / 1024);
	kb[SERIES_HOST_FREE] = (int64_t)(memory[1].value / 1024);
	kb[SERIES_HOST_USED] = kb[SERIES_HOST_TOTAL] - kb[SERIES_HOST_FREE];
	kb[SERIES_VMM_USED] = (int64_t)(snapshot->store_bytes / 1024);
	if (snapshot->store_bytes > mapped_bytes)
		kb[SERIES_VMM_FREE] = (int64_t)((snapshot->store_bytes - mapped_bytes) / 1024);
	kb[SERIES_VMM_SHARED] = kb_of_pages(snapshot->host.shared_pages);
	if (snapshot->host.saved_pages > 0)
		kb[SERIES_VMM_SAVED] = kb_of_pages((uint64_t)snapshot->host.saved_pages);
}

static void take_vm(struct series_vm *ret, const struct daemon_vm *vm)
{
	struct engine_vm_counters counters = { 0 };

	if (daemon_vm_engine_vm(vm))
		engine_vm_last_counted(daemon_vm_engine_vm(vm), &counters);
	*ret = (struct series_vm){ .pid = vm->pid };
	memcpy(ret->name, vm->name, sizeof(ret->name));
	ret->kb[SERIES_GUEST_TOTAL] = kb_of_pages(counters.ram_pages);
	ret->kb[SERIES_GUEST_SHARED] = kb_of_pages(counters.shared_pages);
}

int series_take(struct series_view *ret, const struct domains *domains, const struct series_wish *wish)
{
	struct series_view view = { 0 };
	struct metrics_snapshot snapshot = { 0 }, part;
	const struct domain *domain;
	struct daemon_vm *vm = NULL;
	size_t count = 0;

	while ((vm = daemon_vm_next(domains, vm)) != NULL)
		count += vm->name[0] && wish->has_vm(wish, vm);
	view.vms = calloc(count + 1, sizeof(*view.vms));
	if (view.vms == NULL)
		return -ENOMEM;
	SLIST_FOREACH(domain, &domains->list, entries)
		if (wish->has_domain(wish, domain)) {
			metrics_take_domain(&part, domain);
			metrics_add_domain(&snapshot, &part);
		}
	take_host(view.host_kb, &snapshot);
	while ((vm = daemon_vm_next(domains, vm)) != NULL)
		if (vm->name[0] && wish->has_vm(wish, vm))
			take_vm(&view.vms[view.count++], vm);
	*ret = view;
	return 0;
}

/* Alive afterwards: then it was this process that was asked for. */
static bool is_alive(const struct daemon_vm *vm)
{
	struct pollfd death = { .fd = vm->pidfd, .events = POLLIN };

	return !vm->dead && poll(&death, 1, 0) == 0;
}

struct daemon_vm *series_look(struct series_view *view, const struct domains *domains, size_t i)
{
	struct series_vm *seen = &view->vms[i];
	struct daemon_vm *vm = daemon_vm_named(domains, seen->name);
	uint64_t resident = 0, files = 0;
	char path[64], text[256];

	if (vm == NULL || vm->pid != seen->pid)
		return NULL;
	snprintf(path, sizeof(path), "/proc/%d/statm", (int)vm->pid);
	if (read_text(path, text, sizeof(text)) && is_alive(vm) &&
	    sscanf(text, "%*u %" SCNu64 " %" SCNu64, &resident, &files) == 2) {
		seen->kb[SERIES_VM_USED] = kb_of_pages(resident);
		view->host_kb[SERIES_VMM_USED] += kb_of_pages(resident > files ? resident - files : 0);
	}
	return vm;
}

void series_done(struct series_view *view)
{
	free(view->vms);
	*view = (struct series_view){ 0 };
}
