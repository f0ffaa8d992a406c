/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "protocol/wire.h"

#define CHUNK_BYTES (WIRE_MESSAGE_MAX - sizeof(struct wire_header))

struct reply {
	struct reply_to to; /* sent NULL: nobody waits for it any more */
	char *text;
	size_t size, sent;
	/* Of a long one. The loop does nothing with it while in_thread. */
	struct document document;
	int socket; /* a duplicate, as the asking one may be closed while the thread sends; -1: the loop sends it */
	int result;
	bool in_thread;
};

static struct reply *reply_of(struct document *document)
{
	return (struct reply *)((char *)document - offsetof(struct reply, document));
}

static int send_chunk(struct reply *reply, int socket)
{
	size_t left = reply->size - reply->sent, size = left < CHUNK_BYTES ? left : CHUNK_BYTES;
	struct wire_header header;
	int r;

	wire_header_init(&header, WIRE_REPLY, sizeof(header) + size);
	header.flags = size < left ? WIRE_MORE : 0;
	r = wire_send_body(socket, &header, reply->text + reply->sent, size);
	if (r == 0)
		reply->sent += size;
	return r;
}

static int send_to(struct reply *reply, int socket)
{
	int r = 0;

	while (r == 0 && reply->sent < reply->size)
		r = send_chunk(reply, socket);
	return r;
}

/* In the thread, which also gives back what is as large as this text. */
static void send_document(struct document *document)
{
	struct reply *reply = reply_of(document);

	reply->result = send_to(reply, reply->socket);
	if (reply->result == -EAGAIN)
		return;
	free(reply->text);
	reply->text = NULL;
}

static void free_now(struct reply *reply)
{
	if (reply->socket >= 0)
		close(reply->socket);
	fair_user_put(reply->document.payer);
	free(reply->text);
	free(reply);
}

static void on_document(struct document *document)
{
	struct reply *reply = reply_of(document);

	reply->in_thread = false;
	if (reply->to.sent)
		reply->to.sent(reply->to.owner, reply->result);
	else
		free_now(reply);
}

int reply_new(const struct reply_to *to, char *text, size_t size, struct reply **ret)
{
	struct reply *reply = calloc(1, sizeof(*reply));

	if (reply == NULL) {
		free(text);
		return -ENOMEM;
	}
	*reply = (struct reply){ .to = *to, .text = text, .size = size, .socket = -1 };
	reply->document = (struct document){ .make = send_document, .done = on_document, .payer = to->payer };
	to->payer->holders++;
	if (size > CHUNK_BYTES)
		reply->socket = fcntl(to->socket, F_DUPFD_CLOEXEC, 0);
	*ret = reply;
	return 0;
}

int reply_send(struct reply *reply)
{
	if (reply->socket < 0)
		return send_to(reply, reply->to.socket);
	reply->in_thread = true;
	documents_add(reply->to.documents, &reply->document);
	return -EINPROGRESS;
}

bool reply_is_in_thread(const struct reply *reply)
{
	return reply && reply->in_thread;
}

void reply_free(struct reply **reply)
{
	struct reply *gone = *reply;

	*reply = NULL;
	if (gone == NULL)
		return;
	gone->to.sent = NULL;
	if (!gone->in_thread || documents_drop(gone->to.documents, &gone->document))
		free_now(gone); /* else the thread is at it, and on_document() does it */
}
