#include "engine/session.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/kv_cache.h"
#include "engine/loaded_model.h"
#include "engine/nvtx.h"

enum {
	GRAPHS_KEPT = 16, /* a sweep over modes, fusions and buckets of one depth range */
};

struct session {
	struct loaded_model *loaded;
	bool owns_loaded;
	const struct model *model; /* the loaded one, and its device */
	struct device *device;
	struct kv_cache cache;
	struct forward forward;
	struct graph_cache *graphs;
	struct device_event *begin;
	struct device_event *end;
	enum graph_mode mode;
	float *logits;       /* host, (logit_rows, n_vocab) */
	bool logits_on_host; /* row logits_row of it is the last token's */
	int logits_row;      /* of scratch.logits, or of logits once downloaded */
	bool has_logits;
	float *trace; /* the caller's; null: off */
};

void session_options_default(struct session_options *o)
{
	*o = (struct session_options){
		.n_gpu_layers = -1,
		.k_type = TENSOR_F16,
		.v_type = TENSOR_F16,
		.mode = GRAPH_MODE_DIRECT,
		.fusion = FUSION_FULL,
		.pdl = true,
		.prefill = PREFILL_BF16,
	};
}

static int open_on(struct session *s, int context, struct error *err)
{
	struct loaded_model *m = s->loaded;
	struct device *d = s->device;
	int rc;
	if (context <= 0)
		context = m->model.n_context;
	int batch = m->options.batch < context ? m->options.batch : context;
	const struct model_range all = model_whole(&m->model);
	if ((rc = kv_cache_open(&s->cache, &m->model, &all, d, context, batch, m->options.k_type, m->options.v_type,
				err)) ||
	    (rc = forward_open(&s->forward, &m->model, &m->weights, &s->cache, d, batch, err)) ||
	    (rc = graph_cache_open(&s->graphs, d, GRAPHS_KEPT, err)) ||
	    (rc = d->ops->event_create(d, &s->begin, err)) || (rc = d->ops->event_create(d, &s->end, err)))
		return rc;
	s->logits = malloc((size_t)s->forward.logit_rows * (size_t)m->model.n_vocab * sizeof *s->logits);
	if (!s->logits)
		return error_set(err, ERROR_MEMORY, "no memory for the logits of %d tokens", m->model.n_vocab);
	s->mode = m->options.mode;
	s->forward.fusion = m->options.fusion;
	return 0;
}

int session_open_on(struct session **out, struct loaded_model *m, int context, struct error *err)
{
	*out = NULL;
	struct session *s = calloc(1, sizeof *s);
	if (!s)
		return error_set(err, ERROR_MEMORY, "no memory for a session");
	s->loaded = m;
	s->model = &m->model;
	s->device = m->device;
	m->n_sessions++;
	if (m->n_sessions == 1)
		m->device->ops->forget_peak(m->device);
	int rc = open_on(s, context, err);
	if (rc) {
		session_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

int session_open(struct session **out, const char *model_path, const struct session_options *o, struct error *err)
{
	*out = NULL;
	struct loaded_model *m;
	int rc = loaded_model_open(&m, model_path, o, err);
	if (rc)
		return rc;
	if ((rc = session_open_on(out, m, o->context, err)))
		loaded_model_close(m);
	else
		(*out)->owns_loaded = true;
	return rc;
}

void session_close(struct session *s)
{
	if (!s)
		return;
	s->device->ops->event_destroy(s->device, s->begin);
	s->device->ops->event_destroy(s->device, s->end);
	graph_cache_close(s->graphs);
	forward_close(&s->forward);
	kv_cache_close(&s->cache);
	s->loaded->n_sessions--;
	if (s->owns_loaded)
		loaded_model_close(s->loaded);
	free(s->logits);
	free(s);
}

const struct model *session_model(const struct session *s)
{
	return s->model;
}

struct device *session_device(struct session *s)
{
	return s->device;
}

const char *session_device_name(const struct session *s)
{
	return s->device->ops->name;
}

int session_threads(const struct session *s)
{
	return s->loaded->n_gpu_layers ? 1 : device_host_threads(s->device);
}

int session_gpu_layers(const struct session *s)
{
	return s->loaded->n_gpu_layers;
}

const char *session_gpu_reason(const struct session *s)
{
	return s->loaded->gpu_reason;
}

int session_position(const struct session *s)
{
	return s->cache.pos;
}

void session_set_mode(struct session *s, enum graph_mode mode)
{
	s->mode = mode;
}

void session_set_fusion(struct session *s, enum fusion fusion)
{
	s->forward.fusion = fusion;
}

static int check_tokens(const struct session *s, const int *tokens, int n, struct error *err)
{
	for (int i = 0; i < n; i++)
		if (tokens[i] < 0 || tokens[i] >= s->model->n_vocab)
			return error_set(err, ERROR_INPUT, "token %d (number %d) is not in the vocabulary of %d",
					 tokens[i], i, s->model->n_vocab);
	return 0;
}

static int download_trace(struct session *s, struct error *err)
{
	if (!s->trace)
		return 0;
	size_t n = ((size_t)s->model->n_layer + 1) * (size_t)s->model->n_embd;
	return s->device->ops->download(s->device, s->trace, s->forward.scratch.trace, n * sizeof(float), err);
}

/* The head over all rows of the chunk into out (host), or over its last row, which forward_chunk left first. */
static int chunk_logits(struct session *s, int n, float *out, bool last, struct error *err)
{
	struct device *d = s->device;
	const struct forward *f = &s->forward;
	size_t vocab = (size_t)s->model->n_vocab;
	int rc;
	for (int first = 0; out && first < n; first += f->logit_rows) {
		int rows = n - first < f->logit_rows ? n - first : f->logit_rows;
		if ((rc = forward_head(&s->forward, first, rows, err)) ||
		    (rc = d->ops->download(d, out + (size_t)first * vocab, f->scratch.logits,
					   (size_t)rows * vocab * sizeof(float), err)))
			return rc;
		s->logits_row = rows - 1;
	}
	if (!out && last) {
		if ((rc = forward_head(&s->forward, 0, 1, err)))
			return rc;
		s->logits_row = 0;
	}
	return 0;
}

static int prefill(struct session *s, const int *tokens, int n, float *logits, struct error *err)
{
	struct device *d = s->device;
	int rc;
	for (int done = 0; done < n;) {
		int chunk = n - done < s->forward.batch ? n - done : s->forward.batch;
		bool last = done + chunk == n;
		s->forward.trace = s->trace && last;
		if ((rc = d->ops->upload(d, s->forward.scratch.tokens, tokens + done, (size_t)chunk * sizeof(int),
					 err)) ||
		    (rc = forward_chunk(&s->forward, chunk, logits ? chunk : last, err)) ||
		    (rc = chunk_logits(s, chunk, logits ? logits + (size_t)done * (size_t)s->model->n_vocab : NULL,
				       last, err)))
			return rc;
		kv_cache_advance(&s->cache, chunk);
		done += chunk;
	}
	rc = d->ops->synchronize(d, err);
	if (rc)
		return rc;
	s->has_logits = true;
	return download_trace(s, err);
}

int session_prefill(struct session *s, const int *tokens, int n, float *logits, struct error *err)
{
	int rc;
	if (n < 1)
		return error_set(err, ERROR_INPUT, "a prefill of %d tokens makes no sense", n);
	if ((rc = check_tokens(s, tokens, n, err)) || (rc = kv_cache_check(&s->cache, n, err)))
		return rc;
	s->has_logits = s->logits_on_host = false;
	nvtx_push("prefill", n);
	rc = prefill(s, tokens, n, logits, err);
	nvtx_pop();
	return rc;
}

static struct graph_key key_of(const struct session *s)
{
	struct graph_key key;
	memset(&key, 0, sizeof key);
	key.mode = s->mode;
	key.fusion = s->forward.fusion;
	key.layer_end = s->model->n_layer;
	key.bucket = s->forward.bucket;
	key.trace = s->forward.trace;
	key.generation = s->cache.generation;
	return key;
}

int session_decode(struct session *s, int token, struct token_timing *timing, struct error *err)
{
	struct device *d = s->device;
	int rc;
	if ((rc = check_tokens(s, &token, 1, err)) || (rc = kv_cache_check(&s->cache, 1, err)))
		return rc;
	s->has_logits = s->logits_on_host = false;
	s->forward.trace = s->trace;
	struct step step = {.token = token, .pos = s->cache.pos, .evicted = s->cache.evicted};
	s->forward.bucket = forward_bucket(&s->forward, &step);
	struct graph_key key = key_of(s);
	struct device_counters before = d->counters;
	enum graph_event event = GRAPH_EVENT_DIRECT;

	nvtx_push(graph_mode_name(s->mode), step.pos);
	int64_t t0 = clock_ns(), t1 = t0, t2;
	if (!(rc = d->ops->event_record(d, s->begin, err)) &&
	    !(rc = graph_run(s->graphs, &key, &step, forward_token, &s->forward, &event, err)) &&
	    !(rc = d->ops->event_record(d, s->end, err))) {
		t1 = clock_ns();
		rc = d->ops->synchronize(d, err);
	}
	t2 = clock_ns();
	nvtx_pop();
	if (rc)
		return rc;

	kv_cache_advance(&s->cache, 1);
	s->logits_row = 0;
	s->has_logits = true;
	if (timing) {
		*timing = (struct token_timing){
			.submit_us = (double)(t1 - t0) * 1e-3,
			.wall_us = (double)(t2 - t0) * 1e-3,
			.done_ns = t2,
			.event = event,
			.api_launches = (int)(d->counters.api_launches - before.api_launches),
			.node_updates = (int)(d->counters.node_updates - before.node_updates),
			.kernels = (int)(d->counters.kernels - before.kernels),
			.copies = (int)(d->counters.copies - before.copies),
		};
		if ((rc = d->ops->event_elapsed(d, s->begin, s->end, &timing->device_us, err)))
			return rc;
	}
	return download_trace(s, err);
}

int session_logits(struct session *s, const float **logits, struct error *err)
{
	size_t vocab = (size_t)s->model->n_vocab;
	*logits = NULL;
	if (!s->has_logits)
		return error_set(err, ERROR_INPUT, "no token was run yet: there are no logits");
	if (!s->logits_on_host) {
		int rc = s->device->ops->download(s->device, s->logits,
						  s->forward.scratch.logits + (size_t)s->logits_row * vocab,
						  vocab * sizeof(float), err);
		if (rc)
			return rc;
		s->logits_on_host = true;
	}
	for (size_t i = 0; i < vocab; i++)
		if (!isfinite(s->logits[i]))
			return error_set(err, ERROR_WRONG, "logit %zu of position %d is %g", i, s->cache.pos - 1,
					 (double)s->logits[i]);
	*logits = s->logits;
	return 0;
}

int session_checkpoint(struct session *s, struct error *err)
{
	int rc = kv_cache_save(&s->cache, err);
	return rc ? rc : s->device->ops->synchronize(s->device, err);
}

int session_rewind(struct session *s, int pos, struct error *err)
{
	int rc = kv_cache_rewind(&s->cache, pos, err);
	if (rc)
		return rc;
	s->has_logits = s->logits_on_host = false;
	return s->device->ops->synchronize(s->device, err);
}

void session_trace(struct session *s, float *hidden)
{
	s->trace = hidden;
}

struct session_stats session_stats(const struct session *s)
{
	return (struct session_stats){
		.graph = graph_cache_stats(s->graphs),
		.memory = s->device->ops->memory(s->device),
		.weight_bytes = s->loaded->weights.bytes,
		.mapped_bytes = s->loaded->weights.mapped_bytes,
		.n_narrowed = s->loaded->weights.n_narrowed,
		.narrowed_bytes = s->loaded->weights.narrowed_bytes,
		.kv_bytes = s->cache.bytes,
		.decode_weight_bytes = model_decode_bytes(s->model),
		.load_us = s->loaded->load_us,
	};
}

size_t session_kv_bytes_read(const struct session *s, int pos)
{
	return kv_cache_bytes_read(&s->cache, pos);
}

const char *session_fallback_reason(const struct session *s)
{
	return graph_cache_fallback_reason(s->graphs);
}
