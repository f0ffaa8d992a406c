/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that maps the store and reads all of its slots, in use or not, without end. The kernel makes a page for
 * each, but only as many as the store has room for strays; and a VM of another user goes on sharing meanwhile.
 *
 * control: of a daemon whose store has much room for strays, where it takes more.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/room.h"
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define LIAR 20003u
#define BOB 20002u
#define PAGES 6000u /* of each VM, all the same in both */
#define SEGMENT_BYTES (UINT64_C(65536) * PAGE_BYTES)
#define READ_BYTES (8 * PAGE_BYTES) /* with one call: it ends where the store has no more room */

/* The most that the store may have: what is stored in it, strays, and pages of its own. */
#define MAY_HAVE (PAGES + 4 * UINT64_C(4096) + 64)

static struct instance instance;

static _Noreturn void read_without_end(const char *segment)
{
	for (;;)
		for (uint64_t at = 0; at < SEGMENT_BYTES; at += READ_BYTES)
			(void)madvise((void *)(segment + at), READ_BYTES, MADV_POPULATE_READ);
}

static pid_t start_reader(const struct fake_vmm *liar)
{
	int fd = fake_take_segment(liar);
	void *segment = mmap(NULL, SEGMENT_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	pid_t pid;

	test_check(segment != MAP_FAILED, "mmap: %s", strerror(errno));
	close(fd);
	if (madvise(segment, PAGE_BYTES, MADV_POPULATE_READ) < 0)
		test_skip("this kernel has no MADV_POPULATE_READ");
	pid = fork();
	test_check(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		read_without_end(segment);
	}
	munmap(segment, SEGMENT_BYTES);
	return pid;
}

static pid_t attack(struct fake_vmm liars[2])
{
	static const struct fake_options options = { .name = "liar", .pages = 64, .common = 64, .uid = LIAR };
	const uint64_t enough = (test_wants("control") ? MAY_HAVE : ROOM_STRAY_PAGES / 2) * PAGE_BYTES;
	pid_t reader;

	for (unsigned i = 0; i < 2; i++)
		liars[i] = fake_start(instance.socket, &options);
	fake_ask(&liars[0], FAKE_AWAIT, options.common);
	reader = start_reader(&liars[0]);
	while (instance_host(&instance, "store_bytes") <= (long long)enough)
		test_progress(); /* else there is nothing to see here; the test's deadline ends it */
	return reader;
}

/* @return the most pages that the store had while bob's VMs came to share all that they have. */
static uint64_t share(struct fake_vmm bobs[2])
{
	static const struct fake_options options = { .name = "bob", .pages = PAGES, .common = PAGES, .uid = BOB };
	uint64_t last, most = 0, had, shared = 0, seen;

	for (unsigned i = 0; i < 2; i++)
		bobs[i] = fake_start(instance.socket, &options);
	last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
	while (shared < 2 * PAGES) {
		had = (uint64_t)instance_host(&instance, "store_bytes") / PAGE_BYTES;
		most = had > most ? had : most;
		seen = fake_ask(&bobs[0], FAKE_STATE, 0).shared + fake_ask(&bobs[1], FAKE_STATE, 0).shared;
		test_check(test_patient_msec() < last, "%u pages are shared only while the store is attacked",
			   (unsigned)seen);
		if (seen > shared) {
			shared = seen;
			last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
			test_progress();
		}
	}
	for (unsigned i = 0; i < 2; i++)
		test_check(fake_ask(&bobs[i], FAKE_CHECK, 0).damaged == 0, "memory is not what it was");
	return most;
}

/* What bob's VMs had is given back, and not to strays, which go on. */
static void await_little(void)
{
	const long long little = (long long)((ROOM_STRAY_PAGES + 2 * ROOM_STEP_PAGES + 128) * PAGE_BYTES);
	uint64_t last = test_patient_msec() + TEST_PATIENCE_SECONDS * 1000;
	unsigned times = 0;

	while (times < 20) {
		test_check(test_patient_msec() < last, "strays have taken what VMs gave back");
		times = instance_host(&instance, "store_bytes") <= little ? times + 1 : 0;
	}
}

int main(int argc, char **argv)
{
	struct fake_vmm liars[2], bobs[2];
	uint64_t most;
	pid_t reader;

	test_begin(argc, argv);
	instance_init(&instance);
	instance_settings(&instance, "[domain both]\nuser = 20002 20003\n");
	instance_start(&instance);
	if (instance_mounts(&instance) == 0) {
		instance_done(&instance);
		test_skip("no tmpfs may be mounted, and a store of memfds has no size");
	}
	reader = attack(liars);
	most = share(bobs);
	if (test_wants("control"))
		test_check(most > MAY_HAVE, "%u pages are all that the store has: nothing to see here", (unsigned)most);
	else
		test_check(most <= MAY_HAVE, "strays have made it %u pages", (unsigned)most);
	for (unsigned i = 0; i < 2; i++)
		fake_kill(&bobs[i]);
	if (!test_wants("control"))
		await_little();
	kill(reader, SIGKILL);
	waitpid(reader, NULL, 0);
	for (unsigned i = 0; i < 2; i++) {
		test_check(fake_ask(&liars[i], FAKE_CHECK, 0).damaged == 0, "memory is not what it was");
		fake_kill(&liars[i]);
	}
	instance_await(&instance, NULL, "store_bytes", 0);
	instance_stop(&instance);
	instance_done(&instance);
	return 0;
}
