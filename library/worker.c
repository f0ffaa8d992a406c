/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. The thread is born with the first region and lives as long as the process. It connects to the
 * daemon, tells it of the regions, and then carries out orders one after the other, first come first served. Every piece of
 * work that touches guest memory is done in a short section under the memory lock; posting and waiting are done outside.
 * If the daemon goes away everything stays as it is, and the thread tries to connect again, for ever.
 *
 * It allocates nothing, so that it can never wait for a lock of the VMM's heap.
 */
#include "library/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "common/socket-path.h"
#include "library/fork.h"
#include "library/hold.h"
#include "library/mappings.h"
#include "library/merge.h"
#include "library/pagemap.h"
#include "library/pins.h"
#include "library/region.h"
#include "library/scan.h"
#include "library/session.h"
#include "library/sys.h"
#include "library/view.h"

#define RECONNECT_MS 1000
#define HOUSEKEEPING_MS 1000
#define STACK_BYTES (256 * 1024)

struct worker_options worker_options;

static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static bool started;
static int wake_fd = -1;
static int first_socket = -1; /* connected by the thread that registered the first region */
static _Atomic bool connected;
static _Atomic unsigned paused;
static _Atomic uint64_t refused[WIRE_REASON_END];
static _Atomic bool refused_changed;
static _Atomic uint64_t cpu_nsec;

/* Only the worker's, from here on. */
static struct session session = { .socket = -1 };
static uint64_t known_store; /* identity of the store that pages may be mapped to; 0: none */
static uint64_t scanned_pages;
static bool suspended; /* I/O is open that no hold can see */

/* ---- options ---- */

static void default_name(char *name)
{
	size_t length = 0;
	char comm[17] = "";

	prctl(PR_GET_NAME, comm);
	for (const char *c = comm; *c != 0; c++)
		name[length++] = *c > ' ' && *c <= '~' ? *c : '_';
	strcpy(name + length, length == 0 ? "vm" : "");
}

/** A name from outside is taken if the daemon will take it. */
static bool name_is_good(const char *name)
{
	for (const char *c = name; *c != 0; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return name[0] != 0 && strlen(name) < WIRE_NAME_MAX;
}

void worker_options_complete(void)
{
	const char *name = getenv("PAGEFUSE_NAME"), *mode = getenv("PAGEFUSE_MODE"), *path = getenv("PAGEFUSE_SOCKET");

	if (worker_options.name[0] == 0) {
		if (name != NULL && name_is_good(name))
			strcpy(worker_options.name, name);
		else
			default_name(worker_options.name);
	}
	if (worker_options.mode == 0)
		worker_options.mode = mode != NULL && wire_mode_parse(mode) > 0 ? wire_mode_parse(mode) : WIRE_MODE_FULL;
	if (worker_options.socket_path[0] == 0) {
		if (path != NULL && strlen(path) < sizeof(worker_options.socket_path))
			strcpy(worker_options.socket_path, path);
		else
			socket_path_default(worker_options.socket_path, sizeof(worker_options.socket_path));
	}
}

/* ---- telling the daemon of regions ---- */

static int post(uint8_t op, uint32_t page, unsigned count, uint64_t value)
{
	struct ring_record record = { .op = op, .count = (uint16_t)count, .page = page, .value = value };

	return session_post(&session, &record);
}

static int post_run(uint8_t op, uint32_t page, unsigned count, uint32_t slot)
{
	struct ring_record record = { .op = op, .count = (uint16_t)count, .page = page, .slot = slot };

	return session_post(&session, &record);
}

/** Length of the run from @index on that a newly met daemon is to adopt as one; 0: it need not know of that page. */
static unsigned adoptable_run(const struct region *region, uint64_t index)
{
	uint32_t state = region->state[index];
	unsigned count = 1;

	if (!page_reads_slot(state) && state != PAGE_ZEROED)
		return 0;
	while (count < RING_RUN_PAGES_MAX && index + count < region->pages &&
	       region->state[index + count] == (state == PAGE_ZEROED ? state : state + count) &&
	       (state == PAGE_ZEROED || (state + count) % VIEW_SEGMENT_SLOTS != 0))
		count++;
	return count;
}

static int announce_pages(const struct region *region)
{
	uint64_t pages = region->pages;
	int r = 0;

	for (uint64_t i = 0; i < pages && r == 0;) {
		unsigned run;
		uint32_t state;

		memory_lock_worker();
		pages = region->pages; /* it may leave meanwhile */
		run = i < pages ? adoptable_run(region, i) : 0;
		state = run > 0 ? region->state[i] : 0;
		for (i += run; run == 0 && i < pages && adoptable_run(region, i) == 0;)
			i++;
		memory_unlock();
		if (run > 0)
			r = state == PAGE_ZEROED ? post_run(REPORT_ADOPT_ZERO, region->first_page + (uint32_t)(i - run), run, 0) :
						   post_run(REPORT_ADOPT, region->first_page + (uint32_t)(i - run), run,
							    state & PAGE_SLOT_MASK);
	}
	return r;
}

/** Tells of regions that came or went since the last time. */
static int announce_regions(void)
{
	int r = 0;

	for (unsigned i = 0; i < REGIONS_MAX && r == 0; i++) {
		struct region *region;
		bool come, gone, forget;
		uint32_t first = 0;
		uint64_t pages = 0;

		memory_lock_worker();
		region = region_at(i);
		come = region != NULL && !region->announced && !region->leaving;
		gone = region != NULL && region->leaving && !fork_child_alive();
		forget = gone && !region->announced;
		if (region != NULL) {
			first = region->first_page;
			pages = region->table_pages;
		}
		if (come)
			region->announced = true;
		if (gone)
			region_free(region);
		memory_unlock();
		if (come) {
			r = post(REPORT_REGION_ADD, first, 1, pages);
			if (r == 0)
				r = announce_pages(region);
		} else if (gone && !forget) {
			r = post(REPORT_REGION_REMOVE, first, 1, 0);
		}
	}
	return r;
}

static int announce_refusals(void)
{
	for (uint32_t reason = 1; reason < WIRE_REASON_END; reason++) {
		struct wire_refused message = { .reason = reason, .bytes = refused[reason] };
		int r;

		if (message.bytes == 0)
			continue;
		wire_header_init(&message.header, WIRE_REFUSED, sizeof(message));
		r = wire_send(session.socket, &message, sizeof(message), NULL, 0);
		if (r == -EAGAIN) {
			refused_changed = true; /* once more later */
			return 0;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- carrying out orders ---- */

static void lock_unless_paused(void)
{
	memory_lock_worker();
	while (atomic_load(&paused) != 0) {
		struct pollfd fd = { .fd = wake_fd, .events = POLLIN };
		uint64_t count;

		memory_unlock();
		poll(&fd, 1, 100);
		if (read(wake_fd, &count, sizeof(count)) < 0)
			errno = 0;
		memory_lock_worker();
	}
}

static int do_scan(const struct ring_record *order)
{
	static struct scan scan; /* too large for a small stack */
	int r = 0;

	scan = (struct scan){ .what = order->op, .seed = session.seed };
	for (unsigned at = 0; at < order->count && r == 0; at += SCAN_CHUNK_PAGES) {
		unsigned count = order->count - at < SCAN_CHUNK_PAGES ? order->count - at : SCAN_CHUNK_PAGES;

		lock_unless_paused();
		if (suspended)
			scan.what = ORDER_AUDIT;
		scan_chunk(&scan, order->page + at, count);
		memory_unlock();
		for (unsigned i = 0; i < scan.report_count && r == 0; i++)
			r = session_post(&session, &scan.reports[i]);
	}
	scanned_pages += scan.hashed;
	return r < 0 ? r : post(REPORT_SCANNED, order->page, order->count, scan.present);
}

/** Copies a private page to a staging page. @return 0, or the report that says why not. */
static int copy_page(uint32_t page, void *to)
{
	struct region *region = region_of_page(page);
	uint64_t index, entry;

	if (region == NULL || region->barred[page - region->first_page] != 0)
		return REPORT_GONE;
	index = page - region->first_page;
	if (pagemap_read(region_hva(region, index), 1, &entry) < 0 || (entry & PAGEMAP_SWAPPED))
		return REPORT_BUSY; /* not worth bringing it in */
	if (!(entry & PAGEMAP_PRESENT))
		return REPORT_GONE;
	memcpy(to, (const void *)region_hva(region, index), PAGE_BYTES);
	return 0;
}

static int do_fetch(const struct ring_record *order)
{
	int index = session_staging(&session), r;

	if (index < 0)
		return index;
	lock_unless_paused();
	r = copy_page(order->page, ring_staging(session.ring, (uint32_t)index));
	memory_unlock();
	return r == 0 ? session_post_fetched(&session, order->page, (uint32_t)index) : post((uint8_t)r, order->page, 1, 0);
}

static enum ring_report report_of(enum outcome outcome, bool zero)
{
	switch (outcome) {
	case OUTCOME_MERGED:
		return zero ? REPORT_ZEROED : REPORT_MERGED;
	case OUTCOME_DIFFERS:
		return REPORT_DIFFERS;
	case OUTCOME_GONE:
		return REPORT_GONE;
	case OUTCOME_FULL:
		return REPORT_FULL;
	default:
		return REPORT_BUSY;
	}
}

static int answer(uint32_t page, unsigned count, const uint32_t *targets, const enum outcome *outcomes)
{
	int r = 0;

	for (unsigned first = 0, end; first < count && r == 0; first = end) {
		bool zero = targets[first] == HOLD_ZERO;

		for (end = first + 1; end < count && outcomes[end] == outcomes[first]; end++)
			if (targets[end] != (zero ? HOLD_ZERO : targets[first] + (end - first)))
				break;
		r = post_run((uint8_t)report_of(outcomes[first], zero), page + first, end - first, zero ? 0 : targets[first]);
	}
	return r;
}

/** Takes this order and all that continue it in the guest, so that they can be held together. */
static unsigned gather(struct ring_record order, uint32_t targets[HOLD_PAGES])
{
	uint32_t first = order.page;
	unsigned count = 0;

	do {
		for (unsigned i = 0; i < order.count; i++)
			targets[count + i] = order.op == ORDER_ZERO ? HOLD_ZERO : order.slot + i;
		count += order.count;
		session_done_order(&session);
	} while (session_next_order(&session, &order) > 0 && (order.op == ORDER_MERGE || order.op == ORDER_ZERO) &&
		 order.page == first + count && order.count <= HOLD_PAGES - count);
	return count;
}

static int do_merge(const struct ring_record *order)
{
	uint32_t targets[HOLD_PAGES], page = order->page;
	enum outcome outcomes[HOLD_PAGES];
	unsigned count = gather(*order, targets);

	lock_unless_paused();
	if (suspended)
		for (unsigned i = 0; i < count; i++)
			outcomes[i] = OUTCOME_BUSY;
	else
		merge_pages(page, count, targets, outcomes);
	memory_unlock();
	return answer(page, count, targets, outcomes);
}

static int do_unshare(const struct ring_record *order)
{
	uint8_t diverged[RING_RUN_PAGES_MAX] = { 0 };
	struct region *region;
	int r = 0;

	lock_unless_paused();
	region = region_of_page(order->page);
	for (unsigned i = 0; region != NULL && i < order->count; i++) {
		uint64_t index = order->page - region->first_page + i;

		if (index >= region->pages || !page_reads_slot(region->state[index]) || fork_child_alive() ||
		    merge_unshare(region, index, 1) < 0)
			continue;
		page_set_state(region, index, region->state[index] | PAGE_DIVERGED);
		diverged[i] = 1;
	}
	memory_unlock();
	for (unsigned i = 0; i < order->count && r == 0; i++)
		if (diverged[i])
			r = post(REPORT_DIVERGED, order->page + i, 1, 0);
	return r < 0 ? r : post_run(REPORT_UNSHARED, order->page, order->count, 0);
}

static int do_order(const struct ring_record *order)
{
	switch (order->op) {
	case ORDER_SCAN:
	case ORDER_SCAN_ZERO:
	case ORDER_AUDIT:
		session_done_order(&session);
		return do_scan(order);
	case ORDER_FETCH:
		session_done_order(&session);
		return do_fetch(order);
	case ORDER_MERGE:
	case ORDER_ZERO:
		return do_merge(order);
	case ORDER_UNSHARE:
		session_done_order(&session);
		return do_unshare(order);
	default:
		return -EPROTO;
	}
}

/* ---- housekeeping ---- */

static void publish_stats(void)
{
	struct ring_stats *stats = &((struct ring_page *)session.ring)->stats;
	struct timespec cpu;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	cpu_nsec = (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
	stats->cpu_nsec = cpu_nsec;
	stats->present_pages = region_totals.present;
	stats->diverged_pages = region_totals.diverged;
	stats->busy_pages = hold_busy_pages;
	stats->kept_private_pages = hold_kept_private_pages;
	stats->ram_bytes = region_totals.pages * PAGE_BYTES;
	stats->scanned_pages = scanned_pages;
	stats->repaired_moves = hold_repaired_moves;
	mappings_stats(&stats->mappings, &stats->mappings_limit);
	hold_times(&stats->holds, &stats->hold_p50_usec, &stats->hold_p99_usec, &stats->hold_max_usec);
}

static uint64_t now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/** Files that direct I/O or a device could use to write guest memory unseen come and go with the VM's devices. */
static void look_for_unseen_io(void)
{
	struct pins pins;

	pins_look(&pins);
	if (pins.unseen == suspended)
		return;
	suspended = pins.unseen;
	refused[WIRE_REASON_PLAIN_REFERENCES] = suspended ? region_totals.pages * PAGE_BYTES : 0;
	refused_changed = true;
}

static void note_kept_private(void)
{
	uint64_t bytes = hold_kept_private_pages * PAGE_BYTES;

	if (bytes != refused[WIRE_REASON_DIRECT_IO]) {
		refused[WIRE_REASON_DIRECT_IO] = bytes;
		refused_changed = true;
	}
}

static int housekeeping(void)
{
	static uint64_t last_msec;
	bool poked = false;
	uint64_t pokes;
	int r = 0;

	while (read(wake_fd, &pokes, sizeof(pokes)) > 0)
		poked = true;
	if (poked)
		r = announce_regions();
	if (r == 0 && now_msec() - last_msec >= HOUSEKEEPING_MS) {
		last_msec = now_msec();
		look_for_unseen_io();
		note_kept_private();
		r = announce_regions(); /* those that waited for a child to end */
	}
	if (mappings_count_is_due())
		mappings_count();
	if (r == 0 && atomic_exchange(&refused_changed, false))
		r = announce_refusals();
	publish_stats();
	return r;
}

/* ---- the thread ---- */

/** Pages mapped to the store of a daemon that is gone for good: they stay as they are, and out of the game. */
static void make_foreign(void)
{
	memory_lock_worker();
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct region *region = region_at(i);

		for (uint64_t p = 0; region != NULL && p < region->pages; p++) {
			if (!(region->state[p] & PAGE_IN_STORE))
				continue;
			region->barred[p] |= BARRED_FOREIGN;
			page_set_state(region, p, region->state[p] | PAGE_DIVERGED);
		}
	}
	memory_unlock();
}

static void forget_announcements(void)
{
	memory_lock_worker();
	view_remove_all();
	for (unsigned i = 0; i < REGIONS_MAX; i++) {
		struct region *region = region_at(i);

		if (region == NULL)
			continue;
		region->announced = false;
		for (uint64_t p = 0; p < region->pages; p++)
			if (region->state[p] == PAGE_LEFT)
				page_set_state(region, p, PAGE_ANONYMOUS);
	}
	memory_unlock();
}

/** Whether a child may still read slots that only the old connection knew of. */
static bool must_wait_for_child(void)
{
	bool alive;

	memory_lock_worker();
	alive = known_store != 0 && fork_child_alive();
	memory_unlock();
	return alive;
}

static int open_session(int socket)
{
	int device = -1, r = session_open(&session, socket, known_store, &device);

	if (r < 0)
		return r;
	memory_lock_worker();
	r = hold_open(device);
	memory_unlock();
	if (r < 0)
		worker_refuse(WIRE_REASON_NO_USERFAULTFD, region_totals.pages * PAGE_BYTES);
	if (pagemap_open() < 0)
		worker_refuse(WIRE_REASON_NO_PAGEMAP, region_totals.pages * PAGE_BYTES);
	if (known_store != 0 && known_store != session.store)
		make_foreign();
	known_store = session.store;
	forget_announcements();
	refused_changed = true;
	look_for_unseen_io();
	r = announce_regions();
	return r < 0 ? r : post(REPORT_READY, 1, 1, 0);
}

static void serve(void)
{
	int r = 0;

	while (r >= 0) {
		struct ring_record order;

		r = housekeeping();
		if (r >= 0)
			r = session_receive(&session);
		for (int i = 0; i < 64 && r >= 0; i++) {
			r = session_next_order(&session, &order);
			if (r <= 0)
				break;
			r = do_order(&order);
			if (r >= 0)
				r = 1;
		}
		if (r == 0)
			r = session_wait(&session, wake_fd, HOUSEKEEPING_MS);
	}
}

static void *worker_main(void *unused)
{
	int socket = first_socket;

	(void)unused;
	prctl(PR_SET_NAME, "pagefuse");
	for (;;) {
		struct pollfd wake = { .fd = -1 };

		if (socket < 0 && !must_wait_for_child())
			socket = session_connect(worker_options.socket_path);
		if (socket >= 0 && open_session(socket) >= 0) {
			atomic_store(&connected, true);
			serve();
		}
		atomic_store(&connected, false);
		session_close(&session);
		socket = -1;
		poll(&wake, 1, RECONNECT_MS);
	}
	return NULL;
}

static int start_thread(void)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	int r;

	worker_options_complete();
	wake_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake_fd < 0)
		return -errno;
	r = fork_watch();
	if (r < 0)
		return r;
	first_socket = session_connect(worker_options.socket_path);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&thread, &attributes, worker_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return r;
}

int worker_start(void)
{
	int r = 0;

	pthread_mutex_lock(&start_lock);
	if (!started) {
		r = start_thread();
		started = r == 0;
		atomic_store(&connected, first_socket >= 0);
	}
	pthread_mutex_unlock(&start_lock);
	return r < 0 ? r : atomic_load(&connected);
}

void worker_wake(void)
{
	uint64_t one = 1;

	if (wake_fd >= 0)
		sys_raw(SYS_write, wake_fd, (long)&one, sizeof(one), 0, 0, 0);
}

bool worker_is_connected(void)
{
	return atomic_load(&connected);
}

void worker_refuse(uint32_t reason, uint64_t bytes)
{
	atomic_fetch_add(&refused[reason], bytes);
	atomic_store(&refused_changed, true);
	worker_wake();
}

uint64_t worker_refused_bytes(void)
{
	uint64_t bytes = 0;

	for (unsigned reason = 0; reason < WIRE_REASON_END; reason++)
		bytes += reason == WIRE_REASON_DIRECT_IO ? 0 : refused[reason];
	return bytes;
}

void worker_pause(void)
{
	atomic_fetch_add(&paused, 1);
	memory_lock(); /* a hold that is under way ends first */
	memory_unlock();
}

void worker_resume(void)
{
	if (atomic_fetch_sub(&paused, 1) == 1)
		worker_wake();
}

void worker_forget(void)
{
	if (session.socket >= 0)
		sys_raw(SYS_close, session.socket, 0, 0, 0, 0, 0);
	if (wake_fd >= 0)
		sys_raw(SYS_close, wake_fd, 0, 0, 0, 0, 0);
	session.socket = wake_fd = -1;
	started = true; /* there will be none here */
	atomic_store(&connected, false);
	pagemap_close();
}

uint64_t worker_cpu_nsec(void)
{
	return atomic_load(&cpu_nsec);
}
