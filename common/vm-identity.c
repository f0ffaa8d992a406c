/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/vm-identity.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *vm_identity_program(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static char fit_character(char c)
{
	return c > ' ' && c <= '~' ? c : '_';
}

/** Copies one value of a QEMU option list up to its comma; a double comma is one of the value's own. */
static void copy_value(const char *value, char *ret, size_t size)
{
	size_t length = 0;

	for (; *value != '\0' && length + 1 < size; value++) {
		if (*value == ',' && *++value != ',')
			break;
		ret[length++] = fit_character(*value);
	}
	ret[length] = '\0';
}

static void copy_program(const char *program, pid_t pid, char *ret, size_t size)
{
	char number[16];
	size_t length = 0, room = size - (size_t)snprintf(number, sizeof(number), "-%d", (int)pid);

	for (; *program != '\0' && length + 1 < room; program++)
		ret[length++] = fit_character(*program);
	strcpy(ret + length, number);
}

/** The value of guest= in "guest=web1,debug-threads=on", "web1,process=x" or "process=x,guest=web1"; NULL if none. */
static const char *find_guest(const char *list)
{
	bool first = true;

	for (;;) {
		size_t key = strcspn(list, "=,");

		if (strncmp(list, "guest=", 6) == 0)
			return list + 6;
		if (first && list[key] != '=' && key > 0)
			return list;
		first = false;
		for (; *list != '\0'; list++) /* on to what follows the next single comma */
			if (*list == ',' && *++list != ',')
				break;
		if (*list == '\0')
			return NULL;
	}
}

static bool is_qemu(const char *name)
{
	return strncmp(name, "qemu", 4) == 0 || strncmp(name, "kvm", 3) == 0;
}

/** The value of the last option @name, with one dash or two, of a QEMU; NULL if there is none. */
static const char *find_option(char *const argv[], const char *name)
{
	const char *value = NULL;

	if (argv[0] == NULL || !is_qemu(vm_identity_program(argv[0])))
		return NULL;
	for (int i = 1; argv[i] != NULL && argv[i + 1] != NULL; i++) {
		const char *option = argv[i];

		option += option[0] == '-';
		option += option[0] == '-';
		if (option != argv[i] && strcmp(option, name) == 0)
			value = argv[++i];
	}
	return value;
}

void vm_identity_name(char *const argv[], pid_t pid, char *ret, size_t size)
{
	const char *list = find_option(argv, "name"), *guest = list ? find_guest(list) : NULL;

	if (guest != NULL)
		copy_value(guest, ret, size);
	if (guest == NULL || ret[0] == '\0')
		copy_program(vm_identity_program(argv[0] ? argv[0] : "vm"), pid, ret, size);
}

bool vm_identity_uuid(char *const argv[], uint8_t ret[UUID_BYTES])
{
	const char *text = find_option(argv, "uuid");

	memset(ret, 0, UUID_BYTES);
	return text && uuid_parse(text, ret) == 0;
}

/* ---- UUIDs ---- */

static const char digits[] = "0123456789abcdef";

/* -1: it is none. */
static int digit_value(char digit)
{
	const char *place = digit ? strchr(digits, digit >= 'A' && digit <= 'F' ? digit - 'A' + 'a' : digit) : NULL;

	return place ? (int)(place - digits) : -1;
}

/* A group of two digits begins at @byte where a dash stands before it. */
static bool follows_dash(unsigned byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

int uuid_parse(const char *text, uint8_t ret[UUID_BYTES])
{
	uint8_t uuid[UUID_BYTES];

	memset(ret, 0, UUID_BYTES);
	for (unsigned i = 0; i < UUID_BYTES; i++) {
		int high, low;

		if (follows_dash(i) && *text++ != '-')
			return -EINVAL;
		high = digit_value(text[0]);
		low = high < 0 ? -1 : digit_value(text[1]);
		if (low < 0)
			return -EINVAL;
		uuid[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	if (*text != '\0' || !uuid_is_set(uuid))
		return -EINVAL;
	memcpy(ret, uuid, UUID_BYTES);
	return 0;
}

void uuid_text(const uint8_t uuid[UUID_BYTES], char ret[UUID_TEXT])
{
	for (unsigned i = 0; i < UUID_BYTES; i++) {
		if (follows_dash(i))
			*ret++ = '-';
		*ret++ = digits[uuid[i] >> 4];
		*ret++ = digits[uuid[i] & 15];
	}
	*ret = '\0';
}

bool uuid_is_set(const uint8_t uuid[UUID_BYTES])
{
	static const uint8_t none[UUID_BYTES];

	return memcmp(uuid, none, UUID_BYTES) != 0;
}
