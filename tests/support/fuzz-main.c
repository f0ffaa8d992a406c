/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs a fuzz target on its corpus, as a plain test: each file named, each file of each folder named, and of all of
 * them shorter beginnings and changed bytes. With meson -Dfuzzers=true the target is linked to libFuzzer instead.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/support/fuzz.h"

#define INPUT_BYTES_MAX 65536

static unsigned long inputs;

/* In memory of its own and of just that size, so that a sanitizer sees every byte read beyond. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL) {
		fprintf(stderr, "no memory\n");
		exit(1);
	}
	memcpy(copy, data, size);
	(void)LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	inputs++;
}

static void run_variants(uint8_t *data, size_t size)
{
	size_t step = size / 64 + 1;

	run(data, size);
	for (size_t length = 0; length < size; length += step)
		run(data, length);
	for (size_t at = 0; at < size; at += step) {
		static const uint8_t changes[] = { 0x01, 0x80, 0xff };

		for (size_t i = 0; i < sizeof(changes); i++) {
			data[at] ^= changes[i];
			run(data, size);
			data[at] ^= changes[i];
		}
	}
}

static int run_file(const char *path)
{
	static uint8_t data[INPUT_BYTES_MAX];
	FILE *file = fopen(path, "re");
	size_t size;

	if (file == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	size = fread(data, 1, sizeof(data), file);
	fclose(file);
	run_variants(data, size);
	return 0;
}

static int run_path(const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	int r = 0;

	if (folder == NULL)
		return run_file(path);
	while ((entry = readdir(folder)) != NULL) {
		char name[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (run_file(name) < 0)
			r = -1;
	}
	closedir(folder);
	return r;
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= run_path(argv[i]);
	printf("%lu inputs\n", inputs);
	return failed != 0 || inputs == 0;
}
