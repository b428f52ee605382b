/* Kept contexts in memory: which of them serve whom, and which go first where the room is little. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "harness/measure/context_store.h"
#include "tests/support/fake_workload.h"
#include "tests/support/ok.h"

enum { CHUNK = 16, BYTES = 1000, OBSERVED = 8, TOKENS_MAX = 1100 };

static struct context_store *store;
static int notes;

static void note(void *ctx, const char *line)
{
	(void)ctx;
	(void)line;
	notes++;
}

static int set_up(void **state)
{
	(void)state;
	/* Room for two. */
	const struct context_store_options o = {.memory = 2 * BYTES + BYTES / 2, .note = note};
	notes = 0;
	OK(context_store_open(&store, &o, e));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	context_store_close(store);
	return 0;
}

/* end: of a prompt whose last tokens are observed; 0: none are. */
static struct workload *open_fake(struct fake *f, const char *model, int end)
{
	static const struct cell cell;
	static char identity[64];
	struct workload *w;
	snprintf(identity, sizeof identity, "{\"model\": \"%s\"}", model);
	fake_init(f);
	f->chunk = CHUNK;
	f->identity = identity;
	f->context_bytes = BYTES;
	f->observed = end ? OBSERVED : 0;
	OK(fake_open(&f->source, &(struct placement){&cell, TOKENS_MAX, 0}, &w, e));
	f->prompt_end = end;
	return w;
}

static struct token_stream stream_of(uint64_t seed)
{
	struct token_stream t;
	token_stream_init(&t, seed, FAKE_VOCAB);
	return t;
}

static void prefill(struct workload *w, uint64_t seed, int n)
{
	const struct token_stream t = stream_of(seed);
	int tokens[TOKENS_MAX];
	token_fill(&t, 0, n, tokens);
	OK(w->ops->prefill(w, tokens, n, e));
}

static void keep(const char *model, uint64_t seed, int n, int end)
{
	struct fake f;
	struct workload *w = open_fake(&f, model, end);
	const struct token_stream t = stream_of(seed);
	prefill(w, seed, n);
	OK(context_store_keep(store, w, &t, n, CONTEXT_STORE_MEMORY, e));
}

/* The tokens that are found of n, of which nothing else was tried. */
static int find(const char *model, uint64_t seed, int n, int end)
{
	struct fake f, expected;
	struct workload *w = open_fake(&f, model, end);
	const struct token_stream t = stream_of(seed);
	int reached;
	enum context_source from = CONTEXT_SOURCE_PREFILL;
	OK(context_store_restore(store, w, &t, n, &reached, &from, e));
	assert_int_equal(notes, 0);
	if (!reached)
		return 0;
	assert_int_equal(from, CONTEXT_SOURCE_MEMORY);
	prefill(open_fake(&expected, model, 0), seed, reached);
	assert_true(f.content == expected.content);
	return reached;
}

static void test_least_recently_used(void **state)
{
	(void)state;
	keep("m", 1, 16, 0);
	keep("m", 2, 16, 0);
	assert_int_equal(find("m", 1, 16, 0), 16);
	keep("m", 3, 16, 0);
	assert_int_equal(find("m", 2, 16, 0), 0);
	assert_int_equal(find("m", 1, 16, 0), 16);
	assert_int_equal(find("m", 3, 16, 0), 16);
	/* Kept again is used, and takes no other's room. */
	keep("m", 1, 16, 0);
	assert_int_equal(find("m", 3, 16, 0), 16);
	keep("m", 4, 16, 0);
	assert_int_equal(find("m", 1, 16, 0), 0);
	assert_int_equal(find("m", 3, 16, 0), 16);
}

static void test_of_others(void **state)
{
	(void)state;
	keep("other", 1, 32, 0);
	assert_int_equal(find("m", 1, 32, 0), 0);
	assert_int_equal(find("m", 1, 48, 0), 0);
	assert_int_equal(find("other", 1, 48, 0), 32);
}

/* Long contexts are other ones also where their last tokens are the same. */
static void test_all_tokens_count(void **state)
{
	(void)state;
	enum { LONG = 1025 };
	const struct token_stream a = stream_of(1);
	uint64_t seed = 2;
	for (;; seed++) {
		const struct token_stream b = stream_of(seed);
		if (token_at(&a, LONG - 1) == token_at(&b, LONG - 1))
			break;
	}
	keep("m", 1, LONG, 0);
	assert_int_equal(find("m", seed, LONG, 0), 0);
	assert_int_equal(find("m", 1, LONG, 0), LONG);
}

/* An eviction needs the queries of the prompt's last tokens: kept with the context, or behind its end. */
static void test_observed(void **state)
{
	(void)state;
	keep("m", 1, 64, 0);
	assert_int_equal(find("m", 1, 64, 64), 0);
	assert_int_equal(find("m", 1, 64 + OBSERVED, 64 + OBSERVED), 0);
	assert_int_equal(find("m", 1, 64 + OBSERVED + 1, 64 + OBSERVED + 1), 64);
	keep("m", 1, 64, 64);
	assert_int_equal(find("m", 1, 64, 64), 64);
	assert_int_equal(find("m", 1, 64, 0), 64);
	/* Neither takes the other's place. */
	keep("m", 1, 64, 0);
	assert_int_equal(find("m", 1, 64, 64), 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_least_recently_used, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_of_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_tokens_count, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_observed, set_up, tear_down),
	};
	return cmocka_run_group_tests_name("contexts in memory", tests, NULL, NULL);
}
