/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A circle of calls of three units, which calls.py has to find. */
#ifndef PAGEFUSE_TESTS_LAYERS_CIRCLE_H
#define PAGEFUSE_TESTS_LAYERS_CIRCLE_H

int circle_first(int n);
int circle_second(int n);
int circle_third(int n);

#endif
