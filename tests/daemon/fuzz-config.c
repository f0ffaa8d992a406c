/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration file: what is taken is within its limits, and what is refused is said in one line. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/page.h"
#include "daemon/config.h"
#include "tests/support/fuzz.h"

static void check_limits(const struct config *config)
{
	must(config->engine.audit_interval_seconds <= 604800);
	for (unsigned i = 0; i < MEMORY_STATES; i++) {
		const struct scan_budget *budget = &config->budgets[i];

		must(budget->interval_seconds >= (i == MEMORY_HIGH ? 0 : 1) && budget->interval_seconds <= 604800);
		must(budget->cpu_percent >= 1 && budget->cpu_percent <= 100);
	}
	must(config->engine.vm_slots_max > 0 && config->engine.vm_ram_bytes_max >= PAGE_BYTES);
	must(config->connections_per_user >= 1 && config->connections_per_user <= 65536);
	must(config->store.kind <= STORE_MEMFD && config->access.status <= ACCESS_STATUS_ALL);
	must(memchr(config->access.group, 0, sizeof(config->access.group)) != NULL && config->access.group[0] != 0);
	must(memchr(config->store.size, 0, sizeof(config->store.size)) != NULL && config->store.size[0] != 0);
	must(strchr(config->store.size, ',') == NULL); /* it becomes a mount option */
}

static void check_memory(const struct config *config)
{
	const struct memory_settings *memory = &config->memory;
	const struct memory_thresholds *percent = &memory->thresholds;

	must(memchr(memory->source, 0, sizeof(memory->source)) != NULL);
	must(memory->source[0] == '/' || strcmp(memory->source, MEMORY_SOURCE_HOST) == 0);
	must(memory->min_free.percent <= 50 && (memory->min_free.percent == 0 || memory->min_free.bytes == 0));
	must(percent->high > percent->clear && percent->clear > percent->soft && percent->soft > percent->hard &&
	     percent->hard > percent->low && percent->high <= 10000);
	must(config->exposure.percent <= EXPOSURE_PERCENT_MAX &&
	     (config->exposure.percent == 0 || config->exposure.bytes == 0));
	must(memchr(config->exposure.text, 0, sizeof(config->exposure.text)) != NULL);
	must(memory->interval_msec >= 100 && memory->stall_msec <= MEMORY_STALL_WINDOW_MSEC);
	must(config->large_scans <= ENGINE_LARGE_ALWAYS && config->large_hints <= ENGINE_LARGE_ALWAYS);
	must(config->engine.dense_pages >= 1 && config->engine.dense_pages <= ENGINE_BLOCK_PAGES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int file = -1;
	static char path[64];
	struct config config;
	char error[512] = "";
	int r;

	if (file < 0) {
		file = memfd_create("config", MFD_CLOEXEC);
		must(file >= 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	must(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size);
	config_default(&config);
	check_limits(&config);
	check_memory(&config);
	r = config_read(&config, path, error, sizeof(error));
	must(r == 0 || r == -EINVAL || r == -ENOMEM);
	if (r == 0) {
		check_limits(&config);
		check_memory(&config);
	} else {
		must(error[0] != 0 && strchr(error, '\n') == NULL);
	}
	return 0;
}
