/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/kept-writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/thread.h"

#ifndef KEPT_WRITER_WAITS
#define KEPT_WRITER_WAITS 0 /* the loop waits for each write; tests build with it, to see what that does */
#endif

struct kept_writing {
	int event_fd;
	int result;
	struct stat file;
	char path[KEPT_PATH_SIZE];
	size_t count;
	struct kept_vm vms[];
};

static void *write_file(void *context)
{
	struct kept_writing *writing = context;

	writing->result = kept_file_write(writing->path, writing->vms, writing->count, &writing->file);
	(void)eventfd_write(writing->event_fd, 1);
	return NULL;
}

static int on_written(sd_event_source *source, int fd, uint32_t events, void *user)
{
	(void)source;
	(void)fd;
	(void)events;
	kept_writer_wait(user); /* there is nothing left to wait for but the thread's last instructions */
	return 0;
}

int kept_writer_open(struct kept_writer *writer, sd_event *event)
{
	int r;

	writer->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (writer->event_fd < 0)
		return -errno;
	r = sd_event_add_io(event, &writer->io, writer->event_fd, EPOLLIN, on_written, writer);
	if (r < 0) {
		close(writer->event_fd);
		return r;
	}
	r = sd_event_source_set_io_fd_own(writer->io, true);
	return r < 0 ? r : 0;
}

void kept_writer_close(struct kept_writer *writer)
{
	writer->io = sd_event_source_disable_unref(writer->io);
}

static struct kept_writing *copy(const char *path, const struct stat *file, const struct kept_vms *vms)
{
	const struct kept_vm *vm;
	struct kept_writing *writing;
	size_t count = 0;

	STAILQ_FOREACH(vm, &vms->list, entries)
		count++;
	writing = malloc(sizeof(*writing) + count * sizeof(*writing->vms));
	if (writing == NULL)
		return NULL;
	writing->file = *file;
	snprintf(writing->path, sizeof(writing->path), "%s", path);
	writing->count = 0;
	STAILQ_FOREACH(vm, &vms->list, entries)
		writing->vms[writing->count++] = *vm;
	return writing;
}

int kept_writer_begin(struct kept_writer *writer, const char *path, const struct stat *file,
		      const struct kept_vms *vms)
{
	struct kept_writing *writing = copy(path, file, vms);
	int r;

	if (writing == NULL)
		return -ENOMEM;
	writing->event_fd = writer->event_fd;
	r = thread_start(&writer->thread, "kept", write_file, writing);
	if (r < 0) {
		free(writing);
		return r;
	}
	writer->writing = writing;
	if (KEPT_WRITER_WAITS)
		kept_writer_wait(writer);
	return 0;
}

bool kept_writer_is_busy(const struct kept_writer *writer)
{
	return writer->writing != NULL;
}

void kept_writer_wait(struct kept_writer *writer)
{
	struct kept_writing *writing = writer->writing;
	eventfd_t count;

	if (writing == NULL)
		return;
	(void)pthread_join(writer->thread, NULL);
	(void)eventfd_read(writer->event_fd, &count);
	writer->writing = NULL;
	writer->done(writer->context, writing->result, &writing->file);
	free(writing);
}
