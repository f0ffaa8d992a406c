/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Something to preload that does nothing. */
extern int pagefuse_dummy_preload;
int pagefuse_dummy_preload;

/* `pagefuse run` has it make the library's calls where it inherits system call filters. */
__attribute__((visibility("default"))) void pagefuse_try_calls(void);

void pagefuse_try_calls(void)
{
}
