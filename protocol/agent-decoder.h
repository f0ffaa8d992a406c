/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames out of a stream that is read in pieces and may begin in the middle of a frame: the port outlives both the
 * agent and the connection of its other end. One buffer of the greatest frame's size, nothing allocated.
 *
 *   size_t room;
 *   void *place = agent_decoder_room(&decoder, &room);
 *   ... read up to room bytes to place ...
 *   agent_decoder_add(&decoder, bytes_read);
 *   while ((r = agent_decoder_next(&decoder, &frame)) == 0)
 *           ... use frame ...
 */
#ifndef PAGEFUSE_PROTOCOL_AGENT_DECODER_H
#define PAGEFUSE_PROTOCOL_AGENT_DECODER_H

#include "protocol/agent.h"

struct agent_decoder {
	enum agent_side sender; /* whose frames these are */
	bool is_settled;        /* false: all but greetings is left out */
	uint32_t session;       /* of all frames but KNOCK and WELCOME, if it is settled */
	size_t filled, taken;   /* bytes in the buffer, of which so many were handed out and can go */
	uint64_t skipped;       /* bytes left out since it was settled last; greetings count as such until it is */
	_Alignas(8) uint8_t buffer[AGENT_FRAME_MAX];
};

/** Begins anew, with an empty buffer: looks for a greeting from @sender. */
void agent_decoder_init(struct agent_decoder *decoder, enum agent_side sender);

/** A greeting has settled the session: from here on each byte counts, until agent_decoder_seek(). */
void agent_decoder_settle(struct agent_decoder *decoder, uint32_t session);

/** Searches for a greeting again, starting with what is in the buffer. */
void agent_decoder_seek(struct agent_decoder *decoder);

/** Where the next bytes go. @ret_room: how many at most; never 0 after agent_decoder_next() has returned -EAGAIN. */
void *agent_decoder_room(struct agent_decoder *decoder, size_t *ret_room);

/** @bytes are there, up to the room. */
void agent_decoder_add(struct agent_decoder *decoder, size_t bytes);

/**
 * The next frame, checked. @ret_frame is good until the next call for this decoder.
 * @return 0; -EAGAIN, more is to be read; -EPROTONOSUPPORT, a greeting of another version, with @ret_frame set;
 * -ESTALE, a frame of another session; -EPROTO, nonsense, or AGENT_SKIPPED_MAX bytes without a greeting that settles
 * it. After the last two the decoder is of use again after agent_decoder_init() only.
 */
int agent_decoder_next(struct agent_decoder *decoder, const struct agent_header **ret_frame);

#endif
