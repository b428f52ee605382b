/*
 * Which entry runs a kernel on given params, and on which grid. Beside the kernels, and
 * without CUDA: the constants both sides need are in geometry.h.
 */
#include "kernels/cuda/geometry.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/cuda_kernels.h"

#define SOURCE(name) "kernels/cuda/" name ".cu"

/* X(name, source): one entry. */
#define PLAIN_ENTRIES(X)                  \
	X(embed, "elementwise")           \
	X(kv_append, "elementwise")       \
	X(add, "elementwise")             \
	X(gated, "elementwise")           \
	X(softcap, "elementwise")         \
	X(rms_norm, "norm")               \
	X(norm_add, "norm")               \
	X(rope, "rope")                   \
	X(qkv_prepare, "rope")            \
	X(moe_route, "experts")           \
	X(moe_sum, "experts")             \
	X(matmul_tiled, "matmul")         \
	X(matmul_any, "matmul")           \
	X(norm_matmul_any, "matmul")      \
	X(norm_gated_any, "matmul")       \
	X(matmul_gated_any, "matmul")     \
	X(matmul_experts_any, "matmul")   \
	X(experts_gated_any, "matmul")    \
	X(attention_combine, "attention") \
	X(snapkv_softmax, "snapkv")       \
	X(snapkv_vote, "snapkv")          \
	X(snapkv_select, "snapkv")        \
	X(snapkv_compact, "snapkv")       \
	X(dequant_to_bf16, "convert")     \
	X(dequant_to_f32, "convert")      \
	X(convert_f32_to_bf16, "convert")

/* X(name, source): an entry per weight type. */
#define TYPED_ENTRIES(X)             \
	X(matmul, "matvec")          \
	X(norm_matmul, "matvec")     \
	X(norm_gated, "matvec")      \
	X(matmul_gated, "matvec")    \
	X(matmul_experts, "experts") \
	X(experts_gated, "experts")

#define HEAD_DIMS(X) X(32) X(64) X(96) X(128) X(192) X(256) X(512)

/* X(head_dim, k, v): an entry per pair of cache types. */
#define CACHE_TYPES(X, hd) \
	X(hd, f32, f32)    \
	X(hd, f32, f16)    \
	X(hd, f32, bf16)   \
	X(hd, f16, f32)    \
	X(hd, f16, f16)    \
	X(hd, f16, bf16)   \
	X(hd, bf16, f32)   \
	X(hd, bf16, f16)   \
	X(hd, bf16, bf16)

enum entry {
#define X(name, source) ENTRY_##name,
	PLAIN_ENTRIES(X)
#undef X
#define X(name, source) ENTRY_##name##_f32, ENTRY_##name##_f16, ENTRY_##name##_bf16, ENTRY_##name##_q8_0,
		TYPED_ENTRIES(X)
#undef X
#define PREFILL(hd) ENTRY_attention_prefill_##hd,
			HEAD_DIMS(PREFILL)
#undef PREFILL
#define SPLIT(hd, k, v) ENTRY_attention_split_##hd##_##k##_##v,
#define FUSED(hd, k, v) ENTRY_attention_##hd##_##k##_##v,
#define SPLITS(hd) CACHE_TYPES(SPLIT, hd)
#define FUSEDS(hd) CACHE_TYPES(FUSED, hd)
				HEAD_DIMS(SPLITS) HEAD_DIMS(FUSEDS)
#undef SPLIT
#undef FUSED
					ENTRY_COUNT
};

const struct cuda_entry cuda_entries[] = {
#define X(name, source) {"k_" #name, SOURCE(source)},
	PLAIN_ENTRIES(X)
#undef X
#define X(name, source)                                                           \
	{"k_" #name "_f32", SOURCE(source)}, {"k_" #name "_f16", SOURCE(source)}, \
		{"k_" #name "_bf16", SOURCE(source)}, {"k_" #name "_q8_0", SOURCE(source)},
		TYPED_ENTRIES(X)
#undef X
#define PREFILL(hd) {"k_attention_prefill_" #hd, SOURCE("prefill")},
			HEAD_DIMS(PREFILL)
#undef PREFILL
#define SPLIT(hd, k, v) {"k_attention_split_" #hd "_" #k "_" #v, SOURCE("attention")},
#define FUSED(hd, k, v) {"k_attention_" #hd "_" #k "_" #v, SOURCE("attention")},
				HEAD_DIMS(SPLITS) HEAD_DIMS(FUSEDS)};
const int cuda_n_entries = ENTRY_COUNT;
static_assert(sizeof cuda_entries / sizeof *cuda_entries == ENTRY_COUNT, "every entry has its name");

#define X(hd) hd,
static const int head_dims[] = {HEAD_DIMS(X)};
#undef X
enum { N_HEAD_DIMS = sizeof head_dims / sizeof *head_dims };

static int head_dim_index(int head_dim)
{
	for (int i = 0; i < N_HEAD_DIMS; i++)
		if (head_dims[i] == head_dim)
			return i;
	return -1;
}

/* In the order of the entries' suffixes. */
static int type_index(int type)
{
	return type == TENSOR_F32 ? 0 : type == TENSOR_F16 ? 1 : type == TENSOR_BF16 ? 2 : type == TENSOR_Q8_0 ? 3 : -1;
}

static const char *const type_suffix[] = {"F32", "F16", "BF16"};

int cuda_options(const struct cuda_dims *dims, char options[CUDA_MAX_OPTIONS][CUDA_OPTION_BYTES])
{
	int n = 0;
	if (dims->n_head_dims < 1 || dims->n_head_dims > 8)
		return -1;
	snprintf(options[n++], CUDA_OPTION_BYTES, "--std=c++17");
	snprintf(options[n++], CUDA_OPTION_BYTES, "--device-as-default-execution-space");
	for (int i = 0; i < dims->n_head_dims; i++) {
		if (head_dim_index(dims->head_dims[i]) < 0)
			return -1;
		snprintf(options[n++], CUDA_OPTION_BYTES, "-DHEAD_DIM_%d", dims->head_dims[i]);
	}
	if (dims->k_type < 0) {
		for (int i = 0; i < 3; i++)
			snprintf(options[n++], CUDA_OPTION_BYTES, "-DKV_%s_%s", type_suffix[i], type_suffix[i]);
		return n;
	}
	int k = type_index(dims->k_type), v = type_index(dims->v_type);
	if (k < 0 || k > 2 || v < 0 || v > 2)
		return -1;
	snprintf(options[n++], CUDA_OPTION_BYTES, "-DKV_%s_%s", type_suffix[k], type_suffix[v]);
	return n;
}

/* ---- small helpers ---- */

static unsigned blocks_of(int64_t n, int64_t each)
{
	return (unsigned)((n + each - 1) / each);
}

static int launch3(struct cuda_launch *out, int entry, unsigned x, unsigned y, unsigned threads, size_t shared)
{
	if (!x || !y)
		return CUDA_GEOMETRY_NOTHING;
	if (x > INT32_MAX || y > 65535)
		return CUDA_GEOMETRY_UNSUPPORTED;
	*out = (struct cuda_launch){
		.grid = {x, y, 1},
		.block = {threads, 1, 1},
		.shared_bytes = (unsigned)shared,
		.entry = cuda_entries[entry].name,
		.entry_id = entry,
		.pdl = 1,
	};
	return CUDA_GEOMETRY_OK;
}

static int aligned16(const void *p)
{
	return ((uintptr_t)p & 15) == 0;
}

static unsigned whole_warps(int64_t n)
{
	return (unsigned)((n + 31) / 32 * 32);
}

/* ---- the streaming products of one token ---- */

/* 16-byte loads of whole rows are possible. */
static int streamable(const struct weight *w, const void *x)
{
	int64_t bytes = w->type == TENSOR_Q8_0 ? 1 : w->type == TENSOR_F32 ? 4 : 2;
	return type_index(w->type) >= 0 && aligned16(w->data) && aligned16(x) && w->n_in * bytes % 16 == 0 &&
	       (w->type != TENSOR_Q8_0 || (w->scales && w->n_in % 32 == 0));
}

static size_t matvec_shared_bytes(int type, int n_in, int units)
{
	return (size_t)matvec_x_bytes(type, n_in) + 32 * sizeof(float) +
	       ((size_t)units + MATVEC_THREADS / 32) * 2 * sizeof(float);
}

/* n_units in n_groups independent ranges (experts' pairs; 1 for a dense product). */
static int matvec_launch(struct cuda_launch *out, int first_entry, int type, int n_in, int64_t n_units,
			 int64_t n_groups, const struct cuda_card *card)
{
	if (!n_units || !n_groups)
		return CUDA_GEOMETRY_NOTHING;
	int64_t blocks = card->n_sm / n_groups;
	if (blocks > n_units)
		blocks = n_units;
	if (blocks * MATVEC_MAX_UNITS < n_units)
		blocks = (n_units + MATVEC_MAX_UNITS - 1) / MATVEC_MAX_UNITS;
	if (blocks < 1)
		blocks = 1;
	size_t shared = matvec_shared_bytes(type, n_in, (int)((n_units + blocks - 1) / blocks));
	if (shared > card->shared_per_block || blocks * n_groups > INT32_MAX)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return launch3(out, first_entry + type_index(type), (unsigned)(blocks * n_groups), 1, MATVEC_THREADS, shared);
}

static int any_launch(struct cuda_launch *out, int entry, int64_t n_rows, int64_t n_groups, size_t shared)
{
	return launch3(out, entry, blocks_of(n_rows, ANY_THREADS / 32), (unsigned)n_groups, ANY_THREADS, shared);
}

static int normed_any_launch(struct cuda_launch *out, int entry, int64_t n_rows, int n, const struct cuda_card *card)
{
	size_t shared = (32 + (size_t)n) * sizeof(float);
	return shared > card->shared_per_block ? CUDA_GEOMETRY_UNSUPPORTED : any_launch(out, entry, n_rows, 1, shared);
}

static int64_t pairs(int n_out)
{
	return ((int64_t)n_out + 1) / 2;
}

static int geometry_matmul(const struct matmul_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	if (p->n_tokens > 1)
		return launch3(out, ENTRY_matmul_tiled, blocks_of(p->w.n_out, TILE), blocks_of(p->n_tokens, TILE),
			       TILE_THREADS, 0);
	if (!p->n_tokens)
		return CUDA_GEOMETRY_NOTHING;
	if (streamable(&p->w, p->x)) {
		int rc = matvec_launch(out, ENTRY_matmul_f32, p->w.type, p->w.n_in, pairs(p->w.n_out), 1, card);
		if (rc != CUDA_GEOMETRY_UNSUPPORTED)
			return rc;
	}
	return any_launch(out, ENTRY_matmul_any, p->w.n_out, 1, 0);
}

static int geometry_norm_matmul(const struct norm_matmul_params *p, const struct cuda_card *card,
				struct cuda_launch *out)
{
	int64_t units = 0, rows = 0;
	int fits = aligned16(p->weight) && aligned16(p->normed);
	if (p->n_tokens != 1 || p->n_matmuls < 1 || p->n_matmuls > 3)
		return CUDA_GEOMETRY_UNSUPPORTED;
	for (int i = 0; i < p->n_matmuls; i++) {
		fits = fits && streamable(&p->w[i], p->x) && p->w[i].type == p->w[0].type && p->w[i].n_in == p->n;
		units += pairs(p->w[i].n_out);
		rows += p->w[i].n_out;
	}
	if (fits) {
		int rc = matvec_launch(out, ENTRY_norm_matmul_f32, p->w[0].type, p->n, units, 1, card);
		if (rc != CUDA_GEOMETRY_UNSUPPORTED)
			return rc;
	}
	return normed_any_launch(out, ENTRY_norm_matmul_any, rows, p->n, card);
}

static int geometry_norm_gated(const struct norm_gated_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	if (p->n_tokens != 1)
		return CUDA_GEOMETRY_UNSUPPORTED;
	if (streamable(&p->w_gate, p->x) && streamable(&p->w_up, p->x) && aligned16(p->weight) &&
	    p->w_gate.type == p->w_up.type) {
		int rc = matvec_launch(out, ENTRY_norm_gated_f32, p->w_gate.type, p->n, p->w_gate.n_out, 1, card);
		if (rc != CUDA_GEOMETRY_UNSUPPORTED)
			return rc;
	}
	return normed_any_launch(out, ENTRY_norm_gated_any, p->w_gate.n_out, p->n, card);
}

static int geometry_matmul_gated(const struct matmul_gated_params *p, const struct cuda_card *card,
				 struct cuda_launch *out)
{
	if (p->n_tokens != 1)
		return CUDA_GEOMETRY_UNSUPPORTED;
	if (streamable(&p->w, p->x)) {
		int rc = matvec_launch(out, ENTRY_matmul_gated_f32, p->w.type, p->w.n_in, pairs(p->w.n_out), 1, card);
		if (rc != CUDA_GEOMETRY_UNSUPPORTED)
			return rc;
	}
	return any_launch(out, ENTRY_matmul_gated_any, p->w.n_out, 1, 0);
}

static int geometry_matmul_experts(const struct matmul_experts_params *p, const struct cuda_card *card,
				   struct cuda_launch *out)
{
	int64_t n_pairs = (int64_t)p->n_tokens * p->n_used;
	if (streamable(&p->w, p->x)) {
		int rc = matvec_launch(out, ENTRY_matmul_experts_f32, p->w.type, p->w.n_in, pairs(p->w.n_out), n_pairs,
				       card);
		if (rc != CUDA_GEOMETRY_UNSUPPORTED)
			return rc;
	}
	return any_launch(out, ENTRY_matmul_experts_any, p->w.n_out, n_pairs, 0);
}

static int geometry_experts_gated(const struct experts_gated_params *p, const struct cuda_card *card,
				  struct cuda_launch *out)
{
	int64_t n_pairs = (int64_t)p->n_tokens * p->n_used;
	if (streamable(&p->w, p->x)) {
		int rc = matvec_launch(out, ENTRY_experts_gated_f32, p->w.type, p->w.n_in, p->w.n_out / 2, n_pairs,
				       card);
		if (rc != CUDA_GEOMETRY_UNSUPPORTED)
			return rc;
	}
	return any_launch(out, ENTRY_experts_gated_any, p->w.n_out / 2, n_pairs, 0);
}

/* ---- attention ---- */

static int cache_ok(const struct kv *kv, int n_heads)
{
	return kv->n_kv_heads > 0 && n_heads % kv->n_kv_heads == 0 && head_dim_index(kv->head_dim) >= 0 &&
	       type_index(kv->type) >= 0 && type_index(kv->type) < 3 && type_index(kv->v_type) >= 0 &&
	       type_index(kv->v_type) < 3 && aligned16(kv->k) && aligned16(kv->v);
}

static int geometry_split(const struct attention_split_params *p, int fused, const struct cuda_card *card,
			  struct cuda_launch *out)
{
	const struct kv *kv = &p->kv;
	if (!cache_ok(kv, p->n_heads))
		return CUDA_GEOMETRY_UNSUPPORTED;
	int group = p->n_heads / kv->n_kv_heads;
	int groups = kv->n_kv_heads * ((group + ATTENTION_HEADS - 1) / ATTENTION_HEADS);
	size_t merge = (size_t)(ATTENTION_THREADS / 32 * ATTENTION_HEADS) * (size_t)kv->head_dim;
	size_t factors = (size_t)ATTENTION_HEADS * (size_t)p->n_splits;
	size_t shared = ((size_t)(ATTENTION_HEADS * kv->head_dim) + 2 * ATTENTION_THREADS / 32 * ATTENTION_HEADS +
			 (factors > merge ? factors : merge)) *
			sizeof(float);
	if (groups > ATTENTION_MAX_GROUPS || shared > card->shared_per_block)
		return CUDA_GEOMETRY_UNSUPPORTED;
	int entry = (fused ? ENTRY_attention_32_f32_f32 : ENTRY_attention_split_32_f32_f32) +
		    head_dim_index(kv->head_dim) * 9 + type_index(kv->type) * 3 + type_index(kv->v_type);
	return launch3(out, entry, (unsigned)p->n_splits, (unsigned)groups, ATTENTION_THREADS, shared);
}

static int geometry_combine(const struct attention_combine_params *p, const struct cuda_card *card,
			    struct cuda_launch *out)
{
	size_t shared = (size_t)p->n_splits * sizeof(float);
	if (shared > card->shared_per_block)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return launch3(out, ENTRY_attention_combine, (unsigned)p->n_heads, 1, ATTENTION_THREADS, shared);
}

static int geometry_prefill(const struct attention_prefill_params *p, const struct cuda_card *card,
			    struct cuda_launch *out)
{
	const struct kv *kv = &p->kv;
	if (!cache_ok(kv, p->n_heads) || !aligned16(p->q))
		return CUDA_GEOMETRY_UNSUPPORTED;
	int group = p->n_heads / kv->n_kv_heads, rows = prefill_rows(kv->head_dim);
	size_t shared = (size_t)prefill_shared_bytes(kv->head_dim);
	if (group > rows || shared > card->shared_per_block)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return launch3(out, ENTRY_attention_prefill_32 + head_dim_index(kv->head_dim),
		       blocks_of(p->n_tokens, rows / group), (unsigned)kv->n_kv_heads, PREFILL_THREADS, shared);
}

/* ---- SnapKV ---- */

static int vote_ok(const struct kv *kv, const float *q, int n_heads, int window, int n_keys)
{
	return cache_ok(kv, n_heads) && kv->ring == 0 && aligned16(q) && window > 0 && window <= n_keys &&
	       n_keys <= kv->capacity;
}

static int geometry_softmax(const struct snapkv_softmax_params *p, struct cuda_launch *out)
{
	const struct kv *kv = &p->kv;
	if (!vote_ok(kv, p->q, p->n_heads, p->window, p->n_keys) || p->split_len < 1 ||
	    (int64_t)p->split_len * p->n_splits < p->n_keys)
		return CUDA_GEOMETRY_UNSUPPORTED;
	unsigned tiles = blocks_of((int64_t)p->window * (p->n_heads / kv->n_kv_heads), SNAPKV_ROWS);
	return launch3(out, ENTRY_snapkv_softmax, (unsigned)p->n_splits, tiles * (unsigned)kv->n_kv_heads,
		       SNAPKV_THREADS, 0);
}

static int geometry_vote(const struct snapkv_vote_params *p, struct cuda_launch *out)
{
	const struct kv *kv = &p->kv;
	if (!vote_ok(kv, p->q, p->n_heads, p->window, p->n_keys))
		return CUDA_GEOMETRY_UNSUPPORTED;
	return launch3(out, ENTRY_snapkv_vote, blocks_of(p->n_keys - p->window, SNAPKV_KEYS), (unsigned)kv->n_kv_heads,
		       SNAPKV_THREADS, 0);
}

static int geometry_select(const struct snapkv_select_params *p, struct cuda_launch *out)
{
	if (p->window > p->budget || p->budget >= p->n_keys || p->pool % 2 == 0)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return launch3(out, ENTRY_snapkv_select, (unsigned)p->n_kv_heads, 1, SNAPKV_SELECT_THREADS, 0);
}

static int geometry_compact(const struct snapkv_compact_params *p, struct cuda_launch *out)
{
	const struct kv *from = &p->from, *to = &p->to;
	if (!cache_ok(from, from->n_kv_heads) || !cache_ok(to, from->n_kv_heads) || from->ring || to->ring ||
	    from->type != to->type || from->v_type != to->v_type || p->n_kept > to->capacity)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return launch3(out, ENTRY_snapkv_compact, blocks_of(p->n_kept, SNAPKV_THREADS / 32), (unsigned)from->n_kv_heads,
		       SNAPKV_THREADS, 0);
}

/* ---- the rest ---- */

/* A thread holds NORM_HELD vectors of four. */
static unsigned norm_threads(int n)
{
	unsigned vecs = blocks_of(n, 4);
	unsigned least = whole_warps((vecs + NORM_HELD - 1) / NORM_HELD), most = whole_warps(vecs);
	unsigned threads = most < 256 ? most : 256;
	if (threads < least)
		threads = least;
	return threads < 1024 ? threads : 1024;
}

static unsigned pair_threads(int head_dim)
{
	unsigned threads = whole_warps(head_dim / 2);
	return threads < 256 ? threads : 256;
}

static int elements(struct cuda_launch *out, int entry, int64_t n, int64_t rows)
{
	return launch3(out, entry, blocks_of(n, 256), (unsigned)rows, 256, 0);
}

int cuda_geometry(enum kernel k, const void *params, const struct cuda_card *card, struct cuda_launch *out)
{
	switch (k) {
	case KERNEL_embed: {
		const struct embed_params *p = params;
		return elements(out, ENTRY_embed, blocks_of(p->table.n_in, 4), p->tokens ? p->n_tokens : 1);
	}
	case KERNEL_rms_norm: {
		const struct rms_norm_params *p = params;
		return launch3(out, ENTRY_rms_norm, (unsigned)p->n_rows, 1, norm_threads(p->n), 0);
	}
	case KERNEL_matmul:
		return geometry_matmul(params, card, out);
	case KERNEL_rope: {
		const struct rope_params *p = params;
		return launch3(out, ENTRY_rope, (unsigned)p->n_tokens * (unsigned)p->n_heads, 1,
			       pair_threads(p->head_dim), 0);
	}
	case KERNEL_kv_append: {
		const struct kv_append_params *p = params;
		return launch3(out, ENTRY_kv_append, (unsigned)p->n_tokens * (unsigned)p->kv.n_kv_heads, 1, 256, 0);
	}
	case KERNEL_attention_split:
		return geometry_split(params, 0, card, out);
	case KERNEL_attention_combine:
		return geometry_combine(params, card, out);
	case KERNEL_attention_prefill:
		return geometry_prefill(params, card, out);
	case KERNEL_add:
		return elements(out, ENTRY_add, ((const struct add_params *)params)->n, 1);
	case KERNEL_gated: {
		const struct gated_params *p = params;
		return elements(out, ENTRY_gated, p->n, p->n_rows < 65535 ? p->n_rows : 65535);
	}
	case KERNEL_softcap:
		return elements(out, ENTRY_softcap, ((const struct softcap_params *)params)->n, 1);
	case KERNEL_moe_route: {
		const struct moe_route_params *p = params;
		return launch3(out, ENTRY_moe_route, (unsigned)p->n_tokens, 1, 32,
			       (size_t)p->n_expert * (sizeof(float) + 1));
	}
	case KERNEL_matmul_experts:
		return geometry_matmul_experts(params, card, out);
	case KERNEL_moe_sum: {
		const struct moe_sum_params *p = params;
		return elements(out, ENTRY_moe_sum, p->n, p->n_tokens);
	}
	case KERNEL_norm_matmul:
		return geometry_norm_matmul(params, card, out);
	case KERNEL_qkv_prepare: {
		const struct qkv_prepare_params *p = params;
		if (p->head_dim > 2 * 256)
			return CUDA_GEOMETRY_UNSUPPORTED;
		return launch3(out, ENTRY_qkv_prepare,
			       (unsigned)p->n_tokens * (unsigned)(p->n_heads + (p->k ? p->kv.n_kv_heads : 0)), 1,
			       pair_threads(p->head_dim), 0);
	}
	case KERNEL_attention:
		return geometry_split(&((const struct attention_params *)params)->split, 1, card, out);
	case KERNEL_norm_add: {
		const struct norm_add_params *p = params;
		return launch3(out, ENTRY_norm_add, (unsigned)p->n_rows, 1, norm_threads(p->n), 0);
	}
	case KERNEL_norm_gated:
		return geometry_norm_gated(params, card, out);
	case KERNEL_matmul_gated:
		return geometry_matmul_gated(params, card, out);
	case KERNEL_experts_gated:
		return geometry_experts_gated(params, card, out);
	case KERNEL_snapkv_softmax:
		return geometry_softmax(params, out);
	case KERNEL_snapkv_vote:
		return geometry_vote(params, out);
	case KERNEL_snapkv_select:
		return geometry_select(params, out);
	case KERNEL_snapkv_compact:
		return geometry_compact(params, out);
	case KERNEL_COUNT:
		break;
	}
	return CUDA_GEOMETRY_UNSUPPORTED;
}

int cuda_geometry_dequant(const struct dequant_params *p, int to_bf16, const struct cuda_card *card,
			  struct cuda_launch *out)
{
	(void)card;
	return elements(out, to_bf16 ? ENTRY_dequant_to_bf16 : ENTRY_dequant_to_f32,
			(int64_t)p->n_rows * blocks_of(p->w.n_in, 8), 1);
}

int cuda_geometry_convert(const struct convert_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return elements(out, ENTRY_convert_f32_to_bf16, (int64_t)p->n_rows * blocks_of(p->n, 4), 1);
}
