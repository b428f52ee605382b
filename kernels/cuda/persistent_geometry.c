/* The plan of a token's program: one block a multiprocessor, and as many stages of weights as its shared memory has
 * room for. */
#include "kernels/cuda/persistent_geometry.h"

#include "kernels/cuda/geometry.h"
#include "kernels/cuda/products.h"

enum {
	/*
	 * Bytes on their way at once, to each multiprocessor. What polls for activations queues behind them in the L2:
	 * fewer while a phase that needs little is loaded, and at the start of the widest. Of this kernel, E4B's shapes
	 * on an H100, limits from 22 to 120 KiB made no difference: it waits for other things still.
	 */
	SMALL_LIMIT = 28 << 10,
	WIDE_FIRST_LIMIT = 22 << 10,
	WIDE_LIMIT = 56 << 10,
	WIDE_FIRST_JOBS = 3,
	JOBS_A_BLOCK = 4, /* that splits of the columns are made for: what a job too many costs is shared out then */
	COLUMNS_A_SPLIT = 2048, /* at least: shorter rows are too many copies */
	OLDEST_CC = 90,         /* bulk copies into shared memory */
};

static int greater(int a, int b)
{
	return a > b ? a : b;
}

static const char *plan_matrix(const struct persistent_product *p, const struct weight *w)
{
	if (!products_streamable(w, NULL) || w->type != p->w[0].type || w->n_in != p->w[0].n_in || w->n_expert > 1)
		return "reads a product's rows in 16-byte vectors, of one type, which these weights do not allow";
	/* Copies of scales are rounded out to 16 bytes: none of the matrix's end may lie behind it. */
	if (w->type == TENSOR_Q8_0 && (!aligned16(w->scales) || (int64_t)w->n_out * (w->n_in / 32) % 8))
		return "needs scales of Q8_0 in whole vectors of 16 bytes";
	return NULL;
}

/* Splits of the columns of a product whose sum is the stream's next input. All jobs of a block are of one split. */
static int shift_of(const struct persistent_program *g, const struct weight *w, int tiles)
{
	for (int shift = 2; shift > 0; shift--) {
		int n = 1 << shift;
		if (g->n_blocks % n == 0 && w->n_in >= n * COLUMNS_A_SPLIT &&
		    tiles * (n - 1) < JOBS_A_BLOCK * g->n_blocks)
			return shift;
	}
	return 0;
}

/* Rows of a quarter are then one copy, and their scales one more. */
static int is_whole(const struct persistent_product *p)
{
	struct columns all = persistent_split(p->w[0].n_in, 0, 0);
	int rows = p->output == PERSISTENT_GATED ? PERSISTENT_TILE / 2 : PERSISTENT_TILE;
	if (p->shift || persistent_slicing(p->w[0].type, all).n != 1 || p->w[0].n_in % 64)
		return 0;
	for (int i = 0; i < p->n_w; i++)
		if (p->w[i].n_out % rows)
			return 0;
	return 1;
}

static const char *plan_product(struct persistent_program *g, struct persistent_product *p, int *rotate)
{
	int gated = p->output == PERSISTENT_GATED, wide = gated || p->output == PERSISTENT_LOGITS, tiles = 0;
	const struct weight *w = &p->w[0];
	for (int i = 0; i < p->n_w; i++) {
		const char *why = plan_matrix(p, &p->w[i]);
		if (why)
			return why;
		if (!gated)
			tiles += persistent_tiles(p->w[i].n_out);
	}
	if (gated) /* half a tile of either */
		tiles = persistent_tiles(2 * w->n_out);
	p->shift = p->stream ? 0 : shift_of(g, w, tiles);
	p->n_jobs = tiles << p->shift;
	p->whole = is_whole(p);
	p->rotate = *rotate;
	*rotate = (*rotate + p->n_jobs) % g->n_blocks;
	p->first_jobs = gated ? WIDE_FIRST_JOBS : 0;
	p->first_limit = WIDE_FIRST_LIMIT;
	p->limit = wide || w->n_in > g->n_embd ? WIDE_LIMIT : SMALL_LIMIT;
	for (int split = 0; split < 1 << p->shift; split++) {
		const struct columns c = persistent_split(w->n_in, p->shift, split);
		const struct slicing slicing = persistent_slicing(w->type, c);
		g->x_bytes = greater(g->x_bytes, persistent_x_bytes(w->type, c.end - c.begin));
		for (int i = 0; i < slicing.n; i++) {
			const struct columns k = persistent_slice(c, slicing, i);
			g->row_stride = greater(g->row_stride, (k.end - k.begin) * element_bytes(w->type));
			if (w->type == TENSOR_Q8_0) /* copied from a multiple of 16 bytes on */
				g->scale_stride =
					greater(g->scale_stride, (14 + (k.end - k.begin) / 32 * 2 + 15) / 16 * 16);
		}
	}
	return NULL;
}

/* Whoever takes what a product leaves must sum its splits. */
static void plan_parts(const struct persistent_program *g, struct persistent_phase *phases)
{
	for (int i = 0; i < g->n_phases; i++) {
		struct persistent_product *p = &phases[i].of.product;
		if (phases[i].kind != PERSISTENT_PRODUCT || !p->stream || !p->in)
			continue;
		/* Built without memory all vectors are null: any product will do that is not of the stream. */
		for (int j = i - 1; j >= 0; j--)
			if (phases[j].kind == PERSISTENT_PRODUCT && phases[j].of.product.y[0] == p->in) {
				p->n_parts = 1 << phases[j].of.product.shift;
				break;
			}
	}
}

static const char *plan_attention(struct persistent_program *g, struct persistent_attention *p)
{
	const struct kv *kv = &p->kv;
	if (!geometry_cache_fits(kv, p->n_heads))
		return "has no attention for these heads and caches";
	int group = p->n_heads / kv->n_kv_heads;
	int groups = kv->n_kv_heads * ((group + PERSISTENT_HEADS - 1) / PERSISTENT_HEADS);
	p->most_splits = greater(g->n_blocks / groups, 1);
	g->partial_bytes = greater(g->partial_bytes, p->n_heads * p->most_splits * (kv->head_dim + 2) * 8);
	g->x_bytes = greater(g->x_bytes, persistent_attention_bytes(kv->head_dim));
	g->k_type = kv->type;
	g->v_type = kv->v_type;
	return NULL;
}

/* So that eight rows' vectors of 64 bytes, or their scales, are in different banks. */
static void plan_strides(struct persistent_program *g)
{
	g->row_stride = (g->row_stride + 63) / 128 * 128 + 64;
	g->scale_stride = g->scale_stride ? (g->scale_stride / 16 | 1) * 16 : 0;
}

const char *cuda_persistent_plan(struct persistent_program *g, struct persistent_phase *phases,
				 const struct cuda_card *card)
{
	const char *why = NULL;
	int rotate = 0;
	if (card->compute_capability < OLDEST_CC)
		return "needs compute capability 9.0";
	if (g->n_embd % 4 || g->n_embd > PERSISTENT_CONSUMERS * 4 * PERSISTENT_VECS)
		return "holds at most 6400 elements of a token, in fours";
	g->n_blocks = card->n_sm;
	g->partial_bytes = g->x_bytes = g->n_stages = g->row_stride = g->scale_stride = 0;
	for (int i = 0; i < g->n_phases && !why; i++) {
		struct persistent_phase *p = &phases[i];
		if (p->kind == PERSISTENT_PRODUCT)
			why = plan_product(g, &p->of.product, &rotate);
		else if (p->kind == PERSISTENT_ATTENTION)
			why = plan_attention(g, &p->of.attention);
	}
	if (why)
		return why;
	plan_parts(g, phases);
	plan_strides(g);
	int rest = persistent_layout_of(g).bytes, stage = persistent_stage_bytes(g);
	int n = ((int)card->shared_per_block - rest) / stage;
	if (n < PERSISTENT_MIN_STAGES)
		return "has no shared memory left for its weights beside activations as wide as these";
	g->n_stages = n < PERSISTENT_MAX_STAGES ? n : PERSISTENT_MAX_STAGES;
	g->shared_bytes = persistent_layout_of(g).bytes;
	return NULL;
}

int geometry_persistent(const struct persistent_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	if (card->compute_capability < OLDEST_CC || p->n_blocks != card->n_sm)
		return CUDA_GEOMETRY_UNSUPPORTED;
	int entry = ENTRY_persistent_f32_f32 + cuda_cache_type_index(p->k_type) * CUDA_N_CACHE_TYPES +
		    cuda_cache_type_index(p->v_type);
	int rc = geometry_launch(out, entry, (unsigned)p->n_blocks, 1, PERSISTENT_THREADS, (size_t)p->shared_bytes);
	out->pdl = 0;
	out->cooperative = 1;
	return rc;
}
