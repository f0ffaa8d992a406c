/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol/agent-decoder.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

void agent_decoder_init(struct agent_decoder *decoder, enum agent_side sender)
{
	decoder->sender = sender;
	decoder->filled = decoder->taken = 0;
	agent_decoder_seek(decoder);
}

void agent_decoder_seek(struct agent_decoder *decoder)
{
	decoder->is_settled = false;
	decoder->session = 0;
	decoder->skipped = 0;
}

void agent_decoder_settle(struct agent_decoder *decoder, uint32_t session)
{
	assert(session != 0);
	decoder->is_settled = true;
	decoder->session = session;
	decoder->skipped = 0;
}

static void drop(struct agent_decoder *decoder, size_t bytes)
{
	memmove(decoder->buffer, decoder->buffer + bytes, decoder->filled - bytes);
	decoder->filled -= bytes;
}

void *agent_decoder_room(struct agent_decoder *decoder, size_t *ret_room)
{
	drop(decoder, decoder->taken);
	decoder->taken = 0;
	*ret_room = sizeof(decoder->buffer) - decoder->filled;
	return decoder->buffer + decoder->filled;
}

void agent_decoder_add(struct agent_decoder *decoder, size_t bytes)
{
	assert(decoder->taken == 0 && bytes <= sizeof(decoder->buffer) - decoder->filled);
	decoder->filled += bytes;
}

/* What the bytes at @at may be the beginning of, as far as they are there. */
static bool may_be_greeting(const struct agent_decoder *decoder, size_t at)
{
	const uint32_t magic = AGENT_MAGIC;
	const uint8_t *bytes = decoder->buffer + at;
	size_t there = decoder->filled - at;
	struct agent_header header;

	if (memcmp(bytes, &magic, there < sizeof(magic) ? there : sizeof(magic)) != 0)
		return false;
	if (there < sizeof(header))
		return true;
	memcpy(&header, bytes, sizeof(header));
	if (!agent_is_greeting(header.type) || header.length < sizeof(struct agent_greeting) ||
	    header.length > AGENT_FRAME_MAX || header.length % 8 != 0)
		return false;
	there -= sizeof(header);
	return memcmp(bytes + sizeof(header), agent_sign, there < AGENT_SIGN_BYTES ? there : AGENT_SIGN_BYTES) == 0;
}

/* Leaves out what comes before a greeting. */
static int skip(struct agent_decoder *decoder)
{
	size_t at = 0;

	while (at < decoder->filled && !may_be_greeting(decoder, at))
		at++;
	drop(decoder, at);
	decoder->skipped += at;
	return decoder->skipped > AGENT_SKIPPED_MAX ? -EPROTO : 0;
}

/* Host and guest may begin anew at any time; but no guest greets another session than that which it is in. */
static bool is_stale(const struct agent_decoder *decoder, const struct agent_header *header)
{
	bool begins = agent_is_greeting(header->type) && (header->type != AGENT_HELLO || !decoder->is_settled);

	return !begins && header->session != decoder->session;
}

int agent_decoder_next(struct agent_decoder *decoder, const struct agent_header **ret_frame)
{
	const struct agent_header *header = (const void *)decoder->buffer;
	int r = 0;

	drop(decoder, decoder->taken);
	decoder->taken = 0;
	do {
		if (!decoder->is_settled && skip(decoder) < 0)
			return -EPROTO;
		if (decoder->filled < sizeof(*header))
			return -EAGAIN;
		if (header->magic != AGENT_MAGIC || header->length < sizeof(*header) ||
		    header->length > AGENT_FRAME_MAX)
			return -EPROTO;
		if (decoder->filled < header->length)
			return -EAGAIN;
		r = agent_check(header, header->length, decoder->sender);
		if (r == -EPROTO && !decoder->is_settled) { /* looks like one, and is none */
			drop(decoder, 1);
			decoder->skipped++;
		}
	} while (r == -EPROTO && !decoder->is_settled);
	if (r == -EPROTO)
		return r;
	if (is_stale(decoder, header))
		return -ESTALE;
	if (!decoder->is_settled) /* a greeting, which may be left of an earlier session: then it is left out, too */
		decoder->skipped += header->length;
	decoder->taken = header->length;
	*ret_frame = header;
	return r;
}
