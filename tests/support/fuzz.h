/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every fuzz target has. See fuzz-main.c for how it is run. */
#ifndef PAGEFUSE_TESTS_SUPPORT_FUZZ_H
#define PAGEFUSE_TESTS_SUPPORT_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/** The target: looks at one input. @return 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** A promise of what is tested; libFuzzer and the plain test both see an abort. */
#define must(condition) \
	do { \
		if (!(condition)) \
			abort(); \
	} while (0)

#endif
