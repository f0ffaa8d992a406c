/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/documents.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/thread.h"
#include "daemon/turn.h"

#ifndef DOCUMENTS_WAIT
#define DOCUMENTS_WAIT 0 /* the loop waits for each document; a test builds with it, to see what that does */
#endif

/* ---- the thread ---- */

static void await_wanted(struct documents *documents)
{
	while (sem_wait(&documents->wanted) < 0 && errno == EINTR)
		;
}

static void *make_documents(void *context)
{
	struct documents *documents = context;
	struct document *document;
	uint64_t began;

	for (;;) {
		await_wanted(documents);
		document = documents->document;
		if (document == NULL)
			return NULL;
		began = clock_cpu_usec();
		document->make(document);
		document->cpu_usec = clock_cpu_usec() - began;
		atomic_store_explicit(&documents->is_made, true, memory_order_release);
		(void)eventfd_write(documents->made_fd, 1);
	}
}

/* ---- the loop ---- */

static bool is_made(const struct documents *documents)
{
	return atomic_load_explicit(&documents->is_made, memory_order_acquire);
}

static void await_made(const struct documents *documents)
{
	struct pollfd made = { .fd = documents->made_fd, .events = POLLIN };

	while (!is_made(documents))
		(void)poll(&made, 1, -1);
}

/* The document whose user has had least loop time; of several the one that waits longest. */
static struct document *next(const struct documents *documents)
{
	struct document *document, *least = NULL;

	TAILQ_FOREACH(document, &documents->waiting, entries)
		if (least == NULL || document->payer->share.had_usec < least->payer->share.had_usec)
			least = document;
	return least;
}

/* Has the thread make the next one, if it makes none and there is one. */
static void begin(struct documents *documents)
{
	struct document *document;

	while (documents->document == NULL && (document = next(documents)) != NULL) {
		TAILQ_REMOVE(&documents->waiting, document, entries);
		if (document->copy && !document->copy(document)) {
			document->done(document);
			continue;
		}
		documents->document = document;
		atomic_store_explicit(&documents->is_made, false, memory_order_relaxed); /* sem_post() is a release */
		(void)sem_post(&documents->wanted);
		if (DOCUMENTS_WAIT)
			await_made(documents);
	}
}

/* A document that the thread has made belongs to its owner again. */
static void finish(struct documents *documents)
{
	struct document *document = documents->document;
	eventfd_t count;

	(void)eventfd_read(documents->made_fd, &count);
	documents->document = NULL;
	fair_charge(documents->fair, &document->payer->share, document->cpu_usec);
	document->done(document);
}

static int on_made(sd_event_source *source, int fd, uint32_t events, void *user)
{
	struct documents *documents = user;

	(void)source;
	(void)fd;
	(void)events;
	if (documents->document && is_made(documents))
		finish(documents);
	begin(documents);
	if (documents->document) /* the copy was part of this turn, but not work of this turn's session */
		fair_charge(documents->fair, &documents->document->payer->share, turn_cpu_usec());
	return 0;
}

int documents_start(struct documents *documents, sd_event *event, struct fair *fair)
{
	int r;

	*documents = (struct documents){ .fair = fair };
	TAILQ_INIT(&documents->waiting);
	(void)sem_init(&documents->wanted, 0, 0);
	documents->made_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (documents->made_fd < 0)
		return -errno;
	r = sd_event_add_io(event, &documents->io, documents->made_fd, EPOLLIN, on_made, documents);
	if (r < 0) {
		close(documents->made_fd);
		return r;
	}
	r = sd_event_source_set_io_fd_own(documents->io, true);
	if (r >= 0)
		r = thread_start(&documents->thread, "documents", make_documents, documents);
	documents->runs = r == 0;
	return r;
}

void documents_stop(struct documents *documents)
{
	if (documents->runs) {
		assert(TAILQ_EMPTY(&documents->waiting)); /* those who wait have gone before */
		if (documents->document) {
			await_made(documents);
			finish(documents);
		}
		(void)sem_post(&documents->wanted); /* nothing is: it ends */
		(void)pthread_join(documents->thread, NULL);
		documents->runs = false;
	}
	documents->io = sd_event_source_disable_unref(documents->io);
}

void documents_add(struct documents *documents, struct document *document)
{
	TAILQ_INSERT_TAIL(&documents->waiting, document, entries);
	begin(documents);
}

bool documents_drop(struct documents *documents, struct document *document)
{
	if (document == documents->document)
		return false;
	TAILQ_REMOVE(&documents->waiting, document, entries);
	return true;
}
