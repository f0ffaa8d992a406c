/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. A guest may name only as many pages as it has credit for. Credit comes back when the pages have
 * been dealt with, at AGENT_SESSION_PAGES_PER_SECOND at most. Every range has at least one page, and every batch has a
 * page or follows a batch that has one, so the credit bounds ranges and batches, too. Modules and bytes of labels are
 * bounded per session, and sessions per minute.
 *
 * There is no credit until a beacon was found where this daemon's map places that page. If a beacon below 4 GiB was not
 * found, no hint below 4 GiB is taken, and likewise above: the map is wrong there, and other pages would be looked at
 * in vain.
 */
#include "daemon/agent-session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/page.h"

#define MINUTE_USEC UINT64_C(60000000)
#define MILLION UINT64_C(1000000)
#define CREDIT_LEAST 256u /* is not given in smaller portions */

/* ---- what is said ---- */

static void send_welcome(struct agent_session *session)
{
	struct agent_welcome welcome = {
		.modules_max = AGENT_SESSION_MODULES_MAX,
		.label_bytes_max = AGENT_SESSION_LABEL_BYTES_MAX,
		.batch_pages_max = AGENT_SESSION_BATCH_PAGES_MAX,
	};

	agent_greeting_init(&welcome.greeting, AGENT_WELCOME, session->id, sizeof(welcome));
	session->owner->send(session->context, &welcome.greeting.header);
}

static void send_credit(struct agent_session *session, uint32_t pages)
{
	struct agent_credit credit = { .pages = pages };

	agent_header_init(&credit.header, AGENT_CREDIT, session->id, sizeof(credit));
	session->owner->send(session->context, &credit.header);
}

static void send_bye(struct agent_session *session, enum agent_bye reason)
{
	struct agent_bye_frame bye = { .reason = reason };

	agent_header_init(&bye.header, AGENT_BYE, session->id, sizeof(bye));
	session->owner->send(session->context, &bye.header);
}

/* ---- beginning ---- */

static void forget(struct agent_session *session)
{
	for (uint32_t i = 0; i < session->module_count; i++)
		free(session->modules[i].label);
	free(session->modules);
	session->modules = NULL;
	session->module_count = session->module_room = session->label_bytes = 0;
	session->ram_count = 0;
	session->beacons = session->looked = session->proved = 0;
	session->refuted[0] = session->refuted[1] = false;
	session->credit = session->owed = 0;
	session->first_batch = session->batch_count = 0;
	session->batch = (struct agent_session_batch){ .batch = 1 };
	session->has_named = false;
	session->passes = 0;
}

static int begin(struct agent_session *session)
{
	uint32_t id;

	do
		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			return -EIO;
	while (id == 0 || id == session->id);
	forget(session);
	session->id = id;
	session->state = AGENT_SESSION_WELCOMED;
	send_welcome(session);
	return 0;
}

int agent_session_init(struct agent_session *session, const struct agent_session_owner *owner, void *context,
		       uint64_t now_usec)
{
	memset(session, 0, sizeof(*session));
	session->owner = owner;
	session->context = context;
	session->now_usec = now_usec;
	session->allowance = AGENT_SESSION_CREDIT_PAGES * MILLION;
	return begin(session);
}

int agent_session_restart(struct agent_session *session)
{
	return begin(session);
}

void agent_session_done(struct agent_session *session)
{
	forget(session);
}

static int on_knock(struct agent_session *session)
{
	uint64_t *oldest = &session->begins_usec[session->begin];

	if (*oldest != 0 && session->now_usec - *oldest < MINUTE_USEC)
		return -EDQUOT;
	*oldest = session->now_usec;
	session->begin = (session->begin + 1) % AGENT_SESSION_BEGINS_PER_MINUTE;
	return begin(session);
}

static int on_hello(struct agent_session *session, const struct agent_hello *hello)
{
	if (session->state != AGENT_SESSION_WELCOMED || hello->greeting.header.session != session->id)
		return -EPROTO;
	memcpy(session->boot, hello->boot, sizeof(session->boot));
	session->state = AGENT_SESSION_GREETED;
	return 0;
}

static int on_ram(struct agent_session *session, const struct agent_ram *ram)
{
	if (session->state != AGENT_SESSION_GREETED)
		return -EPROTO;
	memcpy(session->ram, ram->ranges, ram->count * sizeof(ram->ranges[0]));
	session->ram_count = ram->count;
	session->state = AGENT_SESSION_OPEN;
	return 0;
}

/* ---- beacons ---- */

static unsigned zone_of(uint64_t gfn)
{
	return gfn < (UINT64_C(1) << (32 - PAGE_SHIFT_BITS)) ? 0 : 1;
}

static int on_beacon(struct agent_session *session, const struct agent_beacon *beacon)
{
	uint32_t bit = UINT32_C(1) << beacon->beacon, page;

	if (session->state != AGENT_SESSION_OPEN || (session->beacons & bit) != 0)
		return -EPROTO;
	session->beacons |= bit;
	session->beacon_pfns[beacon->beacon] = beacon->pfn;
	page = session->owner->page_at(session->context, beacon->pfn);
	if (page == 0)
		agent_session_looked(session, beacon->beacon, AGENT_NOT_KNOWN);
	else
		session->owner->look(session->context, beacon->beacon, page, beacon->bytes);
	return 0;
}

void agent_session_looked(struct agent_session *session, uint32_t beacon, enum agent_proof proof)
{
	struct agent_proof_frame frame = { .beacon = beacon, .proof = proof };
	uint32_t bit;

	if (beacon >= AGENT_BEACONS_MAX)
		return;
	bit = UINT32_C(1) << beacon;
	if ((session->beacons & bit) == 0 || (session->looked & bit) != 0)
		return;
	session->looked |= bit;
	agent_header_init(&frame.header, AGENT_PROOF, session->id, sizeof(frame));
	session->owner->send(session->context, &frame.header);
	if (proof == AGENT_NOT_THERE)
		session->refuted[zone_of(session->beacon_pfns[beacon])] = true;
	if (proof == AGENT_PROVED && session->proved == 0) {
		session->credit = AGENT_SESSION_CREDIT_PAGES;
		send_credit(session, session->credit);
	}
	if (proof == AGENT_PROVED)
		session->proved |= bit;
}

/* ---- modules ---- */

static int grow_modules(struct agent_session *session)
{
	uint32_t room = session->module_room == 0 ? 64 : 2 * session->module_room;
	struct agent_session_module *modules = reallocarray(session->modules, room, sizeof(*modules));

	if (modules == NULL)
		return -ENOMEM;
	session->modules = modules;
	session->module_room = room;
	return 0;
}

static int on_module(struct agent_session *session, const struct agent_module *module)
{
	char *label;
	int r;

	if (session->state != AGENT_SESSION_OPEN || module->module != session->module_count)
		return -EPROTO;
	if (module->module >= AGENT_SESSION_MODULES_MAX ||
	    module->label_bytes > AGENT_SESSION_LABEL_BYTES_MAX - session->label_bytes)
		return -EDQUOT;
	if (session->module_count == session->module_room) {
		r = grow_modules(session);
		if (r < 0)
			return r;
	}
	label = strndup(module->label, module->label_bytes);
	if (label == NULL)
		return -ENOMEM;
	session->modules[session->module_count++] =
		(struct agent_session_module){ .label = label, .kind = module->kind };
	session->label_bytes += module->label_bytes;
	return 0;
}

/* ---- batches ---- */

static uint32_t page_at(const struct agent_session *session, uint64_t gfn)
{
	return session->refuted[zone_of(gfn)] ? 0 : session->owner->page_at(session->context, gfn);
}

/* Hints the known part of a range, in runs of consecutive pages. @return how many pages that was. */
static uint32_t hint_range(const struct agent_session *session, const struct agent_range *range)
{
	uint32_t first = 0, count = 0, taken = 0;

	for (uint32_t i = 0; i <= range->pages; i++) {
		uint32_t page = i < range->pages ? page_at(session, range->pfn + i) : 0;

		if (count > 0 && page != first + count) {
			session->owner->hint(session->context, first, count, range->module);
			count = 0;
		}
		if (page == 0)
			continue;
		first = count == 0 ? page : first;
		count++;
		taken++;
	}
	return taken;
}

static int on_ranges(struct agent_session *session, const struct agent_ranges *ranges)
{
	uint64_t pages = 0;

	if (session->state != AGENT_SESSION_OPEN || ranges->batch != session->batch.batch)
		return -EPROTO;
	for (uint32_t i = 0; i < ranges->count; i++) {
		if (ranges->ranges[i].module >= session->module_count)
			return -EPROTO;
		pages += ranges->ranges[i].pages;
	}
	if (pages > session->credit || pages > AGENT_SESSION_BATCH_PAGES_MAX - session->batch.pages)
		return -EDQUOT;
	session->credit -= (uint32_t)pages;
	session->batch.pages += (uint32_t)pages;
	session->has_named = true;
	for (uint32_t i = 0; i < ranges->count; i++)
		session->batch.taken += hint_range(session, &ranges->ranges[i]);
	return 0;
}

static int on_batch_end(struct agent_session *session, const struct agent_batch_end *end)
{
	if (session->state != AGENT_SESSION_OPEN || end->batch != session->batch.batch ||
	    end->pages != session->batch.pages || end->batch == UINT32_MAX)
		return -EPROTO;
	if (end->pages == 0 && (!end->is_last || !session->has_named)) /* otherwise they would cost no credit */
		return -EPROTO;
	if (session->batch_count == AGENT_SESSION_BATCHES_MAX)
		return -EDQUOT;
	if (end->is_last) {
		session->has_named = false;
		session->passes++;
	}
	session->batches[(session->first_batch + session->batch_count++) % AGENT_SESSION_BATCHES_MAX] = session->batch;
	session->batch = (struct agent_session_batch){ .batch = end->batch + 1 };
	session->owner->end_batch(session->context);
	return 0;
}

/* Takes as much of the owed credit as the rate allows. */
static uint32_t take_credit(struct agent_session *session)
{
	uint64_t allowed = session->allowance / MILLION;
	uint32_t pages = session->owed < allowed ? session->owed : (uint32_t)allowed;

	if (pages < session->owed && pages < CREDIT_LEAST)
		return 0;
	session->allowance -= pages * MILLION;
	session->owed -= pages;
	session->credit += pages;
	return pages;
}

void agent_session_dealt_with(struct agent_session *session)
{
	const struct agent_session_batch *batch = &session->batches[session->first_batch];
	struct agent_ack ack;

	if (session->batch_count == 0)
		return;
	session->first_batch = (session->first_batch + 1) % AGENT_SESSION_BATCHES_MAX;
	session->batch_count--;
	session->owed += batch->pages;
	ack = (struct agent_ack){ .batch = batch->batch, .taken = batch->taken, .credit = take_credit(session) };
	agent_header_init(&ack.header, AGENT_ACK, session->id, sizeof(ack));
	session->owner->send(session->context, &ack.header);
}

uint64_t agent_session_tick(struct agent_session *session, uint64_t now_usec)
{
	uint64_t elapsed = now_usec - session->now_usec, most = AGENT_SESSION_CREDIT_PAGES * MILLION;
	uint32_t pages, wanted;

	session->now_usec = now_usec;
	session->allowance += (elapsed < MILLION ? elapsed : MILLION) * AGENT_SESSION_PAGES_PER_SECOND;
	if (session->allowance > most)
		session->allowance = most;
	pages = session->owed > 0 ? take_credit(session) : 0;
	if (pages > 0)
		send_credit(session, pages);
	if (session->owed == 0)
		return UINT64_MAX;
	wanted = session->owed < CREDIT_LEAST ? session->owed : CREDIT_LEAST;
	return (wanted * MILLION - session->allowance) / AGENT_SESSION_PAGES_PER_SECOND + 1;
}

/* ---- frames ---- */

static int take(struct agent_session *session, const struct agent_header *frame)
{
	switch (frame->type) {
	case AGENT_KNOCK:
		return on_knock(session);
	case AGENT_HELLO:
		return on_hello(session, (const void *)frame);
	case AGENT_RAM:
		return on_ram(session, (const void *)frame);
	case AGENT_BEACON:
		return on_beacon(session, (const void *)frame);
	case AGENT_MODULE:
		return on_module(session, (const void *)frame);
	case AGENT_RANGES:
		return on_ranges(session, (const void *)frame);
	case AGENT_BATCH_END:
		return on_batch_end(session, (const void *)frame);
	case AGENT_BYE:
		return -ECONNRESET;
	default:
		return -EPROTO;
	}
}

int agent_session_take(struct agent_session *session, const struct agent_header *frame)
{
	int r = take(session, frame);

	if (r == -EPROTO || r == -EDQUOT)
		send_bye(session, r == -EPROTO ? AGENT_BYE_BROKEN : AGENT_BYE_LIMIT);
	return r;
}
