/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Something to preload that does nothing. */
extern int pagefuse_dummy_preload;
int pagefuse_dummy_preload;
