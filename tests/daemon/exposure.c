/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What guests take of memory if they write all that they share, by figures from a file: whether it is covered, and that
 * the log says so once; and exposure_max, beyond which nothing new is shared, until there is room or SIGHUP raises it.
 * One VM that takes all that it may keeps nobody else from sharing.
 *
 * control: of a daemon that gives no shares, where it does.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/page.h"
#include "tests/daemon/fake-vmm.h"
#include "tests/daemon/instance.h"
#include "tests/support/test.h"

#define COMMON 900u
#define ZERO 100u
#define VMS 2u
#define ALL ((long long)VMS * (COMMON + ZERO)) /* pages that are exposed when all is shared: 8000 KiB */
#define LIMIT 1024u                            /* pages: 4 MiB */
#define FEW 10u
#define OTHER_USER 20002u

static struct instance instance;
static char figures[128];

/* Replaced as a whole, so that nobody reads half of it. */
static void set_free(unsigned free_kib, unsigned swap_kib)
{
	char text[128], new[160];
	int fd;

	snprintf(text, sizeof(text), "MemTotal: 1048576 kB\nMemAvailable: %u kB\nSwapFree: %u kB\n", free_kib,
		 swap_kib);
	snprintf(new, sizeof(new), "%s.new", figures);
	fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	test_check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %s", new, strerror(errno));
	close(fd);
	test_check(rename(new, figures) == 0, "rename: %s", strerror(errno));
}

static long long memory(const char *field)
{
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}");
	long long value = json_integer_value(json_object_get(json_object_get(status, "memory"), field));

	json_decref(status);
	return value;
}

static void await_memory(const char *field, long long value)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;

	while (memory(field) != value) {
		test_check(test_patient_msec() < last, "%s does not become %lld", field, value);
		poll(NULL, 0, 10);
	}
}

/* The daemon has looked at these figures. */
static void await_free(unsigned free_kib, unsigned swap_kib)
{
	set_free(free_kib, swap_kib);
	await_memory("free_bytes", free_kib * 1024LL);
	await_memory("swap_free_bytes", swap_kib * 1024LL);
}

static bool is_held(const char *name)
{
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}"), *vm;
	bool held = false;
	size_t i;

	json_array_foreach(json_object_get(status, "vms"), i, vm)
		if (strcmp(json_string_value(json_object_get(vm, "name")), name) == 0)
			held = json_is_true(json_object_get(vm, "exposure_held"));
	json_decref(status);
	return held;
}

static int count_logged(const char *text)
{
	char line[1024];
	int count = 0;
	FILE *file = fopen(instance.log, "re");

	while (file && fgets(line, sizeof(line), file))
		count += strstr(line, text) != NULL;
	if (file)
		fclose(file);
	return count;
}

static void set_limit(const char *limit)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "[scan]\ninterval_seconds = 1\naudit_interval_seconds = 1\n"
		 "[memory]\ninterval_msec = 100\nsource = %s\nexposure_max = %s\n",
		 figures, limit);
	instance_settings(&instance, text);
}

static void reload(const char *limit)
{
	set_limit(limit);
	test_check(kill(instance.pid, SIGHUP) == 0, "kill: %s", strerror(errno));
}

/* It is what the status says of what is shared, of host, domains and VMs alike, and of one moment. */
static void check_sums(void)
{
	json_t *status = instance_ask(&instance, "{\"command\":\"status\"}"), *object, *host;
	long long of_vms = 0, of_domains = 0, exposed;
	size_t i;

	host = json_object_get(status, "host");
	exposed = json_integer_value(json_object_get(host, "exposed_pages"));
	json_array_foreach(json_object_get(status, "vms"), i, object)
		of_vms += json_integer_value(json_object_get(object, "exposed_pages"));
	json_array_foreach(json_object_get(status, "domains"), i, object)
		of_domains += json_integer_value(json_object_get(object, "exposed_pages"));
	test_check(exposed == of_vms && exposed == of_domains, "%lld pages are exposed, of VMs %lld, of domains %lld",
		   exposed, of_vms, of_domains);
	test_check(exposed == json_integer_value(json_object_get(host, "saved_pages")) +
				      json_integer_value(json_object_get(host, "common_pages")),
		   "exposed is not saved + common");
	json_decref(status);
}

/* Once it was said it is not again before it has been over for a while, however the figures change. */
static void check_covered(void)
{
	const char *begins = "if guests write all that they share they take", *ends = "is free again";

	await_free(100 << 10, 0);
	test_check(instance_host(&instance, "exposed_pages") == ALL, "not all is exposed");
	check_sums();
	test_check(instance_host(&instance, "uncovered_bytes") == 0, "what is free does not cover it");
	await_free(7000, 1000);
	test_check(instance_host(&instance, "uncovered_bytes") == 0, "what is free, and swap, do not cover it");
	test_check(count_logged(begins) == 0, "the log says that it is not covered");
	for (unsigned i = 0; i < 5; i++) {
		await_free(6000, 1999);
		test_check(instance_host(&instance, "uncovered_bytes") == 1024, "it is covered");
		while (count_logged(begins) == 0)
			poll(NULL, 0, 10);
		test_check(count_logged(begins) == 1 + count_logged(ends), "the log says it again and again");
		await_free(i % 2 ? 100 << 10 : 8000, 0);
		test_check(instance_host(&instance, "uncovered_bytes") == 0, "it is not covered");
	}
	await_free(1000 << 10, 0);
}

/* The guests have written what they share: passes share anew what fits, and further ones no more. */
static void fill_limit(void)
{
	uint64_t last = test_patient_msec() + TEST_DEADLINE_SECONDS * 1000;
	long long exposed = 0;

	while (exposed < LIMIT / 2 || exposed > LIMIT) {
		instance_scan(&instance);
		exposed = instance_host(&instance, "exposed_pages");
		test_check(test_patient_msec() < last, "%lld pages are exposed, of %u that may be", exposed, LIMIT);
	}
	for (unsigned i = 0; i < 5; i++)
		instance_scan(&instance);
	exposed = instance_host(&instance, "exposed_pages");
	test_check(exposed <= LIMIT, "%lld pages are exposed, beyond the limit", exposed);
}

/* What is shared stays, what comes then is shared up to the limit only; and all of it once there is none. */
static void check_limit(struct fake_vmm vms[VMS])
{
	reload("4M");
	instance_await(&instance, NULL, "exposure_held_vms", VMS);
	test_check(memory("exposure_max_bytes") == LIMIT * PAGE_BYTES, "the status tells of another limit");
	test_check(instance_host(&instance, "exposed_pages") == ALL, "what is shared does not stay so");
	while (count_logged("nothing new is shared of 2 of the VMs") == 0)
		poll(NULL, 0, 10);
	for (unsigned i = 0; i < VMS; i++)
		fake_ask(&vms[i], FAKE_NEXT_CONTENT, 1);
	fill_limit();
	test_check(instance_vm(&instance, "vm0", "exposure_held_pages") +
				   instance_vm(&instance, "vm1", "exposure_held_pages") >
			   0,
		   "nothing was put off");
	test_check(is_held("vm0") || is_held("vm1"), "both go on");
	check_sums();

	/* All by the next passes, without being asked for. */
	reload("none");
	instance_await(&instance, NULL, "exposure_held_vms", 0);
	instance_await(&instance, NULL, "exposed_pages", ALL);
	test_check(memory("exposure_max_bytes") == 0, "there is a limit still");
	test_check(count_logged("nothing new is shared of") <= 1 + count_logged("leaves room for all VMs again"),
		   "the log says it again and again");
}

/* A share of what is free follows that, and needs no signal. */
static void check_share(struct fake_vmm vms[VMS])
{
	await_free(2048, 2048);
	reload("100%");
	instance_await(&instance, NULL, "exposure_held_vms", VMS);
	await_memory("exposure_max_bytes", 4 << 20);
	for (unsigned i = 0; i < VMS; i++)
		fake_ask(&vms[i], FAKE_NEXT_CONTENT, 2);
	fill_limit();
	await_free(100 << 10, 0);
	instance_await(&instance, NULL, "exposed_pages", ALL);
	test_check(instance_host(&instance, "exposure_held_vms") == 0, "somebody is held still");
}

#define SMALL 4u
static const char *const small_names[SMALL] = { "a", "b", "c", "d" };

/* Zeros of its own, as many as it likes; then others come, to its domain and to another one. */
static struct fake_vmm start_hog(struct fake_vmm small[SMALL])
{
	static const struct fake_options hog = { .name = "hog", .pages = 4 * LIMIT, .zero = 4 * LIMIT };
	struct fake_options few = { .pages = FEW, .common = FEW };
	struct fake_vmm big;

	reload("4M");
	await_memory("exposure_max_bytes", 4 << 20);
	big = fake_start(instance.socket, &hog);
	instance_scan(&instance);
	for (unsigned i = 0; i < SMALL; i++) {
		few.name = small_names[i];
		few.uid = i < 2 ? 0 : OTHER_USER;
		small[i] = fake_start(instance.socket, &few);
	}
	return big;
}

/* It stops, and they share. */
static void check_hog(void)
{
	struct fake_vmm small[SMALL], big = start_hog(small);
	long long taken = instance_vm(&instance, "hog", "exposed_pages");

	test_check(taken > LIMIT / 2 && taken < LIMIT, "it has %lld of %u pages", taken, LIMIT);
	for (unsigned i = 0; i < SMALL; i++)
		instance_await(&instance, small_names[i], "shared_pages", FEW);
	test_check(is_held("hog") && !is_held("a") && !is_held("c"), "others have to wait");
	for (unsigned i = 0; i < SMALL; i++)
		fake_kill(&small[i]);
	fake_kill(&big);
}

/* It takes all, and they share next to nothing. */
static void check_control(void)
{
	struct fake_vmm small[SMALL], big = start_hog(small);
	long long shared = 0;

	for (unsigned i = 0; i < 5; i++)
		instance_scan(&instance);
	for (unsigned i = 0; i < SMALL; i++)
		shared += instance_vm(&instance, small_names[i], "shared_pages");
	test_check(shared < SMALL * FEW / 2, "others share without shares, too: this test proves nothing");
	for (unsigned i = 0; i < SMALL; i++)
		fake_kill(&small[i]);
	fake_kill(&big);
}

static void check_all(void)
{
	struct fake_options options = { .pages = COMMON + ZERO, .common = COMMON, .zero = ZERO };
	static const char *const names[VMS] = { "vm0", "vm1" };
	struct fake_vmm vms[VMS];

	for (unsigned i = 0; i < VMS; i++) {
		options.name = names[i];
		vms[i] = fake_start(instance.socket, &options);
	}
	instance_await(&instance, NULL, "exposed_pages", ALL);
	check_covered();
	check_limit(vms);
	check_share(vms);
	for (unsigned i = 0; i < VMS; i++) {
		test_check(fake_ask(&vms[i], FAKE_CHECK, 0).damaged == 0, "memory is not what it was");
		fake_kill(&vms[i]);
	}
	check_hog();
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	instance_init(&instance);
	snprintf(figures, sizeof(figures), "%s/figures", instance.directory);
	set_free(100 << 10, 0);
	set_limit("none");
	instance_start(&instance);
	if (test_wants("control"))
		check_control();
	else
		check_all();
	test_check(unlink(figures) == 0, "unlink: %s", strerror(errno));
	instance_stop(&instance);
	instance_done(&instance);
	return 0;
}
