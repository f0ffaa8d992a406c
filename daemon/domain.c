/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/domain.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/page.h"
#include "daemon/directory.h"
#include "daemon/log.h"
#include "daemon/turn.h"

#define SEGMENTS_TIMES 64u /* so many segments for each that the store could fill */

/* ---- the store, as the engine sees it ---- */

static int add_segment(void *context, uint32_t segment)
{
	struct domain *domain = context;
	int r = store_add_segment(domain->store, segment);

	if (r < 0 && domain->said_room == ENGINE_ROOM) /* otherwise it has been logged, and this is one more attempt */
		log_peer(LOG_NOBODY, LOG_WARNING, "domain %s: cannot add segment %u, nothing new is shared for now: %s",
			 domain->name, segment, strerror(-r));
	return r;
}

static void remove_segment(void *context, uint32_t segment)
{
	struct domain *domain = context;
	struct link *link;

	store_remove_segment(domain->store, segment);
	LIST_FOREACH(link, &domain->links, entries)
		link_segment_removed(link, segment);
}

/* Brings the quota up to date with the engine. */
static void count_stored(struct domain *domain)
{
	uint64_t stored = engine_stored_pages(domain->engine);

	domain->domains->quota->stored_pages += stored - domain->stored_pages;
	domain->stored_pages = stored;
}

/* Has what stray faults have allocated be freed now, instead of within a minute, where it is in the way. */
static void recheck_if_pressed(struct domain *domain)
{
	if (domain->recheck_soon || !store_is_pressed(domain->store))
		return;
	domain->recheck_soon = sd_event_source_set_time_relative(domain->recheck, DOMAIN_RECHECK_AGAIN_USEC) >= 0;
}

static int write_slot(void *context, uint32_t slot, const void *content)
{
	struct domain *domain = context;
	int r;

	count_stored(domain);
	if (!quota_may_store(domain->domains->quota))
		return -ENOSPC;
	r = store_write(domain->store, slot, content);
	recheck_if_pressed(domain);
	return r;
}

static int read_slot(void *context, uint32_t slot, void *ret_content)
{
	struct domain *domain = context;

	return store_read(domain->store, slot, ret_content);
}

static void punch(void *context, uint32_t first, uint32_t count)
{
	struct domain *domain = context;

	store_punch(domain->store, first, count);
	recheck_if_pressed(domain);
}

static bool admit_slot(void *context, void *account)
{
	struct domain *domain = context;
	struct quota_user *user = account;

	count_stored(domain);
	if (quota_user_may_store(user))
		return true;
	if (!user->said && quota_may_store(user->quota)) { /* otherwise the store is full, which is logged elsewhere */
		log_peer(user->uid, LOG_WARNING,
			 "user %u has its share of the store, %" PRIu64 " MiB: its VMs bring in nothing new until "
			 "there is more room; [limits] user_store_factor",
			 (unsigned)user->uid, user->slots * PAGE_BYTES >> 20);
		user->said = true;
	}
	return false;
}

static void charge(void *context, void *account, int64_t slots)
{
	(void)context;
	quota_user_charge(account, slots);
}

static bool take_numbers(void *context, void *account, uint64_t pages)
{
	struct domain *domain = context;

	return quota_numbers_take(&domain->numbers, account, pages);
}

static void give_numbers(void *context, void *account, uint64_t pages)
{
	struct domain *domain = context;

	quota_numbers_give(&domain->numbers, account, pages);
}

static void set_exposed(struct domain *domain, uint64_t pages)
{
	domain->domains->exposure->pages += pages - domain->exposed_pages;
	domain->exposed_pages = pages;
}

static bool admit_exposure(void *context, uint64_t all_pages, uint64_t vm_pages, bool held)
{
	struct domain *domain = context;

	set_exposed(domain, all_pages);
	return exposure_may(domain->domains->exposure, all_pages, vm_pages, held);
}

void domain_count_exposed(struct domain *domain, struct engine_exposure *ret)
{
	engine_exposure(domain->engine, ret);
	set_exposed(domain, ret->pages + ret->under_way_pages);
}

void domain_look_for_room(struct domain *domain, bool recheck)
{
	enum engine_room room = engine_store_room(domain->engine);

	count_stored(domain);
	if (room == domain->said_room || (room == ENGINE_ROOM && !recheck))
		return;
	/* Shared pages stay shared; new ones are not shared until there is room. */
	if (room == ENGINE_ROOM_NO_NUMBERS)
		log_warning("domain %s: each of the store's %u segments has a page in use: nothing new is shared until "
			    "one has none; if it stays so, end VMs or restart them one by one",
			    domain->name, domain->segments_max);
	else if (room == ENGINE_ROOM_NO_MEMORY)
		log_warning("domain %s: the store is full: nothing new is shared until there is room; [store] size is "
			    "its limit, with %" PRIu64 " of %" PRIu64 " MiB in use by all domains",
			    domain->name, domain->domains->quota->stored_pages * PAGE_BYTES >> 20,
			    domain->domains->quota->store_pages * PAGE_BYTES >> 20);
	else
		log_notice("domain %s: the store has room for new pages again", domain->name);
	domain->said_room = room;
}

/* Stray faults had taken what was needed, and have been undone. */
static void say_pressed(struct domain *domain, uint64_t now_usec)
{
	engine_retry_store(domain->engine);
	if (domain->said_pressed_usec != 0 && now_usec - domain->said_pressed_usec < DOMAIN_PRESSED_USEC)
		return;
	domain->said_pressed_usec = now_usec;
	log_peer(LOG_NOBODY, LOG_WARNING,
		 "domain %s: a process that maps the store reads what is not in use of it, and so takes memory that "
		 "new pages would have; it is freed again and again",
		 domain->name);
}

static int on_recheck(sd_event_source *source, uint64_t usec, void *user)
{
	struct domain *domain = user;
	bool was_pressed = store_is_pressed(domain->store), more = store_recheck(domain->store);
	uint64_t wait_usec = DOMAIN_RECHECK_SECONDS * UINT64_C(1000000);

	if (!more) {
		if (was_pressed)
			say_pressed(domain, usec);
		domain->recheck_soon = store_is_pressed(domain->store);
		quota_look(domain->domains->quota);
		domain_look_for_room(domain, true);
	}
	if (more || domain->recheck_soon)
		wait_usec = DOMAIN_RECHECK_AGAIN_USEC;
	sd_event_source_set_time(source, usec + wait_usec);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

void domain_note_steps(struct domain *domain)
{
	turn_note(TURN_STEPS, engine_take_steps(domain->engine));
}

/* ---- its VMs ---- */

void domain_schedule_pump(struct domain *domain)
{
	if (domain->pump)
		sd_event_source_set_enabled(domain->pump, SD_EVENT_ONESHOT);
}

void domain_vm_gone(struct domain *domain)
{
	if (!domain->accounted && domain->unaccounted == 0) {
		log_info("domain %s: all that the old store holds is accounted for", domain->name);
		domain->accounted = true;
		engine_accounted(domain->engine);
		domain_schedule_pump(domain);
	}
	domain->domains->vm_gone(domain->domains->daemon);
}

void domain_add_link(struct domain *domain, struct link *link)
{
	LIST_INSERT_HEAD(&domain->links, link, entries);
	domain_look_at_rings(domain, link);
}

void domain_look_at_rings(struct domain *domain, struct link *link)
{
	uint64_t before = link->memory_bytes;

	link_look_at_memory(link);
	domain->rings_bytes += link->memory_bytes - before;
}

void domain_remove_link(struct domain *domain, struct link *link)
{
	LIST_REMOVE(link, entries);
	domain->rings_bytes -= link->memory_bytes;
}

/* ---- the directory of all ---- */

int domains_open(struct domains *domains, const char *directory)
{
	SLIST_INIT(&domains->list);
	domains->count = 0;
	snprintf(domains->directory, sizeof(domains->directory), "%s", directory);
	domains->lock = strlen(directory) < sizeof(domains->directory) ? directory_lock(directory) : -ENAMETOOLONG;
	return domains->lock < 0 ? domains->lock : 0;
}

bool domains_close(struct domains *domains)
{
	bool stays;

	if (domains->directory[0] == 0 || domains->lock < 0)
		return false;
	stays = rmdir(domains->directory) < 0;
	close(domains->lock);
	domains->lock = -1;
	return stays;
}

int domains_each_left(struct domains *domains, void (*found)(struct domains *domains, const char *name))
{
	const struct dirent *entry;
	DIR *directory = opendir(domains->directory);

	if (directory == NULL)
		return -errno;
	while ((entry = readdir(directory)) != NULL)
		if (wire_domain_is_valid(entry->d_name) && domain_find(domains, entry->d_name) == NULL)
			found(domains, entry->d_name);
	closedir(directory);
	return 0;
}

/* ---- opening and closing one ---- */

/*
 * The most segments of a domain. Each costs bookkeeping and a descriptor, so they are limited: to a multiple of what
 * the store can fill, since nearly dead segments count until they have been emptied.
 */
static uint32_t segments_for(uint64_t store_pages)
{
	uint64_t segments = (store_pages / ENGINE_SEGMENT_SLOTS + 2) * SEGMENTS_TIMES;

	return segments < ENGINE_SEGMENTS_MAX ? (uint32_t)segments : ENGINE_SEGMENTS_MAX;
}

static int open_engine(struct domain *domain, const struct engine_settings *wanted)
{
	const struct engine_store store = {
		.context = domain,
		.add_segment = add_segment,
		.remove_segment = remove_segment,
		.write = write_slot,
		.read = read_slot,
		.punch = punch,
		.admit_slot = admit_slot,
		.charge = charge,
		.take_numbers = take_numbers,
		.give_numbers = give_numbers,
		.admit_exposure = admit_exposure,
	};
	struct engine_settings settings = *wanted;
	uint32_t cursor = 0, segment;
	int r = 0;

	settings.seed = store_seed(domain->store);
	settings.segments_max = segments_for(domain->domains->quota->store_pages);
	domain->segments_max = settings.segments_max;
	if (getrandom(settings.secret, sizeof(settings.secret), 0) != sizeof(settings.secret))
		return -EIO;
	domain->engine = engine_new(&settings, &store);
	if (domain->engine == NULL)
		return -ENOMEM;
	while (r == 0 && store_next_segment(domain->store, &cursor, &segment)) {
		r = engine_old_segment(domain->engine, segment);
		domain->old_segments++;
	}
	domain->accounted = domain->old_segments == 0;
	return r;
}

static int open_device(void)
{
	return open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
}

bool domain_lends_userfaultfd(void)
{
	int fd = open_device();

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void open_userfaultfd(struct domain *domain)
{
	domain->userfaultfd = open_device();
	if (domain->userfaultfd < 0 && !domain->domains->said_userfaultfd)
		log_warning(
			"cannot open /dev/userfaultfd (%s): only VMMs that may use userfaultfd by themselves can share",
			strerror(errno));
	domain->domains->said_userfaultfd = domain->userfaultfd < 0;
}

static int open_domain(struct domain *domain)
{
	const uint64_t recheck = DOMAIN_RECHECK_SECONDS * UINT64_C(1000000);
	const struct domains *domains = domain->domains;
	char directory[STORE_DIRECTORY_MAX + 1];
	int r;

	snprintf(directory, sizeof(directory), "%s/%s", domains->directory, domain->name);
	r = store_open(directory, &domains->store, &domain->store);
	if (r < 0)
		return r; /* it has said why */
	open_userfaultfd(domain);
	r = open_engine(domain, domains->engine);
	if (r == 0)
		r = sd_event_add_time_relative(domain->event, &domain->recheck, CLOCK_MONOTONIC, recheck, 0, on_recheck,
					       domain);
	if (r < 0)
		log_error("cannot open domain %s: %s", domain->name, strerror(-r));
	return r < 0 ? r : 0;
}

int domain_open(struct domains *domains, const char *name, struct domain **ret)
{
	struct domain *domain;
	int r;

	if (domains->count >= DOMAINS_MAX)
		return -ENOSPC;
	domain = calloc(1, sizeof(*domain));
	if (domain == NULL)
		return -ENOMEM;
	domain->domains = domains;
	domain->event = domains->event;
	domain->userfaultfd = -1;
	snprintf(domain->name, sizeof(domain->name), "%s", name);
	TAILQ_INIT(&domain->vms);
	quota_numbers_init(&domain->numbers, ENGINE_NUMBERS);
	LIST_INIT(&domain->links);
	TAILQ_INIT(&domain->stalled);
	SLIST_INSERT_HEAD(&domains->list, domain, entries);
	domains->count++;
	r = open_domain(domain);
	if (r < 0) {
		domain_close(domain);
		return r;
	}
	*ret = domain;
	return 0;
}

bool domain_close(struct domain *domain)
{
	bool stays;

	sd_event_source_disable_unref(domain->recheck);
	sd_event_source_disable_unref(domain->pump);
	sd_event_source_disable_unref(domain->tick);
	engine_free(domain->engine);
	quota_numbers_done(&domain->numbers);
	domain_charge(domain, NULL);
	domain->domains->quota->stored_pages -= domain->stored_pages;
	set_exposed(domain, 0);
	stays = domain->store && store_close(domain->store);
	if (domain->userfaultfd >= 0)
		close(domain->userfaultfd);
	SLIST_REMOVE(&domain->domains->list, domain, domain, entries);
	domain->domains->count--;
	free(domain);
	return stays;
}

/* ---- whose ---- */

struct quota_user *domains_account(const struct domains *domains, uid_t uid)
{
	return quota_user_get(domains->quota, subuids_account(domains->subuids, uid));
}

void domain_charge(struct domain *domain, struct quota_user *user)
{
	if (user)
		quota_user_take_domain(user);
	if (domain->user)
		quota_user_give_domain(domain->user);
	domain->user = user;
}

/* ---- finding ---- */

struct domain *domain_find(const struct domains *domains, const char *name)
{
	struct domain *domain;

	SLIST_FOREACH(domain, &domains->list, entries)
		if (strcmp(domain->name, name) == 0)
			return domain;
	return NULL;
}

void domain_name_of_user(char ret[WIRE_DOMAIN_MAX], uid_t uid)
{
	snprintf(ret, WIRE_DOMAIN_MAX, "uid-%u", (unsigned)uid);
}

bool domains_have_vm(const struct domains *domains)
{
	const struct domain *domain;

	SLIST_FOREACH(domain, &domains->list, entries)
		if (!TAILQ_EMPTY(&domain->vms))
			return true;
	return false;
}
