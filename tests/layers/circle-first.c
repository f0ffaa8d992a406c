/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "circle.h"

int circle_first(int n)
{
	return n > 0 ? circle_second(n - 1) : 0;
}
