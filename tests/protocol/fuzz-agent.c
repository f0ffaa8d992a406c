/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The agent's stream: however it is cut into reads, the same frames come out, each keeps its promises, and no byte is
 * read that is not there. The first byte of the input says who sends, and how the rest is cut.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/page.h"
#include "protocol/agent-decoder.h"
#include "tests/support/fuzz.h"

static void check_ranges(const struct agent_ranges *ranges)
{
	uint64_t pages = 0;

	must(ranges->batch != 0 && ranges->count >= 1 && ranges->count <= AGENT_RANGES_MAX);
	must(sizeof(*ranges) + ranges->count * sizeof(ranges->ranges[0]) == ranges->header.length);
	for (uint32_t i = 0; i < ranges->count; i++) {
		must(ranges->ranges[i].pages >= 1 && ranges->ranges[i].module < AGENT_MODULES_MAX);
		must(ranges->ranges[i].pfn + ranges->ranges[i].pages <= AGENT_PFN_END);
		must(ranges->ranges[i].place + ranges->ranges[i].pages <= AGENT_PLACE_END);
		pages += ranges->ranges[i].pages;
	}
	must(pages <= AGENT_BATCH_PAGES_MAX);
}

static void check_ram(const struct agent_ram *ram)
{
	must(ram->count >= 1 && ram->count <= AGENT_RAM_RANGES_MAX);
	must(sizeof(*ram) + ram->count * sizeof(ram->ranges[0]) == ram->header.length);
	for (uint32_t i = 0; i < ram->count; i++) {
		must(ram->ranges[i].pages >= 1 && ram->ranges[i].first + ram->ranges[i].pages <= AGENT_PFN_END);
		must(i == 0 || ram->ranges[i].first >= ram->ranges[i - 1].first + ram->ranges[i - 1].pages);
	}
}

static void check_module(const struct agent_module *module)
{
	must(module->module < AGENT_MODULES_MAX && module->kind >= 1 && module->kind < AGENT_KIND_END);
	must(module->label_bytes >= 1 && module->label_bytes <= AGENT_LABEL_MAX);
	must(sizeof(*module) + module->label_bytes <= module->header.length);
	for (unsigned i = 0; i < module->label_bytes; i++)
		must((uint8_t)module->label[i] >= 0x20 && module->label[i] != 0x7f);
}

static void check_promises(const struct agent_header *header, enum agent_side sender)
{
	must(header->magic == AGENT_MAGIC && header->length >= sizeof(*header) && header->length <= AGENT_FRAME_MAX);
	must((sender == AGENT_HOST) == (header->type == AGENT_WELCOME || header->type == AGENT_PROOF ||
					header->type == AGENT_CREDIT || header->type == AGENT_ACK) ||
	     header->type == AGENT_BYE);
	switch (header->type) {
	case AGENT_RAM:
		check_ram((const void *)header);
		break;
	case AGENT_MODULE:
		check_module((const void *)header);
		break;
	case AGENT_RANGES:
		check_ranges((const void *)header);
		break;
	case AGENT_BEACON:
		must(header->length == sizeof(struct agent_beacon));
		break;
	default:
		must(header->type > 0 && header->type < AGENT_TYPE_END);
	}
}

/* Decodes all of it in pieces of @piece bytes. @return a sum over the frames and how it ended. */
static uint64_t decode(const uint8_t *data, size_t size, enum agent_side sender, size_t piece)
{
	static struct agent_decoder decoder;
	const struct agent_header *frame;
	uint64_t sum = 0;
	size_t room;
	int r = -EAGAIN;

	agent_decoder_init(&decoder, sender);
	for (size_t at = 0; at < size && r == -EAGAIN;) {
		void *place = agent_decoder_room(&decoder, &room);
		size_t bytes = piece < room ? piece : room;

		must(room > 0);
		bytes = bytes < size - at ? bytes : size - at;
		memcpy(place, data + at, bytes);
		agent_decoder_add(&decoder, bytes);
		at += bytes;
		while ((r = agent_decoder_next(&decoder, &frame)) == 0 || r == -EPROTONOSUPPORT) {
			sum = sum * 31 + frame->type + frame->length;
			if (r == -EPROTONOSUPPORT)
				must(agent_is_greeting(frame->type));
			else
				check_promises(frame, sender);
			if (agent_is_greeting(frame->type) && frame->session != 0 && r == 0)
				agent_decoder_settle(&decoder, frame->session);
		}
	}
	must(r == -EAGAIN || r == -EPROTO || r == -ESTALE);
	return sum * 31 + (uint64_t)-r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum agent_side sender;
	uint64_t whole;

	if (size == 0)
		return 0;
	sender = data[0] & 1 ? AGENT_HOST : AGENT_GUEST;
	whole = decode(data + 1, size - 1, sender, AGENT_FRAME_MAX);
	must(decode(data + 1, size - 1, sender, 1 + (data[0] >> 1)) == whole);
	return 0;
}
