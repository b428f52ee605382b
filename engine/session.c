#include "engine/session.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/kv_cache.h"
#include "engine/weights.h"

enum {
	DEFAULT_BATCH = 512,
	GRAPHS_KEPT = 16, /* a sweep over modes, fusions and buckets of one depth range */
};

struct session {
	struct model model;
	struct device *device;
	struct weights weights;
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
	double load_us;
};

void session_options_default(struct session_options *o)
{
	*o = (struct session_options){
		.n_gpu_layers = -1,
		.batch = DEFAULT_BATCH,
		.k_type = TENSOR_F16,
		.v_type = TENSOR_F16,
		.mode = GRAPH_MODE_DIRECT,
		.fusion = FUSION_FULL,
	};
}

static int open_device(struct session *s, const struct session_options *o, struct error *err)
{
	if (o->n_gpu_layers > 0)
		return error_set(err, ERROR_UNSUPPORTED,
				 "-ngl %d asks for a GPU, and this build has the host device only; use -ngl 0",
				 o->n_gpu_layers);
	if (o->n_gpu_layers < -1 || o->n_threads < 0)
		return error_set(err, ERROR_INPUT, "%d GPU layers with %d threads makes no sense", o->n_gpu_layers,
				 o->n_threads);
	return device_host_open(&s->device, o->n_threads, err);
}

int session_open(struct session **out, const char *model_path, const struct session_options *o, struct error *err)
{
	*out = NULL;
	struct session *s = calloc(1, sizeof *s);
	if (!s)
		return error_set(err, ERROR_MEMORY, "no memory for a session");
	int64_t t0 = clock_ns();
	int batch = o->batch > 0 ? o->batch : DEFAULT_BATCH, rc;
	if ((rc = model_open(&s->model, model_path, err)) || (rc = open_device(s, o, err)) ||
	    (rc = weights_open(&s->weights, &s->model, s->device, err)))
		goto fail;
	int context = o->context > 0 ? o->context : s->model.n_context;
	if (batch > context)
		batch = context;
	if ((rc = kv_cache_open(&s->cache, &s->model, s->device, context, batch, o->k_type, o->v_type, err)) ||
	    (rc = forward_open(&s->forward, &s->model, &s->weights, &s->cache, s->device, batch, err)) ||
	    (rc = graph_cache_open(&s->graphs, s->device, GRAPHS_KEPT, err)) ||
	    (rc = s->device->ops->event_create(s->device, &s->begin, err)) ||
	    (rc = s->device->ops->event_create(s->device, &s->end, err)))
		goto fail;
	s->logits = malloc((size_t)s->forward.logit_rows * (size_t)s->model.n_vocab * sizeof *s->logits);
	if (!s->logits) {
		rc = error_set(err, ERROR_MEMORY, "no memory for the logits of %d tokens", s->model.n_vocab);
		goto fail;
	}
	s->mode = o->mode;
	s->forward.fusion = o->fusion;
	s->load_us = (double)(clock_ns() - t0) * 1e-3;
	*out = s;
	return 0;
fail:
	session_close(s);
	return rc;
}

void session_close(struct session *s)
{
	if (!s)
		return;
	if (s->device) {
		s->device->ops->event_destroy(s->device, s->begin);
		s->device->ops->event_destroy(s->device, s->end);
		graph_cache_close(s->graphs);
		forward_close(&s->forward);
		kv_cache_close(&s->cache);
		weights_close(&s->weights);
		s->device->ops->close(s->device);
	}
	model_close(&s->model);
	free(s->logits);
	free(s);
}

const struct model *session_model(const struct session *s)
{
	return &s->model;
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
	return device_host_threads(s->device);
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
		if (tokens[i] < 0 || tokens[i] >= s->model.n_vocab)
			return error_set(err, ERROR_INPUT, "token %d (number %d) is not in the vocabulary of %d",
					 tokens[i], i, s->model.n_vocab);
	return 0;
}

static int download_trace(struct session *s, struct error *err)
{
	if (!s->trace)
		return 0;
	size_t n = ((size_t)s->model.n_layer + 1) * (size_t)s->model.n_embd;
	return s->device->ops->download(s->device, s->trace, s->forward.scratch.trace, n * sizeof(float), err);
}

/* The head over all rows of the chunk into out (host), or over its last row, which forward_chunk left first. */
static int chunk_logits(struct session *s, int n, float *out, bool last, struct error *err)
{
	struct device *d = s->device;
	const struct forward *f = &s->forward;
	size_t vocab = (size_t)s->model.n_vocab;
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

int session_prefill(struct session *s, const int *tokens, int n, float *logits, struct error *err)
{
	struct device *d = s->device;
	int rc;
	if (n < 1)
		return error_set(err, ERROR_INPUT, "a prefill of %d tokens makes no sense", n);
	if ((rc = check_tokens(s, tokens, n, err)) || (rc = kv_cache_check(&s->cache, n, err)))
		return rc;
	s->has_logits = s->logits_on_host = false;
	for (int done = 0; done < n;) {
		int chunk = n - done < s->forward.batch ? n - done : s->forward.batch;
		bool last = done + chunk == n;
		s->forward.trace = s->trace && last;
		if ((rc = d->ops->upload(d, s->forward.scratch.tokens, tokens + done, (size_t)chunk * sizeof(int),
					 err)) ||
		    (rc = forward_chunk(&s->forward, chunk, logits ? chunk : last, err)) ||
		    (rc = chunk_logits(s, chunk, logits ? logits + (size_t)done * (size_t)s->model.n_vocab : NULL, last,
				       err)))
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

static struct graph_key key_of(const struct session *s)
{
	struct graph_key key;
	memset(&key, 0, sizeof key);
	key.mode = s->mode;
	key.fusion = s->forward.fusion;
	key.layer_end = s->model.n_layer;
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
	enum graph_event event;

	int64_t t0 = clock_ns();
	if ((rc = d->ops->event_record(d, s->begin, err)) ||
	    (rc = graph_run(s->graphs, &key, &step, forward_token, &s->forward, &event, err)) ||
	    (rc = d->ops->event_record(d, s->end, err)))
		return rc;
	int64_t t1 = clock_ns();
	if ((rc = d->ops->synchronize(d, err)))
		return rc;
	int64_t t2 = clock_ns();

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
	size_t vocab = (size_t)s->model.n_vocab;
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
		.weight_bytes = s->weights.bytes,
		.kv_bytes = s->cache.bytes,
		.decode_weight_bytes = model_decode_bytes(&s->model),
		.load_us = s->load_us,
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
