#include "engine/infer/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "engine/device/nvtx.h"
#include "engine/infer/kv_fault.h"
#include "engine/infer/kv_snapshot.h"
#include "engine/infer/placement_check.h"
#include "engine/infer/session_internal.h"

void session_options_default(struct session_options *o)
{
	*o = (struct session_options){.mode = GRAPH_MODE_DIRECT, .fusion = FUSION_FULL};
	load_options_default(&o->load);
}

static int open_on(struct session *s, int context, struct error *err)
{
	const struct loaded_model *m = s->loaded;
	int rc = pipeline_open(&s->pipeline, m, context > 0 ? context : m->model.n_context, err);
	if (rc)
		return rc;
	int rows = pipeline_head(&s->pipeline)->logit_rows;
	s->logits = malloc((size_t)rows * (size_t)m->model.n_vocab * sizeof *s->logits);
	if (!s->logits)
		return error_set(err, ERROR_MEMORY, "no memory for the logits of %d tokens", m->model.n_vocab);
	s->mode = s->prefill_mode = GRAPH_MODE_DIRECT;
	for (int i = 0; i < m->n_parts; i++)
		s->pipeline.parts[i].forward.snapkv = &s->snapkv[i];
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
	m->n_sessions++;
	for (int i = 0; i < m->n_parts && m->n_sessions == 1; i++)
		device_forget_peak(m->parts[i].device);
	int rc = open_on(s, context, err);
	if (rc) {
		session_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

struct load_options session_load_options(const struct session_options *o)
{
	struct load_options load = o->load;
	if (o->fusion == FUSION_PERSISTENT)
		load.persistent = PERSISTENT_SESSIONS_ALL;
	return load;
}

int session_open(struct session **out, const char *model_path, const struct session_options *o, struct error *err)
{
	*out = NULL;
	struct loaded_model *m;
	const struct load_options load = session_load_options(o);
	int rc = loaded_model_open(&m, model_path, &load, err);
	if (rc)
		return rc;
	if ((rc = session_open_on(out, m, o->context, err))) {
		loaded_model_close(m);
		return rc;
	}
	(*out)->owns_loaded = true;
	session_set_mode(*out, o->mode);
	session_set_fusion(*out, o->fusion);
	return 0;
}

static void stop_observing(struct session *s)
{
	for (int i = 0; i < LOADED_PARTS_MAX; i++)
		snapkv_close(&s->snapkv[i]);
}

void session_close(struct session *s)
{
	if (!s)
		return;
	token_queue_close(&s->queue);
	pipeline_close(&s->pipeline);
	stop_observing(s);
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
	return s->loaded->parts[0].device;
}

const char *session_device_name(const struct session *s)
{
	return s->loaded->device_name;
}

const char *session_head_device_name(const struct session *s)
{
	return device_name(s->loaded->parts[s->loaded->head_part].device);
}

int session_threads(const struct session *s)
{
	return loaded_model_threads(s->loaded);
}

int session_gpu_layers(const struct session *s)
{
	return s->loaded->n_gpu_layers;
}

const struct load_options *session_loaded_options(const struct session *s)
{
	return &s->loaded->options;
}

const char *session_gpu_reason(const struct session *s)
{
	return s->loaded->gpu_reason;
}

const char *session_memory_reason(const struct session *s)
{
	return s->loaded->no_memory.text;
}

int session_position(const struct session *s)
{
	return pipeline_position(&s->pipeline);
}

static struct placement_stages stages_of(const struct session *s)
{
	return (struct placement_stages){.n = s->pipeline.n_stages, .on_gpu = s->loaded->n_gpu_layers > 0};
}

int session_loop_check(const struct session *s, enum graph_mode mode, struct error *err)
{
	const struct placement_stages stages = stages_of(s);
	return placement_check_loop(&stages, mode, err);
}

int session_mode_check(const struct session *s, enum graph_mode mode, struct error *err)
{
	const struct loaded_model *m = s->loaded;
	int rc = 0;
	for (int i = 0; i < m->n_parts && !rc; i++)
		rc = graph_mode_check(mode, m->parts[i].device, err);
	return rc;
}

void session_set_mode(struct session *s, enum graph_mode mode)
{
	s->mode = mode;
}

void session_set_fusion(struct session *s, enum fusion fusion)
{
	pipeline_set_fusion(&s->pipeline, fusion);
}

int session_prepare(struct session *s, struct error *err)
{
	return pipeline_prepare(&s->pipeline, err);
}

static const char *const prefill_rows_names[] = {"last", "all"};

const char *prefill_rows_name(enum prefill_rows r)
{
	return prefill_rows_names[r];
}

int prefill_rows_parse(const char *name)
{
	for (int r = 0; r < 2; r++)
		if (!strcmp(name, prefill_rows_names[r]))
			return r;
	return -1;
}

int session_set_prefill_rows(struct session *s, enum prefill_rows rows, struct error *err)
{
	int rc = rows == PREFILL_ROWS_ALL ? forward_head_reserve(pipeline_head(&s->pipeline), err) : 0;
	if (!rc)
		s->rows = rows;
	return rc;
}

enum prefill_rows session_prefill_rows(const struct session *s)
{
	return s->rows;
}

int session_set_prefill_mode(struct session *s, enum graph_mode mode, struct error *err)
{
	const struct placement_stages stages = stages_of(s);
	int rc = placement_check_prefill(&stages, mode, err);
	if (!rc)
		rc = session_mode_check(s, mode, err);
	if (!rc)
		s->prefill_mode = mode;
	return rc;
}

int session_check_tokens(const struct session *s, const int *tokens, int n, struct error *err)
{
	for (int i = 0; i < n; i++)
		if (tokens[i] < 0 || tokens[i] >= s->model->n_vocab)
			return error_set(err, ERROR_INPUT, "token %d (number %d) is not in the vocabulary of %d",
					 tokens[i], i, s->model->n_vocab);
	return 0;
}

static int download_trace(struct session *s, struct error *err)
{
	return s->trace ? pipeline_download_trace(&s->pipeline, s->trace, err) : 0;
}

/* The head over all rows of the chunk, into out (host) or for nobody, or over its last row, which the chunk left first.
 */
static int chunk_logits(struct session *s, int n, float *out, bool last, struct error *err)
{
	struct forward *f = pipeline_head(&s->pipeline);
	struct device *d = f->device;
	size_t vocab = (size_t)s->model->n_vocab;
	int rc;
	for (int first = 0; out && first < n; first += f->logit_rows) {
		int rows = n - first < f->logit_rows ? n - first : f->logit_rows;
		if ((rc = forward_head(f, first, rows, err)) ||
		    (rc = device_download(d, out + (size_t)first * vocab, f->scratch.logits,
					  (size_t)rows * vocab * sizeof(float), err)))
			return rc;
		s->logits_row = rows - 1;
	}
	if (!out && s->rows == PREFILL_ROWS_ALL) {
		if ((rc = forward_head_all(f, n, err)))
			return rc;
		s->logits_row = 0;
	} else if (!out && last) {
		if ((rc = forward_head(f, 0, 1, err)))
			return rc;
		s->logits_row = 0;
	}
	return 0;
}

/* A chunk that went from `before` on. */
static void count_chunk(struct prefill_counts *c, enum graph_event event, const struct device_counters *before,
			const struct device_counters *after)
{
	const int counts[] = {(int)event, (int)(after->api_launches - before->api_launches),
			      (int)(after->node_updates - before->node_updates),
			      (int)(after->kernels - before->kernels), (int)(after->copies - before->copies)};
	c->chunks++;
	c->api_launches += counts[1];
	c->node_updates += counts[2];
	c->kernels += counts[3];
	c->copies += counts[4];
	c->n_direct += event == GRAPH_EVENT_DIRECT || event == GRAPH_EVENT_FALLBACK;
	if (event == GRAPH_EVENT_CAPTURE || event == GRAPH_EVENT_FALLBACK)
		c->sequence = 0;
	if (c->sequence)
		c->sequence = hash_bytes(counts, sizeof counts, c->sequence);
}

/* A chunk whose rows' logits nobody gets. */
static int replay_chunk(struct session *s, const int *tokens, int n, bool last, enum graph_event *event,
			struct error *err)
{
	enum head_rows head = s->rows == PREFILL_ROWS_ALL ? HEAD_ROWS_ALL : last ? HEAD_ROWS_LAST : HEAD_ROWS_NONE;
	s->logits_row = 0;
	return pipeline_replay_chunk(&s->pipeline, tokens, n, head, s->prefill_mode, event, err);
}

static int prefill(struct session *s, const int *tokens, int n, float *logits, struct error *err)
{
	struct pipeline *p = &s->pipeline;
	int batch = p->parts[0].forward.batch, rc;
	for (int done = 0; done < n;) {
		int chunk = n - done < batch ? n - done : batch;
		bool last = done + chunk == n;
		float *rows = logits ? logits + (size_t)done * (size_t)s->model->n_vocab : NULL;
		pipeline_set_trace(p, s->trace && last);
		bool all = logits || s->rows == PREFILL_ROWS_ALL;
		struct device_counters before = pipeline_counters(p);
		enum graph_event event = GRAPH_EVENT_DIRECT;
		if (s->prefill_mode != GRAPH_MODE_DIRECT && !logits)
			rc = replay_chunk(s, tokens + done, chunk, last, &event, err);
		else if (!(rc = pipeline_chunk(p, tokens + done, chunk, all ? chunk : last, err)))
			rc = chunk_logits(s, chunk, rows, last, err);
		if (rc)
			return rc;
		struct device_counters after = pipeline_counters(p);
		count_chunk(&s->prefilled, event, &before, &after);
		done += chunk;
	}
	rc = pipeline_synchronize(p, err);
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
	if ((rc = session_check_tokens(s, tokens, n, err)) || (rc = pipeline_check(&s->pipeline, n, err)))
		return rc;
	s->has_logits = s->logits_on_host = false;
	s->prefilled = (struct prefill_counts){.sequence = 1};
	nvtx_push("prefill", n);
	rc = prefill(s, tokens, n, logits, err);
	nvtx_pop();
	return rc;
}

struct prefill_counts session_prefill_counts(const struct session *s)
{
	return s->prefilled;
}

struct token_timing session_timing(const struct pipeline_timing *t)
{
	return (struct token_timing){
		.submit_us = t->submit_us,
		.device_us = t->device_us,
		.host_us = t->host_us,
		.wall_us = t->wall_us,
		.done_ns = t->done_ns,
		.event = t->event,
		.api_launches = (int)t->counters.api_launches,
		.node_updates = (int)t->counters.node_updates,
		.kernels = (int)t->counters.kernels,
		.copies = (int)t->counters.copies,
	};
}

int session_decode(struct session *s, int token, struct token_timing *timing, struct error *err)
{
	struct pipeline_timing t;
	int rc;
	if ((rc = session_check_tokens(s, &token, 1, err)) || (rc = pipeline_check(&s->pipeline, 1, err)))
		return rc;
	s->has_logits = s->logits_on_host = false;
	pipeline_set_trace(&s->pipeline, s->trace);
	nvtx_push(graph_mode_name(s->mode), session_position(s));
	rc = pipeline_token(&s->pipeline, token, s->mode, &t, err);
	nvtx_pop();
	if (rc)
		return rc;
	s->logits_row = 0;
	s->has_logits = true;
	if (timing)
		*timing = session_timing(&t);
	return download_trace(s, err);
}

int session_check_logits(struct session *s, const float *logits, int pos, struct error *err)
{
	struct kv_cache *caches[LOADED_PARTS_MAX];
	for (int i = 0; i < s->model->n_vocab; i++) {
		if (isfinite(logits[i]))
			continue;
		/* A NaN's sign says nothing. */
		error_set(err, ERROR_WRONG, "logit %d of position %d is %g", i, pos,
			  isnan(logits[i]) ? (double)NAN : (double)logits[i]);
		return kv_fault_explain(caches, pipeline_caches(&s->pipeline, caches), ERROR_WRONG, err);
	}
	return 0;
}

int session_fetch_logits(struct session *s, struct error *err)
{
	size_t vocab = (size_t)s->model->n_vocab;
	if (!s->has_logits)
		return error_set(err, ERROR_INPUT, "no token was run yet: there are no logits");
	if (s->logits_on_host)
		return 0;
	const struct forward *f = pipeline_head(&s->pipeline);
	int rc = device_download(f->device, s->logits, f->scratch.logits + (size_t)s->logits_row * vocab,
				 vocab * sizeof(float), err);
	s->logits_on_host = !rc;
	return rc;
}

int session_logits(struct session *s, const float **logits, struct error *err)
{
	*logits = NULL;
	int rc = session_fetch_logits(s, err);
	if (!rc)
		rc = session_check_logits(s, s->logits, session_position(s) - 1, err);
	if (!rc)
		*logits = s->logits;
	return rc;
}

int session_checkpoint(struct session *s, struct error *err)
{
	return pipeline_save(&s->pipeline, err);
}

int session_rewind(struct session *s, int pos, struct error *err)
{
	int rc = pipeline_rewind(&s->pipeline, pos, err);
	if (rc)
		return rc;
	for (int i = 0; i < s->loaded->n_parts; i++)
		snapkv_rewind(&s->snapkv[i], pos);
	s->has_logits = s->logits_on_host = false;
	return 0;
}

int session_observe(struct session *s, const struct snapkv_options *o, int end, struct error *err)
{
	const struct kv_cache *cache = &s->pipeline.parts[0].cache;
	const struct loaded_model *m = s->loaded;
	stop_observing(s);
	if (!o->budget || end <= o->budget)
		return 0;
	if (cache->evicted)
		return error_set(err, ERROR_INPUT,
				 "SnapKV evicted %d entries already; rewind to 0 before the next prompt",
				 cache->evicted);
	if (cache->pos > end - o->window)
		return error_set(err, ERROR_INPUT,
				 "SnapKV observes the tokens from position %d to %d, and this is position %d already",
				 end - o->window, end, cache->pos);
	int rc = 0;
	for (int i = 0; i < m->n_parts && !rc; i++)
		rc = snapkv_open(&s->snapkv[i], o, s->model, &m->parts[i].range, m->parts[i].device, end, err);
	if (rc)
		stop_observing(s);
	return rc;
}

int session_evict(struct session *s, struct session_eviction *out, struct error *err)
{
	struct device *d = session_device(s);
	struct kv_cache *caches[LOADED_PARTS_MAX];
	int n = pipeline_caches(&s->pipeline, caches);
	const struct kv_cache *cache = caches[0];
	*out = (struct session_eviction){
		.entries_before = cache->pos - cache->evicted,
		.memory_before = device_memory(d).used,
	};
	int64_t t0 = clock_ns();
	if (snapkv_observes(s->snapkv)) {
		nvtx_push("evict", cache->pos);
		int rc = snapkv_evict(s->snapkv, caches, n, err);
		nvtx_pop();
		if (rc)
			return rc;
		stop_observing(s);
		out->us = (double)(clock_ns() - t0) * 1e-3;
	}
	out->entries_after = cache->pos - cache->evicted;
	out->memory_after = device_memory(d).used;
	return 0;
}

int session_evicted(const struct session *s)
{
	return s->pipeline.parts[0].cache.evicted;
}

int session_observed(const struct session *s)
{
	return snapkv_observes(s->snapkv) ? s->snapkv[0].options.window : 0;
}

static struct kv_snapshot_state state_of(struct session *s)
{
	struct kv_snapshot_state state = {.snapkv = s->snapkv};
	state.n = pipeline_caches(&s->pipeline, state.caches);
	return state;
}

size_t session_snapshot_bytes(struct session *s)
{
	struct kv_snapshot_state state = state_of(s);
	return kv_snapshot_bytes(&state);
}

int session_snapshot_observed(struct session *s)
{
	struct kv_snapshot_state state = state_of(s);
	return kv_snapshot_window(&state);
}

int session_snapshot(struct session *s, void *out, struct error *err)
{
	struct kv_snapshot_state state = state_of(s);
	return kv_snapshot_save(&state, out, err);
}

int session_restore(struct session *s, const void *in, size_t bytes, struct error *err)
{
	struct kv_snapshot_state state = state_of(s);
	int rc;
	if ((rc = kv_snapshot_check(&state, in, bytes, err)) || (rc = session_rewind(s, 0, err)))
		return rc;
	return kv_snapshot_restore(&state, in, bytes, err);
}

void session_trace(struct session *s, float *hidden)
{
	s->trace = hidden;
}

struct session_stats session_stats(const struct session *s)
{
	const struct loaded_model *m = s->loaded;
	struct device *first = m->parts[0].device;
	struct session_stats stats = {
		.graph = pipeline_graph_stats(&s->pipeline),
		.memory = device_memory(first),
		.kv_bytes = pipeline_kv_bytes(&s->pipeline),
		.decode_weight_bytes = model_decode_bytes(s->model),
		.crossing_bytes = s->pipeline.crossing_bytes,
		.load_us = m->load_us,
	};
	for (int i = 0; i < m->n_parts; i++) {
		const struct loaded_part *part = &m->parts[i];
		stats.weight_bytes += part->weights.bytes;
		stats.mapped_bytes += part->weights.mapped_bytes;
		stats.n_narrowed += part->weights.n_narrowed;
		stats.narrowed_bytes += part->weights.narrowed_bytes;
		if (device_has_host_memory(part->device))
			stats.host_decode_bytes += model_range_bytes(s->model, &part->range);
	}
	return stats;
}

size_t session_kv_bytes_read(const struct session *s, int pos)
{
	return pipeline_kv_bytes_read(&s->pipeline, pos);
}

const char *session_fallback_reason(const struct session *s)
{
	return pipeline_fallback_reason(&s->pipeline);
}
