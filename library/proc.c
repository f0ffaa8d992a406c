/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/proc.h"

#include "library/descriptors.h"

long proc_read(const char *path, char *text, size_t size)
{
	struct descriptor *file;
	long length = descriptor_open_passing(path, 0, &file);

	if (length < 0)
		return length;
	length = descriptor_read(file, text, size - 1, 0);
	descriptor_close(&file);
	if (length >= 0)
		text[length] = 0;
	return length;
}
