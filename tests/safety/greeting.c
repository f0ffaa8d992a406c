/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A daemon of another release, older or newer, is upgraded to under a VM that runs: the library goes on with what both
 * know, and what it maps stays shared. One that wants what the library lacks is left, and tried again. And the C API's
 * structures are of any release's size.
 */
#include <errno.h>
#include <string.h>

#include "include/pagefuse.h"
#include "tests/support/guest.h"

#define PAGES 256u /* shared from the beginning, and some more, one with each daemon */
#define MORE 8u

static struct guest g;
static uint32_t shared = PAGES;

static void accept_again(const struct director_greeting *greeting, const char *what)
{
	director_greet(g.director, greeting);
	director_disconnect(g.vm);
	g.vm = director_accept(g.director);
	g.page = g.vm->regions[0].page;
	test_check(director_count(g.vm, g.page, shared, DIRECTOR_SHARED) == shared,
		   "%s: the library does not tell what it maps", what);
	test_check((g.vm->hello_features & ~WIRE_FEATURES) == 0, "it says to have what nobody knows");
	for (uint32_t i = 0; i < PAGES + MORE; i++)
		if (pages_differ(guest_at(&g, i), i + 1) >= 0)
			test_damage("%s: page %u reads wrong bytes", what, i);
	test_check(director_share(g.vm, g.page + shared++, 1) == 1, "%s: nothing is shared any more", what);
}

static void test_daemons(void)
{
	static const struct director_greeting ours = { sizeof(struct wire_welcome), WIRE_FEATURES, WIRE_FEATURES };
	static const struct director_greeting older = { WIRE_WELCOME_LEAST, 0, 0 };
	static const struct director_greeting newer = { WIRE_GREETING_MAX, UINT64_MAX, WIRE_FEATURES };
	static const struct director_greeting foreign = { sizeof(struct wire_welcome), UINT64_MAX, UINT64_C(1) << 63 };

	test_check(director_share(g.vm, g.page, PAGES) == PAGES, "not all is shared");
	accept_again(&ours, "a daemon of this release");
	accept_again(&older, "an older daemon");
	accept_again(&newer, "a newer daemon");
	director_greet(g.director, &foreign);
	director_disconnect(g.vm);
	test_check(director_try_accept(g.director) == NULL, "the library stays with a daemon that wants what it lacks");
	director_greet(g.director, &ours);
	g.vm = director_accept(g.director);
	g.page = g.vm->regions[0].page;
	test_check(director_count(g.vm, g.page, PAGES, DIRECTOR_SHARED) == PAGES, "what it maps was lost");
}

static void test_stats(void)
{
	struct {
		struct pagefuse_stats stats;
		char beyond[64];
	} larger = { .stats.size = sizeof(larger) };
	struct pagefuse_stats stats = { .size = sizeof(stats) };

	test_check(pagefuse_get_stats(NULL) == -EINVAL, "no structure is one");
	test_check(pagefuse_get_stats(&stats) == 0 && stats.size == sizeof(stats), "stats of this release");
	test_check(stats.ram_pages == PAGES + MORE && stats.connected == 1, "stats are wrong");
	memset(larger.beyond, 7, sizeof(larger.beyond));
	test_check(pagefuse_get_stats(&larger.stats) == 0 && larger.stats.size == sizeof(stats),
		   "stats of a newer release");
	test_check(larger.stats.ram_pages == PAGES + MORE, "stats of a newer release are wrong");
	for (size_t i = 0; i < sizeof(larger.beyond); i++)
		test_check(larger.beyond[i] == 7, "it writes what it does not know");
	stats = (struct pagefuse_stats){ .size = 8 };
	test_check(pagefuse_get_stats(&stats) == -EINVAL && stats.connected == 0, "stats that have no room");
	stats.size = 0;
	test_check(pagefuse_get_stats(&stats) == -EINVAL, "stats without size");
}

static void test_options(void)
{
	struct {
		struct pagefuse_options options;
		char beyond[64];
	} larger = { .options = { .size = sizeof(larger), .name = "guest" } };
	struct pagefuse_options options = { .name = "guest" };

	test_check(pagefuse_configure(NULL) == -EINVAL, "no options are some");
	test_check(pagefuse_configure(&options) == -EINVAL, "options without size");
	options.size = sizeof(options) - sizeof(options.mode) - 1;
	test_check(pagefuse_configure(&options) == -EINVAL, "options that are cut off");
	options.size = SIZE_MAX; /* nothing is read there */
	test_check(pagefuse_configure(&options) == -E2BIG, "options without end");
	larger.beyond[63] = 1;
	test_check(pagefuse_configure(&larger.options) == -E2BIG, "it takes what it does not know");
	larger.beyond[63] = 0;
	test_check(pagefuse_configure(&larger.options) == 0, "options of a newer release that ask for nothing new");
	options.size = sizeof(options);
	test_check(pagefuse_configure(&options) == 0, "options of this release");
}

int main(int argc, char **argv)
{
	char *memory;

	test_begin(argc, argv);
	test_options();
	memory = pages_map(PAGES + MORE, false);
	for (uint32_t i = 0; i < PAGES + MORE; i++)
		pages_fill(memory + i * PAGE_BYTES, i + 1);
	guest_begin(&g, memory, PAGES + MORE);
	test_check(strcmp(g.vm->name, "guest") == 0, "the name of the options is not told");
	test_daemons();
	test_stats();
	director_free(g.director);
	return 0;
}
