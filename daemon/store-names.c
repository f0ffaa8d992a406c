/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the segments of a store are called. */
#include <inttypes.h>
#include <stdio.h>

#include "daemon/store-internal.h"

void store_segment_name(char ret[STORE_NAME_SIZE], uint32_t segment)
{
	snprintf(ret, STORE_NAME_SIZE, "seg-%05" PRIu32, segment);
}

void store_memfd_name(char ret[STORE_NAME_SIZE], const struct store *store)
{
	snprintf(ret, STORE_NAME_SIZE, "pagefuse-%016" PRIx64, store->identity);
}
