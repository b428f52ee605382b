/*
 * A trained model, which ci/setup.sh --real-model fetches: Gemma 3 270M in Q4_K, Q5_0, Q6_K and Q8_0, against what
 * another implementation computes with the same weights (tests/golden/README.md). On the host, and on a GPU where there
 * is one. Exits with 77 where the file is not there.
 */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "engine/infer/session.h"
#include "engine/model/synth.h"
#include "engine/model/tensor_type.h"
#include "engine/text/tokenizer.h"
#include "kernels/cpu/cpu.h"
#include "tests/support/forced.h"
#include "tests/support/fusions.h"
#include "tests/support/sanitized.h"

static const char path[] = "../build/real-model/gemma-3-270m-q4_k_m.gguf";

enum {
	TOKENS = 84,
	IDS = 1078,
	VOCAB = 262144,
	DECODED = 6,
	GENERATED = 24,
	FEW = 6,
	VALUES = 1 << 16,
	LARGE = 1 << 24
};

static const double TOLERANCE = 1e-4; /* relative L2 of a row, float32 cache and prefill */
static const double PERPLEXITY = 72.1515;

struct reference {
	struct golden g; /* tokens only */
	int32_t ids[IDS];
	float logits[TOKENS * IDS];
	int32_t argmax[TOKENS];
	double logsumexp[TOKENS];
};

static void read_file(const char *name, void *out, size_t bytes)
{
	char file[96];
	snprintf(file, sizeof file, "golden/gemma3-270m/%s", name);
	FILE *f = fopen(file, "rb");
	if (!f)
		fail_msg("%s is missing", file);
	assert_int_equal(fread(out, 1, bytes, f), bytes);
	assert_int_equal(fgetc(f), EOF);
	fclose(f);
}

static struct reference *reference_load(void)
{
	struct reference *r = calloc(1, sizeof *r);
	int32_t tokens[TOKENS];
	assert_non_null(r);
	read_file("tokens.i32", tokens, sizeof tokens);
	read_file("ids.i32", r->ids, sizeof r->ids);
	read_file("logits.f32", r->logits, sizeof r->logits);
	read_file("argmax.i32", r->argmax, sizeof r->argmax);
	read_file("logsumexp.f64", r->logsumexp, sizeof r->logsumexp);
	snprintf(r->g.path, sizeof r->g.path, "%s", path);
	r->g.n_tokens = TOKENS;
	r->g.n_vocab = VOCAB;
	for (int i = 0; i < TOKENS; i++)
		r->g.tokens[i] = tokens[i];
	return r;
}

static double logsumexp(const float *row)
{
	double most = (double)row[argmax(row, VOCAB)], sum = 0;
	for (int i = 0; i < VOCAB; i++)
		sum += exp((double)row[i] - most);
	return most + log(sum);
}

static void compare(const struct reference *r, const float *rows, int begin, const char *what)
{
	double surprise = 0, worst = 0;
	for (int i = begin; i < TOKENS; i++) {
		const float *row = rows + (size_t)i * VOCAB;
		float got[IDS];
		for (int k = 0; k < IDS; k++)
			got[k] = row[r->ids[k]];
		double off = relative_l2(got, r->logits + (size_t)i * IDS, IDS), total = logsumexp(row);
		if (!(off <= TOLERANCE))
			fail_msg("%s: token %d: relative L2 %.3g > %.3g", what, i, off, TOLERANCE);
		worst = fmax(worst, off);
		if (argmax(row, VOCAB) != r->argmax[i])
			fail_msg("%s: token %d: argmax %d, expected %d", what, i, argmax(row, VOCAB), r->argmax[i]);
		if (!(fabs(total - r->logsumexp[i]) <= TOLERANCE * fabs(r->logsumexp[i])))
			fail_msg("%s: token %d: logsumexp %.9g, expected %.9g", what, i, total, r->logsumexp[i]);
		if (i + 1 < TOKENS)
			surprise += total - (double)row[r->g.tokens[i + 1]];
	}
	if (begin)
		return;
	double perplexity = exp(surprise / (TOKENS - 1));
	print_message("golden gemma-3-270m-q4_k_m %s: worst row %.2g, perplexity %.4f\n", what, worst, perplexity);
	assert_true(fabs(perplexity - PERPLEXITY) <= 0.01);
}

static struct session *open_session(int gpu_layers)
{
	struct session_options o;
	struct session *s;
	session_options_default(&o);
	o.load.n_gpu_layers = gpu_layers;
	o.load.n_threads = 2;
	o.context = TOKENS;
	o.load.batch = TOKENS;
	o.load.k_type = o.load.v_type = TENSOR_F32;
	o.load.prefill = PREFILL_F32;
	OK(session_open(&s, path, &o, e));
	return s;
}

static bool has_fusion(struct session *s, enum fusion f)
{
	if (fusion_set(s, f))
		return true;
	print_message("golden gemma-3-270m-q4_k_m has no fusion %s on %s\n", fusion_name(f), session_device_name(s));
	return false;
}

/* Sets it, where the device has it. */
static bool has_mode(struct session *s, enum graph_mode m)
{
	struct error err;
	if (session_mode_check(s, m, &err)) {
		print_message("golden gemma-3-270m-q4_k_m has no %s on %s: %s\n", graph_mode_name(m),
			      session_device_name(s), err.text);
		return false;
	}
	session_set_mode(s, m);
	return true;
}

/*
 * The last few tokens in every mode and fusion that the device has, from the checkpoint in front of them: in a fusion
 * all modes have direct's bits. judged: against the reference. Sanitized, which takes minutes: in the first and the
 * last mode. Where first is not null it receives the first fusion's direct rows, (DECODED, VOCAB).
 */
static void check_modes(struct session *s, const struct reference *r, float *rows, bool judged, float *first)
{
	enum { FROM = TOKENS - DECODED };
	const size_t bytes = (size_t)DECODED * VOCAB * sizeof *rows;
	float *last = rows + (size_t)FROM * VOCAB, *direct = malloc(bytes);
	assert_non_null(direct);
	for (int fusion = FUSION_NONE; fusion < FUSION_COUNT; fusion++) {
		if (!has_fusion(s, (enum fusion)fusion))
			continue;
		for (int mode = 0; mode < GRAPH_MODE_COUNT; mode += SANITIZED ? GRAPH_MODE_COUNT - 1 : 1) {
			char what[96];
			if (!has_mode(s, (enum graph_mode)mode))
				continue;
			snprintf(what, sizeof what, "%s, fusion %s on %s", graph_mode_name((enum graph_mode)mode),
				 fusion_name((enum fusion)fusion), session_device_name(s));
			OK(session_rewind(s, FROM, e));
			for (int i = FROM; i < TOKENS; i++) {
				struct token_timing t;
				const float *row;
				OK(session_decode(s, r->g.tokens[i], &t, e));
				OK(session_logits(s, &row, e));
				if (t.event == GRAPH_EVENT_FALLBACK)
					fail_msg("%s: %s", what, session_fallback_reason(s));
				memcpy(rows + (size_t)i * VOCAB, row, VOCAB * sizeof *row);
			}
			if (judged)
				compare(r, rows, FROM, what);
			if (mode == GRAPH_MODE_DIRECT)
				memcpy(direct, last, bytes);
			else if (memcmp(direct, last, bytes))
				fail_msg("%s: not the bits of direct%s", what, judged ? "" : ", behind an eviction");
		}
		if (first && fusion == FUSION_NONE)
			memcpy(first, direct, bytes);
	}
	free(direct);
}

/* All tokens in one prefill, and one by one; then the last few in all modes, of the whole cache and of what is left. */
static void check(struct session *s)
{
	static const struct snapkv_options evict = {.budget = 24, .window = 8, .pool = 7};
	const size_t few = (size_t)DECODED * VOCAB;
	struct reference *r = reference_load();
	struct session_eviction done;
	float *rows = malloc((size_t)TOKENS * VOCAB * sizeof *rows), *first = malloc(2 * few * sizeof *first);
	assert_true(rows && first);
	for (int split = TOKENS; split >= (SANITIZED ? 1 : 0); split -= TOKENS) {
		teacher_force(s, &r->g, split, TOKENS, rows);
		char what[48];
		snprintf(what, sizeof what, "%s on %s", split ? "prefill" : "decode", session_device_name(s));
		compare(r, rows, 0, what);
	}
	OK(session_rewind(s, 0, e));
	OK(session_prefill(s, r->g.tokens, TOKENS - DECODED, NULL, e));
	OK(session_checkpoint(s, e));
	check_modes(s, r, rows, true, first);
	OK(session_rewind(s, 0, e));
	OK(session_observe(s, &evict, TOKENS - DECODED, e));
	OK(session_prefill(s, r->g.tokens, TOKENS - DECODED, NULL, e));
	OK(session_evict(s, &done, e));
	assert_int_equal(session_evicted(s), TOKENS - DECODED - evict.budget);
	OK(session_checkpoint(s, e));
	check_modes(s, r, rows, false, first + few);
	assert_memory_not_equal(first, first + few, few * sizeof *first);
	free(first);
	free(rows);
	free(r);
}

/* The text of what is chosen behind the last token, in the session's mode and fusion. */
static void generate(struct session *s, const struct tokenizer *t, int tokens, char *text, size_t size,
		     const char *what)
{
	struct sampling_options greedy;
	struct text_stream stream;
	size_t n = 0;
	int token;
	sampling_options_default(&greedy);
	text_stream_init(&stream, t, false);
	OK(session_generate_begin(s, &greedy, tokens, -1, e));
	for (int i = 0;; i++) {
		struct token_timing timing = {0};
		char piece[TEXT_STREAM_MAX];
		OK(session_generate_next(s, &token, &timing, e));
		if (token < 0) {
			assert_int_equal(i, tokens);
			break;
		}
		if (timing.event == GRAPH_EVENT_FALLBACK)
			fail_msg("%s: %s", what, session_fallback_reason(s));
		size_t bytes = text_stream_token(&stream, token, piece);
		assert_true(n + bytes < size);
		memcpy(text + n, piece, bytes);
		n += bytes;
	}
	OK(session_generate_end(s, e));
	text[n] = '\0';
}

/*
 * Greedily, as transformers goes on, letter for letter, in every mode and fusion that the device has. On the host,
 * where a token takes long and graphs replay what is launched directly, all the text in two of the modes, else its
 * beginning.
 */
static void check_continuation(struct session *s)
{
	static const char prompt[] = "The capital of France is";
	static const char want[] = " the capital of the country of France. It is the largest city in France and the "
				   "second largest city in Europe. It";
	struct gguf g;
	struct tokenizer *t;
	struct token_ids ids = {0};
	const bool gpu = strcmp(session_device_name(s), "cuda") == 0;
	OK(gguf_open(&g, path, e));
	OK(tokenizer_open(&t, &g, e));
	gguf_close(&g);
	OK(tokenizer_begin(t, &ids, e));
	OK(tokenizer_encode(t, prompt, sizeof prompt - 1, false, &ids, e));
	OK(session_rewind(s, 0, e));
	OK(session_prefill(s, ids.ids, (int)ids.n - 1, NULL, e));
	OK(session_checkpoint(s, e));
	for (int fusion = FUSION_NONE; fusion < FUSION_COUNT; fusion++) {
		if (!has_fusion(s, (enum fusion)fusion))
			continue;
		for (int mode = 0; mode < GRAPH_MODE_COUNT; mode += SANITIZED ? GRAPH_MODE_COUNT - 1 : 1) {
			char what[96], text[256];
			if (!has_mode(s, (enum graph_mode)mode))
				continue;
			snprintf(what, sizeof what, "%s, fusion %s on %s", graph_mode_name((enum graph_mode)mode),
				 fusion_name((enum fusion)fusion), session_device_name(s));
			OK(session_rewind(s, (int)ids.n - 1, e));
			OK(session_decode(s, ids.ids[ids.n - 1], NULL, e));
			bool all = gpu || mode == GRAPH_MODE_DIRECT || mode == GRAPH_MODE_LOOP;
			generate(s, t, all ? GENERATED : FEW, text, sizeof text, what);
			if (all ? strcmp(text, want) : !*text || strncmp(text, want, strlen(text)))
				fail_msg("%s goes on with '%s', expected '%s'", what, text, want);
		}
	}
	token_ids_free(&ids);
	tokenizer_close(t);
}

static void test_host(void **state)
{
	(void)state;
	struct session *s = open_session(0);
	check(s);
	check_continuation(s);
	session_close(s);
}

static void test_gpu(void **state)
{
	(void)state;
	struct session *s = open_session(-1);
	bool there = strcmp(session_device_name(s), "cuda") == 0;
	if (there) {
		check(s);
		check_continuation(s);
	} else {
		print_message("SKIP: %s\n", session_gpu_reason(s));
	}
	session_close(s);
	if (!there)
		skip();
}

/* What `model make` writes of this shape and mixture is the file but for its values and its vocabulary's text. */
static void test_synthetic(void **state)
{
	(void)state;
	struct synth_options o;
	struct synth_plan p;
	struct gguf g;
	synth_options_default(&o, "gemma3-270m");
	o.mix = synth_mix_parse("q4_k_m", &o.type);
	o.ple_type = o.type;
	OK(synth_plan_init(&p, &o, e));
	OK(gguf_open(&g, path, e));
	assert_int_equal(p.n_tensors, g.n_tensors);
	for (int i = 0; i < p.n_tensors; i++) {
		const struct synth_tensor *made = &p.tensors[i];
		const struct gguf_tensor *real = gguf_find_tensor(&g, made->name);
		if (!real || real->type != made->type || memcmp(real->ne, made->ne, sizeof real->ne))
			fail_msg("%s is another tensor", made->name);
	}
	gguf_close(&g);
	synth_plan_free(&p);
}

static uint64_t hash_of_values(const struct gguf_tensor *t, size_t n)
{
	const struct tensor_traits *traits = tensor_type_traits(t->type);
	struct hash_stream *h = hash_stream_new();
	static float values[VALUES];
	assert_non_null(h);
	for (size_t done = 0; done < n; done += VALUES) {
		const size_t part = n - done < VALUES ? n - done : VALUES;
		cpu_to_f32((const char *)t->data + done / (size_t)traits->block * (size_t)traits->block_bytes, t->type,
			   values, part);
		hash_stream_add(h, values, part * sizeof *values);
	}
	uint64_t value = hash_stream_value(h);
	hash_stream_free(h);
	return value;
}

/* Every tensor's values are those that the gguf package has of it, bit for bit (make_gemma3_270m_values.py). */
static void test_values(void **state)
{
	(void)state;
	struct gguf g;
	FILE *f = fopen("golden/gemma3-270m/values.txt", "r");
	char name[65], type[16];
	unsigned long long elements;
	uint64_t want;
	size_t n = 0;
	assert_non_null(f);
	OK(gguf_open(&g, path, e));
	for (; fscanf(f, "%64s %15s %llu %" SCNx64, name, type, &elements, &want) == 4; n++) {
		const struct gguf_tensor *t = gguf_find_tensor(&g, name);
		if (!t)
			fail_msg("%s is missing", name);
		assert_string_equal(tensor_type_traits(t->type)->name, type);
		assert_int_equal(tensor_type_bytes(t->type, elements), t->bytes);
		for (int isa = 0; isa <= (int)cpu_isa_best(); isa++) {
			if (isa != (int)cpu_isa_best() && elements > LARGE)
				continue; /* the embeddings are two thirds of the model */
			assert_int_equal(cpu_isa_force((enum cpu_isa)isa), 0);
			uint64_t got = hash_of_values(t, elements);
			if (got != want)
				fail_msg("%s, %s, %s: values of hash %016" PRIx64 ", the package's have %016" PRIx64,
					 name, type, cpu_isa_name((enum cpu_isa)isa), got, want);
		}
	}
	assert_true(feof(f));
	assert_int_equal(n, g.n_tensors);
	fclose(f);
	gguf_close(&g);
}

int main(void)
{
	if (access(path, R_OK)) {
		printf("%s is not there; ci/setup.sh --real-model fetches it\n", path);
		return 77;
	}
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_synthetic), cmocka_unit_test(test_values),
					   cmocka_unit_test(test_host), cmocka_unit_test(test_gpu)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
