/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which equal pages of these VMMs' guests take memory of their own, and why. It asks the kernel only, for pagefuse and
 * for KSM alike: every page of guest RAM is hashed, and which frame it is in is looked up.
 *
 *   equal-pages COMMAND PID...
 *
 * looks, runs the COMMAND by the shell (sleep 2, or another pass), looks once more, and prints "name value" lines, all
 * in pages of the second look but for runs and stretches:
 *
 *   present              pages that have content: own, copies, shared, zeros that take memory; holes are left out
 *   contents             different contents among them, zeros left out: what would do, if all that is equal were shared
 *   frames               page frames behind them
 *   shared, common       pages that share a frame of the store or KSM's, and those frames
 *   left                 frames that sharing would save still: frames - contents
 *     left_volatile      ... changed between the two looks
 *     left_diverged      ... is a private copy in a mapping of the store: written since it was shared
 *     left_huge          ... is inside a 2 MiB page
 *     left_mappings      ... is in a run too short for as few mappings as the VMM has left (library/mappings.h)
 *     left_zeros         ... is full of zeros
 *     left_refused       ... none of these, and others share this content: the kernel let nobody hold it, being pinned,
 *                            or nobody has tried since it came to be
 *     left_unseen        ... none of these, and nobody shares this content
 *     left_stored_twice  ... is a frame of the store, or KSM's, with the content of another one: stripes, and such as
 *                            had many readers each before somebody saw that they are equal
 *   meanwhile            pages that were private in the first look and share a frame in the second, unchanged
 *   runs                 mappings of the store in guest RAM: pages that follow each other in guest and store
 *   runs_of_one, runs_median   runs of a single page; the length, in pages, of the middle one
 *   stretches            of pages that follow each other and have a twin each: no order of slots has fewer runs
 *   runs_possible        that an order of slots made by who knows all of it would have: what follows each other most
 *                        often comes first to be neighbours, and each content has one neighbour on each side at most.
 *                        Contents that repeat themselves count as one run wherever they do, as of a stripe
 *
 * Needs root, for the frames. Guest RAM is taken to be the largest stretch of adjoining private mappings, writable,
 * with no file or the store behind them. Exits 0, 1 if something could not be read, 2 if called wrongly, 77 if not
 * root.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/hash.h"
#include "common/page.h"

#define VMS_MAX 16
#define BATCH_PAGES 256
#define MAPPINGS_AT_FIRST 1024
#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_FILE (UINT64_C(1) << 61)
#define ENTRY_FRAME ((UINT64_C(1) << 55) - 1)
#define FLAG_KSM (UINT64_C(1) << 21)
#define FLAG_THP (UINT64_C(1) << 22)
#define FLAG_ZERO_PAGE (UINT64_C(1) << 24)
#define HASH_SEED 1

enum state {
	STATE_NONE,   /* a hole, the kernel's zero page, or swapped out: takes no memory */
	STATE_OWN,    /* anonymous */
	STATE_COPY,   /* anonymous, inside a mapping of the store */
	STATE_SHARED, /* of the store, or KSM's */
};

enum cause { /* from what has the best excuse to what has none */
	     CAUSE_VOLATILE,
	     CAUSE_DIVERGED,
	     CAUSE_HUGE,
	     CAUSE_MAPPINGS,
	     CAUSE_ZEROS,
	     CAUSE_REFUSED,
	     CAUSE_UNSEEN,
	     CAUSE_STORED_TWICE,
	     CAUSES,
};

static const char *const cause_names[CAUSES] = { "volatile", "diverged", "huge", "mappings",
						 "zeros", "refused", "unseen", "stored_twice" };

struct page {
	uint64_t hash, frame;
	uint32_t content; /* a number of its own, from 1 on; 0: of a page that has no twin, or is full of zeros */
	uint8_t state;
	bool zero, huge, changed, has_twin;
	bool left; /* counts as left over */
	enum cause cause;
};

struct mapping {
	uint64_t start, end;
	bool of_store;
};

struct vm {
	const char *pid;
	struct mapping *mappings; /* of guest RAM */
	size_t mapping_count;
	uint64_t start, page_count;
	uint64_t process_mappings; /* of all kinds, in the whole process */
	struct page *pages;
};

static struct vm vms[VMS_MAX];
static unsigned vm_count;
static uint64_t meanwhile, mapping_limit;
static uint32_t twin_contents; /* contents with a number */

static int out_of_memory(void)
{
	fprintf(stderr, "equal-pages: out of memory\n");
	return -ENOMEM;
}

/* ---- guest RAM ---- */

/* Whether it may be a piece of guest RAM. What only the library maps of the store is neither forked nor dumped. */
static bool parse_mapping(const char *line, const char *flags, struct mapping *ret)
{
	uint64_t inode;
	char access[8];

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*x %*s %" SCNu64, &ret->start, &ret->end, access, &inode) != 4)
		return false;
	ret->of_store = inode != 0;
	if (strncmp(access, "rw-p", 4) != 0 || strchr(line, '['))
		return false;
	return inode == 0 || (strstr(line, "pagefuse") && !(strstr(flags, " dc") && strstr(flags, " dd")));
}

struct span {
	size_t first, count;
	uint64_t bytes;
};

/* The largest stretch of adjoining mappings. */
static struct span largest_span(const struct mapping *mappings, size_t count)
{
	struct span best = { 0 }, span = { 0 };

	for (size_t i = 0; i < count; i++) {
		if (i == 0 || mappings[i].start != mappings[i - 1].end)
			span = (struct span){ .first = i };
		span.count++;
		span.bytes += mappings[i].end - mappings[i].start;
		if (span.bytes > best.bytes)
			best = span;
	}
	return best;
}

static int read_mappings(struct vm *vm, FILE *smaps, struct mapping **ret, size_t *ret_count)
{
	char line[1024], first[1024] = "", dash;
	size_t count = 0, room = MAPPINGS_AT_FIRST;
	struct mapping *mappings = malloc(room * sizeof(*mappings));

	vm->process_mappings = 0;
	while (mappings && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%*x%c", &dash) == 1 && dash == '-') {
			strcpy(first, line);
			vm->process_mappings++;
			continue;
		}
		if (strncmp(line, "VmFlags:", 8) != 0)
			continue;
		if (count == room) {
			struct mapping *more = realloc(mappings, (room *= 2) * sizeof(*mappings));

			if (!more)
				free(mappings);
			mappings = more;
		}
		if (mappings)
			count += parse_mapping(first, line, &mappings[count]);
	}
	if (!mappings)
		return out_of_memory();
	*ret = mappings;
	*ret_count = count;
	return 0;
}

/* Leaves of the mappings what lies in guest RAM. @return how many that are. */
static size_t clip_mappings(const struct vm *vm, struct mapping *mappings, size_t count)
{
	uint64_t end = vm->start + (vm->page_count << PAGE_SHIFT_BITS);
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		struct mapping mapping = mappings[i];

		if (mapping.end <= vm->start || mapping.start >= end)
			continue;
		mapping.start = mapping.start > vm->start ? mapping.start : vm->start;
		mapping.end = mapping.end < end ? mapping.end : end;
		mappings[kept++] = mapping;
	}
	return kept;
}

/* Takes over what of the mappings is guest RAM; it is found once, as later others may have come to adjoin it. */
static int take_ram(struct vm *vm, struct mapping *mappings, size_t count)
{
	free(vm->mappings);
	vm->mappings = mappings;
	if (!vm->pages && count > 0) {
		struct span span = largest_span(mappings, count);

		vm->start = mappings[span.first].start;
		vm->page_count = span.bytes >> PAGE_SHIFT_BITS;
		vm->pages = calloc(vm->page_count, sizeof(*vm->pages));
		if (!vm->pages)
			return out_of_memory();
	}
	vm->mapping_count = clip_mappings(vm, mappings, count);
	if (vm->mapping_count > 0)
		return 0;
	fprintf(stderr, "equal-pages: process %s: no guest RAM\n", vm->pid);
	return -ENOENT;
}

/* Sets where guest RAM is and what it is made of now. */
static int find_ram(struct vm *vm)
{
	char path[64];
	struct mapping *mappings;
	size_t count;
	FILE *smaps;
	int r;

	snprintf(path, sizeof(path), "/proc/%s/smaps", vm->pid);
	smaps = fopen(path, "re");
	if (!smaps) {
		r = -errno;
		fprintf(stderr, "equal-pages: %s: %s\n", path, strerror(-r));
		return r;
	}
	r = read_mappings(vm, smaps, &mappings, &count);
	fclose(smaps);
	return r < 0 ? r : take_ram(vm, mappings, count);
}

/* ---- a look ---- */

struct looking {
	struct vm *vm;
	int pagemap, kpageflags;
	bool again;
	uint64_t entries[BATCH_PAGES];
	char bytes[BATCH_PAGES * PAGE_BYTES];
};

static int read_entries(struct looking *looking, uint64_t address, uint64_t count)
{
	size_t size = count * sizeof(uint64_t);
	off_t at = (off_t)((address >> PAGE_SHIFT_BITS) * sizeof(uint64_t));

	return pread(looking->pagemap, looking->entries, size, at) == (ssize_t)size ? 0 : -EIO;
}

/* Reads what is there; a hole stays one. Pages of the store are mapped by that, if nobody has read them yet. */
static void read_contents(struct looking *looking, uint64_t address, uint64_t count, bool of_store)
{
	struct iovec remote[BATCH_PAGES], local[BATCH_PAGES];
	pid_t pid = (pid_t)strtol(looking->vm->pid, NULL, 10);
	unsigned long pieces = 0;

	for (uint64_t i = 0; i < count; i++) {
		if (!of_store && !(looking->entries[i] & ENTRY_PRESENT))
			continue;
		remote[pieces] = (struct iovec){ (void *)(uintptr_t)(address + i * PAGE_BYTES), PAGE_BYTES };
		local[pieces++] = (struct iovec){ looking->bytes + i * PAGE_BYTES, PAGE_BYTES };
	}
	for (unsigned long done = 0; done < pieces;) {
		ssize_t n = process_vm_readv(pid, local + done, pieces - done, remote + done, pieces - done, 0);
		unsigned long got = n < 0 ? 0 : (unsigned long)n / PAGE_BYTES;

		done += got;
		/* The guest goes on: that page has been moved away just now. */
		if (done < pieces)
			memset(local[done++].iov_base, 0, PAGE_BYTES);
	}
}

static uint64_t frame_flags(const struct looking *looking, uint64_t frame)
{
	uint64_t flags = 0;

	if (pread(looking->kpageflags, &flags, sizeof(flags), (off_t)(frame * sizeof(flags))) != sizeof(flags))
		return 0;
	return flags;
}

static void note_page(const struct looking *looking, struct page *page, uint64_t entry, const char *bytes,
		      bool of_store)
{
	struct page before = *page;
	uint64_t flags;

	*page = (struct page){ .frame = entry & ENTRY_FRAME };
	if (!(entry & ENTRY_PRESENT))
		return;
	flags = frame_flags(looking, page->frame);
	if (flags & FLAG_ZERO_PAGE)
		return;
	page->hash = page_hash(bytes, HASH_SEED);
	page->zero = page_is_zero(bytes);
	page->huge = (flags & FLAG_THP) != 0 && !(entry & ENTRY_FILE);
	if ((entry & ENTRY_FILE) || (flags & FLAG_KSM))
		page->state = STATE_SHARED;
	else
		page->state = of_store ? STATE_COPY : STATE_OWN;
	if (!looking->again)
		return;
	page->changed = before.state == STATE_NONE || before.hash != page->hash;
	meanwhile += !page->changed && page->state == STATE_SHARED && before.state != STATE_SHARED;
}

static int look_at_mapping(struct looking *looking, const struct mapping *mapping)
{
	struct vm *vm = looking->vm;

	for (uint64_t at = mapping->start; at < mapping->end;) {
		uint64_t count = (mapping->end - at) >> PAGE_SHIFT_BITS;
		struct page *pages = vm->pages + ((at - vm->start) >> PAGE_SHIFT_BITS);
		int r;

		if (count > BATCH_PAGES)
			count = BATCH_PAGES;
		r = read_entries(looking, at, count);
		if (r < 0)
			return r;
		read_contents(looking, at, count, mapping->of_store);
		r = mapping->of_store ? read_entries(looking, at, count) : 0;
		if (r < 0)
			return r;
		for (uint64_t i = 0; i < count; i++)
			note_page(looking, &pages[i], looking->entries[i], looking->bytes + i * PAGE_BYTES,
				  mapping->of_store);
		at += count * PAGE_BYTES;
	}
	return 0;
}

/* What is not mapped for a moment, or for good. */
static void forget_pages(struct vm *vm, uint64_t from, uint64_t to)
{
	for (uint64_t at = from; at < to; at += PAGE_BYTES)
		vm->pages[(at - vm->start) >> PAGE_SHIFT_BITS] = (struct page){ 0 };
}

static int look(struct vm *vm, bool again)
{
	static struct looking looking;
	char path[64];
	uint64_t at;
	int r = find_ram(vm);

	if (r < 0)
		return r;
	at = vm->start;
	snprintf(path, sizeof(path), "/proc/%s/pagemap", vm->pid);
	looking.vm = vm;
	looking.again = again;
	looking.pagemap = open(path, O_RDONLY | O_CLOEXEC);
	looking.kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (looking.pagemap < 0 || looking.kpageflags < 0)
		r = -errno;
	for (size_t i = 0; r == 0 && i < vm->mapping_count; i++) {
		forget_pages(vm, at, vm->mappings[i].start);
		r = look_at_mapping(&looking, &vm->mappings[i]);
		at = vm->mappings[i].end;
	}
	forget_pages(vm, at, vm->start + (vm->page_count << PAGE_SHIFT_BITS));
	if (looking.pagemap >= 0)
		close(looking.pagemap);
	if (looking.kpageflags >= 0)
		close(looking.kpageflags);
	if (r < 0)
		fprintf(stderr, "equal-pages: process %s: %s\n", vm->pid, strerror(-r));
	return r;
}

/* ---- what is equal ---- */

static int compare_pages(const void *a, const void *b)
{
	const struct page *x = *(struct page *const *)a, *y = *(struct page *const *)b;

	if (x->zero != y->zero)
		return x->zero ? -1 : 1;
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->frame < y->frame ? -1 : x->frame > y->frame;
}

struct sums {
	uint64_t present, contents, frames, shared, common, left[CAUSES];
};

static enum cause judge(const struct page *page, bool somebody_shares)
{
	if (page->changed)
		return CAUSE_VOLATILE;
	if (page->zero)
		return CAUSE_ZEROS;
	if (page->state == STATE_COPY)
		return CAUSE_DIVERGED;
	if (page->huge)
		return CAUSE_HUGE;
	return somebody_shares ? CAUSE_REFUSED : CAUSE_UNSEEN;
}

/* The pages of one content, in the order of their frames. */
static void judge_content(struct page **pages, size_t count, struct sums *sums)
{
	uint64_t common = 0, privates = 0;
	struct page *innocent = NULL; /* where none is shared, one keeps what it has */
	bool is_one = count > 1 && !pages[0]->zero;

	twin_contents += is_one;

	for (size_t i = 0; i < count; i++) {
		bool first_of_frame = i == 0 || pages[i]->frame != pages[i - 1]->frame;

		pages[i]->has_twin = count > 1;
		pages[i]->content = is_one ? twin_contents : 0;
		sums->shared += pages[i]->state == STATE_SHARED;
		if (pages[i]->state == STATE_SHARED)
			common += first_of_frame;
		else
			privates++;
	}
	sums->common += common;
	sums->frames += common + privates;
	sums->contents += !pages[0]->zero;
	if (common > 0)
		sums->left[CAUSE_STORED_TWICE] += common - !pages[0]->zero;
	for (size_t i = 0; i < count; i++) {
		if (pages[i]->state == STATE_SHARED)
			continue;
		pages[i]->left = true;
		pages[i]->cause = judge(pages[i], common > 0);
		if (!innocent || pages[i]->cause > innocent->cause)
			innocent = pages[i];
	}
	if (innocent && common == 0 && !innocent->zero)
		innocent->left = false;
}

/* As mappings_allow() of the library has it: whether a run of so many pages is too short for what is left. */
static bool is_too_short(const struct vm *vm, uint64_t pages)
{
	uint64_t most = mapping_limit - mapping_limit / 8;

	if (vm->process_mappings >= most)
		return true;
	return vm->process_mappings > most / 2 && pages < (vm->process_mappings > most / 4 * 3 ? 4 : 2);
}

/* Neighbours that are left for no other reason would be a run. */
static void judge_runs(struct vm *vm, struct sums *sums)
{
	for (uint64_t i = 0, end; i < vm->page_count; i = end) {
		struct page *page = &vm->pages[i];

		end = i + 1;
		if (!page->left)
			continue;
		if (page->cause == CAUSE_REFUSED || page->cause == CAUSE_UNSEEN) {
			while (end < vm->page_count && vm->pages[end].left && vm->pages[end].cause == page->cause)
				end++;
			sums->left[is_too_short(vm, end - i) ? CAUSE_MAPPINGS : page->cause] += end - i;
		} else {
			sums->left[page->cause]++;
		}
	}
}

static int judge_all(struct sums *sums)
{
	struct page **pages;

	for (unsigned i = 0; i < vm_count; i++)
		for (uint64_t n = 0; n < vms[i].page_count; n++)
			sums->present += vms[i].pages[n].state != STATE_NONE;
	pages = calloc(sums->present + 1, sizeof(struct page *));
	if (!pages)
		return out_of_memory();
	sums->present = 0;
	for (unsigned i = 0; i < vm_count; i++)
		for (uint64_t n = 0; n < vms[i].page_count; n++)
			if (vms[i].pages[n].state != STATE_NONE)
				pages[sums->present++] = &vms[i].pages[n];
	qsort(pages, sums->present, sizeof(struct page *), compare_pages);
	for (uint64_t i = 0, next; i < sums->present; i = next) {
		for (next = i + 1; next < sums->present && pages[next]->zero == pages[i]->zero &&
				   (pages[i]->zero || pages[next]->hash == pages[i]->hash);
		     next++)
			;
		judge_content(&pages[i], next - i, sums);
	}
	free(pages);
	for (unsigned i = 0; i < vm_count; i++)
		judge_runs(&vms[i], sums);
	return 0;
}

/* ---- runs ---- */

static int compare_lengths(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int print_runs(void)
{
	uint64_t *lengths, count = 0, most = 0, of_one = 0, stretches = 0;

	for (unsigned i = 0; i < vm_count; i++)
		most += vms[i].mapping_count;
	lengths = calloc(most + 1, sizeof(*lengths));
	if (!lengths)
		return out_of_memory();
	for (unsigned i = 0; i < vm_count; i++) {
		for (size_t n = 0; n < vms[i].mapping_count; n++) {
			const struct mapping *mapping = &vms[i].mappings[n];

			if (mapping->of_store)
				lengths[count++] = (mapping->end - mapping->start) >> PAGE_SHIFT_BITS;
		}
		for (uint64_t n = 0; n < vms[i].page_count; n++)
			stretches += vms[i].pages[n].has_twin && (n == 0 || !vms[i].pages[n - 1].has_twin);
	}
	qsort(lengths, count, sizeof(*lengths), compare_lengths);
	while (of_one < count && lengths[of_one] == 1)
		of_one++;
	printf("runs %" PRIu64 "\nruns_of_one %" PRIu64 "\nruns_median %" PRIu64 "\nstretches %" PRIu64 "\n", count,
	       of_one, lengths[count / 2], stretches);
	free(lengths);
	return 0;
}

/* Contents that lie beside each other somewhere, so many times. */
struct pair {
	uint32_t left, right;
	uint64_t times;
};

static int compare_pairs(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;

	if (x->left != y->left)
		return x->left < y->left ? -1 : 1;
	return x->right < y->right ? -1 : x->right > y->right;
}

static int compare_times(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;

	return x->times != y->times ? (x->times < y->times ? 1 : -1) : compare_pairs(a, b);
}

/* All that there are, sorted, each once. @return how many. */
static size_t find_pairs(struct pair *pairs)
{
	size_t count = 0, kept = 0;

	for (unsigned i = 0; i < vm_count; i++)
		for (uint64_t n = 1; n < vms[i].page_count; n++) {
			const struct page *page = &vms[i].pages[n];

			if (page[-1].content != 0 && page->content != 0)
				pairs[count++] = (struct pair){ page[-1].content, page->content, 1 };
		}
	qsort(pairs, count, sizeof(*pairs), compare_pairs);
	for (size_t i = 0; i < count; i++)
		if (kept > 0 && compare_pairs(&pairs[kept - 1], &pairs[i]) == 0)
			pairs[kept - 1].times++;
		else
			pairs[kept++] = pairs[i];
	qsort(pairs, kept, sizeof(*pairs), compare_times);
	return kept;
}

/* The chain that a content is part of by now, by any of its members. */
static uint32_t chain_of(uint32_t *chains, uint32_t content)
{
	while (chains[content] != content)
		content = chains[content] = chains[chains[content]];
	return content;
}

/* Makes neighbours of what may be. @return how many pages so lie beside the one that their left neighbour's slot is. */
static uint64_t join_pairs(const struct pair *pairs, size_t count, uint32_t *chains, bool *has_right, bool *has_left)
{
	uint64_t joined = 0;

	for (uint32_t i = 0; i <= twin_contents; i++)
		chains[i] = i;
	for (size_t i = 0; i < count; i++) {
		uint32_t left = chain_of(chains, pairs[i].left), right = chain_of(chains, pairs[i].right);

		if (pairs[i].left == pairs[i].right) {
			joined += pairs[i].times;
			continue;
		}
		if (left == right || has_right[pairs[i].left] || has_left[pairs[i].right])
			continue;
		has_right[pairs[i].left] = has_left[pairs[i].right] = true;
		chains[left] = right;
		joined += pairs[i].times;
	}
	return joined;
}

static int print_possible_runs(void)
{
	uint64_t pages = 0;
	struct pair *pairs;
	uint32_t *chains = calloc(twin_contents + 1, sizeof(*chains));
	bool *has = calloc(2 * ((size_t)twin_contents + 1), sizeof(*has));

	for (unsigned i = 0; i < vm_count; i++)
		for (uint64_t n = 0; n < vms[i].page_count; n++)
			pages += vms[i].pages[n].content != 0;
	pairs = calloc(pages + 1, sizeof(*pairs));
	if (pairs && chains && has)
		printf("runs_possible %" PRIu64 "\n", pages - join_pairs(pairs, find_pairs(pairs), chains, has,
									 has + twin_contents + 1));
	free(pairs);
	free(chains);
	free(has);
	return pairs && chains && has ? 0 : out_of_memory();
}

static int report(void)
{
	struct sums sums = { 0 };
	int r = judge_all(&sums);

	if (r < 0)
		return r;
	printf("present %" PRIu64 "\ncontents %" PRIu64 "\nframes %" PRIu64 "\n", sums.present, sums.contents,
	       sums.frames);
	printf("shared %" PRIu64 "\ncommon %" PRIu64 "\nleft %" PRIu64 "\n", sums.shared, sums.common,
	       sums.frames - sums.contents);
	for (unsigned cause = 0; cause < CAUSES; cause++)
		printf("left_%s %" PRIu64 "\n", cause_names[cause], sums.left[cause]);
	printf("meanwhile %" PRIu64 "\n", meanwhile);
	r = print_runs();
	return r < 0 ? r : print_possible_runs();
}

static int read_mapping_limit(void)
{
	FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
	int got = file ? fscanf(file, "%" SCNu64, &mapping_limit) : 0;

	if (file)
		fclose(file);
	return got == 1 ? 0 : -EIO;
}

static int look_at_all(bool again)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < vm_count; i++)
		r = look(&vms[i], again);
	return r;
}

int main(int argc, char **argv)
{
	int r = 0;

	if (argc < 3 || argc > VMS_MAX + 2) {
		fprintf(stderr, "usage: equal-pages COMMAND PID...   (at most %d)\n", VMS_MAX);
		return 2;
	}
	if (geteuid() != 0) {
		fprintf(stderr, "equal-pages: only root sees frame numbers\n");
		return 77;
	}
	for (; vm_count < (unsigned)argc - 2; vm_count++)
		vms[vm_count].pid = argv[vm_count + 2];
	r = read_mapping_limit();
	r = r < 0 ? r : look_at_all(false);
	if (r == 0 && system(argv[1]) != 0) { // NOLINT(cert-env33-c,concurrency-mt-unsafe): the caller's own command
		fprintf(stderr, "equal-pages: '%s' failed\n", argv[1]);
		r = -EINVAL;
	}
	r = r < 0 ? r : look_at_all(true);
	r = r < 0 ? r : report();
	for (unsigned i = 0; i < vm_count; i++) {
		free(vms[i].mappings);
		free(vms[i].pages);
	}
	return r == 0 ? 0 : 1;
}
