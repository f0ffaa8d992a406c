/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An agent that says anything, in any order: what the daemon keeps of it stays within its limits, and what it answers
 * is in the protocol. Frames are made of the input, with a header that fits the session, so that they get far.
 */
#include <errno.h>
#include <string.h>

#include "daemon/agent-session.h"
#include "tests/support/fuzz.h"

static struct agent_session session;
static uint32_t ended, looked_at, named;

static void on_send(void *context, const struct agent_header *frame)
{
	(void)context;
	must(agent_check(frame, frame->length, AGENT_HOST) == 0 && frame->session == session.id);
}

static uint32_t on_page_at(void *context, uint64_t gfn)
{
	(void)context;
	return gfn % 4 == 0 ? 0 : (uint32_t)(gfn % 1000000 + 1);
}

static void on_look(void *context, uint32_t beacon, uint32_t page, const uint8_t *bytes)
{
	(void)context;
	must(page != 0);
	looked_at++;
	agent_session_looked(&session, beacon, bytes[0] % 2 ? AGENT_PROVED : AGENT_NOT_THERE);
}

static void on_hint(void *context, uint32_t page, uint32_t count, uint32_t module)
{
	(void)context;
	must(module < session.module_count);
	must(page != 0 && count > 0 && count <= AGENT_SESSION_BATCH_PAGES_MAX);
	named += count;
}

static void on_end_batch(void *context)
{
	(void)context;
	ended++;
}

static void check_limits(void)
{
	must(session.module_count <= AGENT_SESSION_MODULES_MAX);
	must(session.label_bytes <= AGENT_SESSION_LABEL_BYTES_MAX);
	must(session.batch_count <= AGENT_SESSION_BATCHES_MAX);
	must(session.batch.pages <= AGENT_SESSION_BATCH_PAGES_MAX);
	must(session.credit + session.owed + session.batch.pages <= AGENT_SESSION_CREDIT_PAGES);
	must(session.proved != 0 || (session.credit == 0 && session.batch.pages == 0));
	must((session.looked & ~session.beacons) == 0 && (session.proved & ~session.looked) == 0);
}

/* A frame of type @type with @body, if it can be one. @return 0, or what ends the connection. */
static int say(uint8_t type, const uint8_t *body, size_t size)
{
	static _Alignas(8) uint8_t frame[AGENT_FRAME_MAX];
	size_t begin = agent_is_greeting(type) ? sizeof(struct agent_greeting) : sizeof(struct agent_header);
	size_t length = (begin + size) & ~(size_t)7;

	if (type == AGENT_BEACON) { /* most of which need not be in the input */
		memset(frame, 0, sizeof(struct agent_beacon));
		length = sizeof(struct agent_beacon);
		size = size < length - begin ? size : length - begin;
	}
	if (length > sizeof(frame))
		return 0;
	memcpy(frame + begin, body, size < length - begin ? size : length - begin);
	if (agent_is_greeting(type))
		agent_greeting_init((void *)frame, type, type == AGENT_KNOCK ? 0 : session.id, length);
	else
		agent_header_init((void *)frame, type, session.id, length);
	if (agent_check(frame, length, AGENT_GUEST) < 0)
		return 0;
	return agent_session_take(&session, (const void *)frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct agent_session_owner owner = { on_send, on_page_at, on_look, on_hint, on_end_batch };
	uint64_t now = 1000000;
	int r = 0;

	ended = looked_at = named = 0;
	must(agent_session_init(&session, &owner, NULL, now) == 0);
	while (size >= 2 && r == 0) { /* type, length / 8, body; types past the last one are events */
		uint8_t type = data[0] % (AGENT_TYPE_END + 2);
		size_t length = data[1] * 8u;

		data += 2;
		size -= 2;
		length = length < size ? length : size;
		if (type == AGENT_TYPE_END) {
			agent_session_dealt_with(&session);
		} else if (type == AGENT_TYPE_END + 1) {
			now += length * 10000;
			must(agent_session_tick(&session, now) > 0);
		} else {
			r = say(type, data, length);
			must(r == 0 || r == -EPROTO || r == -EDQUOT || r == -ECONNRESET);
			data += length;
			size -= length;
		}
		check_limits();
	}
	must(looked_at <= AGENT_BEACONS_MAX * (AGENT_SESSION_BEGINS_PER_MINUTE + 1) * (now / 60000000 + 1));
	agent_session_done(&session);
	return 0;
}
