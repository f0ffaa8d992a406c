/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * 2 MiB pages of real memory while memory gets short: whole in high, with what is inside them known; in clear those
 * that are dense with equal pages are split, and shared, in few runs where all of them is the same; in low all in which
 * anything is equal. As smaps and the page tables say; and every byte stays what it is. Figures of free memory come
 * from a file.
 *
 * With --always the settings let any be split in high: the control, in which they do not stay whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "include/pagefuse.h"
#include "tests/daemon/instance.h"
#include "tests/support/pages.h"
#include "tests/support/test.h"
#include "tests/system/fleet.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define VMS 3u
#define BLOCK (HUGE_BYTES / PAGE_BYTES)
#define DENSE_BLOCKS 4u  /* from the first one on: all VMs have the same */
#define SPARSE_BLOCKS 2u /* behind those: SPARSE_PAGES of each are the same */
#define SPARSE_PAGES 50u /* less than the setting dense_pages */
#define BLOCKS 8u        /* what is in the rest nobody else has */
#define PAGES (BLOCKS * BLOCK)
#define BYTES (PAGES * PAGE_BYTES)

struct seen {
	uint64_t frames[PAGES], huge_bytes;
	unsigned runs; /* mappings of the store */
};

static struct seen *seen; /* by VM, as they tell the test */
static struct instance instance;
static struct fleet fleet;
static char *memory, figures[128];
static unsigned rewritten; /* of a VM: how often its first block was written anew */

/* ---- a VMM ---- */

static bool is_common(uint32_t page)
{
	uint32_t block = (uint32_t)(page / BLOCK);

	return block < DENSE_BLOCKS || (block < DENSE_BLOCKS + SPARSE_BLOCKS && page % BLOCK < SPARSE_PAGES);
}

static uint64_t content_of(unsigned which, uint32_t page)
{
	if (page < BLOCK && rewritten > 0)
		return (uint64_t)(which + 1 + 10 * rewritten) * 1000000 + page;
	return is_common(page) ? 1000 + page : (uint64_t)(which + 1) * 100000 + page;
}

/** Bytes of 2 MiB pages in the VM's memory. *ret_runs: mappings of the store in it. */
static uint64_t huge_bytes(unsigned *ret_runs)
{
	uintptr_t first = (uintptr_t)memory, end = first + BYTES;
	FILE *file = fopen("/proc/self/smaps", "re");
	unsigned long from, to, inode, kib;
	bool inside = false;
	uint64_t bytes = 0;
	char line[512];

	test_check(file != NULL, "no /proc/self/smaps");
	*ret_runs = 0;
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &from, &to, &inode) == 3) {
			inside = from >= first && to <= end;
			*ret_runs += inside && inode != 0;
		} else if (inside && sscanf(line, "AnonHugePages: %lu kB", &kib) == 1) {
			bytes += kib * 1024;
		}
	}
	fclose(file);
	return bytes;
}

static void fill(unsigned which)
{
	unsigned runs;

	memory = pages_map(PAGES, true);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + i * PAGE_BYTES, content_of(which, i));
	for (uint32_t i = 0; i < BLOCKS && huge_bytes(&runs) < BYTES; i++)
		(void)madvise(memory + i * HUGE_BYTES, HUGE_BYTES, MADV_COLLAPSE);
}

/** Every byte, and then what the kernel says: what was merged is not there before it is read. */
static void tell(unsigned which)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if (pages_differ(memory + i * PAGE_BYTES, content_of(which, i)) >= 0)
			test_damage("VM %u, page %u is not what was written last", which, i);
	for (uint32_t i = 0; i < PAGES; i++)
		seen[which].frames[i] = pages_frame(memory + i * PAGE_BYTES);
	seen[which].huge_bytes = huge_bytes(&seen[which].runs);
}

static void rewrite(unsigned which)
{
	rewritten++;
	for (uint32_t i = 0; i < BLOCK; i++)
		pages_fill(memory + i * PAGE_BYTES, content_of(which, i));
}

/** Does what it is told: 'o', offer memory; 't', check memory and tell; 'w', write the first block anew. */
static _Noreturn void run_vmm(const struct fleet_vm *vm, unsigned which)
{
	const struct pagefuse_options options = {
		.size = sizeof(options), .name = vm->name, .socket_path = instance.socket
	};
	char what;
	int r = 0;

	fill(which);
	while (read(vm->orders, &what, 1) == 1) {
		if (what == 'o')
			r = pagefuse_configure(&options);
		if (what == 'o' && r == 0)
			r = pagefuse_add_ram(PAGEFUSE_GPA_UNKNOWN, memory, BYTES);
		test_check(r == 0, "offering memory: %s", strerror(-r));
		if (what == 't')
			tell(which);
		if (what == 'w')
			rewrite(which);
		test_check(write(vm->answers, &what, 1) == 1, "no answer can be given");
	}
	_exit(0);
}

/* ---- the test ---- */

static void set_free(const char *kib)
{
	char new[160], text[128];
	int fd;

	snprintf(new, sizeof(new), "%s.new", figures);
	snprintf(text, sizeof(text), "MemTotal: 1048576 kB\nMemAvailable: %s kB\n", kib);
	fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	test_check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %s", new, strerror(errno));
	close(fd);
	test_check(rename(new, figures) == 0, "rename: %s", strerror(errno));
}

static void set_settings(unsigned back_seconds, unsigned back_shared)
{
	char settings[320];

	snprintf(settings, sizeof(settings),
		 "[memory]\nsource = %s\ninterval_msec = 100\nlarge_pages = %s\nlarge_pages_back_seconds = %u\n"
		 "large_pages_back_shared = %u\nlarge_pages_hints = keep\n",
		 figures, test_wants("--always") ? "always" : "keep", back_seconds, back_shared);
	instance_settings(&instance, settings);
	if (instance.pid > 0)
		test_check(kill(instance.pid, SIGHUP) == 0, "kill: %s", strerror(errno));
}

static bool has_state(const char *state)
{
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}");
	const char *now = json_string_value(json_object_get(json_object_get(status, "memory"), "state"));
	bool equal = now && strcmp(now, state) == 0;

	json_decref(status);
	return equal;
}

static void await_state(const char *kib, const char *state)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;

	set_free(kib);
	while (!has_state(state)) {
		test_check(test_patient_msec() < last, "the state does not become %s", state);
		poll(NULL, 0, 10);
	}
}

/** So many blocks of each VM are whole, and pages are shared by all VMs, or by none, as they should be. */
static void check_memory(const char *state, uint32_t whole, uint32_t shared_blocks, uint32_t shared_sparse)
{
	fleet_tell_all(&fleet, 't');
	for (unsigned v = 0; v < VMS; v++) {
		unsigned next = (v + 1) % VMS;

		if (seen[v].huge_bytes != whole * HUGE_BYTES)
			test_damage("%s: VM %u has %llu 2 MiB pages, not %u", state, v,
				    (unsigned long long)(seen[v].huge_bytes / HUGE_BYTES), whole);
		for (uint32_t i = 0; i < PAGES; i++) {
			uint32_t block = (uint32_t)(i / BLOCK);
			bool same = block < shared_blocks || (is_common(i) && block >= DENSE_BLOCKS && shared_sparse);

			if ((seen[v].frames[i] == seen[next].frames[i]) != same)
				test_damage("%s: page %u is %sshared", state, i, same ? "not " : "");
		}
	}
}

/** The pages of one block follow each other in the store as well, but where a segment of it ends. */
static void check_runs(void)
{
	for (unsigned v = 0; v < VMS; v++)
		test_check(seen[v].runs > 0 && seen[v].runs <= 2 * DENSE_BLOCKS, "VM %u: %u whole blocks in %u runs",
			   v, DENSE_BLOCKS, seen[v].runs);
}

static void need_large(void)
{
	fleet_tell_all(&fleet, 't');
	for (unsigned v = 0; v < VMS; v++)
		if (seen[v].huge_bytes != BYTES)
			test_skip("the kernel gives no 2 MiB pages, or not enough of them now");
}

/** So many blocks of each VM are 2 MiB pages again, as daemon and kernel say, and every byte is right. */
static void await_whole(uint32_t whole)
{
	instance_await(&instance, NULL, "broken_2m", VMS * (BLOCKS - whole));
	for (unsigned scans = 0; instance_host(&instance, "whole_2m") != VMS * whole; scans++) {
		test_check(scans < 1000, "what was given back is no 2 MiB page");
		instance_scan(&instance);
	}
	fleet_tell_all(&fleet, 't');
	for (unsigned v = 0; v < VMS; v++)
		test_check(seen[v].huge_bytes == whole * HUGE_BYTES, "VM %u got other 2 MiB pages back", v);
}

/**
 * Memory has been high for long enough: blocks in which nothing is shared any more are 2 MiB pages again, the others
 * stay as they are, but where little is shared if the settings say so. All can be shared when memory gets short again.
 */
static void give_back(long long dense, long long sparse)
{
	const uint32_t whole = BLOCKS - DENSE_BLOCKS - SPARSE_BLOCKS;

	dense -= (VMS - 1) * (long long)BLOCK; /* was written since */
	instance_await(&instance, NULL, "saved_pages", dense + sparse);
	set_settings(1, SPARSE_PAGES - 1);
	await_whole(whole + 1);
	set_settings(1, SPARSE_PAGES);
	await_whole(whole + 1 + SPARSE_BLOCKS);
	instance_await(&instance, NULL, "saved_pages", dense);
	await_state("1000", "low");
	instance_await(&instance, NULL, "saved_pages", dense + sparse);
	fleet_tell_all(&fleet, 't');
	for (unsigned v = 0; v < VMS; v++)
		test_check(seen[v].huge_bytes == (whole + 1) * HUGE_BYTES, "VM %u has others in low than before", v);
	await_state("1000000", "high");
	await_whole(whole + 1 + SPARSE_BLOCKS);
}

int main(int argc, char **argv)
{
	const long long dense = (VMS - 1) * DENSE_BLOCKS * (long long)BLOCK;
	const long long sparse = (VMS - 1) * SPARSE_BLOCKS * (long long)SPARSE_PAGES;

	test_begin(argc, argv);
	test_needs_moves();
	seen = mmap(NULL, VMS * sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_check(seen != MAP_FAILED, "no memory");
	instance_init(&instance);
	snprintf(figures, sizeof(figures), "%s/figures", instance.directory);
	set_settings(0, 0);
	set_free("1000000");
	instance_start(&instance);
	fleet = (struct fleet){ .count = VMS, .run = run_vmm };
	for (unsigned v = 0; v < VMS; v++)
		fleet_start(&fleet, v);
	need_large();

	fleet_tell_all(&fleet, 'o');
	for (unsigned v = 0; v < VMS; v++)
		instance_await(&instance, fleet.vms[v].name, "ram_bytes", BYTES);
	instance_scan(&instance);
	instance_scan(&instance);
	check_memory("high", BLOCKS, 0, 0);
	test_check(instance_host(&instance, "store_bytes") == 0, "the store has something in high");
	instance_await(&instance, NULL, "would_save_pages", dense + sparse);
	instance_await(&instance, NULL, "ready_pages", VMS * PAGES);

	await_state("60000", "clear");
	instance_await(&instance, NULL, "saved_pages", dense);
	check_memory("clear", BLOCKS - DENSE_BLOCKS, DENSE_BLOCKS, 0);
	check_runs();
	test_check(instance_host(&instance, "whole_2m") == VMS * (BLOCKS - DENSE_BLOCKS), "the count of whole ones");
	test_check(instance_host(&instance, "broken_2m") == VMS * DENSE_BLOCKS, "the count of split ones");
	instance_await(&instance, NULL, "would_save_pages", sparse);

	await_state("1000", "low");
	instance_await(&instance, NULL, "saved_pages", dense + sparse);
	check_memory("low", BLOCKS - DENSE_BLOCKS - SPARSE_BLOCKS, DENSE_BLOCKS, SPARSE_PAGES);
	instance_await(&instance, NULL, "would_save_pages", 0);

	/* What the guest writes is its own again, and small: what was split does not collapse by itself. */
	await_state("1000000", "high");
	fleet_tell_all(&fleet, 'w');
	fleet_tell_all(&fleet, 't');
	for (unsigned v = 0; v < VMS; v++)
		test_check(seen[v].huge_bytes == (BLOCKS - DENSE_BLOCKS - SPARSE_BLOCKS) * HUGE_BYTES,
			   "VM %u has other 2 MiB pages than in low", v);
	give_back(dense, sparse);
	for (unsigned v = 0; v < VMS; v++)
		fleet_kill(&fleet, v);
	test_check(unlink(figures) == 0, "unlink: %s", strerror(errno));
	instance_stop(&instance);
	instance_done(&instance);
	return 0;
}
