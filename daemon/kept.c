/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"

/* ---- VMs ---- */

static bool may_speak_for(uid_t user, const struct kept_vm *vm)
{
	return user == KEPT_ANY_USER || user == vm->user;
}

static void drop_all(struct kept_vms *vms)
{
	struct kept_vm *vm;

	while ((vm = STAILQ_FIRST(vms)) != NULL) {
		STAILQ_REMOVE_HEAD(vms, entries);
		free(vm);
	}
}

static bool is_same(const struct kept_vm *a, const struct kept_vm *b)
{
	if (a->user != b->user || memcmp(a->uuid, b->uuid, UUID_BYTES) != 0)
		return false;
	return uuid_is_set(a->uuid) || strcmp(a->name, b->name) == 0;
}

static struct kept_vm *find_same(struct kept_vms *vms, const struct kept_vm *vm)
{
	struct kept_vm *other;

	STAILQ_FOREACH(other, vms, entries)
		if (is_same(other, vm))
			break;
	return other;
}

/* @return a copy of @vm that is in @vms; NULL without memory. */
static struct kept_vm *add(struct kept_vms *vms, const struct kept_vm *vm)
{
	struct kept_vm *added = malloc(sizeof(*added));

	if (added == NULL)
		return NULL;
	*added = *vm;
	STAILQ_INSERT_TAIL(vms, added, entries);
	return added;
}

const struct kept_vm *kept_find(const struct kept *kept, uid_t user, const uint8_t uuid[UUID_BYTES], const char *name)
{
	const struct kept_vm *best = NULL, *vm;
	unsigned best_rank = 0;

	STAILQ_FOREACH(vm, &kept->vms, entries) {
		bool by_uuid = uuid_is_set(vm->uuid) && memcmp(vm->uuid, uuid, UUID_BYTES) == 0;
		bool by_name = !uuid_is_set(vm->uuid) && strcmp(vm->name, name) == 0;
		unsigned rank = (vm->user == user ? 2u : 0) + (by_uuid ? 1 : 0) + 1;

		if ((vm->user == user || vm->user == KEPT_ANY_USER) && (by_uuid || by_name) && rank > best_rank) {
			best = vm;
			best_rank = rank;
		}
	}
	return best;
}

/* ---- from the file ---- */

/* What is wrong with what is being read; the first of it counts. @return -EINVAL */
static int bad(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int bad(char *error, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(error, KEPT_PROBLEM_SIZE, format, list);
	va_end(list);
	return -EINVAL;
}

static int take_member(struct kept_vm *vm, const char *key, const json_t *value, char *error)
{
	const char *text = json_string_value(value);

	if (strcmp(key, "name") == 0) {
		if (text == NULL || !wire_name_is_valid(text))
			return bad(error, "\"name\" has to be a VM's: 1 to %d printable ASCII characters, no blanks",
				   WIRE_NAME_MAX - 1);
		strcpy(vm->name, text);
	} else if (strcmp(key, "uuid") == 0) {
		if (text == NULL || uuid_parse(text, vm->uuid) < 0)
			return bad(error, "\"uuid\" has to be one, such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8");
	} else if (strcmp(key, "user") == 0) {
		if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		    json_integer_value(value) >= (json_int_t)KEPT_ANY_USER)
			return bad(error, "\"user\" has to be a user's number");
		vm->user = (uid_t)json_integer_value(value);
	} else if (strcmp(key, "mode") == 0) {
		int mode = text ? wire_mode_parse(text) : -EINVAL;

		if (mode < 0)
			return bad(error, "\"mode\" has to be off, zero, hints or full");
		vm->mode = (enum wire_mode)mode;
	} else {
		return bad(error, "\"%.64s\" is not known", key);
	}
	return 0;
}

static int take_vm(struct kept_vms *vms, json_t *object, char *error)
{
	struct kept_vm vm = { .user = KEPT_ANY_USER };
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return bad(error, "it has to be an object");
	json_object_foreach(object, key, value)
		if (take_member(&vm, key, value, error) < 0)
			return -EINVAL;
	if (vm.name[0] == 0 || vm.mode == 0)
		return bad(error, "\"%s\" is missing", vm.name[0] == 0 ? "name" : "mode");
	if (find_same(vms, &vm))
		return bad(error, "\"%s\" is there already", vm.name);
	return add(vms, &vm) ? 0 : -ENOMEM;
}

/* @error: KEPT_PROBLEM_SIZE bytes, if the result is not 0. @return 0, -EINVAL, -ENOMEM. */
static int take_document(struct kept_vms *vms, const json_t *document, char *error)
{
	const json_t *format = json_object_get(document, "format"), *list = json_object_get(document, "vms");
	json_t *object;
	size_t i;

	if (!json_is_integer(format) || !json_is_array(list))
		return bad(error, "it has to be an object with a number \"format\" and a list \"vms\"");
	if (json_integer_value(format) != KEPT_FORMAT)
		return bad(error, "it is of format %lld, but pagefused " PAGEFUSE_VERSION " knows format %d only",
			   (long long)json_integer_value(format), KEPT_FORMAT);
	json_array_foreach(list, i, object) {
		char why[KEPT_PROBLEM_SIZE] = "the daemon is out of memory";
		int r = take_vm(vms, object, why);

		if (r < 0) {
			snprintf(error, KEPT_PROBLEM_SIZE, "VM %zu of the list: %.400s", i + 1, why);
			return r;
		}
	}
	return 0;
}

/* @fd: of a regular file, closed. */
static int parse(int fd, struct kept_vms *vms, char *error)
{
	FILE *file = fdopen(fd, "r");
	json_error_t where;
	json_t *document;
	int r;

	if (file == NULL) {
		r = -errno;
		close(fd);
		snprintf(error, KEPT_PROBLEM_SIZE, "%s", strerror(-r));
		return r;
	}
	document = json_loadf(file, JSON_REJECT_DUPLICATES, &where);
	fclose(file);
	if (document == NULL)
		return bad(error, "line %d: %.200s", where.line, where.text);
	r = take_document(vms, document, error);
	json_decref(document);
	return r;
}

/* @ret_file: what was read; st_ino 0: there is none. */
static int read_file(const char *path, struct kept_vms *vms, struct stat *ret_file, char *error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r = fd < 0 ? -errno : 0;

	*ret_file = (struct stat){ 0 };
	if (r == -ENOENT)
		return 0;
	if (r == 0 && fstat(fd, ret_file) < 0)
		r = -errno;
	if (r == 0 && (!S_ISREG(ret_file->st_mode) || ret_file->st_size > KEPT_BYTES_MAX))
		r = bad(error, "it has to be a file of at most %u MiB", KEPT_BYTES_MAX >> 20);
	else if (r == 0 && ret_file->st_uid != geteuid() && ret_file->st_uid != 0)
		r = bad(error, "it has to belong to this user or to root");
	else if (r < 0)
		snprintf(error, KEPT_PROBLEM_SIZE, "%s", strerror(-r));
	if (r == 0)
		return parse(fd, vms, error);
	if (fd >= 0)
		close(fd);
	return r;
}

/* ---- to the file ---- */

static json_t *vm_object(const struct kept_vm *vm)
{
	json_t *object = json_pack("{s:s,s:s}", "name", vm->name, "mode", wire_mode_name(vm->mode));
	char uuid[UUID_TEXT];

	if (uuid_is_set(vm->uuid)) {
		uuid_text(vm->uuid, uuid);
		json_object_set_new(object, "uuid", json_string(uuid));
	}
	if (vm->user != KEPT_ANY_USER)
		json_object_set_new(object, "user", json_integer(vm->user));
	return object;
}

static json_t *document_of(const struct kept *kept)
{
	json_t *list = json_array();
	const struct kept_vm *vm;

	STAILQ_FOREACH(vm, &kept->vms, entries)
		json_array_append_new(list, vm_object(vm));
	return json_pack("{s:i,s:o}", "format", KEPT_FORMAT, "vms", list);
}

/* A new file beside the old one, on the disk before it takes its place. */
static int write_document(const char *path, const json_t *document, struct stat *ret_file)
{
	char new[sizeof(((struct kept *)NULL)->path) + sizeof(".new")];
	int fd, r = 0;

	snprintf(new, sizeof(new), "%s.new", path);
	(void)unlink(new); /* of a daemon that was killed over it */
	fd = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (json_dumpfd(document, fd, JSON_INDENT(2)) < 0 || write(fd, "\n", 1) != 1)
		r = errno ? -errno : -EIO;
	if (r == 0 && (fsync(fd) < 0 || fstat(fd, ret_file) < 0 || rename(new, path) < 0))
		r = -errno;
	close(fd);
	if (r < 0)
		(void)unlink(new);
	return r;
}

/* With all that it is in. */
static int make_directory(const char *path)
{
	char directory[sizeof(((struct kept *)NULL)->path)];

	snprintf(directory, sizeof(directory), "%s", path);
	for (char *slash = directory + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
		*slash = 0;
		if (mkdir(directory, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* Whoever wrote it meanwhile is not to lose what he wrote. */
static bool is_as_it_was(const struct kept *kept)
{
	struct stat now;

	if (stat(kept->path, &now) < 0)
		return errno == ENOENT || errno == ENOTDIR;
	return now.st_dev == kept->file.st_dev && now.st_ino == kept->file.st_ino &&
	       now.st_mtim.tv_sec == kept->file.st_mtim.tv_sec && now.st_mtim.tv_nsec == kept->file.st_mtim.tv_nsec &&
	       now.st_size == kept->file.st_size;
}

static void set_problem(struct kept *kept, const char *why, const char *way_out)
{
	char before[KEPT_PROBLEM_SIZE];

	memcpy(before, kept->problem, sizeof(before));
	snprintf(kept->problem, sizeof(kept->problem), "%.200s: %.220s; %s", kept->path, why, way_out);
	if (strcmp(before, kept->problem) != 0)
		log_error("what modifyvm says is not kept: %s", kept->problem);
}

static void write_now(struct kept *kept)
{
	uint64_t now = clock_now_usec();
	json_t *document;
	int r;

	kept->dirty = false;
	kept->paid_usec = (kept->paid_usec > now ? kept->paid_usec : now) + KEPT_WRITE_USEC;
	if (kept->path[0] == 0 || kept->unread)
		return;
	if (!is_as_it_was(kept)) {
		set_problem(kept, "somebody else has changed it", "have pagefused read it by SIGHUP");
		return;
	}
	document = document_of(kept);
	errno = 0;
	r = document ? make_directory(kept->path) : -ENOMEM;
	if (r == 0)
		r = write_document(kept->path, document, &kept->file);
	json_decref(document);
	if (r < 0)
		set_problem(kept, strerror(-r), "it is tried again with the next change");
	else
		kept->problem[0] = 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
	(void)source;
	(void)usec;
	write_now(user);
	return 0;
}

/* At once, or after many writes a little later: to wait for the disk must not be all that the daemon does. */
static void write_soon(struct kept *kept)
{
	uint64_t next = kept->paid_usec;

	if (kept->dirty)
		return;
	kept->dirty = true;
	if (next < clock_now_usec() + KEPT_WRITES_AT_ONCE * KEPT_WRITE_USEC ||
	    sd_event_source_set_time(kept->timer, next - (KEPT_WRITES_AT_ONCE - 1) * KEPT_WRITE_USEC) < 0 ||
	    sd_event_source_set_enabled(kept->timer, SD_EVENT_ONESHOT) < 0)
		write_now(kept);
}

/* ---- changes ---- */

static bool may_have_more(const struct kept *kept, uid_t user)
{
	const struct kept_vm *vm;
	unsigned count = 0, all = 0;

	if (user == 0 || user == KEPT_ANY_USER)
		return true;
	STAILQ_FOREACH(vm, &kept->vms, entries) {
		count += vm->user == user;
		all++;
	}
	return count < KEPT_PER_USER && all < KEPT_MAX;
}

int kept_set(struct kept *kept, const struct kept_vm *vm, enum wire_mode mode)
{
	struct kept_vm *known = find_same(&kept->vms, vm);

	if (known == NULL && !may_have_more(kept, vm->user))
		return -EDQUOT;
	if (known == NULL)
		known = add(&kept->vms, vm);
	if (known == NULL)
		return -ENOMEM;
	known->mode = mode;
	memcpy(known->name, vm->name, sizeof(known->name)); /* it may have been given another */
	write_soon(kept);
	return 0;
}

int kept_set_named(struct kept *kept, uid_t user, const char *name, enum wire_mode mode)
{
	struct kept_vm vm = { .user = user }, *known;
	bool found = false;

	STAILQ_FOREACH(known, &kept->vms, entries)
		if (may_speak_for(user, known) && strcmp(known->name, name) == 0) {
			known->mode = mode;
			found = true;
		}
	snprintf(vm.name, sizeof(vm.name), "%s", name);
	if (!found)
		return kept_set(kept, &vm, mode);
	write_soon(kept);
	return 0;
}

static bool is_of(const struct kept_vm *vm, const char *name, const uint8_t uuid[UUID_BYTES])
{
	return strcmp(vm->name, name) == 0 || (uuid_is_set(uuid) && memcmp(vm->uuid, uuid, UUID_BYTES) == 0);
}

unsigned kept_forget(struct kept *kept, uid_t user, const char *name, const uint8_t uuid[UUID_BYTES])
{
	struct kept_vm *vm = STAILQ_FIRST(&kept->vms), *next;
	unsigned count = 0;

	for (; vm; vm = next) {
		next = STAILQ_NEXT(vm, entries);
		if (!may_speak_for(user, vm) || !is_of(vm, name, uuid))
			continue;
		STAILQ_REMOVE(&kept->vms, vm, kept_vm, entries);
		free(vm);
		count++;
	}
	if (count > 0)
		write_soon(kept);
	return count;
}

/* ---- life ---- */

/* Adds what was read, but for VMs of which something else was said since. */
static void take_over(struct kept *kept, struct kept_vms *vms)
{
	struct kept_vm *vm;

	while ((vm = STAILQ_FIRST(vms)) != NULL) {
		STAILQ_REMOVE_HEAD(vms, entries);
		if (find_same(&kept->vms, vm))
			free(vm);
		else
			STAILQ_INSERT_TAIL(&kept->vms, vm, entries);
	}
}

int kept_reload(struct kept *kept)
{
	struct kept_vms vms = STAILQ_HEAD_INITIALIZER(vms);
	char error[KEPT_PROBLEM_SIZE];
	bool was_unread = kept->unread;
	struct stat file;
	int r;

	if (kept->path[0] == 0)
		return 0;
	if (kept->dirty)
		write_now(kept);
	r = read_file(kept->path, &vms, &file, error);
	kept->unread = r < 0;
	if (r < 0) {
		drop_all(&vms);
		set_problem(kept, error, "mend or remove it, and have pagefused read it by SIGHUP");
		return r;
	}
	if (!was_unread)
		drop_all(&kept->vms);
	take_over(kept, &vms);
	kept->file = file;
	kept->problem[0] = 0;
	if (was_unread && !STAILQ_EMPTY(&kept->vms))
		write_soon(kept);
	return 0;
}

int kept_open(struct kept *kept, sd_event *event, const char *path)
{
	int r;

	*kept = (struct kept){ 0 };
	STAILQ_INIT(&kept->vms);
	if (strlen(path) >= sizeof(kept->path))
		return -ENAMETOOLONG;
	strcpy(kept->path, path);
	r = sd_event_add_time(event, &kept->timer, CLOCK_MONOTONIC, UINT64_MAX, 0, on_timer, kept);
	if (r >= 0)
		r = sd_event_source_set_enabled(kept->timer, SD_EVENT_OFF);
	if (r < 0)
		return r;
	(void)kept_reload(kept); /* it says what is wrong */
	return 0;
}

void kept_close(struct kept *kept)
{
	if (kept->timer == NULL)
		return;
	if (kept->dirty)
		write_now(kept);
	drop_all(&kept->vms);
	kept->timer = sd_event_source_disable_unref(kept->timer);
}
