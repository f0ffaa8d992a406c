/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Long documents are made in a thread of their own: the text of a thousand VMs takes many milliseconds, in which the
 * loop serves other connections. The loop copies the figures; the thread makes the text from the copy, and sends it
 * (reply.h).
 *
 * One document is made at a time. Its figures are copied when its turn comes, so there is one copy at a time, however
 * many are asked for. The next turn goes to the user who has had least of the daemon's time (fair.h), and the thread's
 * time for a document is charged to the user who asked for it. The loop waits for the thread when the daemon ends, and
 * at no other time; a document whose connection was closed is finished and discarded.
 */
#ifndef PAGEFUSE_DAEMON_DOCUMENTS_H
#define PAGEFUSE_DAEMON_DOCUMENTS_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "daemon/fair.h"

/** A text that is to be made. It belongs to its owner, but see documents_drop(). */
struct document {
	TAILQ_ENTRY(document) entries;
	/**
	 * In the loop's thread: copies all that it is of. @return false: there is nothing to be made, it is done. NULL:
	 * nothing is to be copied.
	 */
	bool (*copy)(struct document *document);
	/** In the other thread: makes it, of nothing but what belongs to it. */
	void (*make)(struct document *document);
	/** In the loop's thread: it is made, or there was nothing to be. May free it. */
	void (*done)(struct document *document);
	struct fair_user *payer; /* the user it is made for; stays until it is done or dropped */
	uint64_t cpu_usec;       /* that make() took */
};

struct documents {
	struct fair *fair;
	TAILQ_HEAD(, document) waiting;
	struct document *document; /* the thread's, from sem_post(wanted) until is_made; NULL: it waits, or is to end */
	sem_t wanted;
	_Atomic bool is_made; /* set with release by the thread, read with acquire by the loop */
	int made_fd;
	sd_event_source *io;
	pthread_t thread;
	bool runs;
};

/** Starts the thread. @fair has the accounts of those who pay. @return 0 or -errno: call documents_stop(), too. */
int documents_start(struct documents *documents, sd_event *event, struct fair *fair);
/** Waits for the one that is being made, calls its done(), and ends the thread. Also for what is all zero. */
void documents_stop(struct documents *documents);

/**
 * Has @document made, at once or when its turn comes. It has copy, make, done and payer; done() may come from in here.
 */
void documents_add(struct documents *documents, struct document *document);
/**
 * @document, which was added and is not done, is not wanted any more. @return whether it was only waiting, and is the
 * caller's again; false: it is being made, and its done() will be called.
 */
bool documents_drop(struct documents *documents, struct document *document);

#endif
