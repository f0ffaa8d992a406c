/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What sharing everything would save: exact numbers where all contents fit the sample, and what is right in the mean
 * where they do not; VMs that go while it is made; and nothing is ordered or changed for it.
 */
#include "engine/estimate.h"
#include "engine/pages.h"
#include "engine/sample.h"
#include "tests/engine/harness.h"

#define BLOCK ENGINE_BLOCK_PAGES

static void stop_passes(void)
{
	sim.settings.scan_interval_seconds = sim.settings.audit_interval_seconds = 0;
	engine_change_settings(sim.engine, &sim.settings);
}

/* 2 MiB pages stay whole: what is in them is known, and not shared. */
static void keep_large(void)
{
	sim_set_large(&sim, ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
}

static struct sim_vm *new_large(uint32_t blocks, uint32_t first, uint32_t step)
{
	struct sim_vm *vm = sim_vm_new(&sim, WIRE_MODE_FULL);

	assert_int_equal(sim_vm_add_region(vm, blocks * BLOCK), 0);
	for (uint32_t i = 0; i < blocks * BLOCK; i++)
		sim_write(vm, 1 + i, first + i * step);
	for (uint32_t i = 0; i < blocks; i++)
		assert_true(sim_collapse(vm, 1 + i * BLOCK));
	sim_vm_connect(vm);
	return vm;
}

static bool goes_on(void)
{
	uint64_t done, total;
	bool is = engine_is_estimating(sim.engine, &done, &total);

	assert_in_range(done, 0, total);
	return is;
}

/* One that begins from now on. */
static struct engine_estimate *estimate(void)
{
	engine_want_estimate(sim.engine);
	for (uint32_t i = 0; goes_on() && i < 100000; i++)
		sim_tick(&sim, 2000);
	assert_false(goes_on());
	return engine_take_estimate(sim.engine);
}

static struct engine_estimate_summary summary_of(const struct engine_estimate *estimate)
{
	struct engine_estimate_summary summary;

	engine_estimate_summary(estimate, &summary);
	return summary;
}

static struct engine_vm_estimate of_vm(const struct engine_estimate *estimate, const struct sim_vm *vm)
{
	struct engine_vm_estimate ret;
	uint32_t row;

	assert_true(engine_estimate_row(estimate, vm->vm, &row));
	engine_estimate_vm(estimate, row, &ret);
	return ret;
}

static struct engine_pair_estimate of_pair(const struct engine_estimate *estimate, const struct sim_vm *a,
					   const struct sim_vm *b)
{
	struct engine_pair_estimate ret;
	uint32_t rows[2];

	assert_true(engine_estimate_row(estimate, a->vm, &rows[0]));
	assert_true(engine_estimate_row(estimate, b->vm, &rows[1]));
	engine_estimate_pair(estimate, rows[1], rows[0], &ret);
	return ret;
}

static void check_vm(const struct engine_estimate *estimate, const struct sim_vm *vm, uint64_t looked, uint64_t shared,
		     uint64_t zero, uint64_t would_share, uint64_t would_zero)
{
	struct engine_vm_estimate seen = of_vm(estimate, vm);

	assert_int_equal(seen.looked_pages, looked);
	assert_int_equal(seen.shared_pages, shared);
	assert_int_equal(seen.zero_pages, zero);
	assert_int_equal(seen.would_share_pages, would_share);
	assert_int_equal(seen.would_zero_pages, would_zero);
}

static void check_pair(const struct engine_estimate *estimate, const struct sim_vm *a, const struct sim_vm *b,
		       uint64_t common, uint64_t shared)
{
	struct engine_pair_estimate seen = of_pair(estimate, a, b);

	assert_int_equal(seen.common_pages, common);
	assert_int_equal(seen.shared_pages, shared);
}

static uint32_t records_of(const struct sample *sample, uint32_t content)
{
	uint32_t count = 0;

	for (uint32_t next = sample->contents[content].first; next > 0; next = sample->records[next - 1].next)
		count++;
	return count;
}

/* Contents with the same 28 bits: known for different ones where the other 12 are, by hints or by keys. */
static void contents_are_told_apart(void **state)
{
	const struct table_key one = { .tag = 0x1abcdef7, .partition = 3 };
	const struct table_key other = { .tag = 0x2abcdef7, .partition = 3 };
	uint32_t check = check_of(one.tag);
	struct sample sample;

	(void)state;
	assert_int_equal(check, check_of(other.tag));
	assert_int_equal(sample_init(&sample, 8, 0), 0);
	assert_true(sample_add_check(&sample, 0, check, 0)); /* of which nothing more is known */
	assert_true(sample_add_hint(&sample, other, 77));
	assert_true(sample_add(&sample, 1, one, true)); /* that has the rest of the key, so that is known now */
	assert_int_equal(sample.content_count, 2);
	assert_true(sample_add_check(&sample, 2, check, 77));
	assert_true(sample_add(&sample, 3, other, false));
	assert_int_equal(sample.content_count, 2);
	assert_int_equal(records_of(&sample, 0), 2); /* rows 0 and 1 */
	assert_int_equal(records_of(&sample, 1), 2); /* rows 2 and 3 */
	assert_true(sample_add(&sample, 3, other, true));
	assert_int_equal(sample.record_count, 4); /* its second page with that */
	sample_done(&sample);
}

/* One in 16, and no more than there is room for. */
static void a_sample_is_bounded(void **state)
{
	struct sample sample;
	uint32_t wanted = 0;

	(void)state;
	assert_int_equal(sample_init(&sample, 64, 4), 0);
	for (uint32_t check = 3; check < 3 + 1024; check++)
		wanted += sample_wants(&sample, check);
	assert_int_equal(wanted, 64);
	for (uint32_t i = 0; i < 64; i++)
		assert_true(sample_add_check(&sample, 0, i << 4 | 15, 0));
	assert_false(sample_add_check(&sample, 0, 64 << 4 | 15, 0)); /* a content */
	assert_true(sample_add_check(&sample, 0, 15, 0));
	assert_false(sample_add_check(&sample, 1, 15, 0)); /* a record */
	sample_done(&sample);
}

/* In 2 MiB pages that stay whole: a has 1 to 1024, b 513 to 1536 and 100 zeros in the place of its last ones. */
static void contents_of_whole_large_pages_count(void **state)
{
	struct engine_estimate *made;
	struct engine_counters before, after;
	struct sim_vm *a, *b;

	(void)state;
	keep_large();
	a = new_large(2, 1, 1);
	b = new_large(2, 1 + BLOCK, 1);
	for (uint32_t i = 2 * BLOCK - 99; i <= 2 * BLOCK; i++)
		sim_write(b, i, 0);
	assert_true(sim_scan_all(&sim));
	stop_passes();
	run_for(1);
	before = host();
	made = estimate();
	after = host();
	check_vm(made, a, 2 * BLOCK, 0, 0, BLOCK / 2, 0);
	check_vm(made, b, 2 * BLOCK, 0, 0, BLOCK / 2, 100);
	check_pair(made, a, b, BLOCK, 0);
	assert_int_equal(summary_of(made).one_in, 1);
	assert_int_equal(summary_of(made).rows, 2);
	assert_int_equal(summary_of(made).all.would_share_pages, BLOCK);
	assert_int_equal(summary_of(made).all.ram_pages, 4 * BLOCK);
	assert_int_equal(summary_of(made).all.would_share_pages + summary_of(made).all.would_zero_pages,
			 before.would_save_pages);
	assert_int_equal(sim.merge_orders + sim.fetch_orders, 0); /* nothing is merged by an estimate */
	assert_int_equal(after.saved_pages, before.saved_pages);
	assert_int_equal(after.would_save_pages, before.would_save_pages);
	assert_int_equal(after.store_pages, 0);
	engine_drop_estimate(made);
}

/* What it says is what is saved once all may be shared. */
static void it_comes_true(void **state)
{
	struct engine_estimate_summary said;
	struct engine_estimate *made;
	uint64_t saved;

	(void)state;
	keep_large();
	(void)new_large(2, 1, 1);
	(void)new_large(2, 100, 1);
	(void)new_large(1, 400, 2);
	(void)new_vm(300, 5000, 1);
	(void)new_vm(300, 5100, 1);
	(void)new_vm(100, 1, 3);
	assert_true(sim_scan_all(&sim));
	made = estimate();
	said = summary_of(made);
	engine_drop_estimate(made);
	assert_int_equal(said.all.shared_pages, 400);
	saved = (uint64_t)host().saved_pages;
	assert_int_equal(saved, 200);
	assert_true(said.all.would_share_pages > 1000);
	sim_set_large(&sim, ENGINE_LARGE_ALWAYS, ENGINE_LARGE_ALWAYS);
	assert_true(sim_scan_all(&sim));
	assert_int_equal((uint64_t)host().saved_pages, saved + said.all.would_share_pages);
	made = estimate();
	assert_int_equal(summary_of(made).all.would_share_pages, 0);
	assert_int_equal(summary_of(made).common_pages, host().common_pages);
	engine_drop_estimate(made);
}

/* Of three that have the same two share, and the third refuses: the copy is there, so all its pages would be saved. */
static void what_was_refused_would_be_saved(void **state)
{
	struct engine_estimate *made;
	struct sim_vm *a, *b, *c;

	(void)state;
	a = new_vm(100, 1, 1);
	b = new_vm(100, 1, 1);
	assert_true(sim_scan_all(&sim));
	c = new_vm(150, 51, 1); /* 100 that are there, if its pages could be held; 100 of its own */
	c->refuse_percent = 100;
	assert_true(sim_scan_all(&sim));
	made = estimate();
	check_vm(made, a, 100, 100, 0, 0, 0);
	check_vm(made, b, 100, 100, 0, 0, 0);
	check_vm(made, c, 150, 0, 0, 50, 0);
	check_pair(made, a, b, 100, 100);
	check_pair(made, a, c, 50, 0);
	engine_drop_estimate(made);
}

/* A content that a VM has often is one page in common, and saves all copies but one. */
static void copies_inside_a_vm_count_once_in_a_pair(void **state)
{
	struct engine_estimate *made;
	struct sim_vm *a, *b;

	(void)state;
	keep_large();
	a = new_large(1, 7, 0); /* all pages the same */
	b = new_large(1, 7, 1); /* one of them that */
	assert_true(sim_scan_all(&sim));
	made = estimate();
	check_pair(made, a, b, 1, 0);
	assert_int_equal(summary_of(made).all.would_share_pages, BLOCK);
	/* 513 pages with one content save 512: each its part, rounded so that they add up. */
	assert_int_equal(of_vm(made, a).would_share_pages, 511);
	assert_int_equal(of_vm(made, b).would_share_pages, 1);
	engine_drop_estimate(made);
}

/* What nobody has looked at is not guessed: pages of a VM of which only zeros are shared. */
static void what_was_not_looked_at_is_told(void **state)
{
	struct sim_vm *a = new_vm(100, 1, 1), *b = sim_vm_new(&sim, WIRE_MODE_ZERO);
	struct engine_estimate *made;
	uint64_t looked;

	(void)state;
	assert_int_equal(sim_vm_add_region(b, 200), 0);
	for (uint32_t i = 1; i <= 100; i++)
		sim_write(b, i, i);
	for (uint32_t i = 101; i <= 110; i++)
		sim_write(b, i, 0);
	sim_vm_connect(b);
	assert_true(sim_scan_all(&sim));
	made = estimate();
	check_vm(made, a, 100, 0, 0, 0, 0);
	check_vm(made, b, 10, 0, 10, 0, 0);
	check_pair(made, a, b, 0, 0);
	assert_int_equal(of_vm(made, b).ram_pages, 200);
	looked = of_vm(made, a).looked_usec;
	assert_int_not_equal(looked, 0);
	assert_in_range(looked, 1, summary_of(made).begun_usec);
	assert_int_equal(of_vm(made, b).looked_usec, 0);
	engine_drop_estimate(made);
	run_for(3 * sim.settings.scan_interval_seconds); /* slow passes look at all of it again */
	made = estimate();
	assert_in_range(of_vm(made, a).looked_usec, looked + SECOND,
			summary_of(made).begun_usec - sim.settings.scan_interval_seconds * SECOND / 2);
	assert_int_equal(of_vm(made, b).looked_usec, 0);
	engine_drop_estimate(made);
}

static struct engine_survey survey_of(const struct sim_vm *vm)
{
	struct engine_survey survey;

	engine_survey_state(vm->vm, &survey);
	assert_in_range(survey.done_pages, 0, survey.total_pages);
	return survey;
}

/* a: full, 1 to 3000; b: in @mode, 1001 to 3900, and 100 zeros. */
static void survey(enum wire_mode mode)
{
	struct sim_vm *a = new_vm(3000, 1, 1), *b = sim_vm_new(&sim, mode);
	struct engine_estimate *made;
	uint64_t ready;

	assert_int_equal(sim_vm_add_region(b, 3000), 0);
	for (uint32_t i = 1; i <= 2900; i++)
		sim_write(b, i, 1000 + i);
	for (uint32_t i = 2901; i <= 3000; i++)
		sim_write(b, i, 0);
	sim_vm_connect(b);
	assert_true(sim_scan_all(&sim));
	stop_passes();
	sim_write(b, 2900, 0);              /* no pass has seen it */
	assert_false(engine_survey(a->vm)); /* passes look at it */
	assert_true(engine_survey(b->vm));
	assert_true(survey_of(b).active);
	assert_true(engine_survey(b->vm));
	sim_settle(&sim);
	assert_false(survey_of(b).active);
	assert_in_range(survey_of(b).ended_usec, survey_of(b).begun_usec, sim.now_usec);
	ready = mode == WIRE_MODE_ZERO ? 100 : 0;
	made = estimate();
	check_vm(made, a, 3000, 0, 0, 1000, 0);
	check_vm(made, b, 3000, 0, ready, 1000, 101 - ready);
	check_pair(made, a, b, 2000, 0);
	assert_int_equal(of_vm(made, b).looked_usec, survey_of(b).begun_usec);
	engine_drop_estimate(made);
	run_for(1);
	assert_int_equal(sim.merge_orders + sim.fetch_orders + sim.unshare_orders, 0); /* nothing comes of it */
	assert_int_equal(host().zero_pages, ready);
	b->mode = WIRE_MODE_FULL;
	engine_set_mode(sim.engine, b->vm, WIRE_MODE_FULL);
	assert_true(sim_scan_all(&sim));
	assert_int_equal(host().saved_pages, 2000 + 101);
}

static void a_vm_of_zeros_is_surveyed(void **state)
{
	(void)state;
	survey(WIRE_MODE_ZERO);
}

static void a_vm_of_hints_is_surveyed(void **state)
{
	(void)state;
	survey(WIRE_MODE_HINTS);
}

static void a_vm_that_shares_nothing_is_surveyed(void **state)
{
	(void)state;
	survey(WIRE_MODE_OFF);
}

/* It is void if the mode changes, the VM leaves or does not answer. */
static void a_survey_ends_with_what_it_is_of(void **state)
{
	struct sim_vm *a = sim_vm_new(&sim, WIRE_MODE_ZERO), *b = sim_vm_new(&sim, WIRE_MODE_ZERO);

	(void)state;
	assert_int_equal(sim_vm_add_region(a, 3000), 0);
	assert_int_equal(sim_vm_add_region(b, 3000), 0);
	sim_vm_connect(a);
	sim_vm_connect(b);
	assert_true(sim_scan_all(&sim));
	assert_true(engine_survey(a->vm));
	sim_take_orders(a, UINT32_MAX);
	a->mode = WIRE_MODE_HINTS;
	engine_set_mode(sim.engine, a->vm, WIRE_MODE_HINTS);
	assert_false(survey_of(a).active);
	sim_settle(&sim);
	run_for(1);
	assert_int_equal(survey_of(a).ended_usec, 0);
	assert_true(engine_survey(a->vm)); /* and can be had anew */
	sim_settle(&sim);
	assert_int_not_equal(survey_of(a).ended_usec, 0);
	assert_true(engine_survey(b->vm));
	b->silent = true;
	run_for(60);
	assert_false(survey_of(b).active);
	assert_false(engine_survey(b->vm));
	assert_int_equal(survey_of(b).ended_usec, 0);
	b->silent = false;
	run_for(60);
	assert_true(engine_survey(b->vm));
	sim_vm_end(b);
	run_for(1);
}

/* Domains are engines: another one has nothing in common with this one. */
static void other_engines_do_not_count(void **state)
{
	struct engine_estimate *made;
	struct sim_vm *a;
	static struct sim other;

	(void)state;
	assert_int_equal(sim_init(&other, 2), 0);
	sim_set_large(&other, ENGINE_LARGE_KEEP, ENGINE_LARGE_KEEP);
	keep_large();
	a = new_large(1, 1, 1);
	assert_true(sim_scan_all(&sim));
	{
		struct sim_vm *b = sim_vm_new(&other, WIRE_MODE_FULL);

		assert_int_equal(sim_vm_add_region(b, BLOCK), 0);
		for (uint32_t i = 1; i <= BLOCK; i++)
			sim_write(b, i, i);
		sim_vm_connect(b);
		assert_true(sim_scan_all(&other));
	}
	made = estimate();
	assert_int_equal(summary_of(made).rows, 1);
	check_vm(made, a, BLOCK, 0, 0, 0, 0);
	engine_drop_estimate(made);
	sim_done(&other);
}

/* So many ticks that the walk over pages has begun and not ended. */
static void begin_to_estimate(void)
{
	uint64_t done = 0, total;

	engine_want_estimate(sim.engine);
	for (uint32_t i = 0; i < 1000 && done == 0; i++) {
		sim_tick(&sim, 2000);
		assert_true(engine_is_estimating(sim.engine, &done, &total));
	}
	assert_true(done > 0 && done < total);
}

/* One goes while it is made, and another one takes its place: neither of them counts. */
static void a_vm_leaves_meanwhile(void **state)
{
	struct engine_estimate *made;
	struct sim_vm *a, *b, *c, *late;
	uint32_t row;

	(void)state;
	keep_large();
	a = new_large(10, 1, 1);
	b = new_large(10, 1, 1);
	c = new_large(10, 1001, 1);
	assert_true(sim_scan_all(&sim));
	stop_passes();
	begin_to_estimate();
	sim_vm_end(a); /* it was the first, and has been counted at least in part */
	late = new_large(10, 1, 1);
	while (goes_on())
		sim_tick(&sim, 2000);
	made = engine_take_estimate(sim.engine);
	assert_int_equal(summary_of(made).rows, 3);
	assert_int_equal(summary_of(made).left, 2);
	check_pair(made, b, c, 10 * BLOCK - 1000, 0);
	check_vm(made, b, 10 * BLOCK, 0, 0, (10 * BLOCK - 1000) / 2, 0);
	assert_int_equal(summary_of(made).all.ram_pages, 20 * BLOCK);
	assert_int_equal(summary_of(made).all.would_share_pages, 10 * BLOCK - 1000);
	assert_false(engine_estimate_row(made, late->vm, &row));
	engine_drop_estimate(made);
}

/* All go, and the engine with them; what somebody holds of an earlier estimate stays. */
static void all_leave_meanwhile(void **state)
{
	struct engine_estimate *made;
	struct sim_vm *a, *b;

	(void)state;
	keep_large();
	a = new_large(10, 1, 1);
	b = new_large(10, 1, 1);
	assert_true(sim_scan_all(&sim));
	made = estimate();
	run_for(1); /* the pause */
	begin_to_estimate();
	sim_vm_end(a);
	sim_vm_end(b);
	while (goes_on())
		sim_tick(&sim, 2000);
	engine_want_estimate(sim.engine);
	restart_with_settings();
	assert_int_equal(summary_of(made).all.would_share_pages, 10 * BLOCK);
	engine_drop_estimate(made);
	assert_null(engine_take_estimate(sim.engine));
}

static void sampled(uint32_t limit, struct engine_estimate **ret, struct sim_vm *vms[3])
{
	sim.settings.estimate_contents = limit;
	restart_with_settings();
	keep_large();
	vms[0] = new_large(20, 1, 1);
	vms[1] = new_large(20, 1 + 5 * BLOCK, 1);
	vms[2] = new_large(20, 100000, 1);
	assert_true(sim_scan_all(&sim));
	stop_passes();
	*ret = estimate();
}

static void check_near(uint64_t seen, uint64_t wanted, uint64_t error)
{
	assert_in_range(seen, wanted - error, wanted + error);
}

/*
 * More contents than the sample may have: one in 32 counts. The secret is that of the simulation, so what comes of it
 * is always the same. 7680 contents are common to two: 240 in the sample, give or take 15 for one standard deviation.
 */
static void what_does_not_fit_is_sampled(void **state)
{
	struct engine_estimate *made;
	struct sim_vm *vms[3];

	(void)state;
	sampled(2048, &made, vms);
	assert_int_equal(summary_of(made).one_in, 32);
	assert_int_equal(of_vm(made, vms[0]).looked_pages, 20 * BLOCK); /* exact, as ever */
	check_near(of_pair(made, vms[0], vms[1]).common_pages, 15 * BLOCK, 4 * 15 * 32);
	assert_int_equal(of_pair(made, vms[0], vms[2]).common_pages, 0);
	check_near(summary_of(made).all.would_share_pages, 15 * BLOCK, 4 * 15 * 32);
	assert_int_equal(of_vm(made, vms[0]).would_share_pages + of_vm(made, vms[1]).would_share_pages,
			 summary_of(made).all.would_share_pages);
	assert_int_equal(of_pair(made, vms[0], vms[1]).common_pages % 32, 0);
	engine_drop_estimate(made);
}

/* Much becomes known after it has begun, more than the sample can have: it begins again with fewer contents. */
static void it_begins_again_if_the_sample_is_full(void **state)
{
	struct engine_estimate *made;
	struct sim_vm *a, *b;

	(void)state;
	sim.settings.estimate_contents = 1024;
	restart_with_settings();
	a = new_vm(70000, 0, 0); /* more than a tick looks at, and nothing for the sample */
	b = sim_vm_new(&sim, WIRE_MODE_FULL);
	assert_int_equal(sim_vm_add_region(b, 3600), 0);
	sim_vm_connect(b);
	assert_true(sim_scan_all(&sim));
	stop_passes();
	begin_to_estimate();
	for (uint32_t i = 1; i <= 3600; i++)
		assert_int_equal(report(b, REPORT_HASH, i, 1, hash_of(1000 + i)), 0);
	while (goes_on())
		sim_tick(&sim, 2000);
	made = engine_take_estimate(sim.engine);
	assert_int_equal(summary_of(made).one_in, 4);
	check_vm(made, a, 70000, 0, 70000, 0, 0);
	check_vm(made, b, 3600, 0, 0, 0, 0);
	engine_drop_estimate(made);
}

/* Pairs are of so many VMs only, figures of VMs of all. */
static void pairs_have_a_limit(void **state)
{
	struct engine_estimate *made;
	struct sim_vm *vms[4];

	(void)state;
	sim.settings.estimate_pair_vms = 3;
	restart_with_settings();
	keep_large();
	for (uint32_t i = 0; i < 4; i++)
		vms[i] = new_large(1, 1, 1);
	assert_true(sim_scan_all(&sim));
	made = estimate();
	assert_int_equal(summary_of(made).rows, 4);
	assert_int_equal(summary_of(made).pair_rows, 3);
	for (uint32_t i = 1; i < 3; i++)
		check_pair(made, vms[0], vms[i], BLOCK, 0);
	assert_int_equal(of_vm(made, vms[3]).would_share_pages, BLOCK * 3 / 4);
	assert_int_equal(summary_of(made).all.would_share_pages, 3 * BLOCK);
	engine_drop_estimate(made);
}

/* No tick does more than its share, and who wants one again and again has to wait. */
static void it_is_made_bit_by_bit(void **state)
{
	uint64_t begun, ended, steps = 0, most = 0;
	struct engine_estimate *made;
	uint32_t ticks = 0;

	(void)state;
	keep_large();
	(void)new_large(30, 1, 1);
	(void)new_large(30, 1, 1);
	assert_true(sim_scan_all(&sim));
	stop_passes();
	run_for(1);
	(void)engine_take_steps(sim.engine);
	engine_want_estimate(sim.engine);
	for (; goes_on(); ticks++) {
		sim_tick(&sim, 2000);
		steps = engine_take_steps(sim.engine);
		most = steps > most ? steps : most;
	}
	assert_in_range(ticks, 60 * BLOCK * 16 / 65536, 1000);
	assert_in_range(most, 1, ENGINE_STEPS_MAX);
	made = engine_take_estimate(sim.engine);
	begun = summary_of(made).begun_usec;
	ended = summary_of(made).ended_usec;
	assert_true(ended > begun);
	engine_drop_estimate(made);
	made = estimate();
	assert_true(summary_of(made).begun_usec >= ended + 9 * (ended - begun));
	engine_drop_estimate(made);
}

/* What the table names is taken in by as few at a time, though each place of it is cheap to look at. */
static void so_is_what_the_table_names(void **state)
{
	const uint64_t least = ESTIMATE_LOOKS_PER_TICK / 16 / 2, each = ESTIMATE_LOOKS_PER_TICK / 16;
	uint64_t most = 0;

	(void)state;
	(void)new_vm(20000, 1, 1);
	assert_true(sim_scan_all(&sim));
	stop_passes();
	run_for(1);
	(void)engine_take_steps(sim.engine);
	engine_want_estimate(sim.engine);
	while (goes_on()) {
		uint64_t steps;

		sim_tick(&sim, 2000);
		steps = engine_take_steps(sim.engine);
		most = steps > most ? steps : most;
	}
	assert_in_range(most, least, each + each / 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(contents_are_told_apart),
		cmocka_unit_test(a_sample_is_bounded),
		ENGINE_TEST(contents_of_whole_large_pages_count),
		ENGINE_TEST(it_comes_true),
		ENGINE_TEST(what_was_refused_would_be_saved),
		ENGINE_TEST(copies_inside_a_vm_count_once_in_a_pair),
		ENGINE_TEST(what_was_not_looked_at_is_told),
		ENGINE_TEST(a_vm_of_zeros_is_surveyed),
		ENGINE_TEST(a_vm_of_hints_is_surveyed),
		ENGINE_TEST(a_vm_that_shares_nothing_is_surveyed),
		ENGINE_TEST(a_survey_ends_with_what_it_is_of),
		ENGINE_TEST(other_engines_do_not_count),
		ENGINE_TEST(a_vm_leaves_meanwhile),
		ENGINE_TEST(all_leave_meanwhile),
		ENGINE_TEST(what_does_not_fit_is_sampled),
		ENGINE_TEST(it_begins_again_if_the_sample_is_full),
		ENGINE_TEST(pairs_have_a_limit),
		ENGINE_TEST(it_is_made_bit_by_bit),
		ENGINE_TEST(so_is_what_the_table_names),
	};

	return cmocka_run_group_tests_name("estimate", tests, NULL, NULL);
}
