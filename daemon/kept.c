/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/kept.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/log.h"

static bool may_speak_for(uid_t user, const struct kept_vm *vm)
{
	return user == KEPT_ANY_USER || user == vm->user;
}

const struct kept_vm *kept_find(const struct kept *kept, uid_t user, const uint8_t uuid[UUID_BYTES], const char *name)
{
	const uid_t users[] = { user, KEPT_ANY_USER };
	const struct kept_vm *found = NULL;

	for (size_t i = 0; found == NULL && i < sizeof(users) / sizeof(*users); i++) {
		struct kept_vm vm = { .user = users[i] };

		memcpy(vm.uuid, uuid, UUID_BYTES);
		if (uuid_is_set(uuid))
			found = kept_vms_find(&kept->vms, &vm);
		if (found)
			break;
		memset(vm.uuid, 0, UUID_BYTES);
		snprintf(vm.name, sizeof(vm.name), "%s", name);
		found = kept_vms_find(&kept->vms, &vm);
	}
	return found;
}

/* ---- to the file ---- */

static void set_problem(struct kept *kept, const char *why, const char *way_out)
{
	char before[KEPT_PROBLEM_SIZE];

	memcpy(before, kept->problem, sizeof(before));
	snprintf(kept->problem, sizeof(kept->problem), "%.200s: %.220s; %s", kept->path, why, way_out);
	if (strcmp(before, kept->problem) != 0)
		log_error("what modifyvm says is not kept: %s", kept->problem);
}

static bool is_dirty(const struct kept *kept)
{
	return kept->begun < kept->said;
}

bool kept_is_settled(const struct kept *kept, uint64_t changes)
{
	return kept->settled >= changes;
}

static void settle(struct kept *kept)
{
	kept->settled = kept->begun;
	if (kept->on_settled)
		kept->on_settled(kept->owner);
}

static void write_soon(struct kept *kept);

static void pay(struct kept *kept)
{
	uint64_t now = clock_now_usec(), usec = KEPT_WRITE_TIMES * (now - kept->begun_usec);

	kept->paid_usec = (kept->paid_usec > now ? kept->paid_usec : now) +
			  (usec < KEPT_WRITE_USEC ? usec : KEPT_WRITE_USEC);
}

static void on_written(void *context, int result, const struct stat *file)
{
	struct kept *kept = context;

	pay(kept);
	kept->file = *file;
	if (result == -ESTALE)
		set_problem(kept, "somebody else has changed it", "have pagefused read it by SIGHUP");
	else if (result < 0)
		set_problem(kept, strerror(-result), "it is tried again with the next change");
	else
		kept->problem[0] = 0;
	settle(kept);
	write_soon(kept);
}

/* Writes all changes so far; if there is no file to write, they count as settled. No write is under way. */
static void write_now(struct kept *kept)
{
	int r = 0;

	sd_event_source_set_enabled(kept->timer, SD_EVENT_OFF);
	kept->begun = kept->said;
	kept->begun_usec = clock_now_usec();
	if (kept->path[0] != 0 && !kept->unread) {
		r = kept_writer_begin(&kept->writer, kept->path, &kept->file, &kept->vms);
		if (r == 0)
			return;
		set_problem(kept, strerror(-r), "it is tried again with the next change");
	}
	settle(kept);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
	struct kept *kept = user;

	(void)source;
	(void)usec;
	if (is_dirty(kept) && !kept_writer_is_busy(&kept->writer))
		write_now(kept);
	return 0;
}

/* Writes what has changed since the last write: at once, or a little later after many writes. */
static void write_soon(struct kept *kept)
{
	if (!is_dirty(kept) || kept_writer_is_busy(&kept->writer))
		return;
	if (kept->paid_usec <= clock_now_usec() + KEPT_AHEAD_USEC ||
	    sd_event_source_set_time(kept->timer, kept->paid_usec - KEPT_AHEAD_USEC) < 0 ||
	    sd_event_source_set_enabled(kept->timer, SD_EVENT_ONESHOT) < 0)
		write_now(kept);
}

static void note_change(struct kept *kept)
{
	kept->said++;
	write_soon(kept);
}

/* ---- changes ---- */

/*
 * Wishes of root and for any user do not count. The limit leaves something for users who come later, however many there
 * are.
 */
static bool may_have_more(const struct kept *kept, uid_t user)
{
	struct subuid_range own;
	const struct kept_vm *vm;
	unsigned count = 0, all = 0;

	if (user == 0 || user == KEPT_ANY_USER)
		return true;
	own = subuids_range(kept->subuids, user);
	STAILQ_FOREACH(vm, &kept->vms.list, entries) {
		count += subuid_range_has(&own, vm->user);
		all += vm->user != 0 && vm->user != KEPT_ANY_USER;
	}
	return count < KEPT_PER_USER && (all >= KEPT_MAX ? 0 : KEPT_MAX - all) > count;
}

int kept_set(struct kept *kept, const struct kept_vm *vm, enum wire_mode mode)
{
	struct kept_vm *known = kept_vms_find(&kept->vms, vm);

	if (known == NULL && !may_have_more(kept, vm->user))
		return -EDQUOT;
	if (known == NULL)
		known = kept_vms_add(&kept->vms, vm);
	if (known == NULL)
		return -ENOMEM;
	known->mode = mode;
	memcpy(known->name, vm->name, sizeof(known->name)); /* it may have been given another */
	note_change(kept);
	return 0;
}

int kept_set_named(struct kept *kept, uid_t user, const char *name, enum wire_mode mode)
{
	struct kept_vm vm = { .user = user }, *known;
	bool found = false;

	STAILQ_FOREACH(known, &kept->vms.list, entries)
		if (may_speak_for(user, known) && strcmp(known->name, name) == 0) {
			known->mode = mode;
			found = true;
		}
	snprintf(vm.name, sizeof(vm.name), "%s", name);
	if (!found)
		return kept_set(kept, &vm, mode);
	note_change(kept);
	return 0;
}

static bool is_of(const struct kept_vm *vm, const char *name, const uint8_t uuid[UUID_BYTES])
{
	return strcmp(vm->name, name) == 0 || (uuid_is_set(uuid) && memcmp(vm->uuid, uuid, UUID_BYTES) == 0);
}

unsigned kept_forget(struct kept *kept, uid_t user, const char *name, const uint8_t uuid[UUID_BYTES])
{
	struct kept_vm *vm = STAILQ_FIRST(&kept->vms.list), *next;
	unsigned count = 0;

	for (; vm; vm = next) {
		next = STAILQ_NEXT(vm, entries);
		if (!may_speak_for(user, vm) || !is_of(vm, name, uuid))
			continue;
		kept_vms_remove(&kept->vms, vm);
		count++;
	}
	if (count > 0)
		note_change(kept);
	return count;
}

/* ---- life ---- */

/* Changes made while the file could not be read take precedence over its content. @return 0, -ENOMEM. */
static int add_what_was_said(const struct kept *kept, struct kept_vms *vms)
{
	const struct kept_vm *said;

	STAILQ_FOREACH(said, &kept->vms.list, entries) {
		struct kept_vm *known = kept_vms_find(vms, said);

		if (known == NULL)
			known = kept_vms_add(vms, said);
		if (known == NULL)
			return -ENOMEM;
		known->mode = said->mode;
		memcpy(known->name, said->name, sizeof(known->name));
	}
	return 0;
}

int kept_reload(struct kept *kept)
{
	struct kept_vms vms;
	char error[KEPT_PROBLEM_SIZE];
	bool was_unread = kept->unread;
	struct stat file;
	int r;

	if (kept->path[0] == 0)
		return 0;
	if (is_dirty(kept) && !kept_writer_is_busy(&kept->writer))
		write_now(kept);
	if (kept_writer_is_busy(&kept->writer))
		return -EINPROGRESS;
	kept_vms_init(&vms);
	r = kept_file_read(kept->path, &vms, &file, error);
	if (r == 0 && was_unread) {
		r = add_what_was_said(kept, &vms);
		snprintf(error, sizeof(error), "%s", strerror(-r));
	}
	kept->unread = r < 0;
	if (r < 0) {
		kept_vms_drop(&vms);
		set_problem(kept, error, "mend or remove it, and have pagefused read it by SIGHUP");
		return r;
	}
	kept_vms_replace(&kept->vms, &vms);
	kept->file = file;
	kept->problem[0] = 0;
	if (was_unread && !STAILQ_EMPTY(&kept->vms.list))
		note_change(kept);
	return 0;
}

int kept_open(struct kept *kept, sd_event *event, struct subuids *subuids, const char *path)
{
	int r;

	*kept = (struct kept){ .subuids = subuids };
	kept_vms_init(&kept->vms);
	if (strlen(path) >= sizeof(kept->path))
		return -ENAMETOOLONG;
	strcpy(kept->path, path);
	if (*path == 0)
		snprintf(kept->problem, sizeof(kept->problem),
			 "there is no place for it, as $HOME is not set; name one by pagefused --vms");
	r = sd_event_add_time(event, &kept->timer, CLOCK_MONOTONIC, UINT64_MAX, 0, on_timer, kept);
	if (r >= 0)
		r = sd_event_source_set_enabled(kept->timer, SD_EVENT_OFF);
	kept->writer = (struct kept_writer){ .done = on_written, .context = kept };
	if (r >= 0)
		r = kept_writer_open(&kept->writer, event);
	if (r < 0)
		return r;
	(void)kept_reload(kept); /* it says what is wrong */
	return 0;
}

void kept_close(struct kept *kept)
{
	if (kept->timer == NULL)
		return;
	kept->on_settled = NULL;
	kept_writer_wait(&kept->writer);
	if (is_dirty(kept) && !kept_writer_is_busy(&kept->writer))
		write_now(kept);
	kept_writer_wait(&kept->writer);
	kept_writer_close(&kept->writer);
	kept_vms_drop(&kept->vms);
	kept->timer = sd_event_source_disable_unref(kept->timer);
}
