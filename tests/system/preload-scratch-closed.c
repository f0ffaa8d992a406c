/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The preload for a control: who touches an empty page of the scratch sleeps. */
#include "library/protections.h"

__attribute__((constructor)) static void switch_off(void)
{
	protections_off = PROTECT_SCRATCH_OPEN;
}
