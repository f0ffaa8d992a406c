/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Arbitrary records from two VMs: the engine takes or refuses them, keeps its equations, and hurts nobody else. A third
 * VM is honest all the while; what it maps stays what it wrote, and it is never refused.
 *
 *   input: steps of 12 bytes: what to do and for whom (1), op (1), count (2), page (4), slot or value (4)
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "tests/engine/simulation.h"
#include "tests/support/fuzz.h"

#define HOSTILE 2u
#define PAGES 200u

struct step {
	uint8_t what, op;
	uint16_t count;
	uint32_t page, value;
};
_Static_assert(sizeof(struct step) == 12, "a step is 12 bytes");

struct fuzz {
	struct sim sim;
	struct sim_vm *honest;
	struct engine_vm *hostile[HOSTILE];
	struct ring_record taken; /* the order taken last, to be answered rightly now and then */
};

static uint64_t hash_of(const struct fuzz *fuzz, uint32_t content)
{
	unsigned char page[PAGE_BYTES];

	content_fill(page, content % 1000);
	return page_hash(page, fuzz->sim.settings.seed);
}

static void report(struct fuzz *fuzz, uint32_t who, const struct ring_record *record, uint32_t content)
{
	unsigned char staging[PAGE_BYTES];
	int r;

	if (fuzz->hostile[who] == NULL || ring_check_report(record) < 0)
		return;
	content_fill(staging, content % 1000);
	r = engine_report(fuzz->sim.engine, fuzz->hostile[who], record, record->op == REPORT_FETCHED ? staging : NULL);
	must(r == 0 || r == -EPROTO || r == -ENOMEM);
}

static void add_hostile(struct fuzz *fuzz, uint32_t who)
{
	struct ring_record record = { .op = REPORT_REGION_ADD, .count = 1, .page = 1, .value = PAGES };

	if (fuzz->hostile[who] != NULL)
		engine_remove_vm(fuzz->sim.engine, fuzz->hostile[who]);
	must(engine_add_vm(fuzz->sim.engine, WIRE_MODE_FULL, &fuzz->hostile[who]) == 0);
	report(fuzz, who, &record, 0);
}

static struct ring_record record_of(const struct fuzz *fuzz, const struct step *step)
{
	struct ring_record record = { .op = step->op, .count = step->count, .page = step->page };

	record.value = step->value;
	record.flags = step->what & 32 ? RING_PRIVATE_COPY : 0;
	if ((step->op == REPORT_HASH || step->op == REPORT_ZERO || step->op == REPORT_SAME ||
	     step->op == REPORT_BUSY) &&
	    step->what & 16)
		record.flags |= RING_INSIDE_HUGE;
	if (step->op == REPORT_HASH && step->what & 64)
		record.value = hash_of(fuzz, step->value);
	return record;
}

/* An answer that fits the order taken last, but for its op. */
static struct ring_record answer_of(const struct fuzz *fuzz, const struct step *step)
{
	struct ring_record record = fuzz->taken;

	record.op = step->op;
	record.flags = step->what & 32 ? RING_PRIVATE_COPY : 0;
	if (step->op == REPORT_FETCHED)
		record.value = 0;
	if (step->op == REPORT_BUSY && step->what & 16)
		record.flags |= RING_INSIDE_HUGE;
	return record;
}

static void do_step(struct fuzz *fuzz, const struct step *step)
{
	uint32_t who = step->what >> 7;
	struct ring_record record;

	switch (step->what & 15) {
	case 0:
		if (step->what & 16)
			sim_set_large(&fuzz->sim, step->page % 3, step->page / 3 % 3);
		sim_tick(&fuzz->sim, step->value % 20000000);
		break;
	case 1:
		sim_settle(&fuzz->sim);
		break;
	case 2:
		add_hostile(fuzz, who);
		break;
	case 3:
		if (fuzz->hostile[who] != NULL)
			engine_detach_vm(fuzz->sim.engine, fuzz->hostile[who]);
		break;
	case 4:
		sim_write(fuzz->honest, 1 + step->page % PAGES, step->value % 1000);
		break;
	case 5:
	case 6:
		if (fuzz->hostile[who] != NULL)
			(void)engine_next_order(fuzz->sim.engine, fuzz->hostile[who], &fuzz->taken);
		break;
	case 7:
	case 8:
		record = answer_of(fuzz, step);
		report(fuzz, who, &record, step->value);
		break;
	default:
		record = record_of(fuzz, step);
		report(fuzz, who, &record, step->value);
	}
}

static void check(struct fuzz *fuzz)
{
	must(engine_check(fuzz->sim.engine) == NULL);
	sim_check_memory(&fuzz->sim);
	must(fuzz->sim.wrong == NULL);
}

static void end(struct fuzz *fuzz)
{
	for (uint32_t i = 0; i < HOSTILE; i++)
		engine_remove_vm(fuzz->sim.engine, fuzz->hostile[i]);
	check(fuzz);
	sim_vm_end(fuzz->honest);
	check(fuzz);
	must(sim_stored(&fuzz->sim) == 0);
	sim_done(&fuzz->sim);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz fuzz;
	struct step step;

	memset(&fuzz, 0, sizeof(fuzz));
	must(sim_init(&fuzz.sim, 1) == 0);
	fuzz.honest = sim_vm_new(&fuzz.sim, WIRE_MODE_FULL);
	sim_vm_add_region(fuzz.honest, PAGES);
	for (uint32_t i = 1; i <= PAGES; i++)
		sim_write(fuzz.honest, i, i / 2);
	sim_vm_connect(fuzz.honest);
	for (uint32_t i = 0; i < HOSTILE; i++)
		add_hostile(&fuzz, i);
	for (; size >= sizeof(step); data += sizeof(step), size -= sizeof(step)) {
		memcpy(&step, data, sizeof(step));
		do_step(&fuzz, &step);
	}
	check(&fuzz);
	end(&fuzz);
	return 0;
}
