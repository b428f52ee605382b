#include "harness/cli/engine_workload.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "engine/infer/session.h"
#include "engine/infer/token_queue.h"
#include "engine/model/model_flops.h"
#include "harness/cli/engine_context.h"
#include "harness/cli/engine_machine.h"
#include "harness/cli/model_facts.h"
#include "harness/measure/quality.h"

struct engine_workload {
	struct workload base;
	struct session *session;
	struct engine_model *model;
	char device[160];
	char head_device[160];
	struct prefill_weights_name prefill_weights;
	struct snapkv_options snapkv;
	char weights[CELL_HASH_SIZE]; /* hash of the model's content; empty: unknown */
	float *remembered;            /* (rows, n_vocab): logits of the full cache */
};

static struct engine_workload *engine(struct workload *w)
{
	return (struct engine_workload *)w;
}

struct session *engine_session(struct workload *w)
{
	return engine(w)->session;
}

/* A GPU's context does not survive its failures. */
static int noted(struct workload *w, int rc)
{
	if (rc == ERROR_DEVICE)
		engine(w)->model->broken = true;
	return rc;
}

static void engine_close(struct workload *w)
{
	session_close(engine(w)->session);
	free(engine(w)->remembered);
	free(w);
}

/* Of what a device does not read nothing is recorded. */
static int64_t bytes_or_unknown(size_t bytes)
{
	return bytes ? (int64_t)bytes : -1;
}

static void engine_facts(struct workload *w, struct workload_facts *out)
{
	struct engine_workload *e = engine(w);
	struct session *s = e->session;
	const struct model *m = session_model(s);
	struct session_stats stats = session_stats(s);
	e->prefill_weights = prefill_weights_name(e->model->loaded->options.prefill_weights);
	*out = (struct workload_facts){
		.model = m->name,
		.arch = model_arch_name(m->arch),
		.weight_type = model_weight_type(m),
		.file_type = model_file_type(m),
		.model_bytes = model_bytes(m),
		.model_parameters = model_parameters(m),
		.device = engine_device_label(session_device_name(s), e->device, sizeof e->device),
		.head_device = engine_device_label(session_head_device_name(s), e->head_device, sizeof e->head_device),
		.prefill_weights = session_gpu_layers(s) ? e->prefill_weights.text : NULL,
		.n_vocab = m->n_vocab,
		.n_context_trained = m->n_context,
		.n_threads = session_threads(s),
		.n_gpu_layers = session_gpu_layers(s),
		.weight_bytes_per_token = (int64_t)stats.decode_weight_bytes,
		.host_weight_bytes_per_token = bytes_or_unknown(stats.host_decode_bytes),
		.gpu_weight_bytes_per_token = bytes_or_unknown(stats.decode_weight_bytes - stats.host_decode_bytes),
		.crossing_bytes_per_token = bytes_or_unknown(stats.crossing_bytes),
		.kv_bytes = (int64_t)stats.kv_bytes,
		.bandwidth_bytes_s = e->model->bandwidth > 0 ? e->model->bandwidth : NAN,
		.gemm_flop_s = e->model->gemm > 0 ? e->model->gemm : NAN,
	};
	if (e->model->text) {
		out->text = e->model->text_ids.ids;
		out->n_text = (int)e->model->text_ids.n;
		out->text_name = e->model->text->path;
		out->text_hash = e->model->text->hash;
	}
}

static int engine_set_arm(struct workload *w, const char *mode, const char *fusion, struct error *err)
{
	int m = graph_mode_parse(mode), f = fusion_parse(fusion);
	if (m < 0 || f < 0)
		return error_set(err, ERROR_UNSUPPORTED, "mode %s with fusion %s is not in this build", mode, fusion);
	int rc = session_mode_check(engine(w)->session, (enum graph_mode)m, err);
	if (!rc)
		rc = session_loop_check(engine(w)->session, (enum graph_mode)m, err);
	if (rc)
		return rc;
	session_set_mode(engine(w)->session, (enum graph_mode)m);
	session_set_fusion(engine(w)->session, (enum fusion)f);
	return noted(w, session_prepare(engine(w)->session, err));
}

static int engine_set_prefill_rows(struct workload *w, const char *rows, struct error *err)
{
	int r = prefill_rows_parse(rows);
	if (r < 0)
		return error_set(err, ERROR_UNSUPPORTED, "prefill rows %s are not in this build", rows);
	return noted(w, session_set_prefill_rows(engine(w)->session, (enum prefill_rows)r, err));
}

static int engine_set_prefill_mode(struct workload *w, const char *mode, struct error *err)
{
	int m = graph_mode_parse(mode);
	if (m < 0)
		return error_set(err, ERROR_UNSUPPORTED, "prefill mode %s is not in this build", mode);
	return session_set_prefill_mode(engine(w)->session, (enum graph_mode)m, err);
}

static int engine_prefill(struct workload *w, const int *tokens, int n, struct error *err)
{
	return noted(w, session_prefill(engine(w)->session, tokens, n, NULL, err));
}

static int engine_fetch(struct workload *w, struct prompt_record *out, struct error *err)
{
	struct prefill_counts c = session_prefill_counts(engine(w)->session);
	*out = (struct prompt_record){
		.api_launches = c.api_launches,
		.node_updates = c.node_updates,
		.kernels = c.kernels,
		.copies = c.copies,
		.chunks = c.chunks,
		.n_direct = c.n_direct,
		.sequence = c.sequence,
	};
	return noted(w, session_fetch_logits(engine(w)->session, err));
}

static int engine_checkpoint(struct workload *w, struct error *err)
{
	return noted(w, session_checkpoint(engine(w)->session, err));
}

static int engine_rewind(struct workload *w, int pos, struct error *err)
{
	return noted(w, session_rewind(engine(w)->session, pos, err));
}

static enum token_event event_of(enum graph_event e)
{
	switch (e) {
	case GRAPH_EVENT_DIRECT:
		return TOKEN_EVENT_DIRECT;
	case GRAPH_EVENT_CAPTURE:
		return TOKEN_EVENT_CAPTURE;
	case GRAPH_EVENT_UPDATE:
		return TOKEN_EVENT_UPDATE;
	case GRAPH_EVENT_REPLAY:
		return TOKEN_EVENT_REPLAY;
	case GRAPH_EVENT_FALLBACK:
		break;
	}
	return TOKEN_EVENT_FALLBACK;
}

static void fill_record(struct token_record *out, const struct token_timing *t)
{
	out->submit_us = t->submit_us;
	out->event = event_of(t->event);
	out->api_launches = t->api_launches;
	out->node_updates = t->node_updates;
	out->kernels = t->kernels;
	out->copies = t->copies;
}

static int engine_decode(struct workload *w, int token, struct token_record *out, struct error *err)
{
	struct session *s = engine(w)->session;
	struct token_timing t;
	out->pos = session_position(s);
	out->kv_len = out->pos + 1 - session_evicted(s);
	int rc = noted(w, session_decode(s, token, &t, err));
	if (rc)
		return rc;
	fill_record(out, &t);
	out->gpu_us = t.device_us;
	out->host_us = t.host_us > 0 ? t.host_us : NAN;
	out->wall_us = t.wall_us;
	out->done_ns = t.done_ns;
	return 0;
}

static int engine_queue_begin(struct workload *w, int n, int keep, struct error *err)
{
	static_assert((int)WORKLOAD_QUEUE_KEEP <= (int)TOKEN_QUEUE_DEPTH, "the engine keeps as many");
	return noted(w, session_queue_begin(engine(w)->session, n, keep, err));
}

static int engine_queue_ahead(struct workload *w, const int *tokens, int n, struct error *err)
{
	return noted(w, session_ahead(engine(w)->session, tokens, n, err));
}

static int engine_queue_wait(struct workload *w, int i, struct error *err)
{
	return noted(w, session_queue_wait(engine(w)->session, i, err));
}

static int engine_enqueue(struct workload *w, int token, struct token_record *out, struct error *err)
{
	struct session *s = engine(w)->session;
	struct token_timing t;
	out->pos = session_queue_position(s);
	out->kv_len = out->pos + 1 - session_evicted(s);
	int rc = noted(w, session_enqueue(s, token, &t, err));
	if (!rc)
		fill_record(out, &t);
	return rc;
}

static int engine_queue_end(struct workload *w, struct token_record *out, int n, struct error *err)
{
	struct session *s = engine(w)->session;
	int rc = session_queue_end(s, err);
	for (int i = 0; i < n && !rc; i++) {
		rc = session_queue_times(s, i, &out[i].gpu_us, &out[i].itl_us, err);
		if (!session_gpu_layers(s))
			out[i].host_us = out[i].gpu_us;
	}
	return noted(w, rc);
}

/* Shared by tokens that were waited for and queued ones. */
static uint64_t hash_logits(struct workload *w, const float *logits, uint64_t seed)
{
	return hash_bytes(logits, (size_t)session_model(engine(w)->session)->n_vocab * sizeof *logits, seed);
}

static int engine_queue_hash(struct workload *w, int i, uint64_t seed, uint64_t *out, struct error *err)
{
	const float *logits;
	int rc = session_queue_logits(engine(w)->session, i, &logits, err);
	if (!rc)
		*out = hash_logits(w, logits, seed);
	return rc;
}

static int engine_hash(struct workload *w, uint64_t seed, uint64_t *out, struct error *err)
{
	const float *logits;
	int rc = noted(w, session_logits(engine(w)->session, &logits, err));
	if (rc)
		return rc;
	*out = hash_logits(w, logits, seed);
	return 0;
}

static int engine_evict(struct workload *w, struct eviction *out, struct error *err)
{
	struct session_eviction e;
	int rc = noted(w, session_evict(engine(w)->session, &e, err));
	if (!rc)
		*out = (struct eviction){
			.entries = e.entries_before - e.entries_after,
			.us = e.us,
			.memory_before_bytes = (int64_t)e.memory_before,
			.memory_after_bytes = (int64_t)e.memory_after,
		};
	return rc;
}

static int engine_remember(struct workload *w, int i, int n, struct error *err)
{
	struct engine_workload *e = engine(w);
	size_t vocab = (size_t)session_model(e->session)->n_vocab;
	const float *logits;
	if (i == 0) {
		free(e->remembered);
		e->remembered = malloc((size_t)n * vocab * sizeof *e->remembered);
	}
	if (!e->remembered)
		return error_set(err, ERROR_MEMORY, "no memory for the logits of %d tokens; measure fewer", n);
	int rc = noted(w, session_logits(e->session, &logits, err));
	if (!rc)
		memcpy(e->remembered + (size_t)i * vocab, logits, vocab * sizeof *logits);
	return rc;
}

static int engine_compare(struct workload *w, int i, struct agreement *out, struct error *err)
{
	struct engine_workload *e = engine(w);
	int vocab = session_model(e->session)->n_vocab;
	const float *logits;
	int rc = noted(w, session_logits(e->session, &logits, err));
	if (!rc)
		*out = agreement_of(e->remembered + (size_t)i * (size_t)vocab, logits, vocab);
	return rc;
}

static int64_t stamp_or_unknown(int64_t ns)
{
	return ns < 0 ? COLUMN_UNKNOWN : ns;
}

static struct timeline_stamp stamp_of(const struct token_timeline *t, int block, int phase)
{
	const int64_t *ns = t->ns + ((size_t)block * (size_t)t->n_phases + (size_t)phase) * PERSISTENT_STAMPS;
	return (struct timeline_stamp){
		.block = block,
		.sm = t->multiprocessors[block],
		.phase = phase,
		.layer = t->phases[phase].layer,
		.kind = timeline_kind_find(phase_kind_name(t->phases[phase].kind)),
		.entered_ns = stamp_or_unknown(ns[PERSISTENT_ENTERED]),
		.input_ns = stamp_or_unknown(ns[PERSISTENT_INPUT]),
		.worked_ns = stamp_or_unknown(ns[PERSISTENT_WORKED]),
		.published_ns = stamp_or_unknown(ns[PERSISTENT_PUBLISHED]),
	};
}

static int engine_timeline(struct workload *w, int token, struct timeline_stamp **out, int *n, struct error *err)
{
	struct token_timeline t;
	*out = NULL;
	*n = 0;
	int rc = noted(w, session_decode_stamped(engine(w)->session, token, &t, err));
	if (!rc && !(*out = calloc((size_t)t.n_blocks * (size_t)t.n_phases, sizeof **out)))
		rc = error_set(err, ERROR_MEMORY, "no memory for the time stamps of %d phases", t.n_phases);
	for (int b = 0; b < t.n_blocks && !rc; b++)
		for (int phase = 0; phase < t.n_phases; phase++)
			(*out)[(*n)++] = stamp_of(&t, b, phase);
	token_timeline_free(&t);
	return rc;
}

static void engine_totals(struct workload *w, struct workload_totals *out)
{
	struct session_stats s = session_stats(engine(w)->session);
	*out = (struct workload_totals){
		.captures = (int64_t)s.graph.captures,
		.capture_us = s.graph.capture_us,
		.instantiate_us = s.graph.instantiate_us,
		.upload_us = s.graph.upload_us,
		.graph_nodes = s.graph.nodes,
		.kernel_nodes = s.graph.kernel_nodes,
		.positional_nodes = s.graph.positional_nodes,
		.memory_peak_bytes = (int64_t)s.memory.peak,
		.memory_bytes = (int64_t)s.memory.used,
	};
}

/* With SnapKV rows are observed, and others are gone: that is another count. */
static double engine_prefill_flops(struct workload *w, int pos, int n)
{
	const struct engine_workload *e = engine(w);
	if (e->snapkv.budget)
		return NAN;
	return model_prefill_flops(session_model(e->session), pos, n, e->model->loaded->options.batch,
				   session_prefill_rows(e->session) == PREFILL_ROWS_ALL);
}

static int64_t engine_kv_bytes_read(struct workload *w, int pos)
{
	return (int64_t)session_kv_bytes_read(engine(w)->session, pos);
}

static const char *engine_fallback_reason(struct workload *w)
{
	return session_fallback_reason(engine(w)->session);
}

static void engine_context_facts(struct workload *w, struct context_facts *out)
{
	struct engine_workload *e = engine(w);
	char label[sizeof e->device];
	*out = (struct context_facts){
		.identity = engine_context_identity(
			e->model->loaded, e->weights,
			engine_device_label(session_device_name(e->session), label, sizeof label), e->model->program),
		.chunk = e->model->loaded->options.batch,
		.observed = session_observed(e->session),
	};
}

static int engine_context_observed(struct workload *w)
{
	return session_snapshot_observed(engine(w)->session);
}

static size_t engine_context_bytes(struct workload *w)
{
	return session_snapshot_bytes(engine(w)->session);
}

static int engine_context_save(struct workload *w, void *out, struct error *err)
{
	return noted(w, session_snapshot(engine(w)->session, out, err));
}

static int engine_context_restore(struct workload *w, const void *in, size_t bytes, struct error *err)
{
	return noted(w, session_restore(engine(w)->session, in, bytes, err));
}

static const struct context_ops engine_contexts = {
	.facts = engine_context_facts,
	.observed = engine_context_observed,
	.bytes = engine_context_bytes,
	.save = engine_context_save,
	.restore = engine_context_restore,
};

static const struct workload_ops engine_ops = {
	.close = engine_close,
	.facts = engine_facts,
	.set_arm = engine_set_arm,
	.set_prefill_rows = engine_set_prefill_rows,
	.set_prefill_mode = engine_set_prefill_mode,
	.prefill = engine_prefill,
	.fetch = engine_fetch,
	.checkpoint = engine_checkpoint,
	.rewind = engine_rewind,
	.decode = engine_decode,
	.queue_begin = engine_queue_begin,
	.queue_ahead = engine_queue_ahead,
	.queue_wait = engine_queue_wait,
	.enqueue = engine_enqueue,
	.queue_end = engine_queue_end,
	.queue_hash = engine_queue_hash,
	.hash = engine_hash,
	.evict = engine_evict,
	.remember = engine_remember,
	.compare = engine_compare,
	.timeline = engine_timeline,
	.totals = engine_totals,
	.prefill_flops = engine_prefill_flops,
	.kv_bytes_read = engine_kv_bytes_read,
	.fallback_reason = engine_fallback_reason,
	.context = &engine_contexts,
};

int engine_workload_open(struct workload **out, struct engine_model *m, const struct placement *p, struct error *err)
{
	struct engine_workload *w = calloc(1, sizeof *w);
	*out = NULL;
	if (!w)
		return error_set(err, ERROR_MEMORY, "no memory for a workload");
	w->base.ops = &engine_ops;
	w->model = m;
	memcpy(w->weights, p->cell->model_hash, sizeof w->weights);
	int rc = 0;
	if ((p->cell->snapkv && (rc = snapkv_parse(p->cell->snapkv, &w->snapkv, err))) ||
	    (rc = noted(&w->base, session_open_on(&w->session, m->loaded, p->context, err))) ||
	    (rc = noted(&w->base, session_observe(w->session, &w->snapkv, p->prompt, err)))) {
		engine_close(&w->base);
		return rc;
	}
	*out = &w->base;
	return 0;
}
