/* The plan of a token's program: one block a multiprocessor, and as many stages of weights as its shared memory has
 * room for. */
#include "kernels/cuda/persistent_geometry.h"

#include "kernels/cache_rows.h"
#include "kernels/cuda/geometry.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/quants_geometry.h"

enum {
	WIDE_FIRST_JOBS = 4,
	FEW_SPLITS = 4,               /* whoever takes a product sums its splits */
	SPARE_STAGES = 2,             /* that are never on their way */
	MOST_KEYS = 8,                /* of a piece: two batches of a warp's */
	OLDEST_CC = 90,               /* bulk copies into shared memory */
	TEAMS = PERSISTENT_WARPS / 2, /* of attention, at most: each has every TEAMS-th piece of keys */
	SHORT_RING_BYTES = 200 << 10, /* of a block's shared memory: with less the ring is short for any type */
};

static int greater(int a, int b)
{
	return a > b ? a : b;
}

static int warps_chunks(int n_chunks)
{
	return (n_chunks + PERSISTENT_WARPS - 1) / PERSISTENT_WARPS;
}

static int chunks_of(int n_chunks, int n_slices)
{
	return (n_chunks + n_slices - 1) / n_slices;
}

static int compiled_for(int n_chunks)
{
	int n = warps_chunks(n_chunks);
	return n && n < PERSISTENT_CHUNKS ? n : PERSISTENT_CHUNKS;
}

/*
 * Whether jobs may have so many pieces for a ring that pieces_within would leave few on their way: a piece is a chunk
 * of a type of 16 bits or more, which wide rows have many of, or the ring is short.
 */
static int is_far(const struct cuda_dims *dims, int stream, const struct cuda_card *card)
{
	const unsigned halves = 1u << TENSOR_F16 | 1u << TENSOR_BF16, floats = 1u << TENSOR_F32;
	return (dims->streams & floats) || ((dims->streams & halves) && stream > 1) ||
	       (card && card->shared_per_block < SHORT_RING_BYTES);
}

struct persistent_chunks cuda_persistent_chunks(const struct cuda_dims *dims, const struct cuda_card *card)
{
	int stream = compiled_for(tile_chunks(dims->n_embd)), widest = tile_chunks(dims->n_in_max);
	int slice = compiled_for(chunks_of(widest, FEW_SPLITS));
	/* One way of multiplying is faster than two. */
	if (stream < slice)
		slice = compiled_for(chunks_of(widest, PERSISTENT_SPLITS));
	return (struct persistent_chunks){stream, greater(stream, slice), is_far(dims, stream, card)};
}

void cuda_persistent_compiled(struct persistent_program *g, const struct persistent_chunks *c)
{
	g->stream_chunks = c->stream;
	g->slice_chunks = c->slice;
	g->far_waits = c->far;
}

static const char *plan_matrix(const struct persistent_product *p, const struct weight *w)
{
	if (!products_streamable(w, NULL) || w->type != p->w[0].type || w->n_in != p->w[0].n_in ||
	    (w->n_expert > 1 && !p->n_used))
		return "reads a product's rows in 16-byte vectors, of one type, which these weights do not allow";
	return NULL;
}

/*
 * As few slices of the columns as give each warp a chunk of them at most, but no more than FEW_SPLITS where the warps
 * can have more chunks; only the sum of the stream's input can be of slices.
 */
static int shift_of(const struct persistent_program *g, const struct persistent_product *p)
{
	int shift = 0, chunks = tile_chunks(p->w[0].n_in);
	while (!p->stream && 2 << shift <= PERSISTENT_SPLITS && 2 << shift <= g->n_blocks) {
		int n = chunks_of(chunks, 1 << shift);
		if (n <= PERSISTENT_WARPS || (1 << shift >= FEW_SPLITS && n <= PERSISTENT_WARPS * g->slice_chunks))
			break;
		shift++;
	}
	return shift;
}

static int tiles_of(const struct persistent_product *p)
{
	int tiles = 0;
	if (p->output == PERSISTENT_GATED) /* half a tile of either */
		return tile_count(p->n_used ? p->w[0].n_out : 2 * p->w[0].n_out);
	for (int i = 0; i < p->n_w; i++)
		tiles += tile_count(p->w[i].n_out);
	return tiles;
}

/* To all blocks in turn, of which the first ones have one more; the next product's begin behind those. */
static void deal_jobs(const struct persistent_program *g, struct persistent_product *p, int n_jobs, int stride,
		      int *rotate)
{
	p->n_jobs = n_jobs;
	p->stride = stride;
	p->jobs_each = n_jobs / stride;
	p->jobs_rest = n_jobs % stride;
	p->rotate = *rotate;
	*rotate = (*rotate + p->jobs_rest) % g->n_blocks;
}

/* A block has a row of the router, as it is in memory: it is float32 in all files, and there are few. */
static const char *plan_router(struct persistent_program *g, struct persistent_product *p, struct persistent_copy *copy,
			       int *rotate)
{
	const struct weight *w = &p->w[0];
	if (!products_streamable(w, NULL) || w->type == TENSOR_Q8_0 || quants_has(w->type))
		return "reads a router of F32, F16 or BF16 only";
	if (w->n_out > PERSISTENT_EXPERTS || p->n_used > PERSISTENT_CHOSEN)
		return "chooses at most 16 of 128 experts";
	deal_jobs(g, p, w->n_out, g->n_blocks, rotate);
	*copy = (struct persistent_copy){
		.kind = PERSISTENT_PRODUCT,
		.from = w->data,
		.n_jobs = p->n_jobs,
		.job_bytes = w->n_in * element_bytes(w->type),
		.rotate = p->rotate,
		.stride = p->stride,
	};
	return NULL;
}

/*
 * Gate and up: a job is of one expert. Down: an expert's chunks are fewer than the warps, so a job has several
 * experts', whose sum it leaves; as many slices as plain products' columns have.
 */
static int plan_experts(struct persistent_program *g, struct persistent_product *p, struct persistent_copy *copy)
{
	int chunks = tile_chunks(p->w[0].n_in), slices = 1;
	copy->n_used = p->n_used;
	copy->n_expert = p->w[0].n_expert;
	if (p->output == PERSISTENT_GATED) {
		p->experts_each = 1;
		p->expert_chunks = tile_chunks(p->w[0].n_out / 2);
		p->n_chunks = chunks;
		slices = p->n_used;
	} else {
		while (chunks_of(p->n_used, slices) * chunks > PERSISTENT_WARPS && 2 * slices <= PERSISTENT_SPLITS &&
		       2 * slices <= g->n_blocks) {
			slices *= 2;
			p->shift++;
		}
		p->experts_each = chunks_of(p->n_used, slices);
		p->expert_chunks = chunks;
		p->n_chunks = p->experts_each * chunks;
	}
	/* Where the stream takes them, it has two vectors there meanwhile. */
	g->sums_bytes = greater(g->sums_bytes, 2 * g->n_embd * 4);
	copy->experts_each = p->experts_each;
	copy->n_slices = slices;
	return slices;
}

static const char *plan_product(struct persistent_program *g, struct persistent_product *p,
				struct persistent_copy *copy, int *rotate)
{
	const struct weight *w = &p->w[0];
	if (p->output == PERSISTENT_ROUTED)
		return plan_router(g, p, copy, rotate);
	for (int i = 0; i < p->n_w; i++) {
		const char *why = plan_matrix(p, &p->w[i]);
		if (why)
			return why;
	}
	int tiles = tiles_of(p), n_slices, row_bytes = tile_row_bytes(w->type, w->n_in);
	*copy = (struct persistent_copy){.kind = PERSISTENT_PRODUCT, .at = g->tiled_bytes};
	p->shift = 0;
	if (p->n_used) {
		n_slices = plan_experts(g, p, copy);
	} else {
		p->shift = shift_of(g, p);
		n_slices = 1 << p->shift;
		p->n_chunks = chunks_of(tile_chunks(w->n_in), n_slices);
	}
	if (p->n_chunks > PERSISTENT_WARPS * (p->stream ? g->stream_chunks : p->n_used ? 1 : g->slice_chunks))
		return "has no way for rows as wide as these";
	/* All jobs of a block are of one slice, where that matters. */
	deal_jobs(g, p, tiles * n_slices, g->n_blocks >> p->shift << p->shift, rotate);
	copy->n_jobs = p->n_jobs;
	/* Slices of a row are as long as each other. */
	copy->job_bytes = p->n_used || n_slices == 1 ? row_bytes : p->n_chunks * tile_unit_bytes(w->type);
	copy->piece_bytes = persistent_piece_units(w->type) * tile_unit_bytes(w->type);
	copy->rotate = p->rotate;
	copy->stride = p->stride;
	copy->expert_bytes = (long long)tiles * copy->job_bytes;
	g->tiled_bytes += p->n_used ? copy->n_expert * copy->expert_bytes : (long long)copy->n_jobs * copy->job_bytes;
	g->stage_bytes = greater(g->stage_bytes, copy->piece_bytes);
	return NULL;
}

/*
 * Pieces that may be on their way, where a warp has at least every apart-th one. It waits for a piece when the one
 * `apart` before has come, and so all that are as many before that as may be on their way: the last one in the same
 * stage must be among these (await_piece). Where warps make sure of that themselves, it must have been copied.
 */
static int pieces_within(int limit, int piece_bytes, int apart, const struct persistent_program *g)
{
	int n = limit / piece_bytes, most = g->n_stages - SPARE_STAGES;
	if (!g->far_waits && most > g->n_stages - apart)
		most = g->n_stages - apart;
	return n < 1 ? 1 : n < most ? n : most;
}

/* At most, in jobs of so many chunks of columns: number w, w + WARPS .. are warp w's. */
static int pieces_apart(int type, int n_chunks)
{
	int apart = 1, units = persistent_piece_units(type);
	for (int w = 0; w < PERSISTENT_WARPS && w < n_chunks; w++) {
		int last = (n_chunks - 1 - w) / PERSISTENT_WARPS * PERSISTENT_WARPS + w;
		int before = last / units - persistent_pieces(type, n_chunks);
		for (int c = w; c < n_chunks; c += PERSISTENT_WARPS) {
			apart = greater(apart, c / units - before);
			before = c / units;
		}
	}
	return apart;
}

static int apart_of(const struct persistent_product *p, const struct persistent_copy *copy)
{
	int pieces = persistent_job_pieces(copy->job_bytes, copy->piece_bytes);
	if (p->output == PERSISTENT_ROUTED) /* all warps wait for all of them */
		return pieces;
	return p->n_used ? pieces * greater(p->experts_each, 1) : pieces_apart(p->w[0].type, p->n_chunks);
}

/* Of a key and its value. */
static int key_bytes(const struct kv *kv)
{
	return cache_row_bytes(kv->type, kv->head_dim) + cache_row_bytes(kv->v_type, kv->head_dim);
}

/* Behind the others: a piece of keys is as large as a stage has room for. */
static void plan_keys(const struct persistent_program *g, const struct persistent_limits *l,
		      struct persistent_attention *p, struct persistent_copy *copy)
{
	int row = key_bytes(&p->kv), n = g->stage_bytes / row;
	p->piece_keys = n < MOST_KEYS ? n : MOST_KEYS;
	*copy = (struct persistent_copy){
		.kind = PERSISTENT_ATTENTION,
		.limit = pieces_within(l->wide_bytes, p->piece_keys * row, TEAMS, g),
		.kv = p->kv,
		.n_heads = p->n_heads,
		.window = p->window,
		.most_splits = p->most_splits,
		.piece_keys = p->piece_keys,
		.q_norm = p->q_norm,
		.k_norm = p->k_norm,
	};
}

/*
 * Of types below 8 bits three quarters where products are wide: more of them is in the ring or in the L2 by then, which
 * answer sooner. E4B on an H100 with four pieces instead of six, Q6_K six instead of eight: Q4_0 697 to 703 tokens/s,
 * Q4_K the same, Q6_K 588 to 595.
 */
static void plan_copies(const struct persistent_program *g, const struct persistent_limits *l,
			struct persistent_phase *phases, struct persistent_copy *copies)
{
	for (int i = 0; i < g->n_phases; i++) {
		const struct persistent_product *p = &phases[i].of.product;
		if (phases[i].kind == PERSISTENT_ATTENTION)
			plan_keys(g, l, &phases[i].of.attention, &copies[i]);
		if (phases[i].kind != PERSISTENT_PRODUCT)
			continue;
		if (p->output == PERSISTENT_ROUTED)
			copies[i].piece_bytes = g->stage_bytes;
		int gated = p->output == PERSISTENT_GATED;
		int wide = gated || p->output == PERSISTENT_LOGITS || p->w[0].n_in > g->n_embd || p->n_used;
		int wide_bytes = quants_has(p->w[0].type) ? l->wide_bytes / 4 * 3 : l->wide_bytes;
		/* Who waits for experts is behind its own products of the ones before: nobody polls. */
		copies[i].first_jobs = gated && !p->n_used ? WIDE_FIRST_JOBS : 0;
		int apart = apart_of(p, &copies[i]);
		copies[i].first_limit = pieces_within(l->first_bytes, copies[i].piece_bytes, apart, g);
		copies[i].limit = pieces_within(wide ? wide_bytes : l->small_bytes, copies[i].piece_bytes, apart, g);
	}
}

/* Whether what a warp has next is never further on than the ring is long (pieces_within). */
static int is_ring_long(const struct persistent_program *g, const struct persistent_phase *phases,
			const struct persistent_copy *copies)
{
	for (int i = 0; i < g->n_phases; i++) {
		int kind = phases[i].kind;
		int apart = kind == PERSISTENT_ATTENTION ? TEAMS
			    : kind == PERSISTENT_PRODUCT ? apart_of(&phases[i].of.product, &copies[i])
							 : 0;
		if (apart + !g->far_waits > g->n_stages)
			return 0;
	}
	return 1;
}

/* What the L2 gets. Not of later products where there are experts: that cost a mixture 1 %. */
static void plan_ahead(struct persistent_program *g, const struct persistent_limits *l,
		       const struct persistent_copy *copies)
{
	long long bytes = 0;
	g->ahead_phases = 1;
	for (int i = 0; i < g->n_phases; i++) {
		if (copies[i].kind != PERSISTENT_PRODUCT)
			continue;
		bytes += (long long)copies[i].n_jobs * copies[i].job_bytes * greater(copies[i].experts_each, 1);
		if (copies[i].n_used)
			g->ahead_phases = 0;
	}
	g->ahead_cycles = bytes / g->n_blocks / g->n_phases < l->busy_bytes ? l->waiting_cycles : l->busy_cycles;
}

/* Of what the product that left in says; 0 of null, and where vectors have no memory yet. */
static int parts_of(const struct persistent_phase *phases, int i, const float *in)
{
	for (int j = i - 1; in && j >= 0; j--)
		if (phases[j].kind == PERSISTENT_PRODUCT && phases[j].of.product.y[0] == in)
			return 1 << phases[j].of.product.shift;
	return 0;
}

/* Whoever takes what a product leaves must sum its splits. */
static void plan_parts(const struct persistent_program *g, struct persistent_phase *phases)
{
	for (int i = 0; i < g->n_phases; i++) {
		struct persistent_product *p = &phases[i].of.product;
		if (phases[i].kind != PERSISTENT_PRODUCT || !p->stream)
			continue;
		p->n_parts = parts_of(phases, i, p->in);
		p->n_beside = parts_of(phases, i, p->beside);
	}
}

/* The experts that a router's logits choose are needed from the next product of experts on. */
static void plan_choices(const struct persistent_program *g, const struct persistent_phase *phases,
			 struct persistent_copy *copies)
{
	const struct persistent_product *router = NULL;
	for (int i = 0; i < g->n_phases; i++) {
		const struct persistent_product *p = &phases[i].of.product;
		if (phases[i].kind != PERSISTENT_PRODUCT || !p->n_used)
			continue;
		if (p->output != PERSISTENT_ROUTED && router) {
			copies[i].logits = router->y[0];
			copies[i].scales = router->up;
		}
		router = p->output == PERSISTENT_ROUTED ? p : NULL;
	}
}

/* Layers of a kind share their frequencies. */
static int plan_angles(struct persistent_program *g, struct persistent_attention *p)
{
	p->angles = 0;
	for (int i = 0; i < PERSISTENT_ROPES; i++) {
		if (!g->n_angles[i]) {
			g->inv_freq[i] = p->inv_freq;
			g->n_angles[i] = p->kv.head_dim / 2;
			g->angles_bytes += (g->n_angles[i] * 8 + 15) / 16 * 16;
		}
		if (g->inv_freq[i] == p->inv_freq && g->n_angles[i] == p->kv.head_dim / 2)
			return 1;
		p->angles += g->n_angles[i];
	}
	return 0;
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
	g->sums_bytes = greater(g->sums_bytes, persistent_attended_bytes(kv->head_dim));
	g->stage_bytes = greater(g->stage_bytes, key_bytes(kv));
	if (!plan_angles(g, p))
		return "has a table of angles for two kinds of layers";
	g->k_type = kv->type;
	g->v_type = kv->v_type;
	return NULL;
}

const char *cuda_persistent_plan(struct persistent_program *g, struct persistent_phase *phases,
				 struct persistent_copy *copies, const struct cuda_card *card)
{
	const char *why = NULL;
	int rotate = 0;
	if (card->compute_capability < OLDEST_CC)
		return "needs compute capability 9.0";
	if (g->n_embd % 4 || tile_chunks(g->n_embd) > PERSISTENT_WARPS * g->stream_chunks)
		return "holds at most 2560 elements of a token for each chunk that its warps have, in fours";
	/* In fours too: then few slices are for all of them. */
	g->n_blocks = card->n_sm < FEW_SPLITS ? card->n_sm : card->n_sm / FEW_SPLITS * FEW_SPLITS;
	g->partial_bytes = g->angles_bytes = g->stage_bytes = g->n_stages = 0;
	g->sums_bytes = 2 * PERSISTENT_GROUP * PERSISTENT_SUMS * 4;
	g->corner_bytes = greater(g->stream_chunks, g->slice_chunks) * (TILE_CHUNK * 4 + PERSISTENT_SUMS_BYTES);
	g->tiled_bytes = 0;
	for (int i = 0; i < PERSISTENT_ROPES; i++)
		g->n_angles[i] = 0;
	for (int i = 0; i < g->n_phases && !why; i++) {
		struct persistent_phase *p = &phases[i];
		if (p->kind == PERSISTENT_PRODUCT)
			why = plan_product(g, &p->of.product, &copies[i], &rotate);
		else if (p->kind == PERSISTENT_ATTENTION)
			why = plan_attention(g, &p->of.attention);
		else
			copies[i] = (struct persistent_copy){.kind = p->kind};
	}
	if (why)
		return why;
	plan_parts(g, phases);
	plan_choices(g, phases, copies);
	int n = ((int)card->shared_per_block - persistent_layout_of(g).bytes) / g->stage_bytes;
	if (n < PERSISTENT_MIN_STAGES)
		return "has no shared memory left for its weights beside activations as wide as these";
	g->n_stages = n < PERSISTENT_MAX_STAGES ? n : PERSISTENT_MAX_STAGES;
	struct persistent_layout l = persistent_layout_of(g);
	g->shared_bytes = l.bytes;
	g->x_at = l.x;
	g->h_at = l.h;
	g->partial_at = l.partial;
	g->scratch_at = l.scratch;
	g->chosen_at = l.chosen;
	g->angles_at = l.angles;
	struct persistent_limits limits;
	cuda_persistent_limits(&limits, &card->memory);
	plan_copies(g, &limits, phases, copies);
	if (!is_ring_long(g, phases, copies))
		return "has less shared memory left for its weights than a row of them takes";
	plan_ahead(g, &limits, copies);
	return NULL;
}

struct persistent_shape cuda_persistent_shape(const struct persistent_program *g, const struct cuda_card *card)
{
	struct persistent_limits limits;
	cuda_persistent_limits(&limits, &card->memory);
	return (struct persistent_shape){
		.n_phases = g->n_phases,
		.n_blocks = g->n_blocks,
		.n_warps = PERSISTENT_WARPS,
		.n_stages = g->n_stages,
		.stage_bytes = g->stage_bytes,
		.shared_bytes = g->shared_bytes,
		.limits = limits,
		.ahead_phases = g->ahead_phases,
		.ahead_cycles = g->ahead_cycles,
		.chunks = {g->stream_chunks, g->slice_chunks, g->far_waits},
		.tiled_bytes = g->tiled_bytes,
	};
}

int geometry_persistent(const struct persistent_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	if (card->compute_capability < OLDEST_CC || p->n_blocks > card->n_sm)
		return CUDA_GEOMETRY_UNSUPPORTED;
	int entry = ENTRY_persistent_f32_f32 + cuda_cache_type_index(p->k_type) * CUDA_N_CACHE_TYPES +
		    cuda_cache_type_index(p->v_type);
	int rc = geometry_launch(out, entry, (unsigned)p->n_blocks, 1, PERSISTENT_THREADS, (size_t)p->shared_bytes);
	out->pdl = 0;
	out->cooperative = 1;
	return rc;
}

/* A thread for each vector of 16 bytes. */
int geometry_persistent_tile(const struct persistent_tile_params *p, const struct cuda_card *card,
			     struct cuda_launch *out)
{
	(void)card;
	return geometry_elements(out, ENTRY_persistent_tile, (int64_t)(p->tile_bytes / 16) * p->n_tiles, 1);
}
