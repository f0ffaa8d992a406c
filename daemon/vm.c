/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/page.h"
#include "daemon/clock.h"
#include "daemon/kept.h"
#include "daemon/log.h"
#include "daemon/proc-stat.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#ifndef KEPT_BY_OWN_NAME
#define KEPT_BY_OWN_NAME 1 /* whoever has taken the name before; a test builds without, to see what that does */
#endif

#ifndef VM_GIVES_BACK_FIRST
#define VM_GIVES_BACK_FIRST 1 /* and only then may be in another domain; a test builds without, to see what that does */
#endif

#define PROCESS_EXITING 0x4u /* PF_EXITING of <linux/sched.h> in the kernel */

/* ---- who it is ---- */

static bool is_alive(int pidfd)
{
	struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) == 0;
}

/*
 * Whether it is past the point of no return, but not dead yet. The kernel flags a thread that exits some time after the
 * process was told to; until then the exit code shows it, which is also set for a process that is stopped.
 */
static bool is_dying(const struct daemon_vm *vm)
{
	struct proc_stat stat = { 0 };
	int signal;

	if (proc_stat_read(vm->pid, &stat) < 0 || stat.start_time != vm->start_time)
		return true;
	signal = stat.exit_code & 0x7f;
	if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU)
		return false;
	return stat.exit_code != 0 || (stat.flags & PROCESS_EXITING) != 0;
}

static int owner_of(pid_t pid, uid_t *ret)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (stat(path, &st) < 0)
		return -errno;
	*ret = st.st_uid;
	return 0;
}

/* Before Linux 6.5. Another process may have got the number by now; if it has another owner, that shows. */
static int open_peer(const struct ucred *peer)
{
	int fd = pidfd_open(peer->pid, 0);
	uid_t uid = 0;

	if (fd < 0)
		return -errno;
	if (owner_of(peer->pid, &uid) == 0 && uid == peer->uid)
		return fd;
	close(fd);
	return -ESRCH;
}

int daemon_vm_identify(int socket, struct ucred *ret_peer, int *ret_pidfd)
{
	socklen_t size = sizeof(*ret_peer);
	int pidfd = -1;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, ret_peer, &size) < 0)
		return -errno;
	if (ret_peer->pid <= 0)
		return -ESRCH; /* of a pid namespace that cannot be seen from here */
	size = sizeof(pidfd);
	if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0) {
		if (errno != ENOPROTOOPT)
			return errno == EINVAL ? -ESRCH : -errno;
		pidfd = open_peer(ret_peer);
	}
	if (pidfd < 0)
		return pidfd;
	*ret_pidfd = pidfd;
	return 0;
}

struct daemon_vm *daemon_vm_next(const struct domains *domains, const struct daemon_vm *vm)
{
	const struct domain *domain = vm ? vm->domain : SLIST_FIRST(&domains->list);
	struct daemon_vm *next = vm ? TAILQ_NEXT(vm, entries) : domain ? TAILQ_FIRST(&domain->vms)
								       : NULL;

	while (next == NULL && domain && (domain = SLIST_NEXT(domain, entries)) != NULL)
		next = TAILQ_FIRST(&domain->vms);
	return next;
}

/* ---- its end ---- */

struct daemon_vm *daemon_vm_named(const struct domains *domains, const char *name)
{
	return index_find_name(&domains->vm_names, name);
}

struct daemon_vm *daemon_vm_own_named(const struct domains *domains, uid_t uid, const char *name)
{
	char own_name[WIRE_NAME_MAX + 12];

	snprintf(own_name, sizeof(own_name), "%u %s", (unsigned)uid, name);
	return index_find_name(&domains->vm_own_names, own_name);
}

const char *daemon_vm_own_name(const struct daemon_vm *vm)
{
	const char *blank = strchr(vm->own_name, ' ');

	return blank ? blank + 1 : "";
}

struct daemon_vm *daemon_vm_of_serial(const struct domains *domains, uint64_t serial)
{
	return index_find_number(&domains->vm_serials, serial);
}

/* From now on it has none. */
static void drop_name(struct daemon_vm *vm)
{
	index_remove(&vm->domain->domains->vm_names, &vm->by_name);
	index_remove(&vm->domain->domains->vm_own_names, &vm->by_own_name);
	vm->name[0] = vm->own_name[0] = 0;
}

void daemon_vm_free(struct daemon_vm *vm)
{
	drop_name(vm);
	index_remove(&vm->domain->domains->vm_serials, &vm->by_serial);
	sd_event_source_disable_unref(vm->death);
	sd_event_source_disable_unref(vm->retry);
	if (vm->pidfd >= 0)
		close(vm->pidfd);
	quota_user_put(vm->user);
	TAILQ_REMOVE(&vm->domain->vms, vm, entries);
	vm->domain->vm_count--;
	disk_images_done(&vm->images);
	guest_map_done(&vm->guest_map);
	samples_free(vm->samples);
	free(vm);
}

static void account(struct daemon_vm *vm)
{
	if (vm->unaccounted)
		vm->domain->unaccounted--;
	vm->unaccounted = false;
}

static void try_release(struct daemon_vm *vm);

static int on_retry(sd_event_source *source, uint64_t usec, void *user)
{
	(void)source;
	(void)usec;
	try_release(user);
	return 0;
}

static const char *name_of(const struct daemon_vm *vm)
{
	return vm->name[0] ? vm->name : "a VM of an earlier daemon";
}

static void try_again_in(struct daemon_vm *vm, uint64_t usec)
{
	int r;

	vm->retry = sd_event_source_disable_unref(vm->retry);
	r = sd_event_add_time_relative(vm->domain->event, &vm->retry, CLOCK_MONOTONIC, usec, 0, on_retry,
				       vm);
	if (r < 0)
		log_error("cannot set a timer, what process %d shared stays in the store: %s", (int)vm->pid,
			  strerror(-r));
}

static void retry_later(struct daemon_vm *vm)
{
	uint64_t usec = vm->retry_usec ? vm->retry_usec : DAEMON_VM_RETRY_FIRST_USEC;

	try_again_in(vm, usec);
	if (vm->dead && usec < DAEMON_VM_RETRY_MOST_USEC && 2 * usec >= DAEMON_VM_RETRY_MOST_USEC)
		log_event(LOG_INFO, "%s (pid %d) is gone, but what it was given is in use: its references stay",
			  name_of(vm), (int)vm->pid);
	vm->retry_usec = 2 * usec < DAEMON_VM_RETRY_MOST_USEC ? 2 * usec : DAEMON_VM_RETRY_MOST_USEC;
}

static void drop_references(struct daemon_vm *vm)
{
	if (vm->kept)
		engine_remove_vm(vm->domain->engine, vm->kept);
	vm->kept = NULL;
	domain_note_steps(vm->domain);
	account(vm);
}

/* Drops its references if its last reader is gone. @return whether it is. */
static bool release(struct daemon_vm *vm)
{
	struct domain *domain = vm->domain;

	if (store_view_remove(domain->store, vm->pid, vm->start_time, !vm->dead) < 0)
		return false;
	if (vm->name[0] || vm->unaccounted) /* otherwise it was logged when the VM left */
		log_event(LOG_INFO, "%s (pid %d) %s: its references are dropped", name_of(vm), (int)vm->pid,
			  vm->dead ? "is gone" : "has left, and reads nothing of the store");
	drop_references(vm);
	vm->released = true;
	vm->gives_back = engine_leaving_ticket(domain->engine);
	domain_schedule_pump(domain);
	return true;
}

/*
 * It is listed until all that it held has been given back: so shared and stored pages add up to those of the VMs shown.
 */
static void try_release(struct daemon_vm *vm)
{
	struct domain *domain = vm->domain;

	if (!vm->dead && daemon_vm_is_connected(vm))
		return; /* it has connected again */
	if (!vm->released && !release(vm)) {
		retry_later(vm);
		return;
	}
	if (!engine_has_given_back(domain->engine, vm->gives_back)) {
		try_again_in(vm, DAEMON_VM_GIVES_BACK_USEC);
		return;
	}
	vm->released = false;
	if (vm->refused_bytes[WIRE_REASON_SECCOMP] == 0) /* of that one it is to be said why nothing is shared */
		drop_name(vm);                           /* no VM any more */
	if (vm->dead)
		daemon_vm_free(vm);
	domain_vm_gone(domain);
}

int daemon_vm_begin_anew(struct daemon_vm *vm)
{
	int r = 0;

	if (vm->kept || vm->unaccounted)
		r = store_view_remove(vm->domain->store, vm->pid, vm->start_time, true);
	if (r < 0)
		return r;
	drop_references(vm);
	domain_vm_gone(vm->domain);
	return 0;
}

static int on_death(sd_event_source *source, int fd, uint32_t events, void *user)
{
	struct daemon_vm *vm = user;

	(void)fd;
	(void)events;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	vm->dead = true;
	vm->retry_usec = 0;
	if (daemon_vm_is_connected(vm))
		vm->connection.end(vm->connection.session);
	try_release(vm);
	return 0;
}

/* ---- its beginning ---- */

/* @pidfd: taken over; -1 if the process is known to be dead. */
static int add(struct domain *domain, pid_t pid, uint64_t start_time, uid_t uid, int pidfd, struct daemon_vm **ret)
{
	struct daemon_vm *vm = calloc(1, sizeof(*vm));
	int r = 0;

	if (vm == NULL) {
		if (pidfd >= 0)
			close(pidfd);
		return -ENOMEM;
	}
	*vm = (struct daemon_vm){
		.domain = domain,
		.pid = pid,
		.start_time = start_time,
		.uid = uid,
		.pidfd = pidfd,
		.dead = pidfd < 0,
	};
	TAILQ_INSERT_TAIL(&domain->vms, vm, entries);
	domain->vm_count++;
	vm->user = domains_account(domain->domains, uid);
	r = vm->user ? 0 : -ENOMEM;
	if (r == 0 && domain->user == NULL)
		domain_charge(domain, vm->user);
	if (r == 0 && pidfd >= 0)
		r = sd_event_add_io(domain->event, &vm->death, pidfd, EPOLLIN, on_death, vm);
	if (r < 0) {
		daemon_vm_free(vm);
		return r;
	}
	domain->domains->had_vm = true;
	*ret = vm;
	return 0;
}

static int read_start_time(const struct ucred *peer, int pidfd, uint64_t *ret)
{
	struct proc_stat stat = { 0 };
	int r = proc_stat_read(peer->pid, &stat);

	if (r < 0)
		return r;
	/* Alive after the look at /proc: then what was read there was this process's. */
	if (!is_alive(pidfd))
		return -ESRCH;
	*ret = stat.start_time;
	return 0;
}

int daemon_vm_find(const struct domains *domains, const struct ucred *peer, int pidfd, struct daemon_vm **ret)
{
	struct daemon_vm *vm = NULL;
	uint64_t start_time;
	int r = read_start_time(peer, pidfd, &start_time);

	if (r < 0)
		return r;
	while ((vm = daemon_vm_next(domains, vm)) != NULL)
		if (vm->pid == peer->pid && vm->start_time == start_time)
			break;
	*ret = vm;
	return 0;
}

int daemon_vm_add(struct domain *domain, const struct ucred *peer, int pidfd, struct daemon_vm **ret)
{
	uint64_t start_time;
	int copy, r = read_start_time(peer, pidfd, &start_time);

	if (r < 0)
		return r;
	copy = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return -errno;
	return add(domain, peer->pid, start_time, peer->uid, copy, ret);
}

int daemon_vm_leave(struct daemon_vm *vm)
{
	struct domain *domain = vm->domain;
	int r = store_view_remove(domain->store, vm->pid, vm->start_time, true);

	if (r < 0 && VM_GIVES_BACK_FIRST)
		return r;
	drop_references(vm);
	daemon_vm_free(vm);
	domain_vm_gone(domain);
	return 0;
}

static int adopt(void *context, pid_t pid, uint64_t start_time)
{
	struct domain *domain = context;
	struct daemon_vm *vm;
	uid_t uid = 0;
	struct proc_stat stat = { 0 };
	int r, pidfd = pidfd_open(pid, 0);

	if (pidfd >= 0 && (proc_stat_read(pid, &stat) < 0 || stat.start_time != start_time || owner_of(pid, &uid) < 0 ||
			   !is_alive(pidfd))) {
		close(pidfd);
		pidfd = -1;
	}
	r = add(domain, pid, start_time, uid, pidfd, &vm);
	if (r < 0)
		return r;
	vm->unaccounted = true;
	domain->unaccounted++;
	retry_later(vm);
	return 0;
}

int daemon_vm_adopt_all(struct domain *domain)
{
	int r = store_each_view(domain->store, adopt, domain);

	if (r == 0 && !domain->accounted) {
		log_notice(
			"found the store of an earlier daemon, domain %s: %u segments; waiting for %u processes that "
			"may map it",
			domain->name, domain->old_segments, domain->unaccounted);
		domain_vm_gone(domain);
	}
	return r;
}

void daemon_vm_forget_living(struct domain *domain)
{
	struct daemon_vm *vm = TAILQ_FIRST(&domain->vms), *next;

	for (; vm; vm = next) {
		next = TAILQ_NEXT(vm, entries);
		vm->retry_usec = 0;
		if (vm->dead)
			try_release(vm);
		else if (!is_dying(vm))
			daemon_vm_free(vm);
	}
}

/* ---- what it may have ---- */

int daemon_vm_set_user(struct daemon_vm *vm, uid_t uid)
{
	struct quota_user *user = domains_account(vm->domain->domains, uid);

	if (user == NULL)
		return -ENOMEM;
	if (vm->domain->user == vm->user)
		domain_charge(vm->domain, user);
	quota_user_put(vm->user);
	vm->user = user;
	vm->uid = uid;
	return 0;
}

/* RAM that the other VMs of the same user have registered. */
static uint64_t ram_of_others(const struct daemon_vm *vm)
{
	const struct daemon_vm *other = NULL;
	struct engine_vm_limits usage;
	uint64_t pages = 0;

	while ((other = daemon_vm_next(vm->domain->domains, other)) != NULL)
		if (other != vm && other->user == vm->user && daemon_vm_engine_vm(other)) {
			engine_vm_usage(daemon_vm_engine_vm(other), &usage);
			pages += usage.ram_pages;
		}
	return pages;
}

static void set_limits(struct daemon_vm *vm)
{
	const struct quota *quota = vm->domain->domains->quota;
	uint64_t own = vm->had.own_bytes / PAGE_BYTES, most = quota_user_ram_pages(vm->user);
	struct engine_vm_limits limits = {
		.ram_pages = most,
		.known_pages = quota_times_own(quota, own, 0),
		.slots = quota_times_own(quota, own, vm->adopted_slots),
	};

	if (most != UINT64_MAX) {
		uint64_t others = ram_of_others(vm);

		limits.ram_pages = others < most ? most - others : 0;
	}
	if (quota->settings->claims == QUOTA_CLAIMS_CHECKED && vm->had.mapped_bytes / PAGE_BYTES < limits.ram_pages)
		limits.ram_pages = vm->had.mapped_bytes / PAGE_BYTES;
	engine_vm_set_limits(vm->connection.engine_vm, &limits);
}

void daemon_vm_look(struct daemon_vm *vm)
{
	struct proc_memory memory;

	/*
	 * Still alive afterwards, so the figures are this process's. If they cannot be read the old ones stay, at first
	 * 0.
	 */
	if (proc_memory_read(vm->pid, &memory) == 0 && is_alive(vm->pidfd)) {
		vm->had.mapped_bytes = memory.mapped_bytes;
		if (memory.own_bytes > vm->had.own_bytes)
			vm->had.own_bytes = memory.own_bytes;
		else
			vm->looked_usec = clock_now_usec();
	}
	set_limits(vm);
}

void daemon_vm_look_again(struct daemon_vm *vm)
{
	const uint64_t near = QUOTA_IN_ANY_CASE_PAGES / 4;
	const struct quota *quota = vm->domain->domains->quota;
	uint64_t own = vm->had.own_bytes / PAGE_BYTES;
	struct engine_vm_limits usage;

	engine_vm_usage(vm->connection.engine_vm, &usage);
	if (usage.known_pages + near < quota_times_own(quota, own, 0) &&
	    usage.slots + near < quota_times_own(quota, own, vm->adopted_slots))
		return;
	if (clock_now_usec() - vm->looked_usec >= DAEMON_VM_LOOK_USEC)
		daemon_vm_look(vm);
}

/* ---- its connections ---- */

static bool is_free(const struct daemon_vm *vm, const struct daemon_vm *other)
{
	return other == NULL || other == vm || (other->dead && other->released);
}

/* The @n-th name of those that want @wanted. */
static void choose_name(char ret[WIRE_NAME_MAX], const char *wanted, unsigned n)
{
	char suffix[16] = "";
	int length = n > 1 ? snprintf(suffix, sizeof(suffix), "-%u", n) : 0;

	snprintf(ret, WIRE_NAME_MAX, "%.*s%s", WIRE_NAME_MAX - 1 - length, wanted, suffix);
}

static void drop_former(struct daemon_vm *vm)
{
	if (vm != NULL) /* it only gives back what it held */
		drop_name(vm);
}

/* @wanted: with a suffix if another has it. */
static int set_name(struct daemon_vm *vm, const char *wanted)
{
	struct domains *domains = vm->domain->domains;
	char name[WIRE_NAME_MAX], own_name[WIRE_NAME_MAX];
	unsigned n = 1, own_n = 1;
	int r;

	do
		choose_name(name, wanted, n++);
	while (!is_free(vm, daemon_vm_named(domains, name)));
	do
		choose_name(own_name, wanted, own_n++);
	while (!is_free(vm, daemon_vm_own_named(domains, vm->uid, own_name)));
	drop_name(vm);
	drop_former(daemon_vm_named(domains, name));
	drop_former(daemon_vm_own_named(domains, vm->uid, own_name));
	memcpy(vm->name, name, sizeof(name));
	snprintf(vm->own_name, sizeof(vm->own_name), "%u %s", (unsigned)vm->uid, own_name);
	vm->by_name.name = vm->name;
	vm->by_own_name.name = vm->own_name;
	r = index_add(&domains->vm_names, &vm->by_name, vm);
	return r < 0 ? r : index_add(&domains->vm_own_names, &vm->by_own_name, vm);
}

/* @return whether it has another mode now. */
static bool choose_mode(struct daemon_vm *vm)
{
	const char *name = KEPT_BY_OWN_NAME ? daemon_vm_own_name(vm) : vm->name;
	const struct kept_vm *kept = kept_find(vm->domain->domains->kept, vm->uid, vm->uuid, name);
	enum wire_mode before = vm->mode;

	vm->mode = kept ? kept->mode : vm->asked_mode;
	vm->mode_kept = kept != NULL;
	return vm->mode != before;
}

int daemon_vm_connect(struct daemon_vm *vm, const struct daemon_vm_connection *connection,
		      const struct wire_hello *hello)
{
	struct domain *domain = vm->domain;
	int r;

	vm->connection = *connection;
	vm->hung_up = vm->released = false;
	domain_add_link(domain, connection->link);
	r = store_view_create(domain->store, vm->pid, vm->start_time);
	if (r == 0)
		r = set_name(vm, hello->name);
	if (r < 0)
		return r;
	memcpy(vm->uuid, hello->uuid, sizeof(vm->uuid));
	vm->mode_unsaid = (hello->flags & WIRE_HELLO_MODE_UNSAID) != 0;
	vm->asked_mode = vm->mode_unsaid ? *domain->domains->preload_mode : hello->mode;
	choose_mode(vm);
	r = engine_add_vm(domain->engine, vm->mode, &vm->connection.engine_vm);
	if (r < 0)
		return r;
	engine_vm_set_context(vm->connection.engine_vm, vm);
	engine_vm_set_account(vm->connection.engine_vm, vm->user);
	vm->had = (struct proc_memory){ 0 };
	vm->looked_usec = vm->adopted_slots = 0;
	vm->limited = (struct daemon_vm_limited){ 0 };
	daemon_vm_look(vm);
	if ((connection->features & UINT64_C(1) << WIRE_FEATURE_NOTES) == 0)
		engine_vm_lacks_notes(vm->connection.engine_vm);
	if ((connection->features & UINT64_C(1) << WIRE_FEATURE_WHOLE) == 0)
		engine_vm_lacks_whole(vm->connection.engine_vm);
	if ((connection->features & UINT64_C(1) << WIRE_FEATURE_SAMPLES) == 0)
		engine_vm_lacks_samples(vm->connection.engine_vm);
	vm->by_serial.number = connection->serial;
	r = index_add(&domain->domains->vm_serials, &vm->by_serial, vm);
	if (r < 0)
		return r;
	memset(vm->refused_bytes, 0, sizeof(vm->refused_bytes));
	disk_images_begin(&vm->images);
	guest_map_done(&vm->guest_map);
	return 0;
}

bool daemon_vm_update_mode(struct daemon_vm *vm)
{
	if (!choose_mode(vm))
		return false;
	if (vm->connection.engine_vm)
		engine_set_mode(vm->domain->engine, vm->connection.engine_vm, vm->mode);
	domain_note_steps(vm->domain);
	if (vm->watch.mode_changed)
		vm->watch.mode_changed(vm->watch.context, vm);
	domain_schedule_pump(vm->domain);
	return true;
}

static void leave_engine(struct daemon_vm *vm)
{
	struct engine_vm *engine_vm = vm->connection.engine_vm;
	struct engine_vm_counters counters;

	engine_vm_set_context(engine_vm, NULL);
	engine_vm_counters(engine_vm, &counters);
	/* Without READY it got no orders, and what it adopted is still kept by an earlier VM or not accounted for. */
	if (!vm->connection.ready || counters.ram_pages == 0) {
		engine_remove_vm(vm->domain->engine, engine_vm);
		return;
	}
	engine_detach_vm(vm->domain->engine, engine_vm);
	vm->kept = engine_vm;
}

void daemon_vm_set_stalled(struct daemon_vm *vm, bool stalled)
{
	if (stalled && !vm->stalled)
		TAILQ_INSERT_TAIL(&vm->domain->stalled, vm, stalled_entries);
	else if (!stalled && vm->stalled)
		TAILQ_REMOVE(&vm->domain->stalled, vm, stalled_entries);
	vm->stalled = stalled;
}

void daemon_vm_disconnect(struct daemon_vm *vm)
{
	daemon_vm_set_stalled(vm, false);
	domain_remove_link(vm->domain, vm->connection.link);
	index_remove(&vm->domain->domains->vm_serials, &vm->by_serial);
	if (vm->connection.engine_vm) {
		leave_engine(vm);
		domain_note_steps(vm->domain);
		domain_schedule_pump(vm->domain);
	}
	if (vm->watch.ended)
		vm->watch.ended(vm->watch.context);
	vm->watch = (struct daemon_vm_watch){ 0 };
	disk_images_done(&vm->images); /* the next connection numbers its pages anew */
	vm->connection = (struct daemon_vm_connection){ 0 };
	vm->retry_usec = 0;
	/* A memfd may be in flight to it, where it shows in no /proc/PID/maps; a mount would still be busy. */
	if (!vm->dead && (vm->hung_up || store_outlives_daemon(vm->domain->store)))
		retry_later(vm);
}

void daemon_vm_ready(struct daemon_vm *vm)
{
	struct engine_vm_limits usage;

	vm->connection.ready = true;
	drop_references(vm);
	engine_vm_usage(vm->connection.engine_vm, &usage);
	vm->adopted_slots = usage.slots;
	daemon_vm_look(vm);
	domain_vm_gone(vm->domain);
}

bool daemon_vm_is_connected(const struct daemon_vm *vm)
{
	return vm->connection.link != NULL;
}

struct engine_vm *daemon_vm_engine_vm(const struct daemon_vm *vm)
{
	return vm->kept && !vm->connection.ready ? vm->kept : vm->connection.engine_vm;
}

const char *daemon_vm_describe(const struct daemon_vm *vm)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s (pid %d, uid %u)", vm->name, (int)vm->pid, (unsigned)vm->uid);
	return text;
}
