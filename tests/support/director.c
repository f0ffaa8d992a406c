/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. There is no event loop: a test posts orders and then waits, and only while it waits are reports
 * taken in. Each page knows the order that it is under and the answer that this got, so every answer can be checked
 * against what was asked, and at the end of a wait nothing is left open.
 *
 *   readers[slot] = pages with .slot == slot + pages with .wanted == slot under a MERGE
 *
 * A slot is given out once. When its readers fall to 0 its memory is punched out, so that a page which should not read
 * it any more but does reads zeros, and is found. A segment whose slots are all given out and unread is closed.
 */
#include "tests/support/director.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/test.h"

#define SEGMENT_SLOTS WIRE_SEGMENT_SLOTS_MAX
#define SEGMENTS_MAX 64

struct segment {
	int fd; /* -1: not in use */
	char *base;
	uint32_t given;    /* slots [0, given) have been given out */
	uint64_t readers;  /* sum of the below */
	uint32_t *of_slot; /* readers of each slot */
};

struct director {
	int listener;
	uint64_t store;
	struct segment segments[SEGMENTS_MAX];
	uint32_t current; /* segment that slots are given from */
	uint64_t live_slots;
	bool ending; /* nothing is punched any more: VMMs may go on reading what they have mapped */
	struct director_vm *vms;
	struct director_greeting greeting;
};

/**
 * Opens and removes what the listening socket is called, so that nothing of it is left, however the process ends. VMMs
 * find it by the descriptor of this process, whose number they keep.
 */
static void make_nameless(const char *path)
{
	static int place = -1; /* stays open for the next one */
	int fd = open(path, O_PATH | O_CLOEXEC);
	char name[64];

	test_check(fd >= 0, "%s: %s", path, strerror(errno));
	unlink(path);
	if (place >= 0) {
		test_check(dup3(fd, place, O_CLOEXEC) == place, "dup3: %s", strerror(errno));
		close(fd);
	} else {
		place = fd;
	}
	snprintf(name, sizeof(name), "/proc/%d/fd/%d", getpid(), place);
	setenv("PAGEFUSE_SOCKET", name, 1);
}

struct director *director_new(void)
{
	struct director *d = calloc(1, sizeof(*d));
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	static unsigned count;

	test_needs_moves();
	test_check(d != NULL, "no memory");
	for (unsigned i = 0; i < SEGMENTS_MAX; i++)
		d->segments[i].fd = -1;
	d->greeting = (struct director_greeting){ .bytes = sizeof(struct wire_welcome), .features = 0 };
	d->store = test_seed((uint64_t)getpid() << 32 | count++);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/pagefuse-director-%d.sock", test_folder(), getpid());
	d->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	test_check(d->listener >= 0 && bind(d->listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
			   listen(d->listener, 16) == 0,
		   "listening at %s: %s", address.sun_path, strerror(errno));
	make_nameless(address.sun_path);
	return d;
}

static void segment_close(struct segment *s)
{
	munmap(s->base, SEGMENT_SLOTS * PAGE_BYTES);
	close(s->fd);
	free(s->of_slot);
	*s = (struct segment){ .fd = -1 };
}

void director_free(struct director *d)
{
	if (d == NULL)
		return;
	d->ending = true;
	while (d->vms != NULL)
		director_forget(d->vms); /* NOLINT(clang-analyzer-unix.Malloc): it takes the first out of the list */
	for (unsigned i = 0; i < SEGMENTS_MAX; i++)
		if (d->segments[i].fd >= 0)
			segment_close(&d->segments[i]);
	close(d->listener);
	free(d);
}

/* ---- connection ---- */

/** The connection is gone. Orders under way may have been done: what they name stays referenced. */
static void lose(struct director_vm *vm)
{
	if (vm->socket >= 0)
		close(vm->socket);
	vm->socket = -1;
}

static void send_or_lose(struct director_vm *vm, const void *message, size_t size, const int *fds, unsigned count)
{
	int r = vm->socket < 0 ? -ECONNRESET : wire_send(vm->socket, message, size, fds, count);

	test_check(r == 0 || r == -ECONNRESET || r == -EPIPE || r == -EAGAIN, "sending to %s: %s", vm->name,
		   strerror(-r));
	if (r < 0 && r != -EAGAIN)
		lose(vm);
}

static void ring_doorbell(struct director_vm *vm)
{
	struct wire_header message;

	wire_header_init(&message, WIRE_DOORBELL, sizeof(message));
	send_or_lose(vm, &message, sizeof(message), NULL, 0);
}

static void send_segment(struct director_vm *vm, uint32_t segment, enum wire_type type)
{
	struct wire_segment message = { .segment = segment, .slots = SEGMENT_SLOTS };
	char path[64];
	int fd = -1;

	wire_header_init(&message.header, type, sizeof(message));
	if (type == WIRE_SEGMENT) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", vm->director->segments[segment].fd);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		test_check(fd >= 0, "%s: %s", path, strerror(errno));
	}
	send_or_lose(vm, &message, sizeof(message), &fd, fd >= 0 ? 1 : 0);
	if (fd >= 0)
		close(fd);
}

static int make_ring(struct director_vm *vm)
{
	int fd = memfd_create("pagefuse-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	test_check(fd >= 0 && ftruncate(fd, RING_BYTES) == 0 &&
			   fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0,
		   "making a ring: %s", strerror(errno));
	vm->base = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	test_check(vm->base != MAP_FAILED, "mapping a ring: %s", strerror(errno));
	madvise(vm->base, RING_BYTES, MADV_DONTFORK);
	ring_attach_daemon(vm->base, &vm->up, &vm->down);
	return fd;
}

static void welcome(struct director_vm *vm)
{
	const struct director_greeting *greeting = &vm->director->greeting;
	union {
		struct wire_welcome welcome;
		char bytes[WIRE_GREETING_MAX];
	} message = { .welcome = { .seed = test_seed(0), .store = vm->director->store } };
	int fds[WIRE_FDS_MAX] = { make_ring(vm), open("/dev/userfaultfd", O_RDWR | O_CLOEXEC) };
	unsigned count = 1;

	message.welcome.has_userfaultfd = fds[1] >= 0;
	count += message.welcome.has_userfaultfd;
	message.welcome.features = greeting->features;
	message.welcome.required = greeting->required;
	memset(message.bytes + sizeof(message.welcome), 0x5a, sizeof(message) - sizeof(message.welcome));
	wire_header_init(&message.welcome.header, WIRE_WELCOME, greeting->bytes);
	send_or_lose(vm, &message, greeting->bytes, fds, count);
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
	for (uint32_t i = 0; i < SEGMENTS_MAX; i++)
		if (vm->director->segments[i].fd >= 0)
			send_segment(vm, i, WIRE_SEGMENT);
}

static void take_map(struct director_vm *vm, const struct wire_memory_map *map)
{
	uint32_t count = (uint32_t)((map->header.length - sizeof(*map)) / sizeof(*map->ranges));

	test_check((vm->director->greeting.features & 1u << WIRE_FEATURE_MEMORY_MAP) != 0, "%s tells a map unasked",
		   vm->name);
	if (map->header.flags & WIRE_FIRST)
		vm->map_next = 0;
	test_check(count <= WIRE_RANGES_MAX - vm->map_next, "the map of %s is too long", vm->name);
	memcpy(vm->map + vm->map_next, map->ranges, count * sizeof(*map->ranges));
	vm->map_next += count;
	if (map->header.flags & WIRE_MORE)
		return;
	vm->map_count = vm->map_next;
	vm->maps_told++;
}

void director_greet(struct director *d, const struct director_greeting *greeting)
{
	d->greeting = *greeting;
}

/** Waits for something on the socket and takes it in. */
static void receive(struct director_vm *vm, uint64_t deadline_msec)
{
	struct pollfd readable = { .fd = vm->socket, .events = POLLIN };
	static union {
		struct wire_header header;
		struct wire_hello hello;
		struct wire_refused refused;
		struct wire_wanted wanted;
		struct wire_memory_map map;
		char bytes[WIRE_MESSAGE_MAX];
	} message;
	int fds[WIRE_FDS_MAX];
	size_t size;
	int r;

	if (poll(&readable, 1, TEST_LOOK_MSEC) <= 0) {
		if (test_patient_msec() >= deadline_msec)
			test_damage("the worker of %s has not answered for %d s", vm->name, TEST_DEADLINE_SECONDS);
		return;
	}
	r = wire_receive(vm->socket, &message, sizeof(message), &size, fds);
	if (r == -ECONNRESET)
		lose(vm);
	if (r == -EAGAIN || r == -ECONNRESET)
		return;
	test_check(r == 0, "message of %s: %s", vm->name, strerror(-r));
	if (message.header.type == WIRE_HELLO && vm->base == NULL) {
		memcpy(vm->name, message.hello.name, sizeof(vm->name));
		vm->hello_store = message.hello.store;
		vm->hello_features = message.hello.features;
		welcome(vm);
	} else if (message.header.type == WIRE_REFUSED) {
		vm->refused[message.refused.reason] = message.refused.bytes;
	} else if (message.header.type == WIRE_SEGMENT_WANTED) {
		vm->segments_wanted++;
		if (!vm->deaf)
			send_segment(vm, message.wanted.segment, WIRE_SEGMENT);
	} else if (message.header.type == WIRE_MEMORY_MAP) {
		take_map(vm, &message.map);
	} else {
		test_check(message.header.type == WIRE_DOORBELL, "%s sent message %u", vm->name, message.header.type);
	}
}

/* ---- slots ---- */

static struct segment *segment_of(const struct director *d, uint32_t slot)
{
	const struct segment *s = &d->segments[slot / SEGMENT_SLOTS % SEGMENTS_MAX];

	test_check(slot / SEGMENT_SLOTS < SEGMENTS_MAX && s->fd >= 0, "slot %u is in no segment", slot);
	return (struct segment *)s;
}

static void slot_ref(struct director *d, uint32_t slot)
{
	struct segment *s = segment_of(d, slot);

	s->readers++;
	d->live_slots += s->of_slot[slot % SEGMENT_SLOTS]++ == 0;
}

static void close_if_dead(struct director *d, uint32_t segment)
{
	struct segment *s = &d->segments[segment];

	if (s->fd < 0 || s->readers != 0 || segment == d->current)
		return;
	for (struct director_vm *vm = d->vms; vm != NULL; vm = vm->next)
		if (vm->socket >= 0)
			send_segment(vm, segment, WIRE_SEGMENT_CLOSE);
	segment_close(s);
}

static void slot_unref(struct director *d, uint32_t slot)
{
	struct segment *s = segment_of(d, slot);

	test_check(s->of_slot[slot % SEGMENT_SLOTS] > 0, "slot %u is given back twice", slot);
	s->readers--;
	if (--s->of_slot[slot % SEGMENT_SLOTS] > 0)
		return;
	d->live_slots--;
	if (d->ending)
		return;
	test_check(fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			     (off_t)(slot % SEGMENT_SLOTS * PAGE_BYTES), PAGE_BYTES) == 0,
		   "punching slot %u: %s", slot, strerror(errno));
	close_if_dead(d, slot / SEGMENT_SLOTS);
}

static void segment_open(struct director *d, uint32_t segment)
{
	struct segment *s = &d->segments[segment];

	s->fd = memfd_create("pagefuse-store", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	test_check(s->fd >= 0 && ftruncate(s->fd, SEGMENT_SLOTS * PAGE_BYTES) == 0 &&
			   fcntl(s->fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) == 0,
		   "making a segment: %s", strerror(errno));
	s->base = mmap(NULL, SEGMENT_SLOTS * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, s->fd, 0);
	s->of_slot = calloc(SEGMENT_SLOTS, sizeof(*s->of_slot));
	test_check(s->base != MAP_FAILED && s->of_slot != NULL, "making a segment: no memory");
	madvise(s->base, SEGMENT_SLOTS * PAGE_BYTES, MADV_DONTFORK);
	for (struct director_vm *vm = d->vms; vm != NULL; vm = vm->next)
		if (vm->socket >= 0)
			send_segment(vm, segment, WIRE_SEGMENT);
}

uint32_t director_take_slots(struct director *d, uint32_t count)
{
	struct segment *s = &d->segments[d->current];
	uint32_t segment = d->current, slot;

	test_check(count <= SEGMENT_SLOTS, "%u slots do not fit a segment", count);
	if (s->fd < 0 || count > SEGMENT_SLOTS - s->given) {
		uint32_t full = d->current;

		for (segment = 0; segment < SEGMENTS_MAX && d->segments[segment].fd >= 0;)
			segment++;
		test_check(segment < SEGMENTS_MAX, "all %d segments are in use", SEGMENTS_MAX);
		segment_open(d, segment);
		d->current = segment;
		close_if_dead(d, full);
	}
	slot = d->segments[segment].given;
	d->segments[segment].given += count;
	return segment * SEGMENT_SLOTS + slot;
}

void *director_slot(struct director *d, uint32_t slot)
{
	return segment_of(d, slot)->base + slot % SEGMENT_SLOTS * PAGE_BYTES;
}

uint64_t director_live_slots(const struct director *d)
{
	return d->live_slots;
}

uint64_t director_store_bytes(const struct director *d)
{
	uint64_t bytes = 0;
	struct stat st;

	for (unsigned i = 0; i < SEGMENTS_MAX; i++)
		if (d->segments[i].fd >= 0 && fstat(d->segments[i].fd, &st) == 0)
			bytes += (uint64_t)st.st_blocks * 512;
	return bytes;
}

/* ---- reports ---- */

static void page_is_private(struct director_vm *vm, struct director_page *page)
{
	if (page->slot != DIRECTOR_NO_SLOT)
		slot_unref(vm->director, page->slot);
	page->slot = DIRECTOR_NO_SLOT;
	page->state = DIRECTOR_PRIVATE;
}

static void page_reads(struct director_vm *vm, struct director_page *page, uint32_t slot)
{
	slot_ref(vm->director, slot);
	page_is_private(vm, page);
	page->slot = slot;
	page->state = DIRECTOR_SHARED;
}

static void add_region(struct director_vm *vm, uint32_t first, uint32_t count)
{
	uint32_t end = first + count;

	test_check(first >= (vm->pages_end ? vm->pages_end : 1), "region at page %u comes after page %u", first,
		   vm->pages_end);
	test_check(vm->region_count < DIRECTOR_REGIONS_MAX, "too many regions");
	vm->pages = realloc(vm->pages, end * sizeof(*vm->pages));
	test_check(vm->pages != NULL, "no memory");
	for (uint32_t i = vm->pages_end; i < end; i++)
		vm->pages[i] = (struct director_page){ .slot = DIRECTOR_NO_SLOT };
	vm->pages_end = end;
	vm->regions[vm->region_count++] = (struct director_region){ .page = first, .pages = count };
}

static void remove_region(struct director_vm *vm, uint32_t first)
{
	for (unsigned i = 0; i < vm->region_count; i++) {
		struct director_region *region = &vm->regions[i];

		if (region->page != first || region->gone)
			continue;
		region->gone = true;
		for (uint32_t p = first; p < first + region->pages; p++)
			page_is_private(vm, &vm->pages[p]);
		return;
	}
	test_fail("no region at page %u to remove", first);
}

static void adopt(struct director_vm *vm, const struct ring_record *record)
{
	test_check(!vm->ready && (record->op == REPORT_ADOPT_ZERO || vm->hello_store == vm->director->store),
		   "adopting out of turn");
	for (uint32_t i = 0; i < record->count; i++) {
		if (record->op == REPORT_ADOPT)
			page_reads(vm, &vm->pages[record->page + i], record->slot + i);
		else
			vm->pages[record->page + i].state = DIRECTOR_ZEROED;
	}
}

/** Whether @report can be an answer to @order. */
static bool answers(enum ring_order order, enum ring_report report)
{
	switch (report) {
	case REPORT_FETCHED:
		return order == ORDER_FETCH;
	case REPORT_MERGED:
		return order == ORDER_MERGE;
	case REPORT_ZEROED:
		return order == ORDER_ZERO;
	case REPORT_DIFFERS:
	case REPORT_FULL:
		return order == ORDER_MERGE || order == ORDER_ZERO;
	case REPORT_BUSY:
	case REPORT_GONE:
		return order == ORDER_MERGE || order == ORDER_ZERO || order == ORDER_FETCH;
	case REPORT_UNSHARED:
		return order == ORDER_UNSHARE;
	default:
		return false;
	}
}

static void take_answer(struct director_vm *vm, uint32_t number, const struct ring_record *record, uint32_t i)
{
	struct director_page *page = &vm->pages[number];
	enum ring_order asked = page->asked;

	test_check(answers(asked, record->op), "page %u is answered %u, but was asked %u", number, record->op, asked);
	if (record->op == REPORT_FETCHED)
		memcpy(director_slot(vm->director, page->wanted), ring_staging(vm->base, (uint32_t)record->value),
		       PAGE_BYTES);
	if (record->op == REPORT_MERGED) {
		test_check(record->slot + i == page->wanted, "page %u is merged with slot %u, not %u", number,
			   record->slot + i, page->wanted);
		page_reads(vm, page, page->wanted);
	}
	if (record->op == REPORT_ZEROED) {
		page_is_private(vm, page);
		page->state = DIRECTOR_ZEROED;
	}
	page->answer = record->op;
	page->asked = 0;
	if (asked == ORDER_MERGE)
		slot_unref(vm->director, page->wanted);
	vm->pending--;
}

static bool is_content(enum ring_report op)
{
	return op == REPORT_HASH || op == REPORT_ZERO || op == REPORT_SAME;
}

static void take_content(struct director_page *page, const struct ring_record *record)
{
	if (record->op != REPORT_SAME)
		page->told = record->op;
	if (record->op == REPORT_HASH)
		page->hash = record->value;
	page->was_hashed = page->told == REPORT_HASH;
	page->was_zero = page->told == REPORT_ZERO;
	page->diverged = (record->flags & RING_PRIVATE_COPY) != 0;
}

static void take_run(struct director_vm *vm, const struct ring_record *record)
{
	test_check(record->page + record->count <= vm->pages_end, "report %u about page %u+%u of %u", record->op,
		   record->page, record->count, vm->pages_end);
	for (uint32_t i = 0; i < record->count; i++) {
		struct director_page *page = &vm->pages[record->page + i];

		page->inside_huge = (record->flags & RING_INSIDE_HUGE) != 0;
		if (record->op == REPORT_DIVERGED)
			page_is_private(vm, page);
		else if (is_content(record->op))
			take_content(page, record);
		else
			take_answer(vm, record->page + i, record, i);
	}
}

static void take_report(struct director_vm *vm, const struct ring_record *record)
{
	test_check(ring_check_report(record) == 0, "%s reports op %u page %u count %u", vm->name, record->op,
		   record->page, record->count);
	vm->noted += record->flags & RING_NOTED ? record->count : 0;
	vm->reports[record->op] += record->op == REPORT_HASH ? 1 : record->count;
	switch (record->op) {
	case REPORT_REGION_ADD:
		add_region(vm, record->page, (uint32_t)record->value);
		break;
	case REPORT_REGION_REMOVE:
		remove_region(vm, record->page);
		break;
	case REPORT_ADOPT:
	case REPORT_ADOPT_ZERO:
		test_check(record->page + record->count <= vm->pages_end, "adopting page %u", record->page);
		adopt(vm, record);
		break;
	case REPORT_READY:
		vm->ready = true;
		break;
	case REPORT_SCANNED:
		test_check(vm->pending > 0, "a scan that nobody asked for is over");
		vm->present = record->value;
		vm->pending--;
		break;
	case REPORT_WHOLE:
		vm->whole = (enum ring_whole)record->value;
		vm->pending--;
		break;
	case REPORT_BROKEN:
		break;
	default:
		take_run(vm, record);
	}
}

/** @return whether there were any. */
static bool take_reports(struct director_vm *vm)
{
	struct ring_record record;
	bool any = false;
	int r;

	if (vm->base == NULL)
		return false;
	while ((r = ring_get(&vm->up, &record)) > 0) {
		take_report(vm, &record);
		any = true;
	}
	test_check(r == 0, "%s has broken its ring", vm->name);
	if (any && ring_release(&vm->up))
		ring_doorbell(vm);
	return any;
}

int director_wait_until(struct director_vm *vm, bool (*done)(const struct director_vm *vm, void *context),
			void *context)
{
	uint64_t deadline_msec = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;

	for (;;) {
		if (take_reports(vm))
			deadline_msec = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
		if (done(vm, context))
			return 0;
		if (vm->socket < 0)
			return take_reports(vm) && done(vm, context) ? 0 : -ECONNRESET;
		if (vm->base != NULL)
			ring_set_waiting(&vm->up, true);
		if (!take_reports(vm))
			receive(vm, deadline_msec);
		if (vm->base != NULL)
			ring_set_waiting(&vm->up, false);
	}
}

static bool is_ready(const struct director_vm *vm, void *context)
{
	(void)context;
	return vm->ready;
}

static bool is_idle(const struct director_vm *vm, void *context)
{
	(void)context;
	return vm->pending == 0;
}

int director_wait(struct director_vm *vm)
{
	return director_wait_until(vm, is_idle, NULL);
}

bool director_is_called(const struct director *d)
{
	struct pollfd readable = { .fd = d->listener, .events = POLLIN };

	return poll(&readable, 1, 0) > 0;
}

struct director_vm *director_try_accept(struct director *d)
{
	struct director_vm *vm = calloc(1, sizeof(*vm));

	test_check(vm != NULL, "no memory");
	if (!test_readable(d->listener))
		test_fail("nobody has connected in %d s", TEST_PATIENCE_SECONDS);
	vm->director = d;
	vm->socket = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC);
	test_check(vm->socket >= 0, "accept: %s", strerror(errno));
	snprintf(vm->name, sizeof(vm->name), "a new VMM");
	vm->next = d->vms;
	d->vms = vm;
	if (director_wait_until(vm, is_ready, NULL) == 0)
		return vm;
	director_forget(vm);
	return NULL;
}

struct director_vm *director_accept(struct director *d)
{
	struct director_vm *vm = director_try_accept(d);

	test_check(vm != NULL, "a VMM has hung up before it was ready");
	return vm;
}

void director_disconnect(struct director_vm *vm)
{
	take_reports(vm);
	lose(vm);
}

void director_forget(struct director_vm *vm)
{
	struct director_vm **link = &vm->director->vms;

	lose(vm);
	for (uint32_t i = 1; i < vm->pages_end; i++) {
		page_is_private(vm, &vm->pages[i]);
		if (vm->pages[i].asked == ORDER_MERGE)
			slot_unref(vm->director, vm->pages[i].wanted);
	}
	while (*link != NULL && *link != vm)
		link = &(*link)->next;
	if (*link != NULL)
		*link = vm->next;
	if (vm->base != NULL)
		munmap(vm->base, RING_BYTES);
	free(vm->pages);
	free(vm);
}

/* ---- orders ---- */

static bool has_room(const struct director_vm *vm, void *context)
{
	(void)context;
	return ring_room(&((struct director_vm *)vm)->down) > 0;
}

void director_post(struct director_vm *vm, const struct ring_record *record)
{
	if (ring_room(&vm->down) == 0) {
		ring_set_starved(&vm->down, true);
		director_wait_until(vm, has_room, NULL);
		ring_set_starved(&vm->down, false);
	}
	if (vm->socket < 0)
		return;
	ring_put(&vm->down, record);
	if (ring_publish(&vm->down))
		ring_doorbell(vm);
}

static bool is_scan(enum ring_order op)
{
	return op == ORDER_SCAN || op == ORDER_SCAN_ZERO || op == ORDER_AUDIT;
}

static void ask(struct director_vm *vm, enum ring_order op, uint32_t number, uint32_t slot)
{
	struct director_page *page = &vm->pages[number];

	if (is_scan(op)) {
		page->was_hashed = page->was_zero = page->diverged = page->inside_huge = false;
		return;
	}
	test_check(page->asked == 0, "page %u is under an order already", number);
	page->asked = op;
	page->answer = 0;
	page->wanted = slot;
	vm->pending++;
	if (op == ORDER_MERGE)
		slot_ref(vm->director, slot);
}

void director_order(struct director_vm *vm, enum ring_order op, uint32_t page, uint32_t count, uint32_t slot)
{
	struct ring_record record = { .op = op, .count = (uint16_t)count, .page = page };

	if (vm->socket < 0)
		return;
	record.slot = op == ORDER_MERGE ? slot : 0;
	record.flags = op == ORDER_SCAN && vm->samples ? RING_MAY_SAMPLE : 0;
	if ((op == ORDER_MERGE || op == ORDER_ZERO) && !vm->keeps_huge)
		record.flags = RING_MAY_SPLIT;
	test_check(ring_check_order(&record) == 0 && page + count <= vm->pages_end, "order %u: %u+%u", op, page, count);
	vm->pending += is_scan(op);
	for (uint32_t i = 0; i < count; i++)
		ask(vm, op, page + i, slot + i);
	director_post(vm, &record);
}
