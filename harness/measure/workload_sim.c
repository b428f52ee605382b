#include "harness/measure/workload_sim.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

enum { MODES_MAX = 16, VOCABULARY = 262144 };

struct sim {
	struct workload_source source; /* first: what sim_source hands out */
	struct workload workload;
	struct monitor monitor;
	double watched_us, watched_cycles; /* of the measured phase: its tokens' time, and times the clock */
	struct sim_options options;
	uint64_t random;
	double spare; /* the second of a pair of normals; NAN: none */
	double now_ns;
	double run;    /* factors */
	double walked; /* log of the wander's */
	double deviation;
	const char *mode;
	const char *captured[MODES_MAX]; /* modes that have a graph */
	int n_captured;
	struct workload_totals totals;
	int context;
	int pos, saved;
	double device_ns; /* when the device is done with what is queued */
	uint64_t queued_contents[WORKLOAD_QUEUE_KEEP];
	int n_queued;
	uint64_t content, saved_content; /* of the cache: depends on every token */
};

static struct sim *sim(struct workload *w)
{
	return (struct sim *)((char *)w - offsetof(struct sim, workload));
}

void sim_options_default(struct sim_options *o)
{
	*o = (struct sim_options){
		.direct_us = 1000,
		.graph_us = 600,
		.depth_us = 20,
		.submit_us = 20,
		.prefill_us = 20,
		.capture_us = 500,
		.between = 0.003,
		.within = 0.01,
		.correlation = 0.7,
		.drift = 0.01,
		.wander = 0.0003,
		.outlier_share = 0.01,
		.outlier_factor = 1.5,
		.stall_share = 0.002,
		.stall_us = 2000,
		.throttle_every = 10,
		.throttle_for = 0.5,
		.throttle_by = 0.1,
	};
}

/* In [0, 1). */
static double uniform(struct sim *s)
{
	return (double)(random_next(&s->random) >> 11) * 0x1p-53;
}

/* Standard normal, by Marsaglia's polar method. */
static double normal(struct sim *s)
{
	if (!isnan(s->spare)) {
		double z = s->spare;
		s->spare = NAN;
		return z;
	}
	double x, y, square;
	do {
		x = 2 * uniform(s) - 1;
		y = 2 * uniform(s) - 1;
		square = x * x + y * y;
	} while (square >= 1 || square <= 0);
	double factor = sqrt(-2 * log(square) / square);
	s->spare = y * factor;
	return x * factor;
}

static int is_direct(const struct sim *s)
{
	return !strcmp(s->mode, "direct");
}

static int throttled(const struct sim *s)
{
	const struct sim_options *o = &s->options;
	return o->throttle_every > 0 && fmod(s->now_ns / 1e9, o->throttle_every) > o->throttle_every - o->throttle_for;
}

static double clock_mhz(const struct sim *s)
{
	return throttled(s) ? SIM_CLOCK_MHZ / (1 + s->options.throttle_by) : SIM_CLOCK_MHZ;
}

/* What slows everything down at this moment. */
static double slowness(const struct sim *s)
{
	const struct sim_options *o = &s->options;
	double seconds = s->now_ns / 1e9, factor = (1 + o->drift * seconds / 60) * (1 + s->walked);
	if (throttled(s))
		factor *= 1 + o->throttle_by;
	return factor;
}

static double token_us(struct sim *s)
{
	const struct sim_options *o = &s->options;
	double us = (is_direct(s) ? o->direct_us : o->graph_us) + o->depth_us * s->pos / 1024;
	s->deviation = o->correlation * s->deviation + sqrt(1 - o->correlation * o->correlation) * normal(s);
	us *= s->run * slowness(s) * (1 + o->within * s->deviation);
	double luck = uniform(s);
	if (luck < o->outlier_share)
		us *= o->outlier_factor;
	else if (luck < o->outlier_share + o->stall_share)
		us += -log(1 - uniform(s)) * o->stall_us;
	s->walked += o->wander * sqrt(us / 1e6) * normal(s);
	s->watched_us += us;
	s->watched_cycles += us * clock_mhz(s);
	return us;
}

static void sim_close_workload(struct workload *w)
{
	(void)w;
}

static void sim_facts(struct workload *w, struct workload_facts *out)
{
	(void)w;
	*out = (struct workload_facts){
		.model = "simulated",
		.arch = "none",
		.weight_type = "none",
		.model_bytes = -1,
		.model_parameters = -1,
		.device = "simulated",
		.n_vocab = VOCABULARY,
		.n_threads = 1,
		.n_gpu_layers = 0,
		.weight_bytes_per_token = -1,
		.host_weight_bytes_per_token = -1,
		.gpu_weight_bytes_per_token = -1,
		.crossing_bytes_per_token = -1,
		.kv_bytes = -1,
		.bandwidth_bytes_s = NAN,
		.gemm_flop_s = NAN,
	};
}

static int sim_set_arm(struct workload *w, const char *mode, const char *fusion, struct error *err)
{
	(void)fusion;
	(void)err;
	struct sim *s = sim(w);
	s->mode = mode;
	s->run = s->options.between > 0 ? exp(s->options.between * normal(s)) : 1;
	return 0;
}

static void append(struct sim *s, int token)
{
	s->content = (s->content ^ (uint64_t)token) * 0x100000001b3u + (uint64_t)s->pos;
	s->pos++;
}

static int sim_prefill(struct workload *w, const int *tokens, int n, struct error *err)
{
	struct sim *s = sim(w);
	if (s->pos + n > s->context)
		return error_set(err, ERROR_INPUT, "%d tokens at position %d of %d", n, s->pos, s->context);
	for (int i = 0; i < n; i++)
		append(s, tokens[i]);
	s->now_ns += n * s->options.prefill_us * 1e3 * slowness(s);
	return 0;
}

/* The logits are where they are computed; a chunk, whatever its length. */
static int sim_fetch(struct workload *w, struct prompt_record *out, struct error *err)
{
	(void)w, (void)err;
	*out = (struct prompt_record){.api_launches = 300, .kernels = 300, .chunks = 1, .n_direct = 1, .sequence = 300};
	return 0;
}

static int sim_checkpoint(struct workload *w, struct error *err)
{
	(void)err;
	struct sim *s = sim(w);
	s->saved = s->pos;
	s->saved_content = s->content;
	return 0;
}

static int sim_rewind(struct workload *w, int pos, struct error *err)
{
	struct sim *s = sim(w);
	if (pos != s->saved)
		return error_set(err, ERROR_INPUT, "position %d is not the checkpoint, %d", pos, s->saved);
	s->pos = s->saved;
	s->content = s->saved_content;
	return 0;
}

/* Whether the mode had a graph; it has one afterwards. */
static int has_graph(struct sim *s)
{
	for (int i = 0; i < s->n_captured; i++)
		if (!strcmp(s->captured[i], s->mode))
			return 1;
	if (s->n_captured < MODES_MAX)
		s->captured[s->n_captured++] = s->mode;
	s->totals.captures++;
	s->totals.capture_us += s->options.capture_us;
	s->totals.graph_nodes = s->totals.kernel_nodes = 300;
	s->totals.positional_nodes = 100;
	return 0;
}

/* The token's cost, and all of its record but the other times. */
static int append_token(struct sim *s, int token, struct token_record *out, double *cost, struct error *err)
{
	if (s->pos >= s->context)
		return error_set(err, ERROR_INPUT, "position %d of %d", s->pos, s->context);
	double us = token_us(s);
	int direct = is_direct(s), captured = !direct && !has_graph(s);
	if (captured)
		us += s->options.capture_us;
	*cost = us;
	out->pos = s->pos;
	out->kv_len = s->pos + 1;
	append(s, token);
	out->submit_us = s->options.submit_us;
	out->gpu_us = us - s->options.submit_us;
	out->host_us = NAN;
	out->event = direct ? TOKEN_EVENT_DIRECT : captured ? TOKEN_EVENT_CAPTURE : TOKEN_EVENT_REPLAY;
	out->api_launches = direct ? 300 : 2;
	out->node_updates = 0;
	out->kernels = 300;
	out->copies = direct ? 0 : 1;
	return 0;
}

static int sim_decode(struct workload *w, int token, struct token_record *out, struct error *err)
{
	struct sim *s = sim(w);
	double us = 0;
	int rc = append_token(s, token, out, &us, err);
	if (rc)
		return rc;
	s->now_ns += us * 1e3;
	out->wall_us = us;
	out->done_ns = sim_clock(s);
	return 0;
}

static int sim_queue_begin(struct workload *w, int n, int keep, struct error *err)
{
	(void)n, (void)keep, (void)err;
	sim(w)->device_ns = sim(w)->now_ns;
	sim(w)->n_queued = 0;
	return 0;
}

/* The host's share of the cost and the device's overlap. */
static int sim_enqueue(struct workload *w, int token, struct token_record *out, struct error *err)
{
	struct sim *s = sim(w);
	double us = 0, before = s->device_ns;
	int rc = append_token(s, token, out, &us, err);
	if (rc)
		return rc;
	s->now_ns += out->submit_us * 1e3;
	s->device_ns = fmax(s->device_ns, s->now_ns) + out->gpu_us * 1e3;
	out->itl_us = (s->device_ns - before) / 1e3;
	s->queued_contents[s->n_queued++ % WORKLOAD_QUEUE_KEEP] = s->content;
	return 0;
}

static int sim_queue_end(struct workload *w, struct token_record *out, int n, struct error *err)
{
	(void)out, (void)n, (void)err;
	sim(w)->now_ns = sim(w)->device_ns;
	return 0;
}

static uint64_t hash_content(uint64_t seed, uint64_t content)
{
	return (seed + content) * 0x9e3779b97f4a7c15u;
}

static int sim_queue_hash(struct workload *w, int i, uint64_t seed, uint64_t *out, struct error *err)
{
	(void)err;
	*out = hash_content(seed, sim(w)->queued_contents[i]);
	return 0;
}

static int sim_hash(struct workload *w, uint64_t seed, uint64_t *out, struct error *err)
{
	(void)err;
	*out = hash_content(seed, sim(w)->content);
	return 0;
}

static void sim_totals(struct workload *w, struct workload_totals *out)
{
	*out = sim(w)->totals;
}

static double sim_prefill_flops(struct workload *w, int pos, int n)
{
	(void)w;
	(void)pos;
	(void)n;
	return NAN;
}

static int64_t sim_kv_bytes_read(struct workload *w, int pos)
{
	(void)w;
	(void)pos;
	return -1;
}

static const char *sim_fallback_reason(struct workload *w)
{
	(void)w;
	return "";
}

static int sim_open_workload(struct workload_source *source, const struct placement *p, struct workload **out,
			     struct error *err)
{
	static const struct workload_ops ops = {
		.close = sim_close_workload,
		.facts = sim_facts,
		.set_arm = sim_set_arm,
		.prefill = sim_prefill,
		.fetch = sim_fetch,
		.checkpoint = sim_checkpoint,
		.rewind = sim_rewind,
		.decode = sim_decode,
		.queue_begin = sim_queue_begin,
		.enqueue = sim_enqueue,
		.queue_end = sim_queue_end,
		.queue_hash = sim_queue_hash,
		.hash = sim_hash,
		.totals = sim_totals,
		.prefill_flops = sim_prefill_flops,
		.kv_bytes_read = sim_kv_bytes_read,
		.fallback_reason = sim_fallback_reason,
	};
	struct sim *s = (struct sim *)source;
	if (s->options.memory_tokens && p->context > s->options.memory_tokens)
		return error_set(err, ERROR_MEMORY, "a cache of %d positions does not fit", p->context);
	s->workload.ops = &ops;
	s->mode = "direct";
	s->context = p->context;
	s->pos = s->saved = s->n_captured = 0;
	s->content = s->saved_content = 0;
	s->totals = (struct workload_totals){.memory_peak_bytes = -1};
	*out = &s->workload;
	return 0;
}

static struct sim *sim_of(struct monitor *m)
{
	return (struct sim *)((char *)m - offsetof(struct sim, monitor));
}

static void sim_watch_begin(struct monitor *m, int on_gpu)
{
	(void)m, (void)on_gpu;
}

static void sim_watch_measure(struct monitor *m)
{
	sim_of(m)->watched_us = sim_of(m)->watched_cycles = 0;
}

static void sim_watch_end(struct monitor *m, struct conditions *out)
{
	struct sim *s = sim_of(m);
	conditions_init(out);
	if (s->watched_us > 0)
		out->sm_clock_mhz = s->watched_cycles / s->watched_us;
}

static double sim_watch_clock(struct monitor *m)
{
	return clock_mhz(sim_of(m));
}

struct monitor *sim_monitor(struct sim *s)
{
	return &s->monitor;
}

int sim_open(struct sim **out, const struct sim_options *o, uint64_t seed, struct error *err)
{
	struct sim *s = calloc(1, sizeof *s);
	*out = s;
	if (!s)
		return error_set(err, ERROR_MEMORY, "no memory for a simulated workload");
	s->source.open = sim_open_workload;
	s->monitor = (struct monitor){sim_watch_begin, sim_watch_measure, sim_watch_end, sim_watch_clock};
	s->options = *o;
	sim_reseed(s, seed);
	return 0;
}

void sim_close(struct sim *s)
{
	free(s);
}

void sim_reseed(struct sim *s, uint64_t seed)
{
	s->random = seed;
	s->spare = NAN;
	s->now_ns = 0;
	s->run = 1;
	s->walked = s->deviation = 0;
}

struct workload_source *sim_source(struct sim *s)
{
	return &s->source;
}

int64_t sim_clock(void *ctx)
{
	return (int64_t)((struct sim *)ctx)->now_ns;
}

void sim_wait(void *ctx, int64_t ns)
{
	((struct sim *)ctx)->now_ns += (double)ns;
}
