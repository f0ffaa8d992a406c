/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The preload for a control: linked with the library of the tests, and without the reserve of mappings. */
#include "library/protections.h"

__attribute__((constructor)) static void switch_off(void)
{
	protections_off = PROTECT_RESERVE;
}
