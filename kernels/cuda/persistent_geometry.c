/* The plan of a token's program: one block a multiprocessor, and as many stages of weights as its shared memory has
 * room for. */
#include "kernels/cuda/persistent_geometry.h"

#include "kernels/cuda/geometry.h"
#include "kernels/cuda/products.h"

enum {
	/*
	 * Stages on their way at once. What polls for activations queues behind them in the L2: fewer while a phase
	 * that needs little is loaded, and at the start of the widest; measured on an H100 with E4B's shapes.
	 */
	SMALL_LIMIT = 3,
	WIDE_FIRST_LIMIT = 2,
	WIDE_LIMIT = 6,
	WIDE_FIRST_PIECES = 16,
	OLDEST_CC = 90, /* bulk copies into shared memory */
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

static const char *plan_product(struct persistent_program *g, struct persistent_product *p, int *rotate)
{
	int gated = p->output == PERSISTENT_GATED, wide = gated || p->output == PERSISTENT_LOGITS;
	int64_t units = 0;
	for (int i = 0; i < p->n_w; i++) {
		const char *why = plan_matrix(p, &p->w[i]);
		if (why)
			return why;
		if (!gated || i == 0)
			units += gated ? p->w[i].n_out : products_pairs(p->w[i].n_out);
	}
	p->n_units = (int)units;
	p->rotate = *rotate;
	*rotate = (int)((*rotate + units) % g->n_blocks);
	p->first_pieces = gated ? WIDE_FIRST_PIECES : 0;
	p->first_limit = WIDE_FIRST_LIMIT;
	p->limit = wide || p->w[0].n_in > g->n_embd ? WIDE_LIMIT : SMALL_LIMIT;
	g->most_units = greater(g->most_units, (int)((units + g->n_blocks - 1) / g->n_blocks));
	g->x_bytes = greater(g->x_bytes, matvec_x_bytes(p->w[0].type, p->w[0].n_in));
	return NULL;
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

/* A stage's barrier is waited for by whoever limits what is on its way: it must not be filled twice meanwhile. */
static void limit(struct persistent_product *p, int n_stages)
{
	int most = 2 * n_stages - 1;
	p->limit = p->limit < most ? p->limit : most;
	p->first_limit = p->first_limit < most ? p->first_limit : most;
}

const char *cuda_persistent_plan(struct persistent_program *g, struct persistent_phase *phases,
				 const struct cuda_card *card)
{
	const char *why = NULL;
	int rotate = 0;
	if (card->compute_capability < OLDEST_CC)
		return "needs compute capability 9.0";
	if (g->n_embd % 4 || g->n_embd > PERSISTENT_CONSUMERS * 4 * PERSISTENT_VECS)
		return "holds at most 6144 elements of a token, in fours";
	g->n_blocks = card->n_sm;
	g->partial_bytes = g->x_bytes = g->most_units = g->n_stages = 0;
	for (int i = 0; i < g->n_phases && !why; i++) {
		struct persistent_phase *p = &phases[i];
		if (p->kind == PERSISTENT_PRODUCT)
			why = plan_product(g, &p->of.product, &rotate);
		else if (p->kind == PERSISTENT_ATTENTION)
			why = plan_attention(g, &p->of.attention);
	}
	if (why)
		return why;
	int rest = persistent_layout_of(g).bytes, stage = PERSISTENT_PAIRS * PERSISTENT_STAGE_BYTES;
	int n = ((int)card->shared_per_block - rest) / stage;
	if (n < PERSISTENT_MIN_STAGES)
		return "has no shared memory left for its weights beside activations as wide as these";
	g->n_stages = n < PERSISTENT_MAX_STAGES ? n : PERSISTENT_MAX_STAGES;
	for (int i = 0; i < g->n_phases; i++)
		if (phases[i].kind == PERSISTENT_PRODUCT)
			limit(&phases[i].of.product, g->n_stages);
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
