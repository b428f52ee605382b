#include "harness/measure/pass.h"

#include <math.h>
#include <string.h>

/* The measured phase begins behind this; and it is over. */
static void watch_begin(const struct pass_setup *s)
{
	if (s->o->monitor)
		s->o->monitor->measure(s->o->monitor);
}

static void watch_end(const struct pass_setup *s, struct pass *p)
{
	if (s->o->monitor)
		s->o->monitor->end(s->o->monitor, &p->conditions);
}

/* Whether the SM clock is where it was in earlier runs of the group, as far as anybody knows. */
static int clock_is_up(const struct pass_setup *s)
{
	const struct runner_options *o = s->o;
	if (!o->monitor || !s->on_gpu || s->clock_peak <= 0)
		return 1;
	return !(o->monitor->sm_clock(o->monitor) < o->clock_fraction * s->clock_peak);
}

static int steady_event(const struct cell *c, enum token_event e)
{
	if (cell_is_direct(c))
		return e == TOKEN_EVENT_DIRECT;
	return e == TOKEN_EVENT_UPDATE || e == TOKEN_EVENT_REPLAY;
}

/* Direct launches in a graph mode, whatever they call themselves. */
static int fell_back(const struct cell *c, enum token_event e)
{
	return e == TOKEN_EVENT_FALLBACK || (!cell_is_direct(c) && e == TOKEN_EVENT_DIRECT);
}

int pass_hashes(const struct cell *c)
{
	return (c->n_prompt > 0) + c->n_gen;
}

/* The cell's own prompt into tokens, and behind it n tokens of what follows it; room for them all. */
static const int *fill_tokens(struct pass_setup *s, const struct cell *c, int n)
{
	token_fill(&s->stream, c->n_depth, c->n_prompt, s->tokens);
	token_fill(&s->stream, c->n_depth + c->n_prompt, n, s->tokens + c->n_prompt);
	return s->tokens + c->n_prompt;
}

/* The prompt that is in tokens, at the depth; nothing where the cell has none. us: its time. */
static int prefill(struct pass_setup *s, const struct cell *c, struct pass *p, double *us, struct error *err)
{
	if (!c->n_prompt)
		return 0;
	int64_t from = runner_now_ns(s->o);
	int rc = s->w->ops->prefill(s->w, s->tokens, c->n_prompt, err);
	*us = (double)(runner_now_ns(s->o) - from) / 1e3;
	p->prefill_seconds += *us / 1e6;
	return rc;
}

/* Of the logits behind the measured prompt. */
static int hash_prompt(struct pass_setup *s, struct pass *p, uint64_t *hashes, struct error *err)
{
	int rc = s->w->ops->hash(s->w, 0, &p->hash, err);
	hashes[0] = p->hash;
	p->n_hashes = !rc;
	return rc ? error_prefix(err, rc, "prompt") : 0;
}

/* The measured prompt, where the cell has one, to the host's having its logits. */
static int time_prompt(struct pass_setup *s, const struct cell *c, struct pass *p, struct error *err)
{
	int64_t from = runner_now_ns(s->o);
	int rc = prefill(s, c, p, &p->prefill_us, err);
	if (rc || !c->n_prompt || !s->w->ops->fetch)
		return rc;
	if ((rc = s->w->ops->fetch(s->w, &p->prompt, err)))
		return error_prefix(err, rc, "prompt");
	p->ttft_us = (double)(runner_now_ns(s->o) - from) / 1e3;
	return 0;
}

/* And its hash. */
static int measure_prompt(struct pass_setup *s, const struct cell *c, struct pass *p, uint64_t *hashes,
			  struct error *err)
{
	int rc = time_prompt(s, c, p, err);
	return rc || !c->n_prompt ? rc : hash_prompt(s, p, hashes, err);
}

static int warm_up(struct pass_setup *s, const struct cell *c, struct pass *p, struct error *err)
{
	struct workload *w = s->w;
	const int *tokens = fill_tokens(s, c, s->o->warmup_max);
	double unmeasured;
	int in_a_row = 0, begun = prefill(s, c, p, &unmeasured, err);
	if (begun)
		return begun;
	int64_t ready = runner_now_ns(s->o);
	while (p->n_warmup < s->o->warmup_max && (in_a_row < s->o->steady || !clock_is_up(s)) &&
	       !runner_stopped(s->o)) {
		struct token_record *t = &s->records[p->n_warmup];
		*t = (struct token_record){.phase = TOKEN_PHASE_WARMUP, .index = p->n_warmup};
		int rc = w->ops->decode(w, tokens[p->n_warmup], t, err);
		if (rc)
			return rc;
		t->itl_us = (double)(t->done_ns - ready) / 1e3;
		ready = t->done_ns;
		in_a_row = steady_event(c, t->event) ? in_a_row + 1 : 0;
		p->fallbacks += fell_back(c, t->event);
		p->n_warmup++;
	}
	p->steady = in_a_row >= s->o->steady;
	return 0;
}

static int compare(struct pass_setup *s, int i, struct error *err)
{
	struct agreement a;
	int rc = s->w->ops->compare(s->w, i, &a, err);
	if (!rc)
		quality_add(s->quality, &a);
	return rc;
}

/* hashes: (pass_hashes), receives the chain. */
static int measure(struct pass_setup *s, const struct cell *c, struct pass *p, uint64_t *hashes, struct error *err)
{
	struct workload *w = s->w;
	const int *tokens = fill_tokens(s, c, c->n_gen);
	struct token_record *records = s->records + p->n_warmup;
	/* Touched before the clock starts: no page fault is measured. */
	memset(records, 0, (size_t)c->n_gen * sizeof *records);
	memset(hashes, 0, (size_t)pass_hashes(c) * sizeof *hashes);
	watch_begin(s);
	int begun = measure_prompt(s, c, p, hashes, err);
	if (begun)
		return begun;
	int64_t ready = runner_now_ns(s->o);
	for (int i = 0; i < c->n_gen && !runner_stopped(s->o); i++) {
		struct token_record *t = &records[i];
		t->phase = TOKEN_PHASE_MEASURE;
		t->index = i;
		int rc = w->ops->decode(w, tokens[i], t, err);
		if (rc)
			return rc;
		t->itl_us = (double)(t->done_ns - ready) / 1e3;
		p->n_measured++;
		int64_t check = runner_now_ns(s->o);
		rc = w->ops->hash(w, p->hash, &p->hash, err);
		if (!rc && s->quality && i < s->n_remembered)
			rc = compare(s, i, err);
		if (rc)
			return error_prefix(err, rc, "token %d", i);
		hashes[p->n_hashes++] = p->hash;
		ready = t->done_ns + (runner_now_ns(s->o) - check);
	}
	watch_end(s, p);
	for (int i = 0; i < p->n_measured; i++)
		p->fallbacks += fell_back(c, records[i].event);
	return 0;
}

/* ---- queued tokens ---- */

/* Records whose times are unknown until the queue has ended; touched before the clock starts. */
static void clear_records(struct token_record *records, int n, enum token_phase phase)
{
	for (int i = 0; i < n; i++)
		records[i] = (struct token_record){
			.phase = phase, .index = i, .submit_us = NAN, .gpu_us = NAN, .wall_us = NAN, .itl_us = NAN};
}

/* As warm_up, and until the queue was full once: what it allocates is there then. */
static int warm_up_queued(struct pass_setup *s, const struct cell *c, struct pass *p, struct error *err)
{
	struct workload *w = s->w;
	int most = s->o->warmup_max, least = most < WORKLOAD_QUEUE_KEEP ? most : WORKLOAD_QUEUE_KEEP, in_a_row = 0;
	const int *tokens = fill_tokens(s, c, most);
	double unmeasured;
	int rc = prefill(s, c, p, &unmeasured, err);
	clear_records(s->records, most, TOKEN_PHASE_WARMUP);
	/* Room for the measured ones too: their queue allocates nothing. */
	if (!rc)
		rc = w->ops->queue_begin(w, most > c->n_gen ? most : c->n_gen, 0, err);
	while (!rc && p->n_warmup < most && (in_a_row < s->o->steady || p->n_warmup < least || !clock_is_up(s)) &&
	       !runner_stopped(s->o)) {
		struct token_record *t = &s->records[p->n_warmup];
		rc = w->ops->enqueue(w, tokens[p->n_warmup], t, err);
		if (rc)
			break;
		in_a_row = steady_event(c, t->event) ? in_a_row + 1 : 0;
		p->fallbacks += fell_back(c, t->event);
		p->n_warmup++;
	}
	p->steady = in_a_row >= s->o->steady;
	return rc ? rc : w->ops->queue_end(w, s->records, p->n_warmup, err);
}

/* As a host that reads the tokens sees each: complete, and no word of its own needed for the next. */
static int follow(struct pass_setup *s, int i, struct token_record *t, struct error *err)
{
	int rc = s->w->ops->queue_wait(s->w, i, err);
	t->done_ns = runner_now_ns(s->o);
	return rc;
}

static void times_as_followed(struct token_record *records, int n, int64_t begun)
{
	for (int i = 0; i < n; i++)
		records[i].itl_us = (double)(records[i].done_ns - (i ? records[i - 1].done_ns : begun)) / 1e3;
}

/* Nothing but the prompt and the tokens, and the hash of the last one's logits when all is over. */
static int measure_queued(struct pass_setup *s, const struct cell *c, struct pass *p, uint64_t *hashes,
			  struct error *err)
{
	struct workload *w = s->w;
	struct token_record *records = s->records + p->n_warmup;
	const int *tokens = fill_tokens(s, c, c->n_gen);
	clear_records(records, c->n_gen, TOKEN_PHASE_MEASURE);
	watch_begin(s);
	int rc = measure_prompt(s, c, p, hashes, err);
	int followed = !cell_is_queued(c);
	if (!rc)
		rc = w->ops->queue_begin(w, c->n_gen, 0, err);
	int64_t begun = runner_now_ns(s->o);
	if (!rc && cell_loops(c))
		rc = w->ops->queue_ahead(w, tokens, c->n_gen, err);
	for (int i = 0; !rc && i < c->n_gen && !runner_stopped(s->o); i++) {
		rc = w->ops->enqueue(w, tokens[i], &records[i], err);
		if (!rc && followed)
			rc = follow(s, i, &records[i], err);
		p->n_measured += !rc;
	}
	if (!rc)
		rc = w->ops->queue_end(w, records, p->n_measured, err);
	if (!rc && followed)
		times_as_followed(records, p->n_measured, begun);
	watch_end(s, p);
	for (int i = 0; i < p->n_measured; i++)
		p->fallbacks += fell_back(c, records[i].event);
	if (!rc && p->n_measured == c->n_gen)
		rc = w->ops->hash(w, 0, &p->last, err);
	return rc;
}

/* The same once more, as many tokens at a time as the queue holds. hashes: (pass_hashes), receives the rest. */
static int check_queued(struct pass_setup *s, const struct cell *c, struct pass *p, uint64_t *hashes, struct error *err)
{
	struct workload *w = s->w;
	const int *tokens = s->tokens + c->n_prompt;
	double unmeasured;
	int rc = w->ops->rewind(w, c->n_depth, err);
	if (!rc)
		rc = prefill(s, c, p, &unmeasured, err);
	for (int at = 0; !rc && at < c->n_gen;) {
		int n = c->n_gen - at < WORKLOAD_QUEUE_KEEP ? c->n_gen - at : WORKLOAD_QUEUE_KEEP;
		struct token_record records[WORKLOAD_QUEUE_KEEP];
		rc = w->ops->queue_begin(w, n, 1, err);
		for (int i = 0; !rc && i < n; i++)
			rc = w->ops->enqueue(w, tokens[at + i], &records[i], err);
		if (!rc)
			rc = w->ops->queue_end(w, records, n, err);
		for (int i = 0; !rc && i < n; i++) {
			rc = w->ops->queue_hash(w, i, p->hash, &p->hash, err);
			hashes[p->n_hashes] = p->hash;
			p->n_hashes += !rc;
		}
		if (rc)
			error_prefix(err, rc, "tokens %d to %d", at, at + n - 1);
		at += n;
	}
	return rc;
}

static int pass_queued(struct pass_setup *s, const struct cell *c, struct pass *p, uint64_t *hashes, struct error *err)
{
	if (!s->w->ops->queue_begin)
		return error_set(err, ERROR_UNSUPPORTED, "this workload waits for every token; --sync token");
	if (cell_loops(c) && !s->w->ops->queue_ahead)
		return error_set(err, ERROR_UNSUPPORTED, "mode %s: this workload's device waits for every token",
				 c->mode);
	int rc = warm_up_queued(s, c, p, err);
	if (!rc)
		rc = s->w->ops->rewind(s->w, c->n_depth, err);
	if (!rc && !runner_stopped(s->o))
		rc = measure_queued(s, c, p, hashes, err);
	if (!rc && p->n_measured == c->n_gen)
		rc = check_queued(s, c, p, hashes, err);
	return rc;
}

static int pass_prompt(struct pass_setup *s, const struct cell *c, struct pass *p, uint64_t *hashes, struct error *err)
{
	double unmeasured;
	int rc = 0;
	fill_tokens(s, c, 0);
	/* What it captures is no part of the measured one. */
	if (!cell_is_direct(c) && !(rc = prefill(s, c, p, &unmeasured, err)))
		rc = s->w->ops->rewind(s->w, c->n_depth, err);
	if (rc)
		return rc;
	watch_begin(s);
	if ((rc = time_prompt(s, c, p, err)))
		return rc;
	watch_end(s, p);
	if (!cell_is_direct(c) && p->prompt.n_direct > 0)
		p->fallbacks = (int)p->prompt.n_direct;
	return hash_prompt(s, p, hashes, err);
}

static int pass_generate(struct pass_setup *s, const struct cell *c, struct pass *p, uint64_t *hashes,
			 struct error *err)
{
	int rc = warm_up(s, c, p, err);
	if (!rc)
		rc = s->w->ops->rewind(s->w, c->n_depth, err);
	if (!rc && !runner_stopped(s->o))
		rc = measure(s, c, p, hashes, err);
	return rc;
}

/* Behind a group whose other cells' prompts may have asked for others. */
static int set_rows(struct pass_setup *s, const struct cell *c, struct error *err)
{
	const struct workload_ops *ops = s->w->ops;
	if (ops->set_prefill_rows)
		return ops->set_prefill_rows(s->w, cell_word(c, AXIS_PREFILL_ROWS), err);
	return cell_computes_all_rows(c)
		       ? error_set(err, ERROR_UNSUPPORTED, "this workload computes a prompt's last row alone")
		       : 0;
}

static int set_prefill_mode(struct pass_setup *s, const struct cell *c, struct error *err)
{
	const struct workload_ops *ops = s->w->ops;
	const char *mode = cell_word(c, AXIS_PREFILL_MODE);
	if (ops->set_prefill_mode)
		return ops->set_prefill_mode(s->w, mode, err);
	return strcmp(mode, MODE_REFERENCE)
		       ? error_set(err, ERROR_UNSUPPORTED, "this workload launches a prompt's chunks directly")
		       : 0;
}

int pass_run(struct pass_setup *s, const struct cell *c, struct pass *p, uint64_t *hashes, struct error *err)
{
	*p = (struct pass){.first_diff = -1, .prefill_us = NAN, .ttft_us = NAN, .prompt = {-1, -1, -1, -1, -1, -1, 0}};
	conditions_init(&p->conditions);
	struct workload *w = s->w;
	int64_t from = runner_now_ns(s->o);
	if (s->o->monitor)
		s->o->monitor->begin(s->o->monitor, s->on_gpu);
	int rc = w->ops->set_arm(w, c->mode, c->fusion, err);
	if (!rc)
		rc = set_rows(s, c, err);
	if (!rc)
		rc = set_prefill_mode(s, c, err);
	if (!rc)
		rc = w->ops->rewind(w, c->n_depth, err);
	if (!rc)
		rc = (cell_is_prompt(c)    ? pass_prompt
		      : cell_runs_twice(c) ? pass_queued
					   : pass_generate)(s, c, p, hashes, err);
	p->stopped = runner_stopped(s->o) && p->n_measured < c->n_gen;
	p->seconds = (double)(runner_now_ns(s->o) - from) / 1e9;
	return rc;
}

void pass_compare(struct pass *p, const struct cell *c, const uint64_t *expected, uint64_t last, const uint64_t *hashes)
{
	int n = p->n_hashes;
	if (cell_runs_twice(c) && n < pass_hashes(c))
		return; /* interrupted before the check */
	for (int i = 0; i < n && p->first_diff < 0; i++)
		if (hashes[i] != expected[i])
			p->first_diff = i;
	/* The check pass may have gone well where the timed one did not. */
	if (cell_runs_twice(c) && p->first_diff < 0 && p->last != last)
		p->first_diff = n - 1;
}

int pass_evict(struct pass_setup *s, const struct cell *c, int n, struct eviction *out, struct error *err)
{
	struct workload *w = s->w;
	int rc = 0;
	token_fill(&s->stream, c->n_depth, n, s->tokens);
	for (int i = 0; i < n && !rc && !runner_stopped(s->o); i++) {
		struct token_record t = {0};
		rc = w->ops->decode(w, s->tokens[i], &t, err);
		if (!rc)
			rc = w->ops->remember(w, i, n, err);
	}
	if (!rc && n)
		rc = w->ops->rewind(w, c->n_depth, err);
	if (!rc)
		rc = w->ops->evict(w, out, err);
	return rc ? error_prefix(err, rc, "SnapKV %s", c->snapkv) : 0;
}
