/* What a sweep prefills, and what its rows say of it, where contexts are kept: by the runner, over a workload that
 * counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/measure/context_store.h"
#include "tests/support/fake_sweep.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"

enum { CHUNK = 16, N_GEN = 8 };

static char folder[FOLDER_BYTES];
static int notes;
static char last_note[640];

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "contexts");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

static void note(void *ctx, const char *line)
{
	(void)ctx;
	snprintf(last_note, sizeof last_note, "%s", line);
	notes++;
}

static struct context_store *open_store(const char *directory, uint64_t memory)
{
	struct context_store *s;
	const struct context_store_options o = {.directory = directory, .memory = memory, .note = note};
	OK(context_store_open(&s, &o, e));
	notes = 0;
	return s;
}

struct sweep {
	const char *depths;
	const char *snapkvs; /* null: off */
	int n_prompt;
	uint64_t seed;
};

/* A sweep of all depths; null store: none is kept. */
static struct fake_sweep *run(const struct sweep *w, struct context_store *store, const char *identity, int observed)
{
	struct fake_sweep *x = malloc(sizeof *x);
	fake_sweep_init(x, 2);
	x->fake.chunk = CHUNK;
	x->fake.identity = identity;
	x->fake.observed = observed;
	x->options.contexts = store;
	x->options.chunk = 2 * CHUNK;
	x->options.seed = w->seed;
	OK(matrix_add(&x->matrix, AXIS_UBATCH, "16", e));
	if (w->snapkvs)
		OK(matrix_add(&x->matrix, AXIS_SNAPKV, w->snapkvs, e));
	fake_sweep_cells(x, &(struct fake_axes){.modes = "direct,graph-device",
						.fusions = "full",
						.syncs = "token",
						.depths = w->depths,
						.n_gen = N_GEN,
						.n_prompt = w->n_prompt});
	fake_sweep_run(x, &x->fake.source);
	return x;
}

static void done(struct fake_sweep *x)
{
	fake_sweep_free(x);
	free(x);
}

/* Each run of one has the hash that its cell's run of the other has. */
static void expect_same_bits(const struct fake_sweep *a, const struct fake_sweep *b)
{
	assert_int_equal(a->n_runs, b->n_runs);
	for (int i = 0; i < a->n_runs; i++) {
		int found = 0;
		for (int k = 0; k < b->n_runs; k++)
			if (a->runs[i].row.cell == b->runs[k].row.cell &&
			    a->runs[i].row.repetition == b->runs[k].row.repetition) {
				assert_string_equal(a->runs[i].hash, b->runs[k].hash);
				found++;
			}
		assert_int_equal(found, 1);
	}
}

/* Tokens of depths that the sweep computed, by its rows; each group's once. */
static int64_t prefilled_for_depths(const struct fake_sweep *x)
{
	int64_t sum = 0, depths[64];
	int n = 0;
	for (int i = 0; i < x->n_runs; i++) {
		const struct run_row *r = &x->runs[i].row;
		int known = 0;
		assert_int_equal(r->context_source >= 0, r->n_depth > 0);
		for (int k = 0; k < n; k++)
			known |= depths[k] == r->n_depth;
		if (r->n_depth && !known) {
			depths[n++] = r->n_depth;
			sum += r->context_prefilled_tokens;
		}
	}
	return sum;
}

/* In whatever order the depths come, no token of a whole chunk is computed twice. */
static void test_memory(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		const struct sweep w = {.depths = "0,16,48,64,256", .seed = seed};
		struct context_store *s = open_store(NULL, 1 << 20);
		struct fake_sweep *plain = run(&w, NULL, "{\"model\": \"a\"}", 0);
		struct fake_sweep *x = run(&w, s, "{\"model\": \"a\"}", 0);
		assert_int_equal(plain->fake.prefilled, 16 + 48 + 64 + 256);
		assert_int_equal(x->fake.prefilled, 256);
		assert_int_equal(prefilled_for_depths(x), 256);
		expect_same_bits(x, plain);
		assert_int_equal(notes, 0);
		for (int i = 0; i < x->n_runs; i++) {
			const struct run_row *r = &x->runs[i].row, *p = &plain->runs[i].row;
			if (!r->n_depth)
				continue;
			int whole = r->context_prefilled_tokens == r->n_depth;
			assert_int_equal(r->context_source, whole ? CONTEXT_SOURCE_PREFILL : CONTEXT_SOURCE_MEMORY);
			/* The time of a prefill that was none is unknown. */
			assert_int_equal(isfinite(r->prefill_us), whole);
			assert_int_equal(p->context_source, CONTEXT_SOURCE_PREFILL);
			assert_int_equal(p->context_prefilled_tokens, p->n_depth);
			assert_true(isfinite(p->prefill_us));
		}
		done(plain);
		done(x);
		context_store_close(s);
	}
}

/* Behind a depth that is no whole number of chunks other chunks would follow: it serves nobody but itself. */
static void test_unaligned(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		const struct sweep w = {.depths = "20,32,100", .seed = seed};
		struct context_store *s = open_store(NULL, 1 << 20);
		struct fake_sweep *plain = run(&w, NULL, "{\"model\": \"a\"}", 0);
		struct fake_sweep *x = run(&w, s, "{\"model\": \"a\"}", 0);
		expect_same_bits(x, plain);
		/* 100 on top of 32, or 32 on the way to 100; 20 alone, or behind nothing. */
		assert_int_equal(x->fake.prefilled, 100 + 20);
		done(plain);
		done(x);
		context_store_close(s);
	}
}

/* A prompt that is measured is computed each time, at every depth. */
static void test_prompts_are_measured(void **state)
{
	(void)state;
	const struct sweep w = {.depths = "0,32", .n_prompt = 32, .seed = 1};
	struct context_store *s = open_store(folder, 1 << 20);
	/* The depth's own tokens, 0 to 32, are the prompt's at depth 0. */
	struct fake_sweep *first = run(&w, s, "{\"model\": \"p\"}", 0), *again = run(&w, s, "{\"model\": \"p\"}", 0);
	/* A reference and two repetitions, at each depth. */
	assert_int_equal(first->fake.prefilled, 2 * 3 * 32 + 32);
	assert_int_equal(again->fake.prefilled, 2 * 3 * 32);
	for (int i = 0; i < again->n_runs; i++) {
		const struct run_row *r = &again->runs[i].row;
		if (r->n_prompt) {
			assert_true(r->prefill_us >= 32 * again->fake.prefill_us);
			assert_int_equal(r->context_prefilled_tokens, r->n_depth ? 0 : ROW_UNKNOWN);
		}
	}
	expect_same_bits(first, again);
	done(first);
	done(again);
	context_store_close(s);
}

/* From process to process, and not from one model to another. */
static void test_disk(void **state)
{
	(void)state;
	const struct sweep w = {.depths = "16,64,50", .seed = 3}, deeper = {.depths = "16,64,50,128", .seed = 3};
	struct fake_sweep *plain = run(&deeper, NULL, "{\"model\": \"d\"}", 0);
	struct context_store *s = open_store(folder, 0);
	struct fake_sweep *x = run(&w, s, "{\"model\": \"d\"}", 0);
	assert_int_equal(notes, 0);
	done(x);
	context_store_close(s);
	s = open_store(folder, 0);
	x = run(&w, s, "{\"model\": \"d\"}", 0);
	assert_int_equal(x->fake.prefilled, 0);
	for (int i = 0; i < x->n_runs; i++) {
		assert_int_equal(x->runs[i].row.context_source, CONTEXT_SOURCE_DISK);
		assert_int_equal(x->runs[i].row.context_prefilled_tokens, 0);
	}
	done(x);
	x = run(&deeper, s, "{\"model\": \"d\"}", 0);
	assert_int_equal(x->fake.prefilled, 64);
	expect_same_bits(x, plain);
	done(x);
	x = run(&w, s, "{\"model\": \"e\"}", 0);
	assert_true(x->fake.prefilled >= 64 + 2);
	done(x);
	/* Other tokens. */
	const struct sweep other = {.depths = "16,64", .seed = 4};
	x = run(&other, s, "{\"model\": \"d\"}", 0);
	assert_int_equal(x->fake.prefilled, 64);
	assert_int_equal(notes, 0); /* what is of others is passed over */
	done(x);
	done(plain);
	context_store_close(s);
}

/* What does not fit is prefilled, and said; where the device is lost, the group is. */
static void test_refused_by_the_workload(void **state)
{
	(void)state;
	const struct sweep w = {.depths = "64", .seed = 1};
	struct context_store *s = open_store(folder, 0);
	done(run(&w, s, "{\"model\": \"r\"}", 0));
	for (int i = 0; i < 2; i++) {
		struct fake_sweep *x = malloc(sizeof *x);
		fake_sweep_init(x, 1);
		x->fake.chunk = CHUNK;
		x->fake.identity = "{\"model\": \"r\"}";
		x->fake.restore_code = i ? ERROR_DEVICE : ERROR_INPUT;
		x->options.contexts = s;
		OK(matrix_add(&x->matrix, AXIS_UBATCH, "16", e));
		fake_sweep_cells(x, &(struct fake_axes){"direct", "full", "token", "64", N_GEN, 0});
		notes = 0;
		fake_sweep_run(x, &x->fake.source);
		assert_string_equal(x->runs[0].status, i ? "failed" : "ok");
		assert_int_equal(x->fake.prefilled, i ? 0 : 64);
		assert_int_equal(notes, !i);
		assert_true(i || strstr(last_note, "it does not fit"));
		done(x);
	}
	context_store_close(s);
}

/* Where no other group has use for it, nothing is copied; nor where the memory is too small. */
static void test_nothing_is_kept_for_nobody(void **state)
{
	(void)state;
	const struct sweep one = {.depths = "64", .seed = 1}, many = {.depths = "16,32,64", .seed = 2};
	struct context_store *s = open_store(NULL, 1 << 20);
	struct fake_sweep *x = run(&one, s, "{\"model\": \"a\"}", 0);
	assert_int_equal(x->fake.context_saves, 0);
	done(x);
	x = run(&many, s, NULL, 0); /* identity unknown */
	assert_int_equal(x->fake.prefilled, 16 + 32 + 64);
	assert_int_equal(x->fake.context_saves, 0);
	done(x);
	context_store_close(s);
	s = open_store(NULL, 8);
	x = run(&many, s, "{\"model\": \"a\"}", 0);
	assert_int_equal(x->fake.prefilled, 16 + 32 + 64);
	done(x);
	context_store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_unaligned),
		cmocka_unit_test(test_prompts_are_measured),
		cmocka_unit_test(test_disk),
		cmocka_unit_test(test_refused_by_the_workload),
		cmocka_unit_test(test_nothing_is_kept_for_nobody),
	};
	return cmocka_run_group_tests_name("contexts of a sweep", tests, set_up, tear_down);
}
