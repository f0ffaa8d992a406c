/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/sent.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define PROBES_MAX 64 /* places that are looked at for a key: past that the table counts as full */

int sent_init(struct sent *sent)
{
	/* Not from malloc(): it is only as large as what is used of it. */
	sent->files = mmap(NULL, SENT_FILES_MAX * sizeof(*sent->files), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sent->walk = 0;
	if (sent->files == MAP_FAILED) {
		sent->files = NULL;
		return -ENOMEM;
	}
	(void)madvise(sent->files, SENT_FILES_MAX * sizeof(*sent->files), MADV_NOHUGEPAGE);
	return 0;
}

void sent_done(struct sent *sent)
{
	if (sent->files != NULL)
		munmap(sent->files, SENT_FILES_MAX * sizeof(*sent->files));
	sent->files = NULL;
}

void sent_clear(struct sent *sent)
{
	if (madvise(sent->files, SENT_FILES_MAX * sizeof(*sent->files), MADV_DONTNEED) < 0)
		memset(sent->files, 0, SENT_FILES_MAX * sizeof(*sent->files));
}

void sent_begin(struct sent *sent)
{
	sent->walk++;
}

struct sent_file *sent_find(struct sent *sent, uint64_t key, bool *ret_met)
{
	*ret_met = false;
	for (unsigned i = 0; i < PROBES_MAX; i++) {
		struct sent_file *file = &sent->files[(key + i) % SENT_FILES_MAX];

		if (file->key == 0)
			break;
		if (file->key == key) {
			*ret_met = file->walk == sent->walk;
			file->walk = sent->walk;
			return file;
		}
	}
	return NULL;
}

/* Those that are gone stay in place until their place is needed, so that what lies behind them is found. */
struct sent_file *sent_add(struct sent *sent, uint64_t key)
{
	for (unsigned i = 0; i < PROBES_MAX; i++) {
		struct sent_file *file = &sent->files[(key + i) % SENT_FILES_MAX];

		if (file->key == 0 || (uint16_t)(sent->walk - file->walk) > 1) {
			*file = (struct sent_file){ .key = key, .walk = sent->walk };
			return file;
		}
	}
	return NULL;
}

uint64_t sent_mix(const uint64_t *words, unsigned count)
{
	uint64_t mixed = UINT64_C(0x9e3779b97f4a7c15);

	for (unsigned i = 0; i < count; i++) { /* the finalizer of splitmix64 */
		mixed ^= words[i];
		mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
		mixed ^= mixed >> 31;
	}
	return mixed | 1;
}
