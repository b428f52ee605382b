#include "tests/support/eviction.h"
#include "tests/support/sanitized.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/synth.h"
#include "tests/support/folder.h"
#include "tests/support/fusions.h"
#include "tests/support/golden.h"
#include "tests/support/masked.h"
#include "tests/support/ok.h"

enum {
	PROMPT = EVICTION_PROMPT,
	DECODE = 64,
	CHUNK = 24,
	AGAIN = 16,
	AFTER = EVICTION_AFTER,
	CONTEXT = EVICTION_CONTEXT,
	BATCH = 32,
};

/* A name, the layers where they are not the arch's own, and the type where it is not Q8_0. */
static const struct {
	const char *arch;
	int n_layer;
	const char *mix;
} models[EVICTION_MODELS] = {
	{.arch = "gemma4-e4b-tiny"},     {.arch = "gemma4-e4b-tiny", .n_layer = 24},
	{.arch = "gemma4-e2b-tiny"},     {.arch = "gemma4-31b-tiny"},
	{.arch = "gemma4-26b-a4b-tiny"}, {.arch = "qwen3-tiny"},
	{.arch = "gemma3-tiny"},         {.arch = "gemma4-e4b-tiny", .mix = "q4_k_m"},
};
const char *const eviction_models[EVICTION_MODELS] = {
	"E4B", "E4B of 24 layers", "E2B", "31B", "26B-A4B", "Qwen3", "Gemma 3", "E4B in Q4_K_M",
};

const struct snapkv_options eviction_cases[EVICTION_CASES] = {
	{.budget = 128, .window = 64, .pool = 7}, {.budget = 299, .window = 8, .pool = 13},
	{.budget = 48, .window = 16, .pool = 1},  {.budget = 100, .window = 1, .pool = 5},
	{.budget = 20, .window = 20, .pool = 3},
};

static_assert(AFTER == DECODE + CHUNK + AGAIN, "what goes_on does");

static char folder[FOLDER_BYTES];

const char *eviction_model(int model)
{
	static char paths[EVICTION_MODELS][FOLDER_BYTES + 32];
	if (!folder[0])
		assert_int_equal(folder_make(folder, "snapkv"), 0);
	if (paths[model][0])
		return paths[model];
	snprintf(paths[model], sizeof paths[model], "%s/%d.gguf", folder, model);
	struct synth_options o;
	struct synth_plan p;
	synth_options_default(&o, models[model].arch);
	o.n_layer = models[model].n_layer;
	if (models[model].mix) {
		o.mix = synth_mix_parse(models[model].mix, &o.type);
		o.ple_type = o.type;
	}
	OK(synth_plan_init(&p, &o, e));
	OK(synth_write(&p, paths[model], true, 2, NULL, NULL, e));
	synth_plan_free(&p);
	return paths[model];
}

void eviction_clean(void)
{
	if (folder[0])
		folder_remove(folder);
}

void eviction_options(struct load_options *o, int n_gpu_layers, enum tensor_type cache)
{
	load_options_default(o);
	o->n_gpu_layers = n_gpu_layers;
	o->n_threads = 1; /* the kernels' own tests use more */
	o->batch = BATCH;
	o->k_type = o->v_type = cache;
	o->prefill = PREFILL_F32;
}

struct session *eviction_session(const char *path, int n_gpu_layers, enum tensor_type cache)
{
	struct session_options o;
	struct session *s = NULL;
	session_options_default(&o);
	eviction_options(&o.load, n_gpu_layers, cache);
	o.context = CONTEXT;
	OK(session_open(&s, path, &o, e));
	return s;
}

static int token_at(const struct session *s, int i)
{
	return (int)((unsigned)(i + 1) * 2654435761u % (unsigned)session_model(s)->n_vocab);
}

/* Tokens of the position's own. */
static void prefill(struct session *s, int n, float *rows)
{
	int tokens[PROMPT];
	assert_true(n <= PROMPT);
	for (int i = 0; i < n; i++)
		tokens[i] = token_at(s, session_position(s) + i);
	OK(session_prefill(s, tokens, n, rows, e));
}

static enum graph_event decode(struct session *s, float *row)
{
	struct token_timing t;
	const float *logits;
	OK(session_decode(s, token_at(s, session_position(s)), &t, e));
	OK(session_logits(s, &logits, e));
	if (t.event == GRAPH_EVENT_FALLBACK)
		fail_msg("%s", session_fallback_reason(s));
	memcpy(row, logits, (size_t)session_model(s)->n_vocab * sizeof *row);
	return t.event;
}

static void decode_some(struct session *s, int n, float *rows)
{
	for (int i = 0; i < n; i++)
		decode(s, rows + (size_t)i * (size_t)session_model(s)->n_vocab);
}

void eviction_prompt(struct session *s, const struct snapkv_options *o, float *rows)
{
	OK(session_rewind(s, 0, e));
	if (o)
		OK(session_observe(s, o, PROMPT, e));
	prefill(s, PROMPT, rows);
}

struct session_eviction eviction_evict(struct session *s)
{
	struct session_eviction v;
	OK(session_evict(s, &v, e));
	return v;
}

/* ---- masking ---- */

/* rows: (AFTER, n_vocab) */
static void go_on(struct session *s, float *rows)
{
	size_t vocab = (size_t)session_model(s)->n_vocab;
	decode_some(s, DECODE, rows);
	prefill(s, CHUNK, rows + DECODE * vocab);
	decode_some(s, AGAIN, rows + (DECODE + CHUNK) * vocab);
}

void eviction_rows(struct session *s, const struct snapkv_options *o, float *rows)
{
	eviction_prompt(s, o, NULL);
	eviction_evict(s);
	go_on(s, rows);
}

static void expect_same_kept(const char *what, const struct masked *plain, const struct masked *ours)
{
	for (int c = 0; c < masked_caches(plain); c++) {
		const struct masked_kept *want = masked_kept(plain, c), *got = masked_evicted(ours, c);
		assert_non_null(got->slots);
		assert_int_equal(got->n_heads, want->n_heads);
		assert_int_equal(got->n, want->n);
		for (int i = 0; i < want->n_heads * want->n; i++)
			if (got->slots[i] != want->slots[i])
				fail_msg("%s: cache %d, head %d, entry %d: slot %d was kept, not %d", what, c,
					 i / want->n, i % want->n, got->slots[i], want->slots[i]);
	}
	assert_null(masked_evicted(ours, masked_caches(plain))->slots);
}

void eviction_equals_masking(int model, int n_gpu_layers, double tolerance)
{
	const char *path = eviction_model(model);
	struct session *full = eviction_session(path, n_gpu_layers, TENSOR_F32);
	struct session *s = eviction_session(path, n_gpu_layers, TENSOR_F32);
	struct masked *reference = masked_open(full), *watched = masked_open(s);
	size_t vocab = (size_t)session_model(s)->n_vocab;
	float *prompt = malloc(PROMPT * vocab * sizeof *prompt);
	float *want = malloc(AFTER * vocab * sizeof *want), *got = malloc(AFTER * vocab * sizeof *got);
	assert_true(prompt && want && got);
	double worst = 0, margin = 1;
	/* With logits of all rows, shared layers see all of them: every query passes the mask. */
	eviction_prompt(full, NULL, prompt);
	OK(session_checkpoint(full, e));
	for (int i = 0; i < EVICTION_CASES; i++) {
		const struct snapkv_options *o = &eviction_cases[i];
		char what[128];
		snprintf(what, sizeof what, "%s, budget %d, window %d, pool %d", eviction_models[model], o->budget,
			 o->window, o->pool);
		masked_apply(reference, false);
		OK(session_rewind(full, PROMPT, e));
		double gap = masked_elect(reference, PROMPT, o);
		margin = gap < margin ? gap : margin;
		masked_apply(reference, true);
		go_on(full, want);

		masked_forget(watched);
		eviction_prompt(s, o, NULL);
		struct session_eviction v = eviction_evict(s);
		assert_int_equal(v.entries_before, PROMPT);
		assert_int_equal(v.entries_after, o->budget);
		assert_int_equal(session_evicted(s), PROMPT - o->budget);
		expect_same_kept(what, reference, watched);
		go_on(s, got);
		for (int t = 0; t < AFTER; t++) {
			double row = relative_l2(got + (size_t)t * vocab, want + (size_t)t * vocab, vocab);
			if (!(row <= tolerance))
				fail_msg("%s: token %d after the eviction is %.3g off masking", what, t, row);
			worst = row > worst ? row : worst;
		}
	}
	print_message("%-18s worst row %.2g of masking; closest vote %.2g\n", eviction_models[model], worst, margin);
	masked_close(reference);
	masked_close(watched);
	session_close(full);
	session_close(s);
	free(prompt);
	free(want);
	free(got);
}

/* ---- other policies ---- */

void eviction_by_policies(int model, int n_gpu_layers)
{
	enum { BUDGET = 60, WINDOW = 16, SINKS = 4 };
	struct session *s = eviction_session(eviction_model(model), n_gpu_layers, TENSOR_F16);
	struct masked *watched = masked_open(s);
	size_t vocab = (size_t)session_model(s)->n_vocab, memory = 0;
	float *rows = malloc(4 * vocab * sizeof *rows);
	int kept[BUDGET], drawn[BUDGET];
	assert_non_null(rows);
	for (int p = KV_POLICY_SNAPKV; p <= KV_POLICY_STRIDE; p++) {
		const struct snapkv_options o = {.budget = BUDGET,
						 .window = WINDOW,
						 .pool = 7,
						 .policy = (enum kv_policy)p,
						 .sinks = SINKS,
						 .seed = 3};
		masked_forget(watched);
		eviction_prompt(s, &o, NULL);
		struct session_eviction v = eviction_evict(s);
		assert_int_equal(v.entries_after, BUDGET);
		assert_true(p == KV_POLICY_SNAPKV || v.memory_after == memory);
		memory = v.memory_after;
		bool first = true;
		for (int c = 0; p != KV_POLICY_SNAPKV && masked_evicted(watched, c)->slots; c++) {
			const struct masked_kept *got = masked_evicted(watched, c);
			assert_int_equal(got->n, BUDGET);
			for (int head = 0; head < got->n_heads; head++) {
				const int *slots = got->slots + head * BUDGET;
				kv_policy_select(o.policy, PROMPT, BUDGET, WINDOW, SINKS, 3, kept);
				if (p != KV_POLICY_RANDOM)
					assert_memory_equal(slots, kept, sizeof kept);
				else if (!first)
					assert_memory_not_equal(slots, drawn, sizeof drawn);
				memcpy(drawn, slots, sizeof drawn);
				for (int i = 0; i < SINKS; i++)
					assert_int_equal(slots[i], i);
				for (int i = 0; i < WINDOW; i++)
					assert_int_equal(slots[BUDGET - 1 - i], PROMPT - 1 - i);
				for (int i = 1; i < BUDGET; i++)
					assert_true(slots[i - 1] < slots[i]);
				first = false;
			}
		}
		assert_true(first == (p == KV_POLICY_SNAPKV));
		decode(s, rows + (size_t)p * vocab);
		for (int other = 0; other < p; other++)
			assert_memory_not_equal(rows + (size_t)p * vocab, rows + (size_t)other * vocab,
						vocab * sizeof *rows);
	}
	masked_close(watched);
	session_close(s);
	free(rows);
}

/* ---- modes ---- */

void eviction_same_in_all_modes(int model, int n_gpu_layers, enum tensor_type cache, int budget)
{
	struct session *s = eviction_session(eviction_model(model), n_gpu_layers, cache);
	eviction_modes(s, eviction_models[model], budget);
	session_close(s);
}

void eviction_modes(struct session *s, const char *what, int budget)
{
	enum { BACK = 12, TOKENS = AFTER + BACK };
	const struct snapkv_options options = {.budget = budget, .window = 64, .pool = 7};
	size_t vocab = (size_t)session_model(s)->n_vocab, n = TOKENS * vocab;
	float *direct = malloc(n * sizeof *direct), *rows = malloc(n * sizeof *rows),
	      *row = malloc(vocab * sizeof *row);
	assert_true(direct && rows && row);
	for (int run = 0; run < FUSION_COUNT * GRAPH_MODE_COUNT; run++) {
		enum graph_mode mode = (enum graph_mode)(run % GRAPH_MODE_COUNT);
		float *to = mode == GRAPH_MODE_DIRECT ? direct : rows;
		if (SANITIZED && run / GRAPH_MODE_COUNT != FUSION_FULL && mode != GRAPH_MODE_DIRECT &&
		    mode != GRAPH_MODE_DEVICE)
			continue; /* a graph's modes differ in what replays, not in what it launches */
		if (!fusion_set(s, (enum fusion)(run / GRAPH_MODE_COUNT)))
			continue;
		session_set_mode(s, mode);
		eviction_prompt(s, &options, NULL);
		/* A graph of the full cache, which must not be found afterwards. */
		OK(session_checkpoint(s, e));
		decode(s, row);
		decode(s, row);
		OK(session_rewind(s, PROMPT, e));
		eviction_evict(s);
		enum graph_event event = decode(s, to);
		if (mode != GRAPH_MODE_DIRECT)
			assert_int_equal(event, GRAPH_EVENT_CAPTURE);
		decode_some(s, DECODE - 1, to + vocab);
		prefill(s, CHUNK, to + DECODE * vocab);
		decode_some(s, AGAIN, to + (DECODE + CHUNK) * vocab);
		OK(session_rewind(s, session_position(s) - BACK, e));
		decode_some(s, BACK, to + AFTER * vocab);
		for (size_t i = 0; i < n; i++)
			if (memcmp(to + i, direct + i, sizeof *to))
				fail_msg("%s, %s, fusion %s: token %zu after the eviction is not direct's", what,
					 graph_mode_name(mode), run / GRAPH_MODE_COUNT ? "full" : "none", i / vocab);
		/* The tokens decoded again are the same ones. */
		assert_memory_equal(to + AFTER * vocab, to + (AFTER - BACK) * vocab, BACK * vocab * sizeof *to);
	}
	free(direct);
	free(rows);
	free(row);
}

/* ---- memory ---- */

/* Bytes of the global layers' caches with so many entries, from the model's shape: rows end at whole 16 bytes. */
static size_t global_bytes(const struct session *s, int entries, enum tensor_type cache)
{
	const struct model *m = session_model(s);
	const size_t block = cache == TENSOR_F32 ? 128 : cache == TENSOR_Q8_0 ? 34 : 64; /* of 32 elements */
	size_t sum = 0;
	for (int i = 0; i < m->n_layer; i++)
		if (!m->layers[i].sliding && m->layers[i].kv_source == i)
			sum += 2 * (size_t)m->layers[i].n_head_kv * (size_t)entries *
			       (((size_t)m->layers[i].head_dim / 32 * block + 15) / 16 * 16);
	return sum;
}

void eviction_gives_memory_back(int model, int n_gpu_layers, enum tensor_type cache)
{
	static const struct snapkv_options options = {.budget = 80, .window = 16, .pool = 7};
	struct session *s = eviction_session(eviction_model(model), n_gpu_layers, cache);
	struct device *d = session_device(s);
	size_t vocab = (size_t)session_model(s)->n_vocab;
	float *first = malloc(2 * vocab * sizeof *first);
	assert_non_null(first);
	size_t opened = device_memory(d).used, kv = session_stats(s).kv_bytes;
	for (int round = 0; round < 3; round++) {
		eviction_prompt(s, &options, NULL);
		struct session_eviction v = eviction_evict(s);
		assert_true(v.us > 0);
		size_t given = global_bytes(s, CONTEXT, cache) - global_bytes(s, CONTEXT - PROMPT + 80, cache);
		assert_true(v.memory_before > opened); /* by the queries */
		assert_int_equal(v.memory_after, opened - given);
		assert_int_equal(device_memory(d).used, opened - given);
		assert_int_equal(session_stats(s).kv_bytes, kv - given);
		decode(s, first + (round ? vocab : 0));
		assert_memory_equal(first, first + (round ? vocab : 0), vocab * sizeof *first);
		if (round == 1)
			eviction_prompt(s, NULL, NULL); /* and a whole prompt fits again */
		OK(session_rewind(s, 0, e));
		assert_int_equal(session_evicted(s), 0);
		assert_int_equal(device_memory(d).used, opened);
		assert_int_equal(session_stats(s).kv_bytes, kv);
	}
	session_close(s);
	free(first);
}

void eviction_survives_no_memory(int model, int n_gpu_layers)
{
	struct session *s = eviction_session(eviction_model(model), n_gpu_layers, TENSOR_F16);
	struct device *d = session_device(s);
	eviction_no_memory(s, &d, 1);
	session_close(s);
}

static void used_by(struct device *const *devices, int n, size_t *used)
{
	for (int i = 0; i < n; i++)
		used[i] = device_memory(devices[i]).used;
}

/* Allocations of one device fail. thin: the logits after an eviction, known or not yet. */
static void one_without_memory(struct session *s, struct device *const *devices, int n, int failing, float *full,
			       float *thin, bool known)
{
	static const struct snapkv_options options = {.budget = 80, .window = 16, .pool = 7};
	enum { DEVICES = 2 };
	struct device *d = devices[failing];
	size_t bytes = (size_t)session_model(s)->n_vocab * sizeof *full, used[DEVICES], now[DEVICES];
	float *row = malloc(bytes);
	struct error err;
	int failures = 0;
	assert_non_null(row);
	OK(session_rewind(s, 0, e));
	eviction_prompt(s, &options, NULL);
	OK(session_checkpoint(s, e));
	decode(s, full);
	OK(session_rewind(s, PROMPT, e));
	used_by(devices, n, used);
	for (;; failures++) {
		struct session_eviction v;
		device_fail(d, DEVICE_FAULT_ALLOC, failures, 1);
		int rc = session_evict(s, &v, &err);
		if (!rc)
			break;
		assert_int_equal(rc, ERROR_MEMORY);
		assert_int_equal(session_evicted(s), 0);
		used_by(devices, n, now);
		for (int i = 0; i < n; i++)
			assert_int_equal(now[i], used[i]);
		decode(s, row);
		assert_memory_equal(row, full, bytes);
		OK(session_rewind(s, PROMPT, e));
	}
	device_fail(d, DEVICE_FAULT_ALLOC, 0, 0);
	/* The scores, and k and v of each global cache. */
	assert_true(failures >= 3);
	decode(s, row);
	if (!known)
		memcpy(thin, row, bytes);
	assert_memory_equal(row, thin, bytes);
	assert_memory_not_equal(thin, full, bytes);
	/* Nor does a reset lose anything when there is no memory to grow into. */
	int pos = session_position(s);
	used_by(devices, n, used);
	device_fail(d, DEVICE_FAULT_ALLOC, 1, 1);
	assert_int_equal(session_rewind(s, 0, &err), ERROR_MEMORY);
	assert_int_equal(session_position(s), pos);
	used_by(devices, n, now);
	for (int i = 0; i < n; i++)
		assert_int_equal(now[i], used[i]);
	OK(session_rewind(s, PROMPT, e));
	decode(s, row);
	assert_memory_equal(row, thin, bytes);
	free(row);
}

void eviction_no_memory(struct session *s, struct device *const *devices, int n)
{
	size_t vocab = (size_t)session_model(s)->n_vocab;
	float *full = malloc(2 * vocab * sizeof *full);
	assert_non_null(full);
	for (int i = 0; i < n; i++)
		one_without_memory(s, devices, n, i, full, full + vocab, i > 0);
	free(full);
}
