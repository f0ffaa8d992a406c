/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Linked statically: nothing can be preloaded into it. */
int main(void)
{
	return 0;
}
