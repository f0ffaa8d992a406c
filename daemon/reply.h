/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A reply on its way to the connection that asked. Most are one packet, which the loop sends. The thread of documents.h
 * sends the text of a thousand VMs, since copying it into the socket takes as long as collecting its figures; the loop
 * does it if there is no descriptor to spare.
 */
#ifndef PAGEFUSE_DAEMON_REPLY_H
#define PAGEFUSE_DAEMON_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/documents.h"

struct reply;

/** The connection that waits for it, until reply_free(). @documents has to outlive that if the thread has one. */
struct reply_to {
	int socket;
	struct fair_user *payer;
	struct documents *documents;
	/** The thread has sent what it could; @r: as reply_send() returns it. Loop. */
	void (*sent)(void *owner, int r);
	void *owner;
};

/**
 * A reply of @size bytes of @text, which is the reply's from now on, also after an error. @return 0; -ENOMEM: there is
 * none.
 */
int reply_new(const struct reply_to *to, char *text, size_t size, struct reply **ret);
/**
 * Sends as much of it as there is room for. @return 0: all is sent; -EAGAIN: there is no room for more now;
 * -EINPROGRESS: the thread does it, to->sent() will tell; -errno of the socket.
 */
int reply_send(struct reply *reply);
/** Whether the thread has it, or is to: it is not to be sent meanwhile. NULL: no. */
bool reply_is_in_thread(const struct reply *reply);
/** The connection does not wait any more, sent or not. Sets *reply to NULL. NULL is left as it is. */
void reply_free(struct reply **reply);

#endif
