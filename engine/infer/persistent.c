#include "engine/infer/persistent.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/infer/forward.h"
#include "kernels/tiles.h"

/* Where a layer's keys and values come from before they are in its cache. */
struct source {
	float *k, *v;
	const float *v_raw;
};

/* Counts where base is null; the same calls in the same order both times. */
struct builder {
	const struct forward *f;
	const struct persistent_card *card; /* that f->device, which is not there, stands for; null: the host */
	char *base;                         /* on the device */
	size_t used;
	struct persistent_phase *phases;
	struct phase_label *labels; /* as phases */
	int n_phases;
	struct persistent_copy *copies;
	struct source *sources; /* (n_layer) */
	/* What the stream has not taken yet. */
	const float *in;
	const float *post_norm;
	const float *beside, *beside_norm, *in_norm; /* of a mixture of experts */
	float scale;
};

/* Attention's matrices may be of three types, and a model of experts may have per-layer embeddings: what a file can ask
 * for, whether anybody publishes it or not. */
enum { PHASES_A_LAYER = 12, PHASES_ELSEWHERE = 3 };

const char *phase_kind_name(enum phase_kind k)
{
	static const char *const names[PHASE_KINDS] = {
		[PHASE_EMBED] = "embed",
		[PHASE_PLE_MODEL_PROJ] = "ple_model_proj",
		[PHASE_QKV] = "qkv",
		[PHASE_PLE] = "ple",
		[PHASE_QKV_PREPARE] = "qkv_prepare",
		[PHASE_ATTENTION] = "attention",
		[PHASE_ATTN_OUTPUT] = "attn_output",
		[PHASE_NORM] = "norm",
		[PHASE_ROUTER] = "router",
		[PHASE_FFN_GATE_UP] = "ffn_gate_up",
		[PHASE_FFN_DOWN] = "ffn_down",
		[PHASE_EXPERTS_GATE_UP] = "experts_gate_up",
		[PHASE_EXPERTS_DOWN] = "experts_down",
		[PHASE_PLE_GATE] = "ple_gate",
		[PHASE_PLE_PROJ] = "ple_proj",
		[PHASE_HEAD] = "head",
	};
	return names[k];
}

static void *take(struct builder *b, size_t bytes)
{
	void *p = b->base ? b->base + b->used : NULL;
	b->used += (bytes + 255) / 256 * 256;
	return p;
}

static float *vector(struct builder *b, int n)
{
	return take(b, (size_t)n * sizeof(float));
}

static struct persistent_phase *add_phase(struct builder *b, enum persistent_kind kind, enum phase_kind is, int layer)
{
	struct persistent_phase *phase = &b->phases[b->n_phases];
	*phase = (struct persistent_phase){.kind = (int)kind};
	b->labels[b->n_phases++] = (struct phase_label){is, layer};
	return phase;
}

static struct persistent_product *add_product(struct builder *b, enum phase_kind is, int layer, const float *in,
					      float scale)
{
	struct persistent_phase *phase = add_phase(b, PERSISTENT_PRODUCT, is, layer);
	phase->of.product = (struct persistent_product){.in = in, .scale = scale, .trace = -1};
	return &phase->of.product;
}

static void add_matrix(struct persistent_product *p, const struct weight *w, float *y)
{
	p->w[p->n_w] = *w;
	p->y[p->n_w++] = y;
}

/* A product of x alone; what it leaves. */
static float *plain(struct builder *b, enum phase_kind is, int layer, const struct weight *w, const float *x)
{
	struct persistent_product *p = add_product(b, is, layer, x, 1);
	float *y = vector(b, w->n_out * PERSISTENT_SPLITS); /* the device's plan says how many of them there are */
	add_matrix(p, w, y);
	return y;
}

/* One of the stream, which takes what there is for it first. */
static struct persistent_product *of_stream(struct builder *b, enum phase_kind is, int layer, const float *pre_norm,
					    enum persistent_output output)
{
	struct persistent_product *p = add_product(b, is, layer, b->in, b->scale);
	p->post_norm = b->post_norm;
	p->pre_norm = pre_norm;
	p->beside = b->beside;
	p->beside_norm = b->beside_norm;
	p->in_norm = b->in_norm;
	p->output = (int)output;
	p->stream = 1;
	b->in = b->beside = b->beside_norm = b->in_norm = NULL;
	return p;
}

static void for_stream(struct builder *b, const float *in, const float *post_norm, float scale)
{
	b->in = in;
	b->post_norm = post_norm;
	b->scale = scale;
}

static void beside_it(struct builder *b, const float *beside, const float *beside_norm, const float *in_norm)
{
	b->beside = beside;
	b->beside_norm = beside_norm;
	b->in_norm = in_norm;
}

/* One more of the stream's matrices of attention: a product's are of one type, so another type's is another product. */
static void add_to_qkv(struct builder *b, struct persistent_product **p, int i, const struct weight *w, float *y)
{
	const float *norm = b->f->weights->layers[i].attn_norm;
	if ((*p)->n_w && (*p)->w[0].type != w->type)
		*p = of_stream(b, PHASE_QKV, i, norm, PERSISTENT_STORE);
	add_matrix(*p, w, y);
}

static float *add_qkv(struct builder *b, int i)
{
	const struct forward *f = b->f;
	const struct model_layer *l = &f->model->layers[i];
	const struct layer_weights *w = &f->weights->layers[i];
	struct persistent_product *p = of_stream(b, PHASE_QKV, i, w->attn_norm, PERSISTENT_STORE);
	struct source *s = &b->sources[i];
	/* Behind each other in whole tiles: where a device's plan has their rows. */
	int q_rows = tile_count(w->q.n_out) * TILE_ROWS, k_rows = tile_count(w->k.n_out) * TILE_ROWS;
	bool owns = l->kv_source == i;
	float *q = vector(b, q_rows + (owns ? 2 * k_rows : 0));
	p->trace = i;
	add_to_qkv(b, &p, i, &w->q, q);
	if (!owns)
		return q;
	s->k = q ? q + q_rows : NULL;
	s->v = q ? s->k + k_rows : NULL;
	s->v_raw = l->v_is_k ? s->k : s->v;
	add_to_qkv(b, &p, i, &w->k, s->k);
	if (!l->v_is_k)
		add_to_qkv(b, &p, i, &w->v, s->v);
	return q;
}

static float *add_attention(struct builder *b, int i, float *q)
{
	const struct forward *f = b->f;
	const struct model *m = f->model;
	const struct model_layer *l = &m->layers[i];
	const struct source *s = &b->sources[l->kv_source];
	struct persistent_phase *phase = add_phase(b, PERSISTENT_ATTENTION, PHASE_ATTENTION, i);
	float *y = vector(b, l->n_head * l->head_dim);
	phase->of.attention = (struct persistent_attention){
		.q = q,
		.k = s->k,
		.v = s->v,
		.v_raw = s->v_raw,
		.q_norm = f->weights->layers[i].q_norm,
		.k_norm = f->weights->layers[l->kv_source].k_norm,
		.inv_freq = f->weights->layers[i].inv_freq,
		.y = y,
		.kv = f->cache->layers[i],
		.n_heads = l->n_head,
		.window = l->sliding ? m->window : 0,
		.scale = l->attention_scale,
		.owns = l->kv_source == i,
		.v_norm = m->v_norm,
	};
	return y;
}

static void add_ple(struct builder *b, float *proj, float *ple)
{
	const struct model *m = b->f->model;
	struct persistent_phase *phase = add_phase(b, PERSISTENT_PLE, PHASE_PLE, -1);
	/* norm(x / sqrt(n_embd)) is norm(x) with eps * n_embd. */
	phase->of.ple = (struct persistent_ple){
		.table = b->f->weights->per_layer_token_embd,
		.proj = proj,
		.norm = b->f->weights->per_layer_proj_norm,
		.y = ple,
		.table_scale = sqrtf((float)m->n_ple),
		.scale = 0.70710678f,
		.eps = m->eps * (float)m->n_embd,
		.n_layer = m->n_layer,
		.n_ple = m->n_ple,
	};
}

static void add_router(struct builder *b, int i)
{
	const struct layer_weights *w = &b->f->weights->layers[i];
	struct persistent_product *p = of_stream(b, PHASE_ROUTER, i, w->router_scale, PERSISTENT_ROUTED);
	p->up = w->down_exps_scale;
	p->n_used = b->f->model->n_expert_used;
	add_matrix(p, &w->router, vector(b, w->router.n_out));
}

/* Of what the stream is since the router had it. */
static const float *add_experts(struct builder *b, int i)
{
	const struct model *m = b->f->model;
	const struct layer_weights *w = &b->f->weights->layers[i];
	struct persistent_product *p = of_stream(b, PHASE_EXPERTS_GATE_UP, i, w->pre_ffw_norm_2, PERSISTENT_GATED);
	float *gated = vector(b, m->n_expert_used * tile_chunks(m->n_ff_expert) * TILE_CHUNK);
	p->n_used = m->n_expert_used;
	add_matrix(p, &w->gate_up_exps, gated);
	p = add_product(b, PHASE_EXPERTS_DOWN, i, gated, 1);
	float *y = vector(b, m->n_embd * PERSISTENT_SPLITS);
	p->n_used = m->n_expert_used;
	add_matrix(p, &w->down_exps, y);
	return y;
}

static void add_layer(struct builder *b, int i, float *proj, float *ple)
{
	const struct model *m = b->f->model;
	const struct layer_weights *w = &b->f->weights->layers[i];
	float *q = add_qkv(b, i);
	if (i == 0 && m->n_ple)
		add_ple(b, proj, ple); /* behind a product that does not wait for its projection */
	float *attended = add_attention(b, i, q);
	for_stream(b, plain(b, PHASE_ATTN_OUTPUT, i, &w->o, attended), w->post_attention_norm, 1);

	/* Which experts are chosen is known where it is needed: what all tokens take is between. */
	if (m->n_expert)
		add_router(b, i);
	struct persistent_product *p = of_stream(b, PHASE_FFN_GATE_UP, i, w->ffn_norm, PERSISTENT_GATED);
	float *gated = vector(b, w->gate.n_out);
	add_matrix(p, &w->gate, gated);
	add_matrix(p, &w->up, NULL);
	float scale = m->n_ple ? 1 : w->output_scale;
	const float *down = plain(b, PHASE_FFN_DOWN, i, &w->down, gated);
	if (m->n_expert) {
		for_stream(b, add_experts(b, i), w->post_ffw_norm, scale);
		beside_it(b, down, w->post_ffw_norm_1, w->post_ffw_norm_2);
	} else {
		for_stream(b, down, w->post_ffw_norm, scale);
	}
	if (!m->n_ple)
		return;
	p = of_stream(b, PHASE_PLE_GATE, i, NULL, PERSISTENT_TIMES);
	p->up = ple ? ple + (size_t)i * (size_t)m->n_ple : NULL;
	gated = vector(b, m->n_ple);
	add_matrix(p, &w->inp_gate, gated);
	for_stream(b, plain(b, PHASE_PLE_PROJ, i, &w->proj, gated), w->post_norm, w->output_scale);
}

static void add_phases(struct builder *b)
{
	const struct forward *f = b->f;
	const struct model *m = f->model;
	float *proj = NULL, *ple = NULL;
	for_stream(b, NULL, NULL, 1);
	if (m->n_ple) {
		struct persistent_product *p = of_stream(b, PHASE_PLE_MODEL_PROJ, -1, NULL, PERSISTENT_STORE);
		proj = vector(b, m->n_layer * m->n_ple);
		ple = vector(b, m->n_layer * m->n_ple);
		add_matrix(p, &f->weights->per_layer_model_proj, proj);
	}
	for (int i = 0; i < m->n_layer; i++)
		add_layer(b, i, proj, ple);
	struct persistent_product *head = of_stream(b, PHASE_HEAD, -1, f->weights->output_norm, PERSISTENT_LOGITS);
	head->trace = m->n_layer;
	add_matrix(head, &f->weights->output, f->scratch.logits);
}

static void describe(struct persistent_program *g, const struct forward *f)
{
	const struct model *m = f->model;
	*g = (struct persistent_program){
		.token_embd = f->weights->token_embd,
		.h = f->scratch.h,
		.normed = f->scratch.normed,
		.sub_norm = f->scratch.sub_norm,
		.up = f->scratch.up,
		.splits = f->scratch.partial,
		.ids = f->scratch.ids,
		.expert_weights = f->scratch.expert_weights,
		.expert_gate_up = f->scratch.expert_gate_up,
		.expert_out = f->scratch.expert_out,
		.split_len = DEVICE_SPLIT_KEYS,
		.n_embd = m->n_embd,
		.embed_scale = m->embed_scale,
		.eps = m->eps,
		.cap = m->softcap,
		.act = m->activation,
		.n_blocks = 1, /* of a device without a plan */
	};
}

/* As device_plan_persistent, of a device that is not there. */
static int plan_for_card(const struct builder *b, struct persistent_program *g, struct error *err)
{
	const struct persistent_card *c = b->card;
	if (!c)
		return 0;
	cuda_persistent_compiled(g, &c->chunks);
	const char *why = cuda_persistent_plan(g, b->phases, b->copies, &c->card);
	return why ? error_set(err, ERROR_UNSUPPORTED,
			       "fusion persistent on a card of compute capability %d.%d: its kernel %s; "
			       "use --fusion full",
			       c->card.compute_capability / 10, c->card.compute_capability % 10, why)
		   : 0;
}

/* The whole of it as it is at base on the device, or as long as it would be. */
static int build(struct builder *b, struct persistent_program *g, size_t *upload_bytes, struct error *err)
{
	const struct model *m = b->f->model;
	int most = m->n_layer * PHASES_A_LAYER + PHASES_ELSEWHERE;
	b->used = 0;
	b->n_phases = 0;
	describe(g, b->f);
	take(b, sizeof *g);
	g->phases = take(b, (size_t)most * sizeof *g->phases);
	g->copies = take(b, (size_t)most * sizeof *g->copies);
	*upload_bytes = b->used;
	g->state = take(b, 2 * sizeof *g->state);
	add_phases(b);
	assert(b->n_phases <= most);
	g->n_phases = b->n_phases;
	int rc = b->f->device ? device_plan_persistent(b->f->device, g, b->phases, b->copies, err)
			      : plan_for_card(b, g, err);
	if (!rc)
		g->partial = take(b, (size_t)g->partial_bytes);
	return rc;
}

static int check(const struct forward *f, struct error *err)
{
	const struct model *m = f->model;
	const struct model_range *r = &f->range;
	if (!r->embed || !r->head || r->begin != 0 || r->end != m->n_layer)
		return error_set(
			err, ERROR_UNSUPPORTED,
			"fusion persistent needs the whole model on one device; use -ngl -1, which is all, or -ngl 0");
	return 0;
}

/* fresh: memory was allocated, and is all zeros but for the program. */
static int upload(struct persistent *p, const struct builder *b, const struct persistent_program *g, size_t bytes,
		  bool fresh, struct error *err)
{
	size_t n = fresh ? b->used : bytes;
	char *image = calloc(1, n);
	if (!image)
		return error_set(err, ERROR_MEMORY, "no memory for a program of %zu bytes", n);
	memcpy(image, g, sizeof *g);
	memcpy(image + ((const char *)g->phases - b->base), b->phases, (size_t)b->n_phases * sizeof *b->phases);
	memcpy(image + ((const char *)g->copies - b->base), b->copies, (size_t)b->n_phases * sizeof *b->copies);
	if (fresh) { /* the first token is number 1 */
		const unsigned first = 1;
		memcpy(image + ((const char *)g->state - b->base), &first, sizeof first);
	}
	int rc = device_upload(p->device, p->memory, image, n, err);
	free(image);
	return rc;
}

static int allocate(struct persistent *p, struct device *d, size_t bytes, const struct persistent_program *g,
		    struct error *err)
{
	size_t tiled = (size_t)g->tiled_bytes, available = tiled ? device_memory(d).free : 0;
	if (available && bytes + tiled > available)
		return error_set(err, ERROR_MEMORY,
				 "fusion persistent keeps the weights once more, in tiles: %zu bytes and %zu of a "
				 "token's program, the %s device has %zu free; use a smaller context, "
				 "--prefill-weights convert, or --fusion full, which needs none",
				 tiled, bytes, device_name(d), available);
	int rc = device_alloc(d, bytes, &p->memory, err);
	p->device = d;
	p->bytes = bytes;
	if (rc)
		return error_prefix(err, rc, "the program of a token");
	if (tiled && (rc = device_alloc(d, tiled, &p->tiled, err)))
		return error_prefix(err, rc,
				    "fusion persistent keeps the weights once more, in tiles; a smaller context and "
				    "--prefill-weights convert leave more room, --fusion full needs none");
	return 0;
}

static int tile_experts(struct device *d, const struct persistent_product *of, const struct persistent_copy *copy,
			char *to, struct error *err)
{
	const struct weight *w = &of->w[0];
	int gated = of->output == PERSISTENT_GATED, n = gated ? w->n_out / 2 : w->n_out, rc = 0;
	for (int e = 0; e < w->n_expert && !rc; e++) {
		struct persistent_tile_params t = {
			.w = {*w, *w},
			.y = to + (size_t)e * (size_t)copy->expert_bytes,
			.first = {e * w->n_out, e * w->n_out + w->n_out - n},
			.rows = {n, n},
			.n_w = 1 + gated,
			.gated = gated,
			.n_tiles = of->n_jobs / copy->n_slices,
			.tile_bytes = copy->job_bytes,
		};
		rc = device_launch(d, KERNEL_persistent_tile, &t, err);
	}
	return rc;
}

static int tile_weights(const struct persistent *p, const struct builder *b, struct error *err)
{
	int rc = 0;
	for (int i = 0; i < b->n_phases && !rc; i++) {
		const struct persistent_product *of = &b->phases[i].of.product;
		if (b->phases[i].kind != PERSISTENT_PRODUCT || b->copies[i].from)
			continue;
		char *to = (char *)p->tiled + b->copies[i].at;
		if (of->n_used) {
			rc = tile_experts(p->device, of, &b->copies[i], to, err);
			continue;
		}
		struct persistent_tile_params t = {
			.w = {of->w[0], of->w[1], of->w[2]},
			.y = to,
			.rows = {of->w[0].n_out, of->w[1].n_out, of->w[2].n_out},
			.n_w = of->n_w,
			.gated = of->output == PERSISTENT_GATED,
			.n_tiles = of->n_jobs >> of->shift,
			.tile_bytes = b->copies[i].job_bytes << of->shift,
		};
		rc = device_launch(p->device, KERNEL_persistent_tile, &t, err);
	}
	return rc;
}

static int prepare(struct persistent *p, struct builder *b, struct error *err)
{
	const struct forward *f = b->f;
	struct persistent_program g;
	size_t program_bytes;
	bool fresh = !p->memory;
	int rc = 0;
	if (fresh) {
		if (!(rc = build(b, &g, &program_bytes, err)))
			rc = allocate(p, f->device, b->used, &g, err);
	}
	b->base = p->memory;
	if (!rc && !(rc = build(b, &g, &program_bytes, err))) {
		g.tiled = p->tiled;
		rc = upload(p, b, &g, program_bytes, fresh, err);
	}
	if (!rc && fresh && p->tiled)
		rc = tile_weights(p, b, err);
	if (rc) {
		persistent_close(p);
		return rc;
	}
	assert(b->used == p->bytes);
	free(p->labels);
	p->labels = b->labels;
	p->n_phases = b->n_phases;
	b->labels = NULL;
	p->generation = f->cache->generation;
	p->params = (struct persistent_params){.program = p->memory,
					       .n_blocks = g.n_blocks,
					       .shared_bytes = g.shared_bytes,
					       .k_type = g.k_type,
					       .v_type = g.v_type};
	return 0;
}

static void builder_free(struct builder *b)
{
	free(b->phases);
	free(b->copies);
	free(b->labels);
	free(b->sources);
}

/* builder_free, also after a failure. */
static int builder_init(struct builder *b, const struct forward *f, struct error *err)
{
	*b = (struct builder){.f = f};
	int rc = check(f, err);
	if (rc)
		return rc;
	size_t n_layer = (size_t)f->model->n_layer, most = n_layer * PHASES_A_LAYER + PHASES_ELSEWHERE;
	b->phases = calloc(most, sizeof *b->phases);
	b->labels = calloc(most, sizeof *b->labels);
	b->copies = calloc(most, sizeof *b->copies);
	b->sources = calloc(n_layer, sizeof *b->sources);
	if (!b->phases || !b->labels || !b->copies || !b->sources)
		return error_set(err, ERROR_MEMORY, "no memory for a program of %zu phases", most);
	return 0;
}

int persistent_prepare(struct persistent *p, const struct forward *f, struct error *err)
{
	struct builder b;
	if (p->memory && p->generation == f->cache->generation)
		return 0;
	int rc = builder_init(&b, f, err);
	if (!rc)
		rc = prepare(p, &b, err);
	builder_free(&b);
	return rc;
}

int persistent_measure(struct persistent_bytes *out, const struct forward *f, const struct persistent_card *card,
		       struct error *err)
{
	struct builder b;
	struct persistent_program g;
	size_t program_bytes;
	*out = (struct persistent_bytes){0};
	int rc = builder_init(&b, f, err);
	b.card = card;
	if (!rc && !(rc = build(&b, &g, &program_bytes, err)))
		*out = (struct persistent_bytes){.program = b.used,
						 .tiled = (size_t)g.tiled_bytes,
						 .shape = card ? cuda_persistent_shape(&g, &card->card)
							       : (struct persistent_shape){0}};
	builder_free(&b);
	return rc;
}

void persistent_close(struct persistent *p)
{
	if (p->device) {
		device_free(p->device, p->tiled);
		device_free(p->device, p->memory);
	}
	free(p->labels);
	*p = (struct persistent){0};
}
