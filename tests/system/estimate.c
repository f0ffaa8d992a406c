/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is said that sharing would save, and what it saves then: VMMs with real memory, whose 2 MiB pages stay whole at
 * first. After the estimate every page has a frame of its own still; after the merge as many frames less are in use as
 * was said, of all and of each pair of VMs. Frames are counted as the page tables tell them, and every byte is read.
 *
 * With --survey pages are small ones, and the VMs' mode is hints: nobody knows what is in them until they are surveyed.
 */
#include <errno.h>
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
#define PAGES ((uint32_t)(8 * HUGE_BYTES / PAGE_BYTES))
#define BYTES ((size_t)PAGES * PAGE_BYTES)
#define ZEROS 100u /* the last pages of each VM */
/*
 * Small pages that nothing but a survey has seen are known by 28 bits: of these 9000 contents two are taken for one in
 * one of six runs, and so many never.
 */
#define FALSE_MATCHES 8
#define POOL 3000u /* contents that VMs choose from by chance: some have one several times, or several have it */

static uint64_t (*frames)[PAGES]; /* by VM, as they tell the test */
static struct instance instance;
static struct fleet fleet;
static char *memory, figures[128];
static bool survey;

/* ---- a VMM ---- */

/* The test knows it, too. */
static uint64_t content_of(unsigned which, uint32_t page)
{
	uint64_t random = (uint64_t)(which * PAGES + page + 1) * UINT64_C(0x9e3779b97f4a7c15);

	random ^= random >> 29;
	if (page >= PAGES - ZEROS)
		return 0;
	if (page % 4 < 2)
		return 1000000 + (uint64_t)which * PAGES + page; /* nobody else has it */
	return 1 + random % (which == 0 ? POOL / 2 : POOL);
}

static void fill(unsigned which)
{
	memory = pages_map(PAGES, !survey);
	for (uint32_t i = 0; i < PAGES; i++)
		pages_fill(memory + (size_t)i * PAGE_BYTES, content_of(which, i));
	for (size_t at = 0; at < BYTES && !survey; at += HUGE_BYTES)
		(void)madvise(memory + at, HUGE_BYTES, MADV_COLLAPSE);
}

static void check(unsigned which, bool zeros)
{
	for (uint32_t i = 0; i < PAGES; i++)
		if ((content_of(which, i) == 0) == zeros &&
		    pages_differ(memory + (size_t)i * PAGE_BYTES, content_of(which, i)) >= 0)
			test_damage("VM %u, page %u is not what was written", which, i);
}

/* What was merged is not there before it is read. */
static void tell(unsigned which)
{
	check(which, false);
	for (uint32_t i = 0; i < PAGES; i++)
		frames[which][i] = pages_frame_of_content(memory + (size_t)i * PAGE_BYTES);
}

static _Noreturn void run_vmm(const struct fleet_vm *vm, unsigned which)
{
	const struct pagefuse_options options = {
		.size = sizeof(options),
		.name = vm->name,
		.socket_path = instance.socket,
		.mode = survey ? PAGEFUSE_MODE_HINTS : PAGEFUSE_MODE_FULL,
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
		if (what == 'z')
			check(which, true);
		test_check(write(vm->answers, &what, 1) == 1, "no answer can be given");
	}
	_exit(0);
}

/* ---- what is so: of contents, and of frames ---- */

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* How many different numbers there are, 0 left out. Sorts them. */
static uint32_t count_different(uint64_t *list, uint32_t count)
{
	uint32_t different = 0;

	qsort(list, count, sizeof(*list), compare);
	for (uint32_t i = 0; i < count; i++)
		different += list[i] != 0 && (i == 0 || list[i] != list[i - 1]);
	return different;
}

/* Different contents, without zeros, of VMs @a to @b. */
static uint32_t count_contents(unsigned a, unsigned b)
{
	static uint64_t list[VMS * PAGES];
	uint32_t count = 0;

	for (unsigned v = a;; v = b) {
		for (uint32_t i = 0; i < PAGES; i++)
			list[count++] = content_of(v, i);
		if (v == b)
			break;
	}
	return count_different(list, count);
}

/* Frames that all VMs take up, without the kernel's page of zeros. */
static uint32_t count_frames(void)
{
	static uint64_t list[VMS * PAGES];

	fleet_tell_all(&fleet, 't');
	memcpy(list, frames, sizeof(list));
	return count_different(list, VMS * PAGES);
}

/* ---- the test ---- */

static void settings(const char *large_pages)
{
	char text[256];

	snprintf(text, sizeof(text), "[memory]\nsource = %s\ninterval_msec = 100\nlarge_pages = %s\n", figures,
		 large_pages);
	instance_settings(&instance, text);
}

static void write_figures(void)
{
	FILE *file;

	snprintf(figures, sizeof(figures), "%s/figures", instance.directory);
	file = fopen(figures, "we");
	test_check(file && fputs("MemTotal: 1048576 kB\nMemAvailable: 1000000 kB\n", file) >= 0 && fclose(file) == 0,
		   "%s: %s", figures, strerror(errno));
}

static json_t *estimate(void)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	json_t *reply = instance_ask(&instance, "{\"command\":\"estimate\",\"look\":true}");
	char request[128];

	while (!json_is_true(json_object_get(reply, "finished"))) {
		test_check(json_object_get(reply, "error") == NULL, "no estimate");
		test_check(test_patient_msec() < last, "the estimate does not end");
		snprintf(request, sizeof(request), "{\"command\":\"estimate\",\"look\":true,\"since\":%lld}",
			 (long long)json_integer_value(json_object_get(reply, "since")));
		json_decref(reply);
		poll(NULL, 0, 10);
		reply = instance_ask(&instance, request);
	}
	return reply;
}

static long long domain_field(const json_t *reply, const char *field)
{
	const json_t *domain = json_array_get(json_object_get(reply, "domains"), 0);

	test_check(json_array_size(json_object_get(reply, "domains")) == 1, "there is not one domain");
	return (long long)json_integer_value(json_object_get(domain, field));
}

static unsigned which_of(const json_t *names, size_t i)
{
	const char *name = json_string_value(json_array_get(names, i));

	for (unsigned v = 0; v < VMS; v++)
		if (name && strcmp(name, fleet.vms[v].name) == 0)
			return v;
	test_fail("a pair of unknown VMs");
}

/* What is said is right, or too much by what is taken for equal and is not, which @exact excludes. */
static bool is_right(long long said, long long right, bool exact)
{
	return said >= right && said - right <= (survey && !exact ? FALSE_MATCHES : 0);
}

/* Each pair has in common what counting its contents says; nothing, or with @shared all of it, is shared. */
static void check_pairs(const json_t *reply, bool shared)
{
	const json_t *pairs = json_object_get(reply, "pairs"), *pair;
	size_t i;

	test_check(json_array_size(pairs) == VMS * (VMS - 1) / 2, "not all pairs are told");
	json_array_foreach(pairs, i, pair) {
		const json_t *names = json_object_get(pair, "names");
		unsigned a = which_of(names, 0), b = which_of(names, 1);
		long long common = (long long)count_contents(a, a) + count_contents(b, b) - count_contents(a, b);
		long long said = (long long)json_integer_value(json_object_get(pair, "common_pages"));
		long long now = (long long)json_integer_value(json_object_get(pair, "shared_pages"));

		test_check(is_right(said, common, shared), "VMs %u and %u have %lld pages in common, not %lld", a, b,
			   common, said);
		test_check(now == (shared ? common : 0), "VMs %u and %u share %lld of them", a, b, now);
	}
}

/* From now on all may be shared. */
static void allow(void)
{
	char request[128];

	settings("always");
	test_check(kill(instance.pid, SIGHUP) == 0, "kill: %s", strerror(errno));
	for (unsigned v = 0; v < VMS && survey; v++) {
		snprintf(request, sizeof(request), "{\"command\":\"modify\",\"name\":\"%s\",\"mode\":\"full\"}",
			 fleet.vms[v].name);
		json_decref(instance_ask(&instance, request));
	}
	if (survey)
		instance_scan(&instance);
}

/* VMMs whose memory has been looked at by two passes. */
static void start_all(void)
{
	fleet = (struct fleet){ .count = VMS, .run = run_vmm };
	for (unsigned v = 0; v < VMS; v++)
		fleet_start(&fleet, v);
	fleet_tell_all(&fleet, 'o');
	for (unsigned v = 0; v < VMS; v++)
		instance_await(&instance, fleet.vms[v].name, "ram_bytes", BYTES);
	instance_scan(&instance);
	instance_scan(&instance);
	if (!survey && instance_host(&instance, "whole_2m") != VMS * PAGES * PAGE_BYTES / HUGE_BYTES)
		test_skip("the kernel gives no 2 MiB pages, or not enough of them now");
}

/* @return what is said that would be saved; nothing is by its being said. */
static long long check_said(void)
{
	uint32_t before = count_frames(), after;
	json_t *reply = estimate();
	long long said = domain_field(reply, "would_save_pages");

	test_check(domain_field(reply, "looked_pages") == VMS * PAGES, "not all was looked at");
	test_check(domain_field(reply, "would_zero_pages") == VMS * ZEROS, "the zeros");
	check_pairs(reply, false);
	json_decref(reply);
	after = count_frames();
	test_check(before == VMS * PAGES && after == before, "an estimate has merged %u of %u pages", before - after,
		   before);
	test_check(instance_host(&instance, "store_bytes") == 0, "an estimate has put something into the store");
	test_check(said > VMS * PAGES / 4, "%lld pages are too few to tell anything", said);
	return said;
}

/* Has all shared that can be. @return what is saved then, as the daemon says. */
static long long save_all(long long said)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	long long saved;

	allow();
	while (!is_right(said, saved = instance_host(&instance, "saved_pages"), false)) {
		test_check(test_patient_msec() < last, "%lld pages are saved, and %lld would be, it was said", saved,
			   said);
		poll(NULL, 0, 10);
	}
	instance_scan(&instance);
	return instance_host(&instance, "saved_pages");
}

static void check_saved(long long said)
{
	long long saved = save_all(said);
	uint32_t frames_saved = VMS * PAGES - count_frames();
	json_t *reply = estimate();

	printf("%lld pages were saved, %lld would be, it was said\n", saved, said);
	test_check(is_right(said, saved, false), "%lld pages are saved, and %lld would be, it was said", saved, said);
	test_check(frames_saved == saved, "%u frames were saved, and not %lld", frames_saved, saved);
	test_check(domain_field(reply, "would_save_pages") == 0, "all is shared, and something would be saved still");
	test_check(domain_field(reply, "saved_pages") == saved, "what is saved");
	check_pairs(reply, true);
	json_decref(reply);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	test_needs_moves();
	survey = test_wants("--survey");
	frames = mmap(NULL, VMS * sizeof(*frames), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_check(frames != MAP_FAILED, "no memory");
	instance_init(&instance);
	write_figures();
	settings("keep");
	instance_start(&instance);
	start_all();
	check_saved(check_said());
	fleet_tell_all(&fleet, 'z'); /* last, as zeros that were given back may take memory once they are read */
	for (unsigned v = 0; v < VMS; v++)
		fleet_kill(&fleet, v);
	test_check(unlink(figures) == 0, "unlink: %s", strerror(errno));
	instance_stop(&instance);
	instance_done(&instance);
	return 0;
}
