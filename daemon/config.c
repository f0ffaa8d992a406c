/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reading {
	struct config *config;
	char *error; /* of the first bad line; empty if there is none */
	size_t error_size;
};

void config_default(struct config *config)
{
	*config = (struct config){
		.store = { .kind = STORE_AUTO, .size = "100%" },
		.connections_per_user = 1024,
	};
	engine_settings_default(&config->engine);
}

static int parse_number(const char *text, uint64_t *ret, const char **ret_rest)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (errno != 0)
		return -ERANGE;
	*ret_rest = end;
	return 0;
}

/* Bytes, with K, M, G or T for the powers of 1024. */
static int parse_size(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	const char *rest, *unit;
	uint64_t bytes;
	int r = parse_number(text, &bytes, &rest);

	if (r < 0)
		return r;
	if (*rest != 0) {
		unit = strchr(units, toupper((unsigned char)*rest));
		if (unit == NULL || rest[1] != 0 || bytes > UINT64_MAX >> (10 * (unit - units + 1)))
			return -EINVAL;
		bytes <<= 10 * (unit - units + 1);
	}
	*ret = bytes;
	return 0;
}

static const char *set_number(uint32_t *ret, const char *value, uint32_t least, uint32_t most)
{
	static char wanted[64];
	const char *rest;
	uint64_t number;

	if (parse_number(value, &number, &rest) < 0 || *rest != 0 || number < least || number > most) {
		snprintf(wanted, sizeof(wanted), "a number from %u to %u", least, most);
		return wanted;
	}
	*ret = (uint32_t)number;
	return NULL;
}

static const char *set_bytes(uint64_t *ret, const char *value, uint64_t unit)
{
	uint64_t bytes;

	if (parse_size(value, &bytes) < 0 || bytes < PAGE_BYTES)
		return "a size of at least 4K, such as 512M or 64G";
	*ret = bytes / unit;
	return NULL;
}

static const char *set_store_size(struct store_settings *store, const char *value)
{
	const char *rest;
	uint64_t number;
	int r;

	if (parse_number(value, &number, &rest) == 0 && strcmp(rest, "%") == 0)
		r = number >= 1 && number <= 100 ? 0 : -EINVAL;
	else
		r = parse_size(value, &number) == 0 && number >= STORE_SIZE_MIN ? 0 : -EINVAL;
	if (r < 0 || strlen(value) >= sizeof(store->size))
		return "a size of at least 1M, such as 16G, or a share of RAM from 1% to 100%";
	strcpy(store->size, value);
	return NULL;
}

static const char *set_store_kind(struct store_settings *store, const char *value)
{
	static const char *const names[] = { [STORE_AUTO] = "auto", [STORE_TMPFS] = "tmpfs", [STORE_MEMFD] = "memfd" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(value, names[i]) == 0) {
			store->kind = i;
			return NULL;
		}
	return "auto, tmpfs or memfd";
}

static const char *const unknown = "";

/* @return NULL, what the value should have been, or `unknown`. */
static const char *set(struct config *config, const char *section, const char *name, const char *value)
{
	char key[64];

	snprintf(key, sizeof(key), "%s.%s", section, name);
	if (strcmp(key, "scan.interval_seconds") == 0)
		return set_number(&config->engine.scan_interval_seconds, value, 0, 7 * 86400);
	if (strcmp(key, "scan.audit_interval_seconds") == 0)
		return set_number(&config->engine.audit_interval_seconds, value, 0, 7 * 86400);
	if (strcmp(key, "scan.cpu_percent") == 0)
		return set_number(&config->engine.scan_cpu_percent, value, 1, 100);
	if (strcmp(key, "store.kind") == 0)
		return set_store_kind(&config->store, value);
	if (strcmp(key, "store.size") == 0)
		return set_store_size(&config->store, value);
	if (strcmp(key, "limits.vm_store_size") == 0)
		return set_bytes(&config->engine.vm_slots_max, value, PAGE_BYTES);
	if (strcmp(key, "limits.vm_ram_size") == 0)
		return set_bytes(&config->engine.vm_ram_bytes_max, value, 1);
	if (strcmp(key, "limits.connections_per_user") == 0)
		return set_number(&config->connections_per_user, value, 1, 65536);
	return unknown;
}

static int on_setting(void *user, const char *section, const char *name, const char *value)
{
	struct reading *reading = user;
	const char *wanted = set(reading->config, section, name, value);

	if (wanted == NULL)
		return 1;
	if (*reading->error != 0)
		return 0;
	if (wanted == unknown)
		snprintf(reading->error, reading->error_size,
			 "there is no setting \"%s\" in section [%s]; pagefused.conf(5) lists them", name, section);
	else
		snprintf(reading->error, reading->error_size, "%s = \"%s\": should be %s", name, value, wanted);
	return 0;
}

int config_read(struct config *config, const char *path, char *ret_error, size_t error_size)
{
	char error[256] = "";
	struct reading reading = { .config = config, .error = error, .error_size = sizeof(error) };
	FILE *file = fopen(path, "re");
	int line;

	if (file == NULL) {
		int code = errno;

		snprintf(ret_error, error_size, "cannot read the settings in %s: %s", path, strerror(code));
		return -code;
	}
	line = ini_parse_file(file, on_setting, &reading);
	fclose(file);
	if (line == 0)
		return 0;
	if (line < 0)
		snprintf(ret_error, error_size, "cannot read the settings in %s: out of memory", path);
	else
		snprintf(ret_error, error_size, "%s:%d: %s", path, line,
			 *error ? error : "not of the form \"name = value\" or \"[section]\"");
	return line < 0 ? -ENOMEM : -EINVAL;
}
