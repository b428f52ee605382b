#include "engine/infer/pipeline.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "engine/infer/splits.h"

enum {
	GRAPHS_KEPT = 48, /* a stage: a sweep over modes, fusions, buckets of one depth range and chunks of prompts */
};
static_assert((int)LOADED_PARTS_MAX <= (int)KV_CACHES_MAX, "a cache each");

/* ---- opening ---- */

static int open_part(struct pipeline_part *p, const struct loaded_model *m, const struct loaded_part *l, int context,
		     struct error *err)
{
	const struct load_options *o = &m->options;
	int batch = loaded_model_batch(o, context), rc;
	if ((rc = kv_cache_open(&p->cache, &m->model, &l->range, l->device, context, batch, o->k_type, o->v_type,
				err)) ||
	    (rc = forward_open(&p->forward, &m->model, &l->range, &l->weights, &p->cache, l->device, batch,
			       loaded_model_narrow(o, !device_has_host_memory(l->device)), err)))
		return rc;
	return 0;
}

/* Adds a stage of a part behind those there are, and the crossing in front of it. */
static int add_stage(struct pipeline *p, int part, struct model_range range, struct error *err)
{
	struct pipeline_stage *s = &p->stages[p->n_stages];
	struct device *d = p->parts[part].forward.device;
	int rc;
	*s = (struct pipeline_stage){
		.run = {.forward = &p->parts[part].forward, .range = range},
		.device = d,
		.on_host = device_has_host_memory(d),
	};
	if (p->n_stages) {
		struct pipeline_stage *before = &p->stages[p->n_stages - 1];
		struct crossing *c = &p->crossings[p->n_stages - 1];
		bool gives = s->on_host; /* the other one has memory that both reach */
		if ((rc = crossing_open(c, &p->loaded->model, range.begin, p->parts[part].forward.batch,
					gives ? before->device : d, gives, err)))
			return rc;
		before->run.out = &c->from;
		s->run.in = &c->to;
		p->crossing_bytes += crossing_token_bytes(&p->loaded->model, range.begin);
	}
	p->n_stages++;
	if ((rc = graph_cache_open(&s->graphs, d, GRAPHS_KEPT, err)) || (rc = device_event_create(d, &s->begin, err)) ||
	    (rc = device_event_create(d, &s->end, err)))
		return rc;
	return 0;
}

int pipeline_route(const struct model *m, const struct model_range *parts, int n_parts, int head_part,
		   struct pipeline_route out[PIPELINE_STAGES_MAX])
{
	int n = 0, all = m->n_layer;
	for (; n < n_parts; n++) {
		out[n] = (struct pipeline_route){.part = n, .range = parts[n]};
		out[n].range.head = parts[n].head && n == n_parts - 1;
	}
	if (head_part != n_parts - 1)
		out[n++] =
			(struct pipeline_route){.part = head_part, .range = {.begin = all, .end = all, .head = true}};
	return n;
}

int pipeline_open(struct pipeline *p, const struct loaded_model *m, int context, struct error *err)
{
	*p = (struct pipeline){.loaded = m, .n_parts = m->n_parts};
	int rc = 0;
	for (int i = 0; i < m->n_parts && !rc; i++)
		rc = open_part(&p->parts[i], m, &m->parts[i], context, err);
	struct model_range ranges[LOADED_PARTS_MAX];
	for (int i = 0; i < m->n_parts; i++)
		ranges[i] = m->parts[i].range;
	struct pipeline_route route[PIPELINE_STAGES_MAX];
	int n = pipeline_route(&m->model, ranges, m->n_parts, m->head_part, route);
	for (int i = 0; i < n && !rc; i++)
		rc = add_stage(p, route[i].part, route[i].range, err);
	if (rc)
		pipeline_close(p);
	return rc;
}

void pipeline_close(struct pipeline *p)
{
	for (int i = p->n_stages - 1; i >= 0; i--) {
		struct pipeline_stage *s = &p->stages[i];
		device_event_destroy(s->device, s->begin);
		device_event_destroy(s->device, s->end);
		graph_cache_close(s->graphs);
	}
	for (int i = 0; i < PIPELINE_STAGES_MAX - 1; i++)
		crossing_close(&p->crossings[i]);
	for (int i = p->n_parts - 1; i >= 0; i--) {
		forward_close(&p->parts[i].forward);
		kv_cache_close(&p->parts[i].cache);
	}
	*p = (struct pipeline){0};
}

/* ---- positions ---- */

int pipeline_position(const struct pipeline *p)
{
	return p->parts[0].cache.pos;
}

int pipeline_check(const struct pipeline *p, int n, struct error *err)
{
	return kv_cache_check(&p->parts[0].cache, n, err);
}

static void advance(struct pipeline *p, int n)
{
	for (int i = 0; i < p->n_parts; i++)
		kv_cache_advance(&p->parts[i].cache, n);
}

void pipeline_passed(struct pipeline *p, int n)
{
	advance(p, n);
}

void pipeline_retreat(struct pipeline *p, int n)
{
	advance(p, -n); /* what the rings lost stays counted: as many slots may have been written */
}

int pipeline_synchronize(struct pipeline *p, struct error *err)
{
	int rc = 0;
	for (int i = 0; i < p->n_parts && !rc; i++) {
		struct device *d = p->parts[i].forward.device;
		rc = device_synchronize(d, err);
	}
	return rc;
}

int pipeline_save(struct pipeline *p, struct error *err)
{
	int rc = 0;
	for (int i = 0; i < p->n_parts && !rc; i++)
		rc = kv_cache_save(&p->parts[i].cache, err);
	return rc ? rc : pipeline_synchronize(p, err);
}

int pipeline_caches(struct pipeline *p, struct kv_cache *out[LOADED_PARTS_MAX])
{
	for (int i = 0; i < p->n_parts; i++)
		out[i] = &p->parts[i].cache;
	return p->n_parts;
}

int pipeline_rewind(struct pipeline *p, int pos, struct error *err)
{
	struct kv_cache *caches[LOADED_PARTS_MAX];
	int rc = 0, n = pipeline_caches(p, caches);
	for (int i = 0; i < p->n_parts && !rc; i++)
		rc = kv_cache_rewind_check(&p->parts[i].cache, pos, err);
	/* The one thing that may fail on one device and not on the other. */
	if (!rc && pos == 0)
		rc = kv_cache_restore(caches, n, err);
	for (int i = 0; i < p->n_parts && !rc; i++)
		rc = kv_cache_rewind(&p->parts[i].cache, pos, err);
	return rc ? rc : pipeline_synchronize(p, err);
}

/* ---- a token ---- */

static struct graph_key key_of(const struct pipeline_stage *s, enum graph_mode mode)
{
	const struct forward *f = s->run.forward;
	struct graph_key key;
	memset(&key, 0, sizeof key);
	key.mode = (int)mode;
	key.fusion = f->fusion;
	key.layer_begin = s->run.range.begin;
	key.layer_end = s->run.range.end;
	key.head = s->run.range.head;
	key.trace = f->trace;
	if (key.layer_begin < key.layer_end) { /* the head alone is the same at every position */
		key.bucket = mode == GRAPH_MODE_PATCH ? splits_same_kernels(f, f->bucket) : f->bucket;
		key.generation = f->cache->generation;
	}
	return key;
}

static enum graph_event larger_event(enum graph_event a, enum graph_event b)
{
	static const int rank[] = {
		[GRAPH_EVENT_DIRECT] = 0,  [GRAPH_EVENT_REPLAY] = 1,   [GRAPH_EVENT_UPDATE] = 2,
		[GRAPH_EVENT_CAPTURE] = 3, [GRAPH_EVENT_FALLBACK] = 4,
	};
	return rank[a] > rank[b] ? a : b;
}

static void count(struct device_counters *sum, const struct device_counters *before,
		  const struct device_counters *after)
{
	sum->api_launches += after->api_launches - before->api_launches;
	sum->node_updates += after->node_updates - before->node_updates;
	sum->kernels += after->kernels - before->kernels;
	sum->copies += after->copies - before->copies;
}

static int enqueue_stage(struct pipeline_stage *s, enum graph_mode mode, const struct step *step,
			 struct device_event *begin, struct device_event *end, struct pipeline_timing *t,
			 struct error *err)
{
	struct device *d = s->device;
	struct device_counters before = device_counters(d);
	struct graph_key key = key_of(s, mode);
	enum graph_event event;
	int rc;
	s->run.forward->varied = mode == GRAPH_MODE_PATCH;
	int64_t t0 = clock_ns();
	if ((rc = device_event_record(d, begin, err)) ||
	    (rc = graph_run(s->graphs, &key, step, forward_token, &s->run, &event, err)) ||
	    (rc = device_event_record(d, end, err)))
		return rc;
	t->submit_us += (double)(clock_ns() - t0) * 1e-3;
	t->event = larger_event(t->event, event);
	struct device_counters after = device_counters(d);
	count(&t->counters, &before, &after);
	return 0;
}

static int run_stage(struct pipeline_stage *s, enum graph_mode mode, const struct step *step, struct pipeline_timing *t,
		     struct error *err)
{
	int rc = enqueue_stage(s, mode, step, s->begin, s->end, t, err);
	/* What it leaves must be there before the next stage is enqueued, on another device. */
	return rc ? rc : device_synchronize(s->device, err);
}

static int add_elapsed(const struct pipeline *p, struct pipeline_timing *t, struct error *err)
{
	for (int i = 0; i < p->n_stages; i++) {
		const struct pipeline_stage *s = &p->stages[i];
		double us;
		int rc = device_event_elapsed(s->device, s->begin, s->end, &us, err);
		if (rc)
			return rc;
		if (s->device == p->stages[0].device)
			t->device_us += us;
		if (s->on_host)
			t->host_us += us;
	}
	return 0;
}

int pipeline_prepare(struct pipeline *p, struct error *err)
{
	int rc = 0;
	for (int i = 0; i < p->n_parts && !rc; i++)
		rc = forward_prepare(&p->parts[i].forward, err);
	return rc;
}

/* What every way to run a token begins with. */
static int begin_token(struct pipeline *p, int token, struct step *step, struct pipeline_timing *t, struct error *err)
{
	const struct kv_cache *cache = &p->parts[0].cache;
	*step = (struct step){.token = token, .pos = cache->pos, .evicted = cache->evicted};
	*t = (struct pipeline_timing){.event = GRAPH_EVENT_DIRECT};
	for (int i = 0; i < p->n_parts; i++)
		p->parts[i].forward.bucket = forward_bucket(&p->parts[i].forward, step);
	return pipeline_prepare(p, err);
}

int pipeline_enqueue(struct pipeline *p, int token, enum graph_mode mode, struct device_event *begin,
		     struct device_event *end, struct pipeline_timing *t, struct error *err)
{
	assert(p->n_stages == 1);
	struct step step;
	int rc = begin_token(p, token, &step, t, err);
	if (!rc)
		rc = enqueue_stage(&p->stages[0], mode, &step, begin, end, t, err);
	if (!rc)
		advance(p, 1);
	return rc;
}

/* Of the loop's tokens as many as one graph serves, which l->n then says. */
static int run_loop(struct pipeline *p, int token, struct graph_loop *l, enum graph_mode mode,
		    struct pipeline_timing *t, struct error *err)
{
	struct pipeline_stage *s = &p->stages[0];
	const struct forward *f = s->run.forward;
	assert(p->n_stages == 1);
	struct step step;
	int rc = begin_token(p, token, &step, t, err), count_same = 0;
	if (rc)
		return rc;
	struct step last = step;
	for (; count_same < l->n && forward_bucket(f, &last) == f->bucket; count_same++)
		last.pos++;
	l->n = count_same;
	struct device_counters before = device_counters(s->device);
	struct graph_key key = key_of(s, mode);
	key.chosen = l->sampled != NULL;
	s->run.forward->varied = false;
	int64_t t0 = clock_ns();
	rc = graph_run_loop(s->graphs, &key, &step, l, l->sampled ? forward_token_chosen : forward_token, &s->run,
			    &t->event, err);
	if (rc)
		return rc;
	t->submit_us = (double)(clock_ns() - t0) * 1e-3;
	struct device_counters after = device_counters(s->device);
	count(&t->counters, &before, &after);
	return 0;
}

int pipeline_loop(struct pipeline *p, const struct graph_ring *ring, int first, int n, enum graph_mode mode,
		  int *launched, struct pipeline_timing *t, struct error *err)
{
	struct graph_loop l = {.first = first, .n = n};
	int rc = run_loop(p, ring->tokens[first], &l, mode, t, err);
	if (rc)
		return rc;
	advance(p, l.n);
	*launched = l.n;
	return 0;
}

int pipeline_loop_chosen(struct pipeline *p, int token, int n, int last, enum graph_mode mode, int *launched,
			 struct pipeline_timing *t, struct error *err)
{
	struct graph_loop l = {.n = n, .sampled = &pipeline_head(p)->scratch.sampler->chosen, .last = last};
	int rc = run_loop(p, token, &l, mode, t, err);
	if (!rc)
		*launched = l.n;
	return rc;
}

int pipeline_token(struct pipeline *p, int token, enum graph_mode mode, struct pipeline_timing *t, struct error *err)
{
	struct step step;
	int rc = begin_token(p, token, &step, t, err);
	int64_t t0 = clock_ns();
	for (int i = 0; i < p->n_stages && !rc; i++)
		rc = run_stage(&p->stages[i], mode, &step, t, err);
	t->done_ns = clock_ns();
	t->wall_us = (double)(t->done_ns - t0) * 1e-3;
	if (rc)
		return rc;
	advance(p, 1);
	return add_elapsed(p, t, err);
}

/* In a graph of its own: those that are kept have kernels without stamps. */
static int replay_stamped(struct pipeline_stage *s, const struct step *step, struct error *err)
{
	struct graph_cache *const kept = s->graphs;
	struct pipeline_timing t = {.event = GRAPH_EVENT_DIRECT};
	int rc = graph_cache_open(&s->graphs, s->device, 1, err);
	if (!rc)
		rc = run_stage(s, GRAPH_MODE_DEVICE, step, &t, err);
	if (!rc && t.event == GRAPH_EVENT_FALLBACK)
		rc = error_set(err, ERROR_UNSUPPORTED, "a graph with time stamps: %s",
			       graph_cache_fallback_reason(s->graphs));
	graph_cache_close(s->graphs);
	s->graphs = kept;
	return rc;
}

static int run_stamped(struct pipeline_stage *s, bool replayed, const struct step *step, struct error *err)
{
	const struct at at = {.host = *step};
	int rc = device_stamps_rehearse(s->device, true, err);
	if (!rc)
		rc = forward_token(&s->run, &at, err);
	if (!rc)
		rc = device_stamps_rehearse(s->device, false, err);
	if (rc)
		return rc;
	return replayed ? replay_stamped(s, step, err) : forward_token(&s->run, &at, err);
}

int pipeline_token_stamped(struct pipeline *p, int token, bool replayed, struct device_stamps *out, struct error *err)
{
	struct pipeline_stage *s = &p->stages[0];
	struct pipeline_timing t;
	struct step step;
	struct error ignored;
	*out = (struct device_stamps){0};
	if (p->n_stages > 1)
		return error_set(err, ERROR_UNSUPPORTED, "time stamps within a token: of models on one device only");
	int rc = begin_token(p, token, &step, &t, err);
	if (!rc)
		rc = device_stamps_begin(s->device, err);
	if (rc)
		return rc;
	s->run.forward->varied = false;
	rc = run_stamped(s, replayed, &step, err);
	int end = device_stamps_end(s->device, out, rc ? &ignored : err);
	if (!rc && !end)
		advance(p, 1);
	return rc ? rc : end;
}

/* ---- a chunk ---- */

int pipeline_chunk(struct pipeline *p, const int *tokens, int n, int n_out, struct error *err)
{
	const struct forward *first = &p->parts[0].forward;
	struct forward_rows rows = {.n = n, .pos = pipeline_position(p), .kept = n};
	const struct at at = {.host = {.pos = rows.pos, .evicted = p->parts[0].cache.evicted}};
	int rc = device_upload(first->device, first->scratch.tokens, tokens, (size_t)n * sizeof *tokens, err);
	for (int i = 0; i < p->n_stages && !rc; i++) {
		struct device *d = p->stages[i].device;
		rc = forward_chunk(&p->stages[i].run, &rows, n_out, &at, err);
		/* The last one too: the next chunk's first stage writes where this one reads. */
		if (!rc && p->n_stages > 1)
			rc = device_synchronize(d, err);
	}
	if (!rc)
		advance(p, n);
	return rc;
}

int pipeline_replay_chunk(struct pipeline *p, const int *tokens, int n, enum head_rows head, enum graph_mode mode,
			  enum graph_event *event, struct error *err)
{
	struct pipeline_stage *s = &p->stages[0];
	struct forward_prompt chunk = {.stage = &s->run, .n = n, .pos = pipeline_position(p), .head = head};
	struct step steps[GRAPH_STEPS];
	struct graph_key key;
	int rc;
	assert(p->n_stages == 1);
	s->run.forward->varied = false; /* a chunk's last row is split as its key says */
	forward_prompt_describe(&chunk, &key, steps);
	key.mode = (int)(forward_prompt_repeats(&chunk) ? mode : GRAPH_MODE_DIRECT);
	if ((rc = device_upload(s->device, s->run.forward->scratch.tokens, tokens, (size_t)n * sizeof *tokens, err)) ||
	    (rc = graph_run_chunk(s->graphs, &key, steps, forward_prompt, &chunk, event, err)))
		return rc;
	advance(p, n);
	return 0;
}

struct forward *pipeline_head(struct pipeline *p)
{
	return &p->parts[p->loaded->head_part].forward;
}

/* ---- the rest ---- */

void pipeline_set_fusion(struct pipeline *p, enum fusion fusion)
{
	for (int i = 0; i < p->n_parts; i++)
		p->parts[i].forward.fusion = fusion;
}

void pipeline_set_trace(struct pipeline *p, bool on)
{
	for (int i = 0; i < p->n_parts; i++)
		p->parts[i].forward.trace = on;
}

int pipeline_download_trace(struct pipeline *p, float *hidden, struct error *err)
{
	size_t e = (size_t)p->loaded->model.n_embd;
	int rc = 0;
	for (int i = 0; i < p->n_stages && !rc; i++) {
		const struct pipeline_stage *s = &p->stages[i];
		size_t begin = (size_t)s->run.range.begin * e;
		size_t rows = (size_t)(s->run.range.end - s->run.range.begin + s->run.range.head);
		rc = device_download(s->device, hidden + begin, s->run.forward->scratch.trace + begin,
				     rows * e * sizeof *hidden, err);
	}
	return rc;
}

struct device_counters pipeline_counters(const struct pipeline *p)
{
	const struct device_counters none = {0};
	struct device_counters sum = {0};
	for (int i = 0; i < p->n_parts; i++) {
		struct device_counters c = device_counters(p->parts[i].forward.device);
		count(&sum, &none, &c);
	}
	return sum;
}

struct graph_stats pipeline_graph_stats(const struct pipeline *p)
{
	struct graph_stats sum = {0};
	for (int i = 0; i < p->n_stages; i++) {
		struct graph_stats s = graph_cache_stats(p->stages[i].graphs);
		sum.captures += s.captures;
		sum.replays += s.replays;
		sum.updates += s.updates;
		sum.fallbacks += s.fallbacks;
		sum.evictions += s.evictions;
		sum.capture_us += s.capture_us;
		sum.instantiate_us += s.instantiate_us;
		sum.upload_us += s.upload_us;
		sum.nodes += s.nodes;
		sum.kernel_nodes += s.kernel_nodes;
		sum.positional_nodes += s.positional_nodes;
	}
	return sum;
}

const char *pipeline_fallback_reason(const struct pipeline *p)
{
	const char *reason = "";
	for (int i = 0; i < p->n_stages && !*reason; i++)
		reason = graph_cache_fallback_reason(p->stages[i].graphs);
	return reason;
}

size_t pipeline_kv_bytes(const struct pipeline *p)
{
	size_t sum = 0;
	for (int i = 0; i < p->n_parts; i++)
		sum += p->parts[i].cache.bytes;
	return sum;
}

size_t pipeline_kv_bytes_read(const struct pipeline *p, int pos)
{
	size_t sum = 0;
	for (int i = 0; i < p->n_parts; i++)
		sum += kv_cache_bytes_read(&p->parts[i].cache, pos);
	return sum;
}
