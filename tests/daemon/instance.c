/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/daemon/instance.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/wire.h"
#include "tests/support/test.h"

#define PROGRAM_VARIABLE "PAGEFUSED" /* path of the program; set by meson */

static struct instance *cleaned; /* at the end of this process, whatever ends it */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/** Of a test that has failed: what it may have left is nobody's business any more. */
static void clean_up(void)
{
	char pattern[128];
	glob_t found = { 0 };

	if (cleaned->pid > 0 && kill(cleaned->pid, SIGKILL) == 0)
		waitpid(cleaned->pid, NULL, 0);
	snprintf(pattern, sizeof(pattern), "%s.store/*/pages", cleaned->socket);
	(void)glob(pattern, 0, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++)
		umount2(found.gl_pathv[i], MNT_DETACH);
	globfree(&found);
	nftw(cleaned->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void instance_init(struct instance *instance)
{
	*instance = (struct instance){ 0 };
	cleaned = instance;
	test_at_end(clean_up);
	test_check((size_t)snprintf(instance->directory, sizeof(instance->directory), "%s/pagefuse-test-XXXXXX",
				    test_folder()) < sizeof(instance->directory),
		   "$TMPDIR is too long: %s", test_folder());
	test_check(mkdtemp(instance->directory) != NULL, "mkdtemp: %s", strerror(errno));
	test_check(chmod(instance->directory, 0755) == 0, "chmod: %s", strerror(errno));
	snprintf(instance->socket, sizeof(instance->socket), "%s/socket", instance->directory);
	snprintf(instance->log, sizeof(instance->log), "%s/log", instance->directory);
	instance_settings(instance, "");
}

void instance_settings(struct instance *instance, const char *text)
{
	FILE *file;

	snprintf(instance->config, sizeof(instance->config), "%s/config", instance->directory);
	file = fopen(instance->config, "we");
	test_check(file && fputs(text, file) >= 0 &&
			   fputs(strstr(text, "[access]") ? "" : "[access]\ngroup = *\n", file) >= 0 &&
			   fclose(file) == 0,
		   "write %s: %s", instance->config, strerror(errno));
}

static void become_daemon(const struct instance *instance)
{
	const char *program = getenv(PROGRAM_VARIABLE);
	int log = open(instance->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	const char *arguments[8] = { "pagefused", "--socket", instance->socket };
	unsigned count = 3;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (program == NULL || log < 0 || dup2(log, STDERR_FILENO) < 0)
		_exit(126);
	unsetenv("JOURNAL_STREAM");
	unsetenv("NOTIFY_SOCKET");
	if (instance->config[0])
		arguments[count++] = "--config", arguments[count++] = instance->config;
	if (instance->private)
		arguments[count++] = "--private";
	execv(program, (char **)arguments);
	_exit(126);
}

static void show_log(const struct instance *instance)
{
	char line[1024];
	FILE *file = fopen(instance->log, "re");

	while (file && fgets(line, sizeof(line), file))
		fprintf(stderr, "| %s", line);
	if (file)
		fclose(file);
}

static int try_connect(const struct instance *instance)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval timeout = { .tv_sec = TEST_PATIENCE_SECONDS * TEST_PATIENCE_FACTOR };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	test_check(fd >= 0, "socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	strcpy(address.sun_path, instance->socket);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

void instance_start(struct instance *instance)
{
	uint64_t end = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
	int fd;

	test_check(getenv(PROGRAM_VARIABLE) != NULL, "set $" PROGRAM_VARIABLE " to the daemon's path");
	instance->pid = fork();
	test_check(instance->pid >= 0, "fork: %s", strerror(errno));
	if (instance->pid == 0)
		become_daemon(instance);
	while ((fd = try_connect(instance)) < 0) {
		if (test_patient_msec() > end || waitpid(instance->pid, NULL, WNOHANG) != 0) {
			show_log(instance);
			test_fail("the daemon does not come up");
		}
		poll(NULL, 0, 5);
	}
	close(fd);
}

void instance_start_mounted(struct instance *instance)
{
	if (geteuid() != 0)
		test_skip("only root can mount a store");
	instance_init(instance);
	instance_start(instance);
	if (instance_mounts(instance) > 0)
		return;
	instance_done(instance);
	test_skip("this machine does not let root mount a tmpfs");
}

static int await_end(struct instance *instance)
{
	int status = test_wait_child(instance->pid);

	instance->pid = 0;
	return status;
}

void instance_await_end(struct instance *instance)
{
	int status = await_end(instance);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		show_log(instance);
		test_fail("the daemon ended with status 0x%x", status);
	}
	test_check(access(instance->socket, F_OK) < 0, "the daemon left its socket behind");
}

void instance_stop(struct instance *instance)
{
	kill(instance->pid, SIGTERM);
	instance_await_end(instance);
}

void instance_begin_stop(struct instance *instance)
{
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;

	kill(instance->pid, SIGTERM);
	while (access(instance->socket, F_OK) == 0) {
		test_check(test_patient_msec() < last, "the daemon does not begin to end");
		poll(NULL, 0, 5);
	}
}

void instance_kill(struct instance *instance)
{
	kill(instance->pid, SIGKILL);
	await_end(instance);
}

void instance_done(struct instance *instance)
{
	static const char *const ours[] = { "socket", "socket.store" };
	char path[128];
	bool left = false;

	if (instance->pid > 0)
		instance_stop(instance);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", instance->directory, ours[i]);
		left |= access(path, F_OK) == 0;
	}
	if (left || instance_mounts(instance) > 0) {
		show_log(instance);
		test_fail("the daemon left files or mounts in %s", instance->directory);
	}
	nftw(instance->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

bool instance_alive(const struct instance *instance)
{
	return instance->pid > 0 && waitpid(instance->pid, NULL, WNOHANG) == 0;
}

bool instance_logged(const struct instance *instance, const char *text)
{
	char line[1024];
	FILE *file = fopen(instance->log, "re");
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, text) != NULL;
	if (file)
		fclose(file);
	return found;
}

unsigned instance_mounts(const struct instance *instance)
{
	char line[1024];
	FILE *file = fopen("/proc/self/mounts", "re");
	unsigned count = 0;

	while (file && fgets(line, sizeof(line), file))
		count += strstr(line, instance->directory) != NULL;
	if (file)
		fclose(file);
	return count;
}

int instance_connect(const struct instance *instance)
{
	int fd = try_connect(instance);

	if (fd < 0) {
		show_log(instance);
		test_fail("cannot connect to %s: %s", instance->socket, strerror(errno));
	}
	return fd;
}

/* ---- requests ---- */

void instance_send(int socket, const char *request, size_t size)
{
	static char message[WIRE_MESSAGE_MAX];
	struct wire_header header;

	test_check(size <= sizeof(message) - sizeof(header), "the request is too long");
	wire_header_init(&header, WIRE_REQUEST, sizeof(header) + size);
	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), request, size);
	test_check(send(socket, message, sizeof(header) + size, MSG_NOSIGNAL) > 0, "send: %s", strerror(errno));
}

json_t *instance_receive(int socket)
{
	static char message[WIRE_MESSAGE_MAX];
	struct wire_header header = { .flags = WIRE_MORE };
	char *text = NULL, *longer;
	size_t length = 0;
	json_t *reply;

	while (header.flags & WIRE_MORE) {
		ssize_t received = recv(socket, message, sizeof(message), 0);

		test_check(received > 0 && wire_check(message, (size_t)received) == 0, "no proper reply: %zd",
			   received);
		memcpy(&header, message, sizeof(header));
		test_check(header.type == WIRE_REPLY, "message %u instead of a reply: %.*s", header.type,
			   (int)(received - (ssize_t)sizeof(header)), message + sizeof(header));
		longer = realloc(text, length + (size_t)received);
		test_check(longer != NULL, "no memory for the reply");
		text = longer;
		memcpy(text + length, message + sizeof(header), (size_t)received - sizeof(header));
		length += (size_t)received - sizeof(header);
	}
	reply = json_loadb(text, length, 0, NULL);
	test_check(reply != NULL, "the reply is no JSON: %.*s", (int)length, text);
	free(text);
	return reply;
}

json_t *instance_ask_on(int socket, const char *request, size_t size)
{
	instance_send(socket, request, size);
	return instance_receive(socket);
}

json_t *instance_ask(const struct instance *instance, const char *request)
{
	int fd = instance_connect(instance);
	json_t *reply = instance_ask_on(fd, request, strlen(request));

	close(fd);
	return reply;
}

static long long number(const json_t *object, const char *field)
{
	const json_t *value = json_object_get(object, field);

	if (json_is_boolean(value))
		return json_is_true(value);
	test_check(json_is_number(value), "the status has no number \"%s\"", field);
	return (long long)json_number_value(value);
}

static long long of_part(const struct instance *instance, const char *part, const char *field)
{
	json_t *status = instance_ask(instance, "{\"command\":\"status\"}");
	long long value = number(json_object_get(status, part), field);

	json_decref(status);
	return value;
}

long long instance_host(const struct instance *instance, const char *field)
{
	return of_part(instance, "host", field);
}

long long instance_daemon(const struct instance *instance, const char *field)
{
	return of_part(instance, "daemon", field);
}

long long instance_vm(const struct instance *instance, const char *name, const char *field)
{
	json_t *status = instance_ask(instance, "{\"command\":\"status\"}"), *vm;
	long long value = -1;
	size_t i;

	json_array_foreach(json_object_get(status, "vms"), i, vm)
		if (strcmp(json_string_value(json_object_get(vm, "name")), name) == 0)
			value = number(vm, field);
	json_decref(status);
	return value;
}

void instance_await(const struct instance *instance, const char *name, const char *field, long long value)
{
	long long seen, before = value;
	uint64_t last = 0;

	while ((seen = name ? instance_vm(instance, name, field) : instance_host(instance, field)) != value) {
		if (seen != before)
			last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
		before = seen;
		if (test_patient_msec() > last) {
			show_log(instance);
			test_fail("%s's %s stays %lld and does not become %lld", name ? name : "host", field, seen,
				  value);
		}
		poll(NULL, 0, 10);
	}
}

static bool is_finished(const struct instance *instance, const char *question)
{
	json_t *reply = instance_ask(instance, question), *vm;
	bool finished = true;
	size_t i;

	json_array_foreach(json_object_get(reply, "vms"), i, vm)
		finished &= number(vm, "finished") != 0 || number(vm, "gone") != 0;
	json_decref(reply);
	return finished;
}

void instance_await_disconnected(const struct instance *instance, const char *name)
{
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;

	while (instance_vm(instance, name, "connected") == 1) {
		test_check(test_patient_msec() < last, "%s stays connected", name);
		poll(NULL, 0, 10);
	}
}

void instance_scan(const struct instance *instance)
{
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
	json_t *reply = instance_ask(instance, "{\"command\":\"scan\"}");
	json_t *numbers = json_array(), *question, *ticket;
	char *text;
	size_t i;

	json_array_foreach(json_object_get(reply, "tickets"), i, ticket) /* without the names a thousand fit */
		json_array_append(numbers, json_object_get(ticket, "ticket"));
	question = json_pack("{s:s,s:o}", "command", "scan-progress", "tickets", numbers);
	text = json_dumps(question, JSON_COMPACT);
	test_check(text != NULL, "the scan got no tickets");
	while (!is_finished(instance, text)) {
		test_check(test_patient_msec() < last, "the scan does not end");
		poll(NULL, 0, 10);
	}
	free(text);
	json_decref(question);
	json_decref(reply);
}
