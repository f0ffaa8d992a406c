/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes the file of kept modes in a thread that lives as long as one write: the disk may take seconds, and the loop
 * must not wait for it. The thread gets a copy of all that it needs and returns its result. Nothing else is shared with
 * it, so there is no lock. There is one write at a time, so a later one never overtakes an earlier one.
 */
#ifndef PAGEFUSE_DAEMON_KEPT_WRITER_H
#define PAGEFUSE_DAEMON_KEPT_WRITER_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

#include "daemon/kept-file.h"

struct kept_writing;

struct kept_writer {
	/** A write has ended, in the loop's thread: as kept_file_write(). The next one may begin from in here. */
	void (*done)(void *context, int result, const struct stat *file);
	void *context;
	int event_fd;
	sd_event_source *io;
	pthread_t thread;
	struct kept_writing *writing; /* the thread's, until it has ended; NULL: there is none */
};

/** @writer: done and context are set. @return 0 or -errno. */
int kept_writer_open(struct kept_writer *writer, sd_event *event);
/** None may be under way. Also for one that was not opened, and is all zero. */
void kept_writer_close(struct kept_writer *writer);

/**
 * Begins to write a copy of @vms to @path, where @file is. None may be under way. @return 0: done() will be called;
 * -errno: nothing was begun (-EAGAIN: there may be no more threads).
 */
int kept_writer_begin(struct kept_writer *writer, const char *path, const struct stat *file,
		      const struct kept_vms *vms);
bool kept_writer_is_busy(const struct kept_writer *writer);
/** Waits for the one that is under way, if there is one, and calls done(). */
void kept_writer_wait(struct kept_writer *writer);

#endif
