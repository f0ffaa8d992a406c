/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may come to a daemon of root's: members of a group take part and are lent a userfaultfd; others are given
 * nothing, and may ask for the status only where the settings say so. Observers are told of all VMs, and steer none.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define GROUP 20100u
#define MEMBER 20001u
#define OUTSIDER 20002u
#define OBSERVERS 20200u
#define OUTSIDERS 256u /* as daemon/session.h has it */

static struct instance instance;

static void check_socket(mode_t mode, gid_t group)
{
	struct stat st;

	test_check(stat(instance.socket, &st) == 0, "stat: %s", strerror(errno));
	test_check((st.st_mode & 07777) == mode && st.st_gid == group, "the socket has mode 0%o and group %u",
		   st.st_mode & 07777, (unsigned)st.st_gid);
}

static void become(uid_t uid, gid_t supplementary)
{
	test_check(setgroups(supplementary ? 1 : 0, &supplementary) == 0 && setresgid(uid, uid, uid) == 0 &&
			   setresuid(uid, uid, uid) == 0,
		   "become user %u: %s", (unsigned)uid, strerror(errno));
}

/* In a process of user @uid, whose primary group has the same number. */
static void as(uid_t uid, gid_t supplementary, void (*check)(void))
{
	pid_t pid = test_fork();
	int status;

	if (pid == 0) {
		become(uid, supplementary);
		check();
		_exit(0);
	}
	status = test_wait_child(pid);
	test_check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "user %u: status 0x%x", (unsigned)uid, status);
}

static void takes_part(void)
{
	bool has_device = access("/dev/userfaultfd", F_OK) == 0;
	struct fake_link link;
	int r = fake_link_open(&link, instance.socket, "member", WIRE_MODE_FULL, 0);

	test_check(r == 0, "a member of the group may not take part: %s", strerror(-r));
	test_check(link.userfaultfd >= 0 || !has_device, "a member is lent no userfaultfd");
	fake_link_close(&link);
}

static void cannot_connect(void)
{
	struct fake_link link;

	test_check(fake_link_open(&link, instance.socket, "outsider", WIRE_MODE_FULL, 0) == -EACCES,
		   "who is not in the group can connect");
}

static void asks_only(void)
{
	struct fake_link link;
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}");

	test_check(json_array_size(json_object_get(status, "vms")) == 0, "an outsider is shown VMs");
	test_check(json_array_size(json_object_get(status, "domains")) == 0, "an outsider is shown domains");
	json_decref(status);
	test_check(fake_link_open(&link, instance.socket, "outsider", WIRE_MODE_FULL, 0) == -ECONNREFUSED,
		   "who is not in the group may take part");
}

/* As many connections as there may be, and one more. */
static void fill(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int sockets[OUTSIDERS + 1];
	struct pollfd last = { .events = POLLIN };
	char byte;

	memcpy(address.sun_path, instance.socket, sizeof(address.sun_path) - 1);
	for (unsigned i = 0; i <= OUTSIDERS; i++) {
		sockets[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		test_check(sockets[i] >= 0 && connect(sockets[i], (struct sockaddr *)&address, sizeof(address)) == 0,
			   "connect: %s", strerror(errno));
	}
	last.fd = sockets[OUTSIDERS];
	test_check(poll(&last, 1, TEST_DEADLINE_SECONDS * 1000) == 1 && recv(last.fd, &byte, 1, 0) == 1,
		   "one more is not told why not");
	test_check(recv(sockets[0], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "the first one is not served");
}

/* A user has as many numbers as he was given: all who may only ask are counted together, and keep nobody else out. */
static void check_many_outsiders(void)
{
	int ready[2], done[2];
	char byte = 0;
	pid_t pid;

	test_check(pipe2(ready, O_CLOEXEC) == 0 && pipe2(done, O_CLOEXEC) == 0, "pipe2: %s", strerror(errno));
	pid = test_fork();
	if (pid == 0) {
		close(done[1]);
		become(OUTSIDER, 0);
		fill();
		test_check(write(ready[1], &byte, 1) == 1 && read(done[0], &byte, 1) == 0, "%s", strerror(errno));
		_exit(0);
	}
	close(ready[1]);
	test_check(read(ready[0], &byte, 1) == 1, "the connections could not be made");
	as(MEMBER, GROUP, takes_part);
	as(0, 0, takes_part);
	close(ready[0]);
	close(done[0]);
	close(done[1]);
	test_check(test_wait_child(pid) == 0, "who held them has failed");
}

static void start(const char *settings)
{
	instance_settings(&instance, settings);
	instance_start(&instance);
}

/* ---- observers, while root has a VM "watched" ---- */

static size_t vms_shown(const char *request)
{
	json_t *reply = instance_ask(&instance, request);
	size_t count = json_array_size(json_object_get(reply, "vms"));

	json_decref(reply);
	return count;
}

/* A request about root's VM "watched"; @more: what it has besides. */
static bool is_refused(const char *command, const char *more)
{
	const char *code;
	char request[256];
	json_t *reply;
	bool is;

	snprintf(request, sizeof(request), "{\"command\":\"%s\",%s}", command, more);
	reply = instance_ask(&instance, request);
	code = json_string_value(json_object_get(json_object_get(reply, "error"), "code"));
	is = code && strcmp(code, "not-permitted") == 0;
	test_check(is || code == NULL, "%s: the error %s", command, code);
	json_decref(reply);
	return is;
}

#define NAME "\"name\":\"watched\""
#define NAMES "\"names\":[\"watched\"]"
#define METRICS "\"object\":\"watched\",\"metrics\":[\"Guest/RAM/Usage/Shared\"]"

static void observes(void)
{
	test_check(vms_shown("{\"command\":\"status\"}") == 1, "an observer is not shown root's VM");
	test_check(!is_refused("metrics", METRICS), "an observer is not told its metrics");
	test_check(!is_refused("modules", NAME), "an observer is not told its modules");
	test_check(!is_refused("memory-map", NAME), "an observer is not told its map");
	test_check(!is_refused("map", NAME), "an observer is not told what its pages are");
	test_check(is_refused("map", NAME ",\"with\":\"watched\""), "an observer is told which pages are whose");
	/* Everything that changes or costs something. */
	test_check(is_refused("modify", NAME ",\"mode\":\"off\""), "an observer switches it off");
	test_check(is_refused("modify", NAME ",\"forget\":true"), "an observer has it forgotten");
	test_check(is_refused("scan", NAMES), "an observer has it scanned");
	test_check(is_refused("estimate", NAMES), "an observer has it estimated");
	test_check(is_refused("set-metrics", METRICS ",\"period\":1,\"samples\":1"), "an observer sets up samples");
}

static void observes_nothing(void)
{
	test_check(vms_shown("{\"command\":\"status\"}") == 0, "who is no observer is shown root's VM");
	test_check(is_refused("metrics", METRICS), "who is no observer is told its metrics");
	test_check(is_refused("modules", NAME), "who is no observer is told its modules");
	test_check(is_refused("memory-map", NAME), "who is no observer is told its map");
	test_check(is_refused("map", NAME), "who is no observer is told what its pages are");
}

static void start_watched(struct fake_link *ret, const char *settings)
{
	int r;

	start(settings);
	r = fake_link_open(ret, instance.socket, "watched", WIRE_MODE_FULL, 0);
	test_check(r == 0, "root's VM is not let in: %s", strerror(-r));
}

static void check_observers(void)
{
	struct fake_link watched;

	start_watched(&watched, "[access]\ngroup = 20100\nobservers = 20200\nstatus = all\n");
	as(OUTSIDER, OBSERVERS, observes);
	as(OBSERVERS, 0, observes); /* by its primary group */
	as(MEMBER, GROUP, observes_nothing);
	as(OUTSIDER, 0, observes_nothing);
	fake_link_close(&watched);
	instance_stop(&instance);

	start_watched(&watched, "[access]\ngroup = 20100\nobservers = no-such-group-here\nstatus = all\n");
	as(OUTSIDER, OBSERVERS, observes_nothing);
	as(MEMBER, GROUP, observes_nothing);
	fake_link_close(&watched);
	instance_stop(&instance);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	if (geteuid() != 0)
		test_skip("only root can be several users");
	instance_init(&instance);

	start("[access]\ngroup = 20100\n");
	check_socket(0660, GROUP);
	as(GROUP, 0, takes_part);      /* by its primary group */
	as(MEMBER, GROUP, takes_part); /* by a supplementary one */
	as(0, 0, takes_part);
	as(OUTSIDER, 0, cannot_connect);
	instance_stop(&instance);

	start("[access]\ngroup = 20100\nstatus = all\n");
	check_socket(0666, GROUP);
	as(MEMBER, GROUP, takes_part);
	as(OUTSIDER, 0, asks_only);
	check_many_outsiders();
	instance_stop(&instance); /* which logs after it has answered */
	test_check(instance_logged(&instance, "user 20002 may not share memory"), "it is not said who was refused");

	check_observers();

	start("[access]\ngroup = no-such-group-here\n");
	check_socket(0600, 0);
	test_check(instance_logged(&instance, "there is no group \"no-such-group-here\""), "it is not said");
	as(OUTSIDER, 0, cannot_connect);
	as(0, 0, takes_part);
	instance_stop(&instance);

	start("[access]\ngroup = *\n");
	check_socket(0666, 0);
	as(OUTSIDER, 0, takes_part);
	instance_done(&instance);
	return 0;
}
