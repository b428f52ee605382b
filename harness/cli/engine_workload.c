#include "harness/cli/engine_workload.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "engine/cuda/nvrtc.h"
#include "engine/device/device_host.h"
#include "engine/infer/gemm_ceiling.h"
#include "engine/infer/loaded_model.h"
#include "engine/infer/session.h"
#include "engine/infer/token_queue.h"
#include "engine/model/model_flops.h"
#include "harness/cli/gpu_layers.h"
#include "harness/measure/progress.h"
#include "harness/measure/quality.h"

const char *const engine_modes[] = {"direct", "graph-params", "graph-update", "graph-device", NULL};
const char *const engine_fusions[] = {"none", "full", NULL};
const char *const engine_cache_types[] = {"f16", "bf16", "f32", NULL};

enum {
	MAX_BANDWIDTHS = 64,
	BANDWIDTH_PASSES = 5,
};

struct engine_source {
	struct workload_source base;
	struct engine_settings settings;
	struct loaded_model *loaded; /* of the placement opened last; null: none */
	char *path;                  /* its file */
	double bandwidth;            /* of its device's memory; 0: unknown */
	double gemm;                 /* FLOP/s of its device's products; not positive: unknown */
	bool broken;                 /* its device has failed, and may fail every call from then on */
	bool memory_known;           /* settings.device_memory is what it stands for */
	struct environment_bandwidth measured[MAX_BANDWIDTHS];
	int n_measured;
};

struct engine_workload {
	struct workload base;
	struct session *session;
	struct engine_source *source;
	char device[160];
	char head_device[160];
	struct snapkv_options snapkv;
	float *remembered; /* (rows, n_vocab): logits of the full cache */
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
		engine(w)->source->broken = true;
	return rc;
}

static void engine_close(struct workload *w)
{
	session_close(engine(w)->session);
	free(engine(w)->remembered);
	free(w);
}

/* The type that most of the file's tensor bytes have. */
static const char *weight_type(const struct model *m)
{
	static const enum tensor_type types[] = {TENSOR_Q8_0, TENSOR_BF16, TENSOR_F16, TENSOR_F32};
	enum { N = sizeof types / sizeof *types };
	size_t bytes[N] = {0};
	int best = 0;
	for (size_t i = 0; i < m->file.n_tensors; i++)
		for (int t = 0; t < N; t++)
			if (m->file.tensors[i].type == types[t])
				bytes[t] += m->file.tensors[i].bytes;
	for (int t = 1; t < N; t++)
		if (bytes[t] > bytes[best])
			best = t;
	return tensor_type_name(types[best]);
}

static int64_t model_bytes(const struct model *m)
{
	int64_t sum = 0;
	for (size_t i = 0; i < m->file.n_tensors; i++)
		sum += (int64_t)m->file.tensors[i].bytes;
	return sum;
}

static int64_t model_parameters(const struct model *m)
{
	int64_t sum = 0;
	for (size_t i = 0; i < m->file.n_tensors; i++) {
		int64_t n = 1;
		for (int d = 0; d < GGUF_MAX_DIMS; d++)
			n *= m->file.tensors[i].ne[d];
		sum += n;
	}
	return sum;
}

/* What a session calls its devices, with what the GPU calls itself in the GPU's place: "NVIDIA H100 80GB HBM3+host". */
static const char *device_label(const char *name, char *label, size_t bytes)
{
	const char *reason, *host = strstr(name, "host");
	const struct environment_gpu *gpu = host == name ? NULL : engine_gpu(&reason);
	snprintf(label, bytes, "%s%s%s", gpu ? gpu->name : name, gpu && host ? "+" : "", gpu && host ? host : "");
	return label;
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
	*out = (struct workload_facts){
		.model = m->name,
		.arch = model_arch_name(m->arch),
		.weight_type = weight_type(m),
		.model_bytes = model_bytes(m),
		.model_parameters = model_parameters(m),
		.device = device_label(session_device_name(s), e->device, sizeof e->device),
		.head_device = device_label(session_head_device_name(s), e->head_device, sizeof e->head_device),
		.n_vocab = m->n_vocab,
		.n_threads = session_threads(s),
		.n_gpu_layers = session_gpu_layers(s),
		.weight_bytes_per_token = (int64_t)stats.decode_weight_bytes,
		.host_weight_bytes_per_token = bytes_or_unknown(stats.host_decode_bytes),
		.gpu_weight_bytes_per_token = bytes_or_unknown(stats.decode_weight_bytes - stats.host_decode_bytes),
		.crossing_bytes_per_token = bytes_or_unknown(stats.crossing_bytes),
		.kv_bytes = (int64_t)stats.kv_bytes,
		.bandwidth_bytes_s = e->source->bandwidth > 0 ? e->source->bandwidth : NAN,
		.gemm_flop_s = e->source->gemm > 0 ? e->source->gemm : NAN,
	};
}

static int engine_set_arm(struct workload *w, const char *mode, const char *fusion, struct error *err)
{
	int m = graph_mode_parse(mode);
	int full = !strcmp(fusion, "full");
	if (m < 0 || (!full && strcmp(fusion, "none")))
		return error_set(err, ERROR_UNSUPPORTED, "mode %s with fusion %s is not in this build", mode, fusion);
	session_set_mode(engine(w)->session, (enum graph_mode)m);
	session_set_fusion(engine(w)->session, full ? FUSION_FULL : FUSION_NONE);
	return 0;
}

static int engine_prefill(struct workload *w, const int *tokens, int n, struct error *err)
{
	return noted(w, session_prefill(engine(w)->session, tokens, n, NULL, err));
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

static int engine_enqueue(struct workload *w, int token, struct token_record *out, struct error *err)
{
	struct session *s = engine(w)->session;
	struct token_timing t;
	out->pos = session_position(s);
	out->kv_len = out->pos + 1;
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
	return model_prefill_flops(session_model(e->session), pos, n, e->source->loaded->options.batch);
}

static int64_t engine_kv_bytes_read(struct workload *w, int pos)
{
	return (int64_t)session_kv_bytes_read(engine(w)->session, pos);
}

static const char *engine_fallback_reason(struct workload *w)
{
	return session_fallback_reason(engine(w)->session);
}

static const struct workload_ops engine_ops = {
	.close = engine_close,
	.facts = engine_facts,
	.set_arm = engine_set_arm,
	.prefill = engine_prefill,
	.checkpoint = engine_checkpoint,
	.rewind = engine_rewind,
	.decode = engine_decode,
	.queue_begin = engine_queue_begin,
	.enqueue = engine_enqueue,
	.queue_end = engine_queue_end,
	.queue_hash = engine_queue_hash,
	.hash = engine_hash,
	.evict = engine_evict,
	.remember = engine_remember,
	.compare = engine_compare,
	.totals = engine_totals,
	.prefill_flops = engine_prefill_flops,
	.kv_bytes_read = engine_kv_bytes_read,
	.fallback_reason = engine_fallback_reason,
};

static int cache_type_parse(const char *name, enum tensor_type *out, struct error *err)
{
	static const enum tensor_type types[] = {TENSOR_F16, TENSOR_BF16, TENSOR_F32};
	for (int i = 0; engine_cache_types[i]; i++) {
		if (!strcmp(name, engine_cache_types[i])) {
			*out = types[i];
			return 0;
		}
	}
	return error_set(err, ERROR_UNSUPPORTED, "cache type %s is not in this build", name);
}

static void unload(struct engine_source *s)
{
	loaded_model_close(s->loaded);
	free(s->path);
	s->loaded = NULL;
	s->path = NULL;
	s->broken = false;
}

size_t engine_source_device_memory(struct workload_source *base, size_t asked)
{
	struct engine_source *s = (struct engine_source *)base;
	size_t bytes = 0;
	unload(s);
	if (device_cuda_free_memory(&bytes, NULL))
		asked = bytes = 0;
	s->settings.device_memory = asked ? asked : bytes;
	s->memory_known = true;
	return s->settings.device_memory;
}

/* -ngl auto to a number, for the placement's context. What it comes from is printed. */
static int settle_layers(struct engine_source *s, const struct placement *p, struct load_options *o, struct error *err)
{
	struct placement_plan plan = {0};
	struct model m;
	size_t memory = s->settings.device_memory;
	int rc = 0;
	if (!s->memory_known)
		memory = engine_source_device_memory(&s->base, memory);
	progress_clear();
	if (!memory) {
		fprintf(stderr, "-ngl auto: no GPU: all layers on the host\n");
	} else if (!(rc = model_open(&m, p->cell->model, err))) {
		rc = gpu_layers_choose(&m, o, p->context, memory, stderr, &plan, err);
		model_close(&m);
	}
	o->n_gpu_layers = plan.n_gpu_layers;
	return rc;
}

/* The placement's model, unless it is the one that is loaded. */
static int load(struct engine_source *s, const struct placement *p, struct error *err)
{
	struct load_options o;
	load_options_default(&o);
	o.n_threads = p->cell->n_threads;
	o.n_gpu_layers = p->cell->n_gpu_layers;
	o.batch = p->cell->n_ubatch;
	o.head_on_host = s->settings.head_on_host;
	o.ple_on_host = s->settings.ple_on_host;
	o.pdl = s->settings.pdl;
	o.prefill = s->settings.prefill;
	int rc = cache_type_parse(p->cell->type_k, &o.k_type, err);
	if (!rc)
		rc = cache_type_parse(p->cell->type_v, &o.v_type, err);
	if (!rc && o.n_gpu_layers == AXIS_LAYERS_AUTO)
		rc = settle_layers(s, p, &o, err);
	if (rc)
		return rc;
	const struct load_options *was = s->loaded ? &s->loaded->options : NULL;
	if (was && !s->broken && !strcmp(s->path, p->cell->model) && was->n_threads == o.n_threads &&
	    was->n_gpu_layers == o.n_gpu_layers && was->k_type == o.k_type && was->v_type == o.v_type &&
	    was->batch == loaded_model_batch(&o, INT_MAX))
		return 0;
	unload(s);
	if (!(s->path = strdup(p->cell->model)))
		return error_set(err, ERROR_MEMORY, "no memory for a path");
	if ((rc = loaded_model_open(&s->loaded, p->cell->model, &o, err))) {
		unload(s);
		return rc;
	}
	s->bandwidth = s->loaded->n_gpu_layers
			       ? device_cuda_bandwidth(s->loaded->parts[0].device)
			       : engine_source_bandwidth(&s->base, loaded_model_threads(s->loaded)).bytes_s;
	s->gemm = s->settings.gemm_ceiling ? gemm_ceiling_measure(s->loaded) : 0;
	return 0;
}

static int engine_open(struct workload_source *base, const struct placement *p, struct workload **out,
		       struct error *err)
{
	struct engine_source *s = (struct engine_source *)base;
	int rc = load(s, p, err);
	if (rc)
		return rc;
	struct engine_workload *w = calloc(1, sizeof *w);
	if (!w)
		return error_set(err, ERROR_MEMORY, "no memory for a workload");
	w->base.ops = &engine_ops;
	w->source = s;
	if ((p->cell->snapkv && (rc = snapkv_parse(p->cell->snapkv, &w->snapkv, err))) ||
	    (rc = noted(&w->base, session_open_on(&w->session, s->loaded, p->context, err))) ||
	    (rc = noted(&w->base, session_observe(w->session, &w->snapkv, p->prompt, err)))) {
		engine_close(&w->base);
		return rc;
	}
	*out = &w->base;
	return 0;
}

void engine_settings_default(struct engine_settings *e)
{
	struct load_options o;
	load_options_default(&o);
	*e = (struct engine_settings){
		.head_on_host = o.head_on_host, .ple_on_host = o.ple_on_host, .pdl = o.pdl, .prefill = o.prefill};
}

void engine_settings_text(const struct engine_settings *e, char out[ENGINE_SETTINGS_TEXT])
{
	struct engine_settings d;
	engine_settings_default(&d);
	snprintf(out, ENGINE_SETTINGS_TEXT, "%s%s%s%s%s", e->head_on_host != d.head_on_host ? " head-cpu" : "",
		 e->ple_on_host != d.ple_on_host ? " ple-host" : "", e->pdl != d.pdl ? " pdl-off" : "",
		 e->prefill != d.prefill ? " prefill-" : "",
		 e->prefill != d.prefill ? prefill_precision_name(e->prefill) : "");
	memmove(out, out + (*out == ' '), strlen(out) + (*out != ' '));
}

int engine_source_open(struct workload_source **out, const struct engine_settings *settings, struct error *err)
{
	struct engine_source *s = calloc(1, sizeof *s);
	*out = s ? &s->base : NULL;
	if (!s)
		return error_set(err, ERROR_MEMORY, "no memory for a workload");
	s->base.open = engine_open;
	s->settings = *settings;
	return 0;
}

void engine_source_close(struct workload_source *s)
{
	if (s)
		unload((struct engine_source *)s);
	free(s);
}

int engine_default_threads(void)
{
	struct device *d;
	if (device_host_open(&d, 0, NULL))
		return environment_cpus();
	int n = device_host_threads(d);
	device_close(d);
	return n;
}

struct environment_bandwidth engine_source_bandwidth(struct workload_source *base, int n_threads)
{
	struct engine_source *s = (struct engine_source *)base;
	if (n_threads <= 0)
		n_threads = engine_default_threads();
	for (int i = 0; i < s->n_measured; i++)
		if (s->measured[i].n_threads == n_threads)
			return s->measured[i];
	/* Four times the last-level cache, so that at most a quarter can come from it. */
	size_t bytes = 4 * environment_cache_bytes(NULL), least = (size_t)256 << 20, most = (size_t)1 << 30;
	bytes = bytes < least ? least : bytes > most ? most : bytes;
	struct environment_bandwidth b = {n_threads, device_host_read_bandwidth(bytes, n_threads, BANDWIDTH_PASSES)};
	if (s->n_measured < MAX_BANDWIDTHS)
		s->measured[s->n_measured++] = b;
	return b;
}

const struct environment_bandwidth *engine_source_bandwidths(struct workload_source *base, int *n)
{
	struct engine_source *s = (struct engine_source *)base;
	*n = s->n_measured;
	return s->measured;
}

int engine_check_model(const char *path, struct error *err)
{
	struct model m;
	int rc = model_open(&m, path, err);
	if (!rc)
		model_close(&m);
	return rc;
}

const char *engine_isa(void)
{
	return device_host_isa();
}

const struct environment_gpu *engine_gpu(const char **reason)
{
	/* Kept: callers hold the texts while they collect. */
	static struct error why;
	static struct cuda_gpu card;
	static struct environment_gpu gpu;
	static char nvrtc_text[16];
	*reason = NULL;
	if (device_cuda_gpu(&card, &why)) {
		*reason = why.text;
		return NULL;
	}
	gpu = (struct environment_gpu){.name = card.name,
				       .compute_capability = card.compute_capability,
				       .n_sm = card.n_sm,
				       .memory_bytes = card.memory_bytes,
				       .cuda_version = card.driver,
				       .pci_bus_id = card.pci_bus_id};
	struct nvrtc *nvrtc;
	if (!nvrtc_open(&nvrtc, NULL)) {
		int major, minor;
		nvrtc_version(nvrtc, &major, &minor);
		snprintf(nvrtc_text, sizeof nvrtc_text, "%d.%d", major, minor);
		gpu.nvrtc_version = nvrtc_text;
		nvrtc_close(nvrtc);
	}
	return &gpu;
}
