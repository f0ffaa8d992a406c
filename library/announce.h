/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reports to the daemon: regions, the pages that they already share, and memory that is left alone. */
#ifndef PAGEFUSE_LIBRARY_ANNOUNCE_H
#define PAGEFUSE_LIBRARY_ANNOUNCE_H

#include <stdbool.h>
#include <stdint.h>

struct session;

/** Reports regions that came or went since the last call. Worker thread, without the lock. @return 0 or -errno. */
int announce_regions(struct session *session);
/**
 * Reports pages that VMM threads have discarded, unshared or made plain since the last call. Worker thread, without the
 * lock. @return 0 or -errno.
 */
int announce_changes(struct session *session);
/** A new connection: everything has to be reported again. Worker thread, without the lock. */
void announce_forget(void);

/** Notes that @bytes more memory is left alone for a reason, or less if negative. Any thread. */
void announce_refusal(uint32_t reason, int64_t bytes);
/** Sets the bytes for a reason. Any thread. */
void announce_set_refusal(uint32_t reason, uint64_t bytes);
/** Bytes that are left alone for a reason. Any thread. */
uint64_t announce_refused(uint32_t reason);
/** Whether any refusals are still to be reported. Any thread. */
bool announce_refusals_changed(void);
/** Reports refusals that changed. Worker thread. @return 0 or -errno. */
int announce_refusals(struct session *session);
/** Bytes of RAM that cannot take part. Any thread. */
uint64_t announce_refused_bytes(void);

#endif
