/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Validation of the frames in agent.h. */
#include "protocol/agent.h"

#include <errno.h>
#include <string.h>

#include "common/page.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are copied as they are in memory");
_Static_assert(sizeof(struct agent_ranges) + AGENT_RANGES_MAX * sizeof(struct agent_range) <= AGENT_FRAME_MAX,
	       "a frame holds them");
_Static_assert(sizeof(struct agent_ram) + AGENT_RAM_RANGES_MAX * sizeof(struct agent_pages) <= AGENT_FRAME_MAX,
	       "a frame holds them");
_Static_assert(sizeof(struct agent_beacon) <= AGENT_FRAME_MAX, "a frame holds it");
_Static_assert(sizeof(((struct agent_beacon *)0)->bytes) == PAGE_BYTES, "a beacon is a page");

const uint8_t agent_sign[AGENT_SIGN_BYTES] = { 0x9d, 0x1c, 0xe7, 0x5a, 0x03, 0xb4, 0x4f, 0x6e,
					       0xa8, 0x72, 0xf1, 0x0b, 0xd6, 0x39, 0x85, 0xc0 };

void agent_header_init(struct agent_header *header, enum agent_type type, uint32_t session, size_t length)
{
	*header = (struct agent_header){
		.magic = AGENT_MAGIC,
		.session = session,
		.type = (uint16_t)type,
		.length = (uint32_t)length,
	};
}

void agent_greeting_init(struct agent_greeting *greeting, enum agent_type type, uint32_t session, size_t length)
{
	agent_header_init(&greeting->header, type, session, length);
	memcpy(greeting->sign, agent_sign, sizeof(greeting->sign));
	greeting->version = AGENT_VERSION;
	greeting->page_bytes = PAGE_BYTES;
	greeting->features = 0;
}

size_t agent_module_bytes(size_t label_bytes)
{
	return (sizeof(struct agent_module) + label_bytes + 7) & ~(size_t)7;
}

/* ---- frames, whose header has been checked; @return whether the rest is right ---- */

static bool check_welcome(const struct agent_welcome *welcome)
{
	return welcome->greeting.header.session != 0 && welcome->modules_max >= 1 &&
	       welcome->modules_max <= AGENT_MODULES_MAX && welcome->batch_pages_max >= 1 &&
	       welcome->batch_pages_max <= AGENT_BATCH_PAGES_MAX && welcome->reserved == 0;
}

static bool check_ram(const struct agent_ram *ram)
{
	uint64_t end = 0;

	if (ram->count == 0 || ram->count > AGENT_RAM_RANGES_MAX || ram->reserved != 0 ||
	    ram->header.length != sizeof(*ram) + ram->count * sizeof(ram->ranges[0]))
		return false;
	for (uint32_t i = 0; i < ram->count; i++) {
		const struct agent_pages *range = &ram->ranges[i];

		if (range->first < end || range->first >= AGENT_PFN_END || range->pages == 0 ||
		    range->pages > AGENT_PFN_END - range->first)
			return false;
		end = range->first + range->pages;
	}
	return true;
}

static bool check_module(const struct agent_module *module)
{
	size_t used = sizeof(*module) + module->label_bytes;

	if (module->module >= AGENT_MODULES_MAX || module->kind == 0 || module->kind >= AGENT_KIND_END ||
	    module->header.length != agent_module_bytes(module->label_bytes) ||
	    !label_is_valid(module->label, module->label_bytes))
		return false;
	for (const char *c = (const char *)module + used; c < (const char *)module + module->header.length; c++)
		if (*c != 0)
			return false;
	return true;
}

static bool check_ranges(const struct agent_ranges *ranges)
{
	uint32_t room = AGENT_BATCH_PAGES_MAX;

	if (ranges->batch == 0 || ranges->count == 0 || ranges->count > AGENT_RANGES_MAX ||
	    ranges->header.length != sizeof(*ranges) + ranges->count * sizeof(ranges->ranges[0]))
		return false;
	for (uint32_t i = 0; i < ranges->count; i++) {
		const struct agent_range *range = &ranges->ranges[i];

		if (range->pages == 0 || range->pages > room || range->pfn >= AGENT_PFN_END ||
		    range->pages > AGENT_PFN_END - range->pfn || range->place >= AGENT_PLACE_END ||
		    range->pages > AGENT_PLACE_END - range->place || range->module >= AGENT_MODULES_MAX)
			return false;
		room -= range->pages;
	}
	return true;
}

static bool check_batch_end(const struct agent_batch_end *end)
{
	return end->batch != 0 && end->pages <= AGENT_BATCH_PAGES_MAX && end->is_last <= 1 && end->reserved == 0;
}

static bool check_ack(const struct agent_ack *ack)
{
	return ack->batch != 0 && ack->taken <= AGENT_BATCH_PAGES_MAX && ack->credit <= AGENT_CREDIT_MAX &&
	       ack->reserved == 0;
}

static bool check_body(const struct agent_header *header)
{
	const struct agent_beacon *beacon = (const void *)header;
	const struct agent_proof_frame *proof = (const void *)header;
	const struct agent_credit *credit = (const void *)header;
	const struct agent_bye_frame *bye = (const void *)header;

	switch (header->type) {
	case AGENT_KNOCK:
		return header->session == 0;
	case AGENT_WELCOME:
		return check_welcome((const void *)header);
	case AGENT_RAM:
		return check_ram((const void *)header);
	case AGENT_BEACON:
		return beacon->pfn < AGENT_PFN_END && beacon->beacon < AGENT_BEACONS_MAX && beacon->reserved == 0;
	case AGENT_PROOF:
		return proof->beacon < AGENT_BEACONS_MAX && proof->proof != 0 && proof->proof < AGENT_PROOF_END;
	case AGENT_CREDIT:
		return credit->pages <= AGENT_CREDIT_MAX && credit->reserved == 0;
	case AGENT_MODULE:
		return check_module((const void *)header);
	case AGENT_RANGES:
		return check_ranges((const void *)header);
	case AGENT_BATCH_END:
		return check_batch_end((const void *)header);
	case AGENT_ACK:
		return check_ack((const void *)header);
	case AGENT_BYE:
		return bye->reason != 0 && bye->reason < AGENT_BYE_END && bye->reserved == 0;
	default: /* HELLO */
		return header->session != 0;
	}
}

static const struct {
	size_t bytes; /* exactly, or at least where it has no fixed length */
	bool is_fixed;
	bool from[2]; /* by enum agent_side */
} types[AGENT_TYPE_END] = {
	[AGENT_KNOCK] = { sizeof(struct agent_greeting), true, { [AGENT_GUEST] = true } },
	[AGENT_WELCOME] = { sizeof(struct agent_welcome), true, { [AGENT_HOST] = true } },
	[AGENT_HELLO] = { sizeof(struct agent_hello), true, { [AGENT_GUEST] = true } },
	[AGENT_RAM] = { sizeof(struct agent_ram), false, { [AGENT_GUEST] = true } },
	[AGENT_BEACON] = { sizeof(struct agent_beacon), true, { [AGENT_GUEST] = true } },
	[AGENT_PROOF] = { sizeof(struct agent_proof_frame), true, { [AGENT_HOST] = true } },
	[AGENT_CREDIT] = { sizeof(struct agent_credit), true, { [AGENT_HOST] = true } },
	[AGENT_MODULE] = { sizeof(struct agent_module), false, { [AGENT_GUEST] = true } },
	[AGENT_RANGES] = { sizeof(struct agent_ranges), false, { [AGENT_GUEST] = true } },
	[AGENT_BATCH_END] = { sizeof(struct agent_batch_end), true, { [AGENT_GUEST] = true } },
	[AGENT_ACK] = { sizeof(struct agent_ack), true, { [AGENT_HOST] = true } },
	[AGENT_BYE] = { sizeof(struct agent_bye_frame), true, { [AGENT_GUEST] = true, [AGENT_HOST] = true } },
};

int agent_check(const void *frame, size_t size, enum agent_side sender)
{
	const struct agent_header *header = frame;
	const struct agent_greeting *greeting = frame;

	if (size < sizeof(*header) || size > AGENT_FRAME_MAX || header->magic != AGENT_MAGIC ||
	    header->length != size || size % 8 != 0 || header->reserved != 0 || header->type == 0 ||
	    header->type >= AGENT_TYPE_END || !types[header->type].from[sender] || size < types[header->type].bytes)
		return -EPROTO;
	if (agent_is_greeting(header->type)) {
		if (memcmp(greeting->sign, agent_sign, sizeof(agent_sign)) != 0)
			return -EPROTO;
		if (greeting->version != AGENT_VERSION)
			return -EPROTONOSUPPORT;
		if (greeting->page_bytes != PAGE_BYTES)
			return -EPROTO;
	} else if (header->session == 0) {
		return -EPROTO;
	}
	if (types[header->type].is_fixed && size != types[header->type].bytes)
		return -EPROTO;
	return check_body(header) ? 0 : -EPROTO;
}

/* ---- names ---- */

const char *agent_bye_text(uint32_t reason)
{
	static const char *const texts[AGENT_BYE_END] = {
		[AGENT_BYE_ENDED] = "it has ended",
		[AGENT_BYE_OFF] = "hints are not wanted now",
		[AGENT_BYE_LIMIT] = "more was sent than the limits allow",
		[AGENT_BYE_BROKEN] = "a message is not in the protocol",
	};

	return reason < AGENT_BYE_END && texts[reason] ? texts[reason] : "for an unknown reason";
}

const char *agent_kind_name(uint32_t kind)
{
	static const char *const names[AGENT_KIND_END] = {
		[AGENT_KIND_OTHER] = "other",
		[AGENT_KIND_KERNEL] = "kernel",
		[AGENT_KIND_PROGRAM] = "program",
		[AGENT_KIND_FILE] = "file",
	};

	return kind < AGENT_KIND_END && names[kind] ? names[kind] : "unknown";
}
