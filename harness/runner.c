#include "harness/runner.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/clock_check.h"
#include "harness/nvml.h"
#include "harness/pass.h"
#include "harness/plan.h"
#include "harness/stability.h"

/* What is known of a unit once its direct pass has run. */
struct unit {
	uint64_t *hashes;       /* (n_gen, or 1 for a prompt test): the chain after each token; null before the pass */
	uint64_t last;          /* of the last token alone; of queued cells */
	double direct_itl_us;   /* median of the direct run last seen; NAN: none that queues as the unit does */
	struct quality quality; /* of the direct pass; of SnapKV's units */
	int code;               /* of the direct pass, where it failed: no mode of the unit can be checked */
	struct error why;
};

struct cell_state {
	int unit;
	int dropped;   /* not measured any further */
	int failed;    /* because a run of it was not ok */
	int no_memory; /* a run of it was out of memory */
	/* Of the graphs that the cell's runs captured so far. */
	double one_off_us;
	uint64_t launches; /* what the first comparable run launched; 0: none was */
	int graph_nodes;   /* negative: none was captured yet */
	int kernel_nodes;
	int positional_nodes;
};

struct runner {
	const struct cell *cells;
	int n;
	struct pass_setup setup; /* s.w null: no group is open */
	const struct runner_sink *sink;
	struct runner_summary *summary;
	struct unit *units;        /* (n) at most */
	struct cell_state *states; /* (n) */
	uint64_t *scratch;         /* (most measured tokens of a cell): hashes of the pass at hand */
	struct clock_check clocks;
	struct stability stability;
	struct runner_progress progress;
	int order;
	int attempt; /* of the run at hand */

	/* Of each placement's smallest cache that did not fit; of (n_refused). */
	struct refusal {
		int cell; /* of that placement */
		int context;
		int evicting; /* only eviction did not fit: nothing is known of other budgets */
	} * refused;
	int n_refused;

	/* Of the group at hand. */
	int lost;     /* its workload's device failed */
	int evicting; /* its cache is filled, SnapKV's eviction begun */
	struct workload_facts facts;
	int context;
	double prefill_us;        /* of the depth; NAN at depth 0 */
	struct eviction eviction; /* of SnapKV's groups */
};

void runner_options_default(struct runner_options *o)
{
	*o = (struct runner_options){
		.repetitions = 5,
		.steady = 4,
		.warmup_max = 32,
		.chunk = 2048,
		.seed = 1,
		.prefill_fusion = "full",
		.clock_fraction = 0.95,
		.clock_retries = 2,
		.commit = "",
		.run_prefix = "run",
	};
}

/* Decoded tokens of a run: queued ones run twice. */
static int decode_work(const struct runner *r, const struct cell *c)
{
	return c->n_gen ? r->setup.o->steady + (1 + c->queued) * c->n_gen : 0;
}

static void report(struct runner *r, const struct cell *c)
{
	r->progress.cell = c;
	r->progress.run = r->order;
	if (r->sink->progress)
		r->sink->progress(r->sink->ctx, &r->progress);
}

/* Work of a cell's run that is done, or will never be. seconds < 0: dropped. */
static void progress_add(struct runner *r, const struct cell *c, double seconds)
{
	struct runner_progress *p = &r->progress;
	int64_t decode = decode_work(r, c), prefill = c->n_prompt;
	p->decode_done += decode;
	p->prefill_done += prefill;
	if (seconds >= 0 && decode) {
		p->decode_s += seconds;
		p->decode_timed += decode;
	} else if (seconds >= 0) {
		p->prefill_s += seconds;
		p->prefill_timed += prefill;
	}
}

static double itl_median(struct runner *r, const struct pass *p)
{
	struct run_row row;
	row_init(&row);
	row_set_tokens(&row, r->setup.records + p->n_warmup, p->n_measured);
	return row.itl_median_us;
}

/* The unit's direct pass. */
static int unit_reference(struct runner *r, const struct cell *c, struct unit *u, struct error *err)
{
	struct cell direct = *c;
	/* Waits for each token, whatever the unit does. */
	direct.mode = MODE_REFERENCE;
	direct.queued = 0;
	uint64_t *hashes = calloc(c->n_prompt ? 1 : (size_t)c->n_gen, sizeof *hashes);
	if (!hashes)
		return error_set(err, ERROR_MEMORY, "no memory for the hashes of %d tokens", c->n_gen);
	struct pass p;
	r->setup.quality = r->setup.n_remembered ? &u->quality : NULL;
	int rc = pass_run(&r->setup, &direct, &p, hashes, err);
	r->setup.quality = NULL;
	if (!rc && !p.stopped && c->queued)
		rc = r->setup.w->ops->hash(r->setup.w, 0, &u->last, err);
	progress_add(r, c, p.seconds);
	if (rc || p.stopped) {
		free(hashes);
		return rc ? error_prefix(err, rc, "direct reference") : 0;
	}
	u->hashes = hashes;
	if (c->n_gen)
		u->direct_itl_us = c->queued ? NAN : itl_median(r, &p);
	return 0;
}

static enum run_status status_of(int code)
{
	if (code == ERROR_UNSUPPORTED)
		return RUN_STATUS_SKIPPED;
	return code == ERROR_WRONG ? RUN_STATUS_WRONG : RUN_STATUS_FAILED;
}

static void count(struct runner *r, enum run_status s, int fallbacks)
{
	struct runner_summary *sum = r->summary;
	int *counters[] = {&sum->ok, &sum->skipped, &sum->failed, &sum->wrong, &sum->unfinished};
	++*counters[s];
	sum->with_fallbacks += s == RUN_STATUS_OK && fallbacks > 0;
}

/* Columns that differences of the workload's totals give, and what follows from them. */
static void row_set_graphs(struct runner *r, struct run_row *row, int cell, const struct workload_totals *before)
{
	const struct cell *c = &r->cells[cell];
	struct cell_state *s = &r->states[cell];
	struct workload_totals now = {0};
	r->setup.w->ops->totals(r->setup.w, &now);
	row->memory_peak_bytes = now.memory_peak_bytes < 0 ? ROW_UNKNOWN : now.memory_peak_bytes;
	row->memory_bytes = now.memory_bytes < 0 ? ROW_UNKNOWN : now.memory_bytes;
	if (!c->n_gen)
		return;
	row->captures = now.captures - before->captures;
	if (cell_is_direct(c))
		return;
	if (row->captures > 0) {
		row->capture_us = now.capture_us - before->capture_us;
		row->instantiate_us = now.instantiate_us - before->instantiate_us;
		row->upload_us = now.upload_us - before->upload_us;
		s->one_off_us += row->capture_us + row->instantiate_us + row->upload_us;
		s->graph_nodes = now.graph_nodes;
		s->kernel_nodes = now.kernel_nodes;
		s->positional_nodes = now.positional_nodes;
	}
	if (s->graph_nodes >= 0) {
		row->graph_nodes = s->graph_nodes;
		row->kernel_nodes = s->kernel_nodes;
		row->copy_nodes = s->graph_nodes - s->kernel_nodes;
		row->positional_nodes = s->positional_nodes;
	}
	double saving = r->units[s->unit].direct_itl_us - row->itl_median_us;
	if (s->one_off_us > 0 && saving > 0 && row->fallbacks == 0)
		row->break_even_tokens = s->one_off_us / saving;
}

static void row_set_kv_read(struct runner *r, struct run_row *row, const struct token_record *t, int n)
{
	double sum = 0;
	for (int i = 0; i < n; i++) {
		int64_t bytes = r->setup.w->ops->kv_bytes_read(r->setup.w, t[i].pos);
		if (bytes < 0)
			return;
		sum += (double)bytes;
	}
	if (n > 0)
		row->kv_bytes_per_token = sum / n;
}

static void describe_pass(struct runner *r, const struct cell *c, const struct pass *p, enum run_status *status,
			  char *reason, size_t size)
{
	if (p->first_diff >= 0) {
		*status = RUN_STATUS_WRONG;
		if (c->n_prompt)
			snprintf(reason, size, "the logits after the prompt differ from the first prefill's");
		else
			snprintf(reason, size, "logits differ from the direct reference from token %d of %d on",
				 p->first_diff, c->n_gen);
	} else if (p->stopped) {
		*status = RUN_STATUS_INTERRUPTED;
		snprintf(reason, size, "interrupted after %d of %d tokens", p->n_measured, c->n_gen);
	} else if (p->fallbacks) {
		const char *why = r->setup.w->ops->fallback_reason(r->setup.w);
		snprintf(reason, size, "%d of %d tokens were launched directly: %s", p->fallbacks,
			 p->n_warmup + p->n_measured, why && *why ? why : "the workload gives no reason");
	} else if (c->n_gen && !p->steady) {
		snprintf(reason, size, "the warm-up saw no %d steady tokens in a row in %d", r->setup.o->steady,
			 p->n_warmup);
	}
}

static int is_done(const struct runner *r, int cell, int repetition)
{
	const struct runner_past *p = r->setup.o->past;
	return p && p->done[(size_t)cell * (size_t)r->setup.o->repetitions + (size_t)repetition];
}

/* Runs of a cell that are still to be made. */
static int runs_left(const struct runner *r, int cell)
{
	int n = 0;
	if (r->states[cell].dropped)
		return 0;
	for (int i = 0; i < r->setup.o->repetitions; i++)
		n += !is_done(r, cell, i);
	return n;
}

/* A cell that is not measured any further: its runs to come count as done, so that the time left stays right. */
static void drop_rest(struct runner *r, int cell, int repetition)
{
	r->states[cell].dropped = 1;
	if (r->attempt)
		return; /* its repetitions are over */
	for (int i = repetition + 1; i < r->setup.o->repetitions; i++) {
		if (is_done(r, cell, i))
			continue;
		progress_add(r, &r->cells[cell], -1);
		r->progress.runs--;
	}
}

/* How the run's clock is among its peers'; a remark where it is low and nothing else was remarked. */
static void row_set_clock(struct runner *r, struct run_row *row, int cell, char *reason, size_t size)
{
	int repetition = (int)row->repetition;
	double peers;
	clock_check_note(&r->clocks, cell, repetition, r->attempt, row->sm_clock_mhz);
	if (row->sm_clock_mhz > r->setup.clock_peak)
		r->setup.clock_peak = row->sm_clock_mhz;
	int low = clock_check_run(&r->clocks, cell, repetition, &peers);
	row->clock_low = low < 0 ? ROW_UNKNOWN : low;
	if (low > 0 && !*reason)
		snprintf(reason, size, "SM clock %.0f MHz, below %.0f %% of its peers' %.0f", row->sm_clock_mhz,
			 100 * r->setup.o->clock_fraction, peers);
}

/* What the run launched, token by token, against the cell's first run: exact counts, so that any difference counts. */
static void row_set_launches(struct runner *r, struct run_row *row, int cell, const struct token_record *t, int n,
			     char text[20], char *reason, size_t size)
{
	struct cell_state *s = &r->states[cell];
	uint64_t hash = row_launch_hash(t, n);
	if (!hash)
		return;
	snprintf(text, 20, "%016" PRIx64, hash);
	row->launch_hash = text;
	if (s->launches)
		row->launches_differ = hash != s->launches;
	else
		s->launches = hash;
	if (row->launches_differ == 1 && !*reason)
		snprintf(reason, size, "its tokens launched something else than those of the cell's first run");
}

/* Hands out the row of one run. code: what the run returned; with p null it never started. */
static int deliver(struct runner *r, int cell, int repetition, int code, const struct error *why, const struct pass *p,
		   const struct workload_totals *before, const char *started, struct error *err)
{
	const struct cell *c = &r->cells[cell];
	struct run_row row;
	char label[CELL_LABEL_SIZE], id[96], hash[20], throttle[NVML_REASONS_SIZE], until[STABILITY_TEXT_SIZE],
		launches[20];
	char reason[sizeof why->text + 64] = "";
	row_init(&row);
	cell_label(c, label);
	row_set_cell(&row, c, label, r->setup.w ? &r->facts : NULL);
	row.cell = cell;
	row.order = r->order;
	row.repetition = repetition;
	row.attempt = r->attempt;
	row.until = stability_text(r->setup.o->until, until);
	row.commit = r->setup.o->commit;
	row.seed = (int64_t)r->setup.o->seed;
	row.started_utc = started;
	snprintf(id, sizeof id, "%s-%05d", r->setup.o->run_prefix, r->order);
	row.run_id = id;
	enum run_status status = RUN_STATUS_OK;
	int n = 0;
	if (p) {
		const struct token_record *measured = r->setup.records + p->n_warmup;
		n = p->n_warmup + p->n_measured;
		row.n_context = r->context;
		row.warmup_tokens = c->n_gen ? p->n_warmup : ROW_UNKNOWN;
		row.fallbacks = c->n_gen ? p->fallbacks : ROW_UNKNOWN;
		row.prefill_us = c->n_prompt ? p->prefill_us : r->prefill_us;
		row.prefill_tokens_per_s = (c->n_prompt ? c->n_prompt : c->n_depth) / row.prefill_us * 1e6;
		if (c->n_prompt) {
			row.tokens_per_s = row.prefill_tokens_per_s;
			row_set_prefill(&row, r->setup.w->ops->prefill_flops(r->setup.w, c->n_depth, c->n_prompt));
		}
		row_set_kv_read(r, &row, measured, p->n_measured);
		if (row_set_tokens(&row, measured, p->n_measured))
			return error_set(err, ERROR_MEMORY, "no memory to summarise %d tokens", p->n_measured);
		row_set_graphs(r, &row, cell, before);
		if (c->snapkv)
			row_set_eviction(&row, &r->eviction, &r->units[r->states[cell].unit].quality);
		row_set_conditions(&row, &p->conditions, c->n_prompt ? c->n_prompt : p->n_measured,
				   nvml_reasons_text(p->conditions.throttle_reasons, throttle));
		if (!code && !p->stopped) {
			snprintf(hash, sizeof hash, "%016" PRIx64, p->hash);
			row.logits_hash = hash;
		}
	}
	if (code) {
		status = status_of(code);
		r->states[cell].no_memory |= code == ERROR_MEMORY;
		r->lost |= code == ERROR_DEVICE;
		snprintf(reason, sizeof reason, "%s", why->text);
	} else if (p) {
		describe_pass(r, c, p, &status, reason, sizeof reason);
	}
	if (status == RUN_STATUS_OK) {
		row_set_launches(r, &row, cell, r->setup.records + p->n_warmup, p->n_measured, launches, reason,
				 sizeof reason);
		row_set_clock(r, &row, cell, reason, sizeof reason);
		stability_note(&r->stability, cell, repetition, c->n_prompt ? row.prefill_us : row.itl_median_us);
	}
	row.status = run_status_name(status);
	row.reason = reason;
	count(r, status, p ? p->fallbacks : 0);
	if (status != RUN_STATUS_OK) {
		r->states[cell].failed = 1;
		drop_rest(r, cell, repetition);
	} else if (c->n_gen && cell_is_direct(c))
		r->units[r->states[cell].unit].direct_itl_us = row.itl_median_us;
	r->order++;
	int rc = r->sink->run(r->sink->ctx, &row, r->setup.records, n, err);
	report(r, c);
	return rc;
}

static void utc_now(char out[32])
{
	time_t t = time(NULL);
	struct tm tm;
	gmtime_r(&t, &tm);
	strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* Drops the cell with a row that says why it never ran. */
static int deliver_unrun(struct runner *r, int cell, int repetition, int code, const struct error *why,
			 struct error *err)
{
	char started[32];
	utc_now(started);
	progress_add(r, &r->cells[cell], -1);
	return deliver(r, cell, repetition, code, why, NULL, NULL, started, err);
}

/* A shallower cell of the same arm that was out of memory; negative: none. */
static int out_of_memory_before(const struct runner *r, int cell)
{
	const struct cell *c = &r->cells[cell];
	for (int i = 0; i < r->n; i++) {
		const struct cell *other = &r->cells[i];
		if (r->states[i].no_memory && other->n_depth < c->n_depth && cell_same_placement(other, c) &&
		    other->n_prompt == c->n_prompt && other->n_gen == c->n_gen && !strcmp(other->mode, c->mode) &&
		    !strcmp(other->fusion, c->fusion))
			return i;
	}
	return -1;
}

static int run_cell(struct runner *r, int cell, int repetition, struct error *err)
{
	const struct cell *c = &r->cells[cell];
	struct unit *u = &r->units[r->states[cell].unit];
	int smaller = out_of_memory_before(r, cell);
	if (smaller >= 0) {
		struct error why;
		char label[CELL_LABEL_SIZE];
		cell_label(&r->cells[smaller], label);
		error_set(&why, ERROR_UNSUPPORTED, "%s was out of memory already", label);
		return deliver_unrun(r, cell, repetition, ERROR_UNSUPPORTED, &why, err);
	}
	if (!u->hashes && !u->code)
		u->code = unit_reference(r, c, u, &u->why);
	if (u->code)
		return deliver_unrun(r, cell, repetition, u->code, &u->why, err);
	if (runner_stopped(r->setup.o))
		return 0;
	struct error why = {""};
	char started[32];
	utc_now(started);
	struct workload_totals before = {0};
	r->setup.w->ops->totals(r->setup.w, &before);
	if (r->sink->begin)
		r->sink->begin(r->sink->ctx, cell);
	struct pass p;
	int code = pass_run(&r->setup, c, &p, r->scratch, &why);
	progress_add(r, c, p.seconds);
	pass_compare(&p, c, u->hashes, u->last, r->scratch);
	return deliver(r, cell, repetition, code, &why, &p, &before, started, err);
}

/* SnapKV's part of opening a group: the full cache's logits where any are asked for, and the eviction. */
static int group_evict(struct runner *r, const struct plan_group *g, struct error *err)
{
	const struct cell *first = &r->cells[g->sequence[0]];
	int n = 0;
	r->evicting = 1;
	for (int i = 0; i < g->n && first->n_depth > cell_snapkv_budget(first); i++) {
		int n_gen = r->cells[g->sequence[i]].n_gen;
		n = n_gen > n ? n_gen : n;
	}
	r->setup.n_remembered = n < QUALITY_TOKENS ? n : QUALITY_TOKENS;
	int rc = quality_evict(&r->setup, first, r->setup.n_remembered, &r->eviction, err);
	r->setup.w->ops->facts(r->setup.w, &r->facts);
	return rc;
}

/* Positions that the cells of a group use at most. */
static int group_context(const struct runner *r, const struct plan_group *g)
{
	int need = 0;
	for (int i = 0; i < g->n; i++) {
		const struct cell *c = &r->cells[g->sequence[i]];
		int cell_need = c->n_prompt;
		if (c->n_gen)
			cell_need = c->n_gen > r->setup.o->warmup_max ? c->n_gen : r->setup.o->warmup_max;
		need = cell_need > need ? cell_need : need;
	}
	return r->cells[g->sequence[0]].n_depth + need;
}

/* Opens the workload and prefills to the depth. */
static int group_open(struct runner *r, const struct plan_group *g, struct workload_source *source, struct error *err)
{
	const struct cell *first = &r->cells[g->sequence[0]];
	r->context = group_context(r, g);
	r->lost = 0;
	r->prefill_us = NAN;
	r->evicting = 0;
	r->setup.n_remembered = 0;
	struct placement where = {
		.model = first->model,
		.type_k = first->type_k,
		.type_v = first->type_v,
		.n_gpu_layers = first->n_gpu_layers,
		.n_threads = first->n_threads,
		.context = r->context,
		.prompt = first->n_depth,
		.snapkv = first->snapkv,
	};
	int rc = source->open(source, &where, &r->setup.w, err);
	if (rc) {
		r->setup.w = NULL;
		return rc;
	}
	r->setup.w->ops->facts(r->setup.w, &r->facts);
	r->setup.on_gpu = r->facts.n_gpu_layers > 0;
	r->setup.clock_peak = 0;
	token_stream_init(&r->setup.stream, r->setup.o->seed, r->facts.n_vocab);
	rc = r->setup.w->ops->set_arm(r->setup.w, MODE_REFERENCE, r->setup.o->prefill_fusion, err);
	double us = 0;
	for (int at = 0; !rc && at < first->n_depth && !runner_stopped(r->setup.o);) {
		int n = first->n_depth - at < r->setup.o->chunk ? first->n_depth - at : r->setup.o->chunk;
		token_fill(&r->setup.stream, at, n, r->setup.tokens);
		int64_t from = runner_now_ns(r->setup.o);
		rc = r->setup.w->ops->prefill(r->setup.w, r->setup.tokens, n, err);
		double took = (double)(runner_now_ns(r->setup.o) - from) / 1e3;
		us += took;
		at += n;
		r->progress.prefill_done += n;
		r->progress.prefill_timed += n;
		r->progress.prefill_s += took / 1e6;
		report(r, first);
	}
	if (!rc && !runner_stopped(r->setup.o))
		rc = r->setup.w->ops->checkpoint(r->setup.w, err);
	if (!rc && first->snapkv && !runner_stopped(r->setup.o))
		rc = group_evict(r, g, err);
	if (first->n_depth)
		r->prefill_us = us;
	return rc ? error_prefix(err, rc, "depth %d", first->n_depth) : 0;
}

static void group_close(struct runner *r)
{
	if (r->setup.w)
		r->setup.w->ops->close(r->setup.w);
	r->setup.w = NULL;
}

/* Whether as small a cache did not fit in the group's placement; says so in why. */
static int refused_before(const struct runner *r, const struct plan_group *g, struct error *why)
{
	for (int i = 0; i < r->n_refused; i++) {
		const struct refusal *f = &r->refused[i];
		const struct cell *refused = &r->cells[f->cell], *first = &r->cells[g->sequence[0]];
		if (f->context <= group_context(r, g) && cell_same_placement(refused, first) &&
		    (!f->evicting || cell_same_snapkv(refused, first))) {
			error_set(why, ERROR_UNSUPPORTED, "a context of %d was out of memory already", f->context);
			return 1;
		}
	}
	return 0;
}

/* Opens the group's workload. A code: why its cells cannot be run. */
static int group_start(struct runner *r, const struct plan_group *g, struct workload_source *source, struct error *why)
{
	if (refused_before(r, g, why))
		return ERROR_UNSUPPORTED;
	int code = group_open(r, g, source, why);
	if (code == ERROR_MEMORY)
		r->refused[r->n_refused++] = (struct refusal){g->sequence[0], r->context, r->evicting};
	return code;
}

/* The cells of the unit that sequence has from `from` on, in a repetition's order; returns how many, failed ones not.
 */
static int block_cells(const struct runner *r, const struct plan_group *g, int repetition, int from, int *cells,
		       int *next)
{
	int n = 0, unit = r->states[plan_cell(g, repetition, from)].unit, k = from;
	for (; k < g->n && r->states[plan_cell(g, repetition, k)].unit == unit; k++)
		if (!r->states[plan_cell(g, repetition, k)].failed)
			cells[n++] = plan_cell(g, repetition, k);
	*next = k;
	return n;
}

/* The next block of the group that is to be run again; returns its attempt, 0 where there is none. */
static int low_block(const struct runner *r, const struct plan_group *g, int *repetition, int *cells, int *n)
{
	for (*repetition = 0; *repetition < r->setup.o->repetitions; ++*repetition) {
		for (int k = 0; k < g->n;) {
			*n = block_cells(r, g, *repetition, k, cells, &k);
			int attempt = clock_check_block(&r->clocks, cells, *n, *repetition);
			if (attempt)
				return attempt;
		}
	}
	return 0;
}

/* Whether the unit of the cell needs no run of this repetition any more; of whole blocks alone. cells: scratch. */
static int is_stable(const struct runner *r, const struct plan_group *g, int cell, int repetition, int *cells)
{
	int n = 0;
	for (int i = 0; i < g->n; i++)
		if (r->states[g->sequence[i]].unit == r->states[cell].unit && !r->states[g->sequence[i]].failed)
			cells[n++] = g->sequence[i];
	return stability_reached(&r->stability, cells, n, repetition);
}

struct group_run {
	const struct plan_group *group;
	struct workload_source *source;
	int code; /* why its cells cannot be run; 0: they can */
	struct error why;
};

/* One run of the group, on a workload that is opened anew where the device was lost. */
static int group_cell(struct runner *r, struct group_run *g, int cell, int repetition, struct error *err)
{
	if (r->lost && !g->code) {
		group_close(r);
		g->code = group_start(r, g->group, g->source, &g->why);
	}
	return g->code ? deliver_unrun(r, cell, repetition, g->code, &g->why, err) : run_cell(r, cell, repetition, err);
}

/* Repeats the blocks whose clock was low. cells: (group's n), scratch. */
static int repeat_low(struct runner *r, struct group_run *g, int *cells, struct error *err)
{
	int repetition, n, rc = 0;
	while (!rc && !g->code && !runner_stopped(r->setup.o)) {
		r->attempt = low_block(r, g->group, &repetition, cells, &n);
		if (!r->attempt)
			break;
		for (int i = 0; i < n && !rc && !runner_stopped(r->setup.o); i++) {
			int cell = cells[i];
			size_t at = (size_t)cell * (size_t)r->setup.o->repetitions + (size_t)repetition;
			if (r->clocks.attempts[at] == r->attempt || r->states[cell].failed)
				continue;
			r->progress.runs++;
			r->progress.decode_total += decode_work(r, &r->cells[cell]);
			r->progress.prefill_total += r->cells[cell].n_prompt;
			rc = group_cell(r, g, cell, repetition, err);
		}
	}
	r->attempt = 0;
	return rc;
}

static int run_group(struct runner *r, const struct plan_group *g, struct workload_source *source, struct error *err)
{
	int left = 0, rc = 0, repetitions = r->setup.o->repetitions, low_repetition, n_low;
	struct group_run group = {.group = g, .source = source};
	int *cells = calloc((size_t)g->n, sizeof *cells);
	if (!cells)
		return error_set(err, ERROR_MEMORY, "no memory for %d cells", g->n);
	for (int i = 0; i < g->n; i++)
		left += runs_left(r, g->sequence[i]);
	if (!left && !low_block(r, g, &low_repetition, cells, &n_low)) {
		free(cells);
		return 0;
	}
	group.code = group_start(r, g, source, &group.why);
	for (int k = 0; k < repetitions * g->n && !rc && (group.code || !runner_stopped(r->setup.o)); k++) {
		int rep = k / g->n, cell = plan_cell(g, rep, k % g->n);
		if (r->states[cell].dropped || is_done(r, cell, rep))
			continue;
		if (is_stable(r, g, cell, rep, cells)) {
			drop_rest(r, cell, rep - 1);
			report(r, &r->cells[cell]);
		} else {
			rc = group_cell(r, &group, cell, rep, err);
		}
	}
	if (!rc)
		rc = repeat_low(r, &group, cells, err);
	for (int i = 0; i < g->n; i++) {
		struct unit *u = &r->units[r->states[g->sequence[i]].unit];
		free(u->hashes);
		u->hashes = NULL;
	}
	group_close(r);
	free(cells);
	return rc;
}

/* Whether a run is left of the cells from this one on that are the same in that sense. */
static int any_left(const struct runner *r, int from, int (*same)(const struct cell *, const struct cell *))
{
	for (int i = from; i < r->n && same(&r->cells[from], &r->cells[i]); i++)
		if (runs_left(r, i))
			return 1;
	return 0;
}

/* Units, work to do, and the largest buffers that any cell needs. */
static int runner_prepare(struct runner *r, struct error *err)
{
	size_t n_tokens = (size_t)r->setup.o->chunk, n_records = 1;
	const struct runner_past *past = r->setup.o->past;
	for (int i = 0; i < r->n; i++) {
		int new_unit = i == 0 || !cell_same_unit(&r->cells[i - 1], &r->cells[i]);
		r->states[i] = (struct cell_state){
			.unit = i == 0 ? 0 : r->states[i - 1].unit + new_unit,
			.dropped = past && past->closed[i],
			.failed = past && past->closed[i],
			.launches = past && past->launches ? past->launches[i] : 0,
			.graph_nodes = -1,
		};
	}
	for (int i = 0; i < r->n; i++) {
		const struct cell *c = &r->cells[i];
		int new_unit = i == 0 || !cell_same_unit(c - 1, c), new_group = i == 0 || !cell_same_group(c - 1, c);
		int64_t runs = runs_left(r, i), passes = runs + (new_unit && any_left(r, i, cell_same_unit));
		r->progress.decode_total += passes * decode_work(r, c);
		r->progress.prefill_total += passes * c->n_prompt;
		if (new_group && any_left(r, i, cell_same_group))
			r->progress.prefill_total += c->n_depth;
		r->progress.runs += (int)runs;
		size_t records = (size_t)r->setup.o->warmup_max + (size_t)c->n_gen;
		size_t tokens = records > (size_t)c->n_prompt ? records : (size_t)c->n_prompt;
		n_tokens = tokens > n_tokens ? tokens : n_tokens;
		n_records = records > n_records ? records : n_records;
	}
	for (int i = 0; past && past->clocks && i < r->n * r->setup.o->repetitions; i++) {
		int repetitions = r->setup.o->repetitions;
		clock_check_note(&r->clocks, i / repetitions, i % repetitions, past->attempts ? past->attempts[i] : 0,
				 past->clocks[i]);
	}
	for (int i = 0; past && past->values && i < r->n * r->setup.o->repetitions; i++)
		r->stability.values[i] = past->values[i];
	r->order = past ? past->order : 0;
	r->progress.runs += r->order;
	r->setup.tokens = calloc(n_tokens, sizeof *r->setup.tokens);
	r->setup.records = calloc(n_records, sizeof *r->setup.records);
	r->scratch = calloc(n_records, sizeof *r->scratch);
	if (!r->setup.tokens || !r->setup.records || !r->scratch)
		return error_set(err, ERROR_MEMORY, "no memory for %zu token records; measure fewer tokens", n_records);
	return 0;
}

int runner_run(const struct cell *cells, int n, struct workload_source *source, const struct runner_options *o,
	       const struct runner_sink *sink, struct runner_summary *summary, struct error *err)
{
	assert(n > 0 && o->repetitions > 0 && o->steady > 0 && o->warmup_max >= o->steady && o->chunk > 0);
	*summary = (struct runner_summary){0};
	struct runner r = {.cells = cells, .n = n, .setup.o = o, .sink = sink, .summary = summary};
	struct plan plan = {0};
	r.units = calloc((size_t)n, sizeof *r.units);
	r.states = calloc((size_t)n, sizeof *r.states);
	r.refused = calloc((size_t)n, sizeof *r.refused);
	int rc = 0;
	if (!r.units || !r.states || !r.refused)
		rc = error_set(err, ERROR_MEMORY, "no memory for %d cells; sweep fewer values", n);
	if (!rc)
		rc = clock_check_init(&r.clocks, o->clock_fraction, o->clock_retries, n, o->repetitions, err);
	if (!rc)
		rc = stability_init(&r.stability, o->until, n, o->repetitions, err);
	if (!rc)
		rc = runner_prepare(&r, err);
	if (!rc)
		rc = plan_build(cells, n, o->seed, &plan, err);
	for (int g = 0; !rc && g < plan.n_groups && !runner_stopped(o); g++)
		rc = run_group(&r, &plan.groups[g], source, err);
	summary->interrupted = runner_stopped(o);
	plan_free(&plan);
	clock_check_free(&r.clocks);
	stability_free(&r.stability);
	free(r.scratch);
	free(r.setup.records);
	free(r.setup.tokens);
	free(r.refused);
	free(r.states);
	free(r.units);
	return rc;
}
