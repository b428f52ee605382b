/*
 * What one device does in a row of a token or a chunk: what comes before and behind its
 * layers, and which rows of a chunk go through them.
 */
#include <assert.h>
#include <string.h>

#include "engine/infer/forward_pass.h"

enum { ALL_ROWS = 512 }; /* of the head at once: enough to be bound by arithmetic; 512 MiB for Gemma 4 */

static const char *const fusion_names[FUSION_COUNT] = {"none", "full", "persistent"};

const char *fusion_name(enum fusion f)
{
	return fusion_names[f];
}

int fusion_parse(const char *name)
{
	for (int f = 0; f < FUSION_COUNT; f++)
		if (!strcmp(name, fusion_names[f]))
			return f;
	return -1;
}

/* ---- crossings ---- */

/* K and V of n rows at p->at, for the layers of this device that attend them. */
static void arrive_kv(struct pass *p, const struct crossing_end *in, int begin)
{
	for (int i = 0; i < begin; i++)
		if (in->k[i])
			op_kv_append(&p->e, (struct kv_append_params){.at = p->at,
								      .k = in->k[i],
								      .v = in->v[i],
								      .kv = p->f->cache->layers[i],
								      .n_tokens = p->n});
}

static void arrive_rows(struct pass *p, const struct crossing_end *in)
{
	const struct model *m = p->f->model;
	size_t n = (size_t)p->n, ple = (size_t)(m->n_layer - p->f->ple_first) * (size_t)m->n_ple;
	op_copy(&p->e, p->f->scratch.h, in->h, n * (size_t)m->n_embd * sizeof(float));
	if (in->ple)
		op_copy(&p->e, p->f->scratch.ple, in->ple, n * ple * sizeof(float));
}

/* The rows as layer `end` takes them. Their keys and values were left layer by layer. */
static void leave_rows(struct pass *p, int end)
{
	const struct model *m = p->f->model;
	const struct forward_scratch *s = &p->f->scratch;
	const struct crossing_end *out = p->out;
	size_t ple = (size_t)(m->n_layer - p->f->ple_first) * (size_t)m->n_ple;
	size_t skip = (size_t)(end - p->f->ple_first) * (size_t)m->n_ple, rest = ple - skip;
	op_copy(&p->e, out->h, s->h, (size_t)p->n * (size_t)m->n_embd * sizeof(float));
	for (size_t t = 0; out->ple && t < (size_t)p->n; t++)
		op_copy(&p->e, out->ple + t * rest, s->ple + t * ple + skip, rest * sizeof(float));
}

/* ---- a chunk ---- */

/* Goes on with the last n rows only, at the front of the buffers, where that saves rows enough. */
static void keep_last(struct pass *p, int n)
{
	const struct model *m = p->f->model;
	const struct forward_scratch *s = &p->f->scratch;
	size_t e = (size_t)m->n_embd, ple = (size_t)(m->n_layer - p->f->ple_first) * (size_t)m->n_ple;
	size_t skip = (size_t)(p->n - n);
	if (p->n < 2 * n)
		return; /* the copies would overlap */
	if (n) {
		op_copy(&p->e, s->h, s->h + skip * e, (size_t)n * e * sizeof(float));
		if (ple)
			op_copy(&p->e, s->ple, s->ple + skip * ple, (size_t)n * ple * sizeof(float));
	}
	p->at.host.pos += p->n - n;
	if (p->at.device)
		p->at.device++;
	p->n = n;
}

/* The last n rows of h to its front. */
static void trim(struct pass *p, int n)
{
	size_t e = (size_t)p->f->model->n_embd, skip = (size_t)(p->n - n);
	float *h = p->f->scratch.h;
	for (size_t r = 0; r < (size_t)n && skip; r++) /* row by row: they overlap */
		op_copy(&p->e, h + r * e, h + (skip + r) * e, e * sizeof(float));
	p->n = n;
}

/* A prompt's last row goes through the layers that are left as a decoded token does: they are shaped for one row. */
static void as_token(struct pass *p)
{
	p->tokens = NULL;
	p->fused = p->f->fusion != FUSION_NONE;
	p->f->bucket = forward_bucket(p->f, &p->at.host);
}

int forward_chunk(const struct forward_stage *g, struct forward_rows *r, int n_out, const struct at *at,
		  struct error *err)
{
	struct forward *f = g->forward;
	assert(r->n > 0 && r->n <= f->batch && n_out >= 0 && n_out <= r->kept && r->kept <= r->n);
	assert(!at->device || r->kept == r->n);
	/* Primitives, or what forward_prompt.c has: fused kernels are shaped for one row. */
	struct pass p = {.f = f,
			 .e = {.device = f->device, .err = err},
			 .at = *at,
			 .tokens = f->scratch.tokens,
			 .out = g->out,
			 .n = r->n};
	int i = g->range.begin, reader = model_first_reader(f->model);
	int observed = f->snapkv ? snapkv_rows(f->snapkv, r->pos, r->n) : 0;
	if (g->in)
		arrive_kv(&p, g->in, i);
	p.at.host.pos += r->n - r->kept;
	p.n = r->kept;
	if (g->range.embed)
		pass_embed(&p);
	else if (p.n)
		arrive_rows(&p, g->in);
	p.end = g->range.end < reader ? g->range.end : reader;
	for (; i < p.end; i++)
		pass_layer(&p, i);
	if (i >= reader)
		keep_last(&p, n_out > observed ? n_out : observed);
	p.end = g->range.end;
	p.normed = false;
	if (f->narrow && p.n == 1 && !observed)
		as_token(&p);
	for (; i < p.end && p.n; i++)
		pass_layer(&p, i);
	if (f->snapkv && i == g->range.end && g->range.begin < i)
		snapkv_advance(f->snapkv, r->pos, r->n);
	if (i == f->model->n_layer)
		trim(&p, n_out);
	if (g->out && p.n)
		leave_rows(&p, g->range.end);
	r->kept = p.n;
	return p.e.rc;
}

int forward_head(struct forward *f, int first, int n, struct error *err)
{
	assert(n > 0 && n <= f->logit_rows && first + n <= f->batch);
	struct pass p = {.f = f, .e = {.device = f->device, .err = err}, .n = n};
	pass_head(&p, f->scratch.h + (size_t)first * (size_t)f->model->n_embd, f->scratch.logits);
	return p.e.rc;
}

static int rows_at_once(int batch)
{
	return batch < ALL_ROWS ? batch : ALL_ROWS;
}

size_t forward_all_rows_bytes(const struct model *m, int batch)
{
	return (size_t)rows_at_once(batch) * (size_t)m->n_vocab * sizeof(float);
}

int forward_head_reserve(struct forward *f, struct error *err)
{
	if (f->all_logits)
		return 0;
	void *logits;
	int rc = device_alloc(f->device, forward_all_rows_bytes(f->model, f->batch), &logits, err);
	if (rc)
		return error_prefix(err, rc, "logits of %d rows of a prompt", rows_at_once(f->batch));
	f->all_logits = logits;
	f->all_rows = rows_at_once(f->batch);
	return 0;
}

int forward_head_all(struct forward *f, int n, struct error *err)
{
	struct pass p = {.f = f, .e = {.device = f->device, .err = err}};
	size_t vocab = (size_t)f->model->n_vocab;
	assert(n > 0 && n <= f->batch && f->all_logits);
	for (int first = 0; first < n; first += p.n) {
		p.n = n - first < f->all_rows ? n - first : f->all_rows;
		pass_head(&p, f->scratch.h + (size_t)first * (size_t)f->model->n_embd, f->all_logits);
	}
	op_copy(&p.e, f->scratch.logits, f->all_logits + (size_t)(p.n - 1) * vocab, vocab * sizeof(float));
	return p.e.rc;
}

/* ---- a chunk as a graph has it ---- */

static int rows_out(const struct forward_prompt *c)
{
	return c->head == HEAD_ROWS_ALL ? c->n : c->head == HEAD_ROWS_LAST;
}

bool forward_prompt_repeats(const struct forward_prompt *c)
{
	const struct snapkv *s = c->stage->forward->snapkv;
	return !s || !snapkv_rows(s, c->pos, c->n);
}

void forward_prompt_describe(const struct forward_prompt *c, struct graph_key *key, struct step *steps)
{
	const struct forward *f = c->stage->forward;
	int out = rows_out(c);
	memset(key, 0, sizeof *key);
	key->fusion = f->fusion;
	key->layer_begin = c->stage->range.begin;
	key->layer_end = c->stage->range.end;
	key->head = (int)c->head;
	key->trace = f->trace;
	key->rows = c->n;
	key->rows_out = out;
	key->generation = f->cache->generation;
	steps[0] = (struct step){.pos = c->pos, .evicted = f->cache->evicted};
	steps[1] = steps[0];
	steps[1].pos += c->n - out;
	/* A last row that goes on as a token is split as one. */
	if (f->narrow && out == 1)
		key->bucket = forward_bucket(f, &steps[1]);
}

int forward_prompt(void *ctx, const struct at *at, struct error *err)
{
	const struct forward_prompt *c = ctx;
	struct forward *f = c->stage->forward;
	struct forward_rows rows = {.n = c->n, .pos = c->pos, .kept = c->n};
	int rc = forward_chunk(c->stage, &rows, rows_out(c), at, err);
	if (rc || c->head == HEAD_ROWS_NONE)
		return rc;
	return c->head == HEAD_ROWS_ALL ? forward_head_all(f, c->n, err) : forward_head(f, 0, 1, err);
}

/* ---- a token ---- */

int forward_prepare(struct forward *f, struct error *err)
{
	return f->fusion == FUSION_PERSISTENT ? persistent_prepare(&f->persistent, f, err) : 0;
}

static int run_program(struct forward *f, const struct at *at, struct error *err)
{
	struct emitter e = {.device = f->device, .err = err};
	struct persistent_params params = f->persistent.params;
	params.at = *at;
	params.trace = f->trace ? f->scratch.trace : NULL;
	params.stamps = f->stamps;
	op_persistent(&e, params);
	return e.rc;
}

int forward_token(void *ctx, const struct at *at, struct error *err)
{
	const struct forward_stage *g = ctx;
	struct forward *f = g->forward;
	if (f->fusion == FUSION_PERSISTENT)
		return run_program(f, at, err);
	struct pass p = {.f = f,
			 .e = {.device = f->device, .err = err},
			 .at = *at,
			 .out = g->out,
			 .n = 1,
			 .fused = f->fusion == FUSION_FULL};
	if (g->range.embed) {
		pass_embed(&p);
	} else {
		arrive_kv(&p, g->in, g->range.begin);
		arrive_rows(&p, g->in);
	}
	for (int i = g->range.begin; i < g->range.end; i++)
		pass_layer(&p, i);
	if (g->range.head)
		pass_head(&p, f->scratch.h, f->scratch.logits);
	if (g->out)
		leave_rows(&p, g->range.end);
	return p.e.rc;
}

int forward_token_chosen(void *ctx, const struct at *at, struct error *err)
{
	const struct forward_stage *g = ctx;
	struct forward *f = g->forward;
	struct sampler *sampler = f->scratch.sampler;
	struct emitter e = {.device = f->device, .err = err};
	assert(g->range.head);
	e.rc = forward_token(ctx, at, err);
	op_sample(&e, (struct sample_params){
			      .at = *at,
			      .device = &sampler->settings,
			      .logits = f->scratch.logits,
			      .out = &sampler->chosen,
			      .n = f->model->n_vocab,
		      });
	return e.rc;
}
