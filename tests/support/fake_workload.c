#include "tests/support/fake_workload.h"

#include <stddef.h>
#include <unistd.h>

static struct fake *fake_of(struct workload *w)
{
	return (struct fake *)((char *)w - offsetof(struct fake, workload));
}

static int fake_is(const char *pattern, const char *mode)
{
	return pattern && (!strcmp(pattern, "*") || !strcmp(pattern, mode));
}

static void fake_close(struct workload *w)
{
	fake_of(w)->is_open = 0;
	fake_of(w)->closed++;
}

static void fake_facts(struct workload *w, struct workload_facts *out)
{
	*out = (struct workload_facts){
		.model = "Fake, \"quoted\"",
		.arch = "fake",
		.weight_type = "Q8_0",
		.model_bytes = 6000000,
		.model_parameters = 5600000,
		.device = "host",
		.n_vocab = FAKE_VOCAB,
		.n_threads = 3,
		.n_gpu_layers = fake_of(w)->gpu_layers,
		.weight_bytes_per_token = 5000000,
		.head_device = "head",
		.host_weight_bytes_per_token = 3000000,
		.gpu_weight_bytes_per_token = -1,
		.crossing_bytes_per_token = 10240,
		.kv_bytes = 4096,
		.bandwidth_bytes_s = 10e9,
		.gemm_flop_s = 4e12,
		.text = fake_of(w)->text,
		.n_text = fake_of(w)->n_text,
		.text_name = fake_of(w)->text ? "some.txt" : NULL,
		.text_hash = fake_of(w)->text ? "0123456789abcdef" : NULL,
	};
}

static int fake_set_arm(struct workload *w, const char *mode, const char *fusion, struct error *err)
{
	struct fake *f = fake_of(w);
	if (fake_is(f->unsupported_mode, mode))
		return error_set(err, ERROR_UNSUPPORTED, "mode %s is not here", mode);
	snprintf(f->mode, sizeof f->mode, "%s", mode);
	snprintf(f->fusion, sizeof f->fusion, "%s", fusion);
	if (f->capture_grows_us)
		f->n_arms = 0;
	return 0;
}

static void fake_append(struct fake *f, int token)
{
	f->contents[f->pos] = f->content;
	f->odd_fed += f->text && (f->pos >= f->n_text || token != f->text[f->pos]);
	f->content = (f->content ^ (uint64_t)(token + 1)) * 0x100000001b3u + (uint64_t)f->pos;
	f->pos++;
}

static int fake_prefill(struct workload *w, const int *tokens, int n, struct error *err)
{
	struct fake *f = fake_of(w);
	if (f->pos + n > f->context)
		return error_set(err, ERROR_INPUT, "%d tokens at %d, context %d", n, f->pos, f->context);
	for (int i = 0; i < n; i++)
		fake_append(f, tokens[i]);
	f->prefilled += n;
	f->prompts++;
	if (f->observed && f->pos == f->prompt_end)
		f->seen = n < f->observed ? n : f->observed;
	/* In a graph mode half as long, behind the capture. */
	int graph = strcmp(f->prefill_mode, "direct") != 0;
	f->captured = graph && strcmp(f->prompt_graph, f->prefill_mode) != 0;
	f->now_ns += (int64_t)n * f->prefill_us * 1000 / (1 + graph);
	if (f->captured) {
		snprintf(f->prompt_graph, sizeof f->prompt_graph, "%s", f->prefill_mode);
		f->now_ns += f->capture_us * 1000;
		f->totals.captures++;
		f->totals.capture_us += f->capture_us;
		f->totals.graph_nodes = 70;
		f->totals.kernel_nodes = 60;
		f->totals.positional_nodes = 9;
	}
	return 0;
}

static int fake_set_prefill_mode(struct workload *w, const char *mode, struct error *err)
{
	struct fake *f = fake_of(w);
	if (f->unsupported_mode && !strcmp(f->unsupported_mode, mode))
		return error_set(err, ERROR_UNSUPPORTED, "%s: not here", mode);
	snprintf(f->prefill_mode, sizeof f->prefill_mode, "%s", mode);
	return 0;
}

static int fake_fetch(struct workload *w, struct prompt_record *out, struct error *err)
{
	struct fake *f = fake_of(w);
	(void)err;
	int odd = f->odd_prompt && f->prompts == f->odd_prompt, graph = strcmp(f->prefill_mode, "direct") != 0;
	f->now_ns += (int64_t)f->fetch_us * 1000;
	*out = (struct prompt_record){.api_launches = graph ? 4 : 70,
				      .node_updates = 3,
				      .kernels = 60 + odd,
				      .copies = 10,
				      .chunks = 2,
				      .n_direct = !graph ? 2 : fake_is(f->fallback_mode, f->prefill_mode),
				      .sequence = f->captured ? 0 : 99 + (uint64_t)(odd + 2 * graph)};
	return 0;
}

/* ---- contexts ---- */

struct fake_context {
	int pos, seen;
	uint64_t content;
};

static void fake_context_facts(struct workload *w, struct context_facts *out)
{
	const struct fake *f = fake_of(w);
	*out = (struct context_facts){.identity = f->identity ? json_loads(f->identity, 0, NULL) : NULL,
				      .chunk = f->chunk,
				      .observed = f->observed};
}

static int fake_context_observed(struct workload *w)
{
	const struct fake *f = fake_of(w);
	return f->observed && f->pos == f->prompt_end && f->seen == f->observed ? f->observed : 0;
}

static size_t fake_context_bytes(struct workload *w)
{
	size_t least = sizeof(struct fake_context), asked = (size_t)fake_of(w)->context_bytes;
	return asked > least ? asked : least;
}

static int fake_context_save(struct workload *w, void *out, struct error *err)
{
	struct fake *f = fake_of(w);
	const struct fake_context c = {f->pos, fake_context_observed(w), f->content};
	(void)err;
	memset(out, 0x5a, fake_context_bytes(w));
	memcpy(out, &c, sizeof c);
	f->context_saves++;
	return 0;
}

static int fake_context_restore(struct workload *w, const void *in, size_t bytes, struct error *err)
{
	struct fake *f = fake_of(w);
	struct fake_context c;
	if (f->restore_code)
		return error_set(err, f->restore_code, "it does not fit");
	if (bytes < sizeof c)
		return error_set(err, ERROR_INPUT, "%zu bytes", bytes);
	memcpy(&c, in, sizeof c);
	if (c.pos == f->prompt_end && f->observed && c.seen != f->observed)
		return error_set(err, ERROR_INPUT, "not observed");
	f->pos = f->saved = c.pos;
	f->content = c.content;
	f->seen = c.seen;
	f->context_restores++;
	return 0;
}

static const struct context_ops fake_contexts = {
	.facts = fake_context_facts,
	.observed = fake_context_observed,
	.bytes = fake_context_bytes,
	.save = fake_context_save,
	.restore = fake_context_restore,
};

static int fake_checkpoint(struct workload *w, struct error *err)
{
	(void)err;
	fake_of(w)->saved = fake_of(w)->pos;
	return 0;
}

static int fake_rewind(struct workload *w, int pos, struct error *err)
{
	struct fake *f = fake_of(w);
	if (f->is_lost)
		return error_set(err, ERROR_DEVICE, "the device is gone");
	if (pos != f->saved)
		return error_set(err, ERROR_INPUT, "rewind to %d, saved at %d", pos, f->saved);
	if (f->pos > pos)
		f->content = f->contents[pos];
	f->pos = pos;
	f->now_ns += 123000;
	return 0;
}

/* Whether the arm's graph was there; it is afterwards. */
static int fake_has_graph(struct fake *f)
{
	char arm[64];
	snprintf(arm, sizeof arm, "%s/%s", f->mode, f->fusion);
	for (int i = 0; i < f->n_arms; i++)
		if (!strcmp(f->arms[i], arm))
			return 1;
	snprintf(f->arms[f->n_arms++], sizeof arm, "%s", arm);
	f->totals.captures++;
	f->totals.capture_us += f->capture_us;
	f->capture_us += f->capture_grows_us;
	f->totals.instantiate_us += f->instantiate_us;
	f->totals.upload_us += f->upload_us;
	f->totals.graph_nodes = 40;
	f->totals.kernel_nodes = 39;
	f->totals.positional_nodes = 7;
	return 0;
}

static int fake_decode(struct workload *w, int token, struct token_record *out, struct error *err)
{
	struct fake *f = fake_of(w);
	int direct = !strcmp(f->mode, "direct"), cost = direct ? f->direct_us : f->graph_us;
	f->is_lost |= f->lose_after && f->decoded == f->lose_after;
	if (f->is_lost)
		return error_set(err, ERROR_DEVICE, "the device is gone");
	if (fake_is(f->oom_mode, f->mode))
		return error_set(err, ERROR_MEMORY, "no memory, \"really\",\nnone");
	if (f->pos >= f->context)
		return error_set(err, ERROR_INPUT, "position %d, context %d", f->pos, f->context);
	if (f->decoded == 0 || !*f->first_arm)
		snprintf(f->first_arm, sizeof f->first_arm, "%s", f->mode);
	enum token_event event = TOKEN_EVENT_DIRECT;
	if (f->lose_graphs_pos && f->pos == f->lose_graphs_pos)
		f->n_arms = 0;
	if (fake_is(f->fallback_mode, f->mode) && !direct) {
		event = TOKEN_EVENT_FALLBACK;
	} else if (!direct && !fake_is(f->silent_mode, f->mode)) {
		event = !fake_has_graph(f)                 ? TOKEN_EVENT_CAPTURE
			: !strcmp(f->mode, "graph-device") ? TOKEN_EVENT_REPLAY
							   : TOKEN_EVENT_UPDATE;
	}
	out->pos = f->pos;
	out->kv_len = f->pos + 1;
	f->token = token;
	fake_append(f, token);
	if (f->queue_n < 0)
		f->now_ns += (int64_t)cost * 1000;
	out->submit_us = f->submit_us;
	out->gpu_us = cost - f->submit_us;
	out->host_us = NAN;
	out->wall_us = cost;
	out->done_ns = f->now_ns;
	out->event = event;
	out->api_launches = direct ? 39 : 2;
	out->node_updates = 0;
	out->kernels = 39 + (f->odd_token && f->decoded == f->odd_token);
	out->copies = direct ? 0 : 1;
	f->decoded++;
	if (f->sleep_us)
		usleep((useconds_t)f->sleep_us);
	if (f->stop && f->decoded == f->stop_after)
		*f->stop = SIGINT;
	return 0;
}

static int fake_queue_begin(struct workload *w, int n, int keep, struct error *err)
{
	struct fake *f = fake_of(w);
	(void)n;
	if (f->no_queue)
		return error_set(err, ERROR_UNSUPPORTED, "two devices take turns");
	f->device_ns = f->now_ns;
	f->queue_n = 0;
	f->queue_at = f->pos;
	f->queue_keep = keep;
	f->queue_told = 0;
	return 0;
}

static int fake_queue_ahead(struct workload *w, const int *tokens, int n, struct error *err)
{
	struct fake *f = fake_of(w);
	(void)tokens, (void)err;
	f->queue_told = n;
	f->told += n;
	return 0;
}

static int fake_queue_wait(struct workload *w, int i, struct error *err)
{
	struct fake *f = fake_of(w);
	(void)err;
	if (f->now_ns < f->queue_ends[i])
		f->now_ns = f->queue_ends[i];
	return 0;
}

static int fake_enqueue(struct workload *w, int token, struct token_record *out, struct error *err)
{
	struct fake *f = fake_of(w);
	struct token_record r = *out;
	int rc = fake_decode(w, token, &r, err);
	if (rc)
		return rc;
	out->pos = r.pos;
	out->kv_len = r.kv_len;
	out->submit_us = r.submit_us;
	out->event = r.event;
	out->api_launches = r.api_launches;
	out->kernels = r.kernels;
	out->copies = r.copies;
	/* What was told costs the host the first token's submission alone. */
	if (f->queue_n == 0 || f->queue_n >= f->queue_told)
		f->now_ns += (int64_t)f->submit_us * 1000;
	f->device_ns = (f->device_ns > f->now_ns ? f->device_ns : f->now_ns) + (int64_t)(r.gpu_us * 1000);
	f->queue_ends[f->queue_n] = f->device_ns;
	f->queue_contents[f->queue_n++] = f->content;
	f->queued++;
	return 0;
}

static int fake_queue_end(struct workload *w, struct token_record *out, int n, struct error *err)
{
	struct fake *f = fake_of(w);
	(void)err;
	int64_t before = f->queue_n ? f->queue_ends[0] : 0;
	for (int i = 0; i < n; i++) {
		int cost = strcmp(f->mode, "direct") ? f->graph_us : f->direct_us;
		out[i].gpu_us = cost - f->submit_us;
		out[i].itl_us = i ? (double)(f->queue_ends[i] - before) / 1e3 : cost;
		before = f->queue_ends[i];
	}
	f->now_ns = f->device_ns;
	f->queue_n = -1;
	return 0;
}

static uint64_t fake_mix(uint64_t seed, uint64_t content)
{
	return (seed + content) * 0x9e3779b97f4a7c15u;
}

static int fake_queue_hash(struct workload *w, int i, uint64_t seed, uint64_t *out, struct error *err)
{
	struct fake *f = fake_of(w);
	(void)err;
	*out = fake_mix(seed, f->queue_contents[i]) +
	       (fake_is(f->wrong_mode, f->mode) && f->queue_at + i == f->wrong_pos);
	return 0;
}

static int fake_hash(struct workload *w, uint64_t seed, uint64_t *out, struct error *err)
{
	struct fake *f = fake_of(w);
	int at = f->pos - 1;
	f->now_ns += (int64_t)f->check_us * 1000;
	f->hashed++;
	if (fake_is(f->nan_mode, f->mode) && at == f->nan_pos)
		return error_set(err, ERROR_WRONG, "logit 3 of position %d is nan", at);
	*out = fake_mix(seed, f->content) + (fake_is(f->late_mode, f->mode) && seed == 0 && !f->queue_keep);
	const char *mode = strcmp(f->prefill_mode, "direct") ? f->prefill_mode : f->mode;
	if (fake_is(f->wrong_mode, mode) && at == f->wrong_pos)
		++*out;
	if (f->flip_every && f->hashed % f->flip_every == 0)
		++*out;
	return 0;
}

/* Two blocks of one phase. Its graph, where it has one, is not kept, nor counted. */
static int fake_timeline(struct workload *w, int token, struct timeline_stamp **out, int *n, struct error *err)
{
	struct fake *f = fake_of(w);
	struct token_record unused;
	f->stamped++;
	if (f->no_stamps)
		return error_set(err, f->no_stamps, "no stamps here");
	f->stamped_replayed += !!strcmp(f->mode, MODE_REFERENCE);
	const struct workload_totals totals = f->totals;
	int n_arms = f->n_arms, rc = fake_decode(w, token, &unused, err);
	f->totals = totals;
	f->n_arms = n_arms;
	*n = rc ? 0 : 2;
	*out = rc ? NULL : calloc(2, sizeof **out);
	f->content += f->wrong_stamped;
	for (int i = 0; i < *n; i++)
		(*out)[i] = (struct timeline_stamp){.block = i, .sm = -1, .layer = -1, .published_ns = f->pos};
	return rc;
}

static void fake_totals(struct workload *w, struct workload_totals *out)
{
	*out = fake_of(w)->totals;
}

static double fake_prefill_flops(struct workload *w, int pos, int n)
{
	(void)w;
	return 1e9 * n + 1e6 * pos;
}

static int64_t fake_kv_bytes_read(struct workload *w, int pos)
{
	(void)w;
	return 1000 * (pos + 1);
}

static const char *fake_fallback_reason(struct workload *w)
{
	return fake_of(w)->fallback_mode ? "instantiate said no" : "";
}

#define FAKE_OPS                                                                                                \
	.close = fake_close, .facts = fake_facts, .set_arm = fake_set_arm, .prefill = fake_prefill,             \
	.fetch = fake_fetch, .set_prefill_mode = fake_set_prefill_mode, .checkpoint = fake_checkpoint,          \
	.rewind = fake_rewind, .decode = fake_decode, .queue_begin = fake_queue_begin, .enqueue = fake_enqueue, \
	.queue_ahead = fake_queue_ahead, .queue_wait = fake_queue_wait, .queue_end = fake_queue_end,            \
	.queue_hash = fake_queue_hash, .hash = fake_hash, .timeline = fake_timeline, .totals = fake_totals,     \
	.prefill_flops = fake_prefill_flops, .kv_bytes_read = fake_kv_bytes_read,                               \
	.fallback_reason = fake_fallback_reason

int fake_open(struct workload_source *s, const struct placement *p, struct workload **out, struct error *err)
{
	static const struct workload_ops ops = {FAKE_OPS}, keeping = {FAKE_OPS, .context = &fake_contexts};
	struct fake *f = (struct fake *)s;
	if (f->oom_open_depth && p->context > f->oom_open_depth)
		return error_set(err, ERROR_MEMORY, "%d positions do not fit", p->context);
	f->workload.ops = f->chunk ? &keeping : &ops;
	/* Gone once: what was decoded goes on counting. */
	f->lose_after = f->is_lost ? 0 : f->lose_after;
	f->is_lost = 0;
	f->is_open = 1;
	f->opened++;
	f->pos = f->saved = f->n_arms = 0;
	f->content = 0;
	f->seen = 0;
	snprintf(f->prefill_mode, sizeof f->prefill_mode, "direct");
	*f->prompt_graph = '\0';
	f->prompt_end = p->prompt;
	f->context = p->context;
	f->totals = (struct workload_totals){.memory_peak_bytes = 12345};
	*f->first_arm = '\0';
	*out = &f->workload;
	return 0;
}

int64_t fake_clock(void *ctx)
{
	return ((struct fake *)ctx)->now_ns;
}

void fake_init(struct fake *f)
{
	memset(f, 0, sizeof *f);
	f->queue_n = -1; /* none is open */
	f->source.open = fake_open;
	f->direct_us = 1000;
	f->graph_us = 600;
	f->submit_us = 20;
	f->check_us = 5000;
	f->prefill_us = 10;
	f->fetch_us = 30;
	f->capture_us = 100;
	f->instantiate_us = 50;
	f->upload_us = 10;
}
