/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/kept-file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- reading ---- */

/* Describes what is wrong with the file; the first fault counts. @return -EINVAL */
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
	if (kept_vms_find(vms, &vm))
		return bad(error, "\"%s\" is there already", vm.name);
	return kept_vms_add(vms, &vm) ? 0 : -ENOMEM;
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

int kept_file_read(const char *path, struct kept_vms *vms, struct stat *ret_file, char error[KEPT_PROBLEM_SIZE])
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

/* ---- writing ---- */

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

static json_t *document_of(const struct kept_vm *vms, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, vm_object(&vms[i]));
	return json_pack("{s:i,s:o}", "format", KEPT_FORMAT, "vms", list);
}

/* The name that the file was given is on the disk as well. */
static int sync_directory(const char *path)
{
	char directory[KEPT_PATH_SIZE];
	int fd, r = 0;

	snprintf(directory, sizeof(directory), "%s", path);
	fd = open(dirname(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0 && errno != EINVAL) /* that: a file system which has nothing to write for it */
		r = -errno;
	close(fd);
	return r;
}

/* All of it, on the disk. @return 0, -errno. */
static int write_to(FILE *file, const json_t *document, struct stat *ret_written)
{
	errno = 0;
	if (json_dumpf(document, file, JSON_INDENT(2)) < 0 || fputc('\n', file) == EOF || fflush(file) != 0)
		return errno ? -errno : -EIO;
	return fsync(fileno(file)) < 0 || fstat(fileno(file), ret_written) < 0 ? -errno : 0;
}

/* A new file beside the old one, on the disk before it takes its place. */
static int write_document(const char *path, const json_t *document, struct stat *ret_file)
{
	char new[KEPT_PATH_SIZE + sizeof(".new")];
	struct stat written;
	FILE *file;
	int fd, r;

	snprintf(new, sizeof(new), "%s.new", path);
	(void)unlink(new); /* left by a daemon that was killed while writing */
	fd = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	file = fdopen(fd, "w");
	r = file ? write_to(file, document, &written) : -errno;
	if (r == 0 && rename(new, path) < 0)
		r = -errno;
	if (file)
		fclose(file); /* with nothing left to write */
	else
		close(fd);
	if (r < 0)
		(void)unlink(new);
	else
		*ret_file = written;
	return r;
}

/* With all that it is in. */
static int make_directory(const char *path)
{
	char directory[KEPT_PATH_SIZE];

	snprintf(directory, sizeof(directory), "%s", path);
	for (char *slash = directory + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
		*slash = 0;
		if (mkdir(directory, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* A change that somebody made to the file meanwhile must not be lost. */
static bool is_as_it_was(const char *path, const struct stat *file)
{
	struct stat now;

	if (stat(path, &now) < 0)
		return errno == ENOENT || errno == ENOTDIR;
	return now.st_dev == file->st_dev && now.st_ino == file->st_ino &&
	       now.st_mtim.tv_sec == file->st_mtim.tv_sec && now.st_mtim.tv_nsec == file->st_mtim.tv_nsec &&
	       now.st_size == file->st_size;
}

int kept_file_write(const char *path, const struct kept_vm *vms, size_t count, struct stat *file)
{
	json_t *document;
	int r;

	if (!is_as_it_was(path, file))
		return -ESTALE;
	document = document_of(vms, count);
	r = document ? make_directory(path) : -ENOMEM;
	if (r == 0)
		r = write_document(path, document, file);
	if (r == 0)
		r = sync_directory(path);
	json_decref(document);
	return r;
}
