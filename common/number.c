/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/number.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

int number_parse(const char *text, uint64_t *ret, const char **ret_rest)
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
