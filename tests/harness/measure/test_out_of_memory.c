/*
 * What is skipped behind a cell that ran out of memory: what needs at least as much, and nothing that differs in any
 * axis in a way that may need less. On the scripted workload, with failures of each step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "harness/measure/quality.h"
#include "tests/support/fake_sweep.h"

enum { SHALLOW = 100, DEEP = 200, SEEDS = 16 };

/* Where memory ends, and whether it does for this cell. */
enum step { STEP_OPEN, STEP_EVICT, STEP_QUEUE, STEP_DECODE };

static struct fake_sweep x;
static enum step step;
static int (*refuses)(const struct cell *c);
static const struct cell *opened; /* the first cell of the group at hand */
static struct workload_ops ops;
static const struct workload_ops *fakes;
static int (*fake_source_open)(struct workload_source *s, const struct placement *p, struct workload **out,
			       struct error *err);

static int at(enum step here, struct error *err)
{
	if (here == step && refuses(opened))
		return error_set(err, ERROR_MEMORY, "no memory at step %d", (int)here);
	return 0;
}

static int decode(struct workload *w, int token, struct token_record *out, struct error *err)
{
	int rc = at(STEP_DECODE, err);
	return rc ? rc : fakes->decode(w, token, out, err);
}

static int queue_begin(struct workload *w, int n, int keep, struct error *err)
{
	int rc = at(STEP_QUEUE, err);
	return rc ? rc : fakes->queue_begin(w, n, keep, err);
}

static int evict(struct workload *w, struct eviction *out, struct error *err)
{
	(void)w;
	*out = (struct eviction){.entries = 1};
	return at(STEP_EVICT, err);
}

static int remember(struct workload *w, int i, int n, struct error *err)
{
	(void)w;
	(void)i;
	(void)n;
	(void)err;
	return 0;
}

static int compare(struct workload *w, int i, struct agreement *out, struct error *err)
{
	(void)w;
	(void)i;
	(void)err;
	*out = (struct agreement){0};
	return 0;
}

static int open_group(struct workload_source *s, const struct placement *p, struct workload **out, struct error *err)
{
	opened = p->cell;
	int rc = at(STEP_OPEN, err);
	if (!rc)
		rc = fake_source_open(s, p, out, err);
	if (rc)
		return rc;
	fakes = (*out)->ops;
	ops = *fakes;
	ops.decode = decode;
	ops.queue_begin = queue_begin;
	ops.evict = evict;
	ops.remember = remember;
	ops.compare = compare;
	(*out)->ops = &ops;
	return 0;
}

static int is_shallow(const struct cell *c)
{
	return c->n_depth == SHALLOW;
}

static int is_thinned_out(const struct cell *c)
{
	return c->snapkv != NULL;
}

static int is_whole(const struct cell *c)
{
	return !c->snapkv;
}

/* Runs the cells (n) once each; their statuses. Whether the first of them was the first to run. */
static int run(const struct cell *cells, int n, uint64_t seed, char statuses[][16])
{
	fake_sweep_init(&x, 1);
	fake_source_open = x.fake.source.open;
	x.fake.source.open = open_group;
	x.options.seed = seed;
	x.cells = calloc((size_t)n, sizeof *x.cells);
	assert_non_null(x.cells);
	memcpy(x.cells, cells, (size_t)n * sizeof *cells);
	x.n = n;
	fake_sweep_run(&x, &x.fake.source);
	assert_int_equal(x.n_runs, n);
	for (int i = 0; i < n; i++)
		snprintf(statuses[x.runs[i].row.cell], 16, "%s", x.runs[i].status);
	int first = x.runs[0].row.cell == 0;
	fake_sweep_free(&x);
	return first;
}

static const struct cell base = {.model = "m",
				 .type_k = "f16",
				 .type_v = "f16",
				 .n_ubatch = 512,
				 .n_depth = SHALLOW,
				 .n_gen = 8,
				 .fusion = "full",
				 .mode = "direct"};

/*
 * A cell that is out of memory in this step, and another one: what became of that in those orders in which the first
 * ran first, of which there is at least one.
 */
static const char *behind(const struct cell *failing, const struct cell *other)
{
	static char status[16];
	const struct cell cells[2] = {*failing, *other};
	char statuses[2][16];
	int orders = 0;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		int first = run(cells, 2, seed, statuses);
		assert_string_equal(statuses[0], "failed");
		if (!first)
			continue;
		assert_true(!orders++ || !strcmp(status, statuses[1]));
		memcpy(status, statuses[1], sizeof status);
	}
	assert_true(orders > 0);
	return status;
}

/* The axis' value changed to another one that the scripted workload knows. */
static struct cell changed(struct cell c, enum axis_id a)
{
	switch (a) {
	case AXIS_MODE:
		c.mode = "graph-device";
		break;
	case AXIS_SYNC:
		c.sync = SYNC_NONE;
		break;
	case AXIS_FUSION:
		c.fusion = "none";
		break;
	case AXIS_SNAPKV:
		c.snapkv = "64";
		break;
	case AXIS_PROMPT:
		c.n_prompt = 8;
		c.n_gen = 0;
		break;
	default:
		if (axes[a].kind == AXIS_INT)
			cell_set_int(&c, a, cell_int(&c, a) + 1);
		else
			cell_set_word(&c, a, "another");
	}
	return c;
}

/* Of cells that decode too much, deeper ones are skipped that are the same in every other axis, and no others. */
static void test_every_axis(void **state)
{
	(void)state;
	struct cell deep = base;
	deep.n_depth = DEEP;
	step = STEP_DECODE;
	refuses = is_shallow;
	assert_string_equal(behind(&base, &deep), "skipped");
	for (int a = 0; a < AXIS_COUNT; a++) {
		struct cell other = changed(deep, (enum axis_id)a), failing = changed(base, (enum axis_id)a);
		if (a == AXIS_DEPTH || a == AXIS_PROMPT)
			continue; /* a prompt test decodes nothing */
		if (strcmp(behind(&base, &other), "ok") != 0 || strcmp(behind(&failing, &deep), "ok") != 0)
			fail_msg("%s is forgotten", axes[a].name);
		if (strcmp(behind(&failing, &other), "skipped") != 0)
			fail_msg("%s: the same cell was tried deeper", axes[a].name);
	}
	struct cell prompt = changed(deep, AXIS_PROMPT);
	assert_string_equal(behind(&base, &prompt), "ok");
	/* A shallower one is tried. */
	struct cell shallower = base;
	shallower.n_depth = SHALLOW - 1;
	assert_string_equal(behind(&base, &shallower), "ok");
}

/* A cache that does not fit: what stays whole says something of what is thinned out later, and not the other way. */
static void test_cache(void **state)
{
	(void)state;
	struct cell thinned = base, deep = base, deep_thinned;
	thinned.snapkv = "64";
	deep.n_depth = DEEP;
	deep_thinned = deep;
	deep_thinned.snapkv = "64";
	step = STEP_OPEN;
	refuses = is_whole;
	assert_string_equal(behind(&base, &deep_thinned), "skipped");
	refuses = is_thinned_out;
	assert_string_equal(behind(&thinned, &deep), "ok");
	refuses = is_shallow;
	assert_string_equal(behind(&thinned, &deep_thinned), "skipped");
	deep_thinned.snapkv = "32";
	assert_string_equal(behind(&thinned, &deep_thinned), "ok");
	/* Other arms and tests fill the cache alike. */
	struct cell arm = deep;
	arm.mode = "graph-device";
	arm.fusion = "none";
	arm.sync = SYNC_NONE;
	assert_string_equal(behind(&base, &arm), "skipped");
	for (int a = 0; a < AXIS_COUNT; a++) {
		struct cell other = changed(deep, (enum axis_id)a);
		if (axes[a].level == AXIS_LEVEL_PLACEMENT && strcmp(behind(&base, &other), "ok") != 0)
			fail_msg("%s is forgotten", axes[a].name);
	}
}

/* Where eviction itself is too much, a cache that stays whole is not, nor may another budget be. */
static void test_eviction(void **state)
{
	(void)state;
	struct cell thinned = base, deep = base, deep_thinned;
	thinned.snapkv = "64";
	deep.n_depth = DEEP;
	deep_thinned = deep;
	deep_thinned.snapkv = "64";
	step = STEP_EVICT;
	refuses = is_shallow;
	assert_string_equal(behind(&thinned, &deep), "ok");
	assert_string_equal(behind(&thinned, &deep_thinned), "skipped");
	deep_thinned.snapkv = "32";
	assert_string_equal(behind(&thinned, &deep_thinned), "ok");
}

/* A queue holds logits and events that tokens one by one do not need. */
static void test_queue(void **state)
{
	(void)state;
	struct cell queued = base, deep = base;
	queued.sync = SYNC_NONE;
	deep.n_depth = DEEP;
	step = STEP_QUEUE;
	refuses = is_shallow;
	assert_string_equal(behind(&queued, &deep), "ok");
	deep.sync = SYNC_NONE;
	assert_string_equal(behind(&queued, &deep), "skipped");
}

/* -ngl auto leaves more to the host where the context is larger. */
static void test_auto(void **state)
{
	(void)state;
	struct cell shallow = base, deep;
	shallow.n_gpu_layers = AXIS_LAYERS_AUTO;
	deep = shallow;
	deep.n_depth = DEEP;
	refuses = is_shallow;
	step = STEP_OPEN;
	assert_string_equal(behind(&shallow, &deep), "ok");
	step = STEP_DECODE;
	assert_string_equal(behind(&shallow, &deep), "ok");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_axis), cmocka_unit_test(test_cache),
					   cmocka_unit_test(test_eviction), cmocka_unit_test(test_queue),
					   cmocka_unit_test(test_auto)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
