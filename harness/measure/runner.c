/* A sweep: groups in their order, what is opened for them, which of their runs are made. */
#include "harness/measure/runner.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/measure/runner_internal.h"

/* SnapKV's part of opening a group: the full cache's logits where any are asked for, and the eviction. */
static int group_evict(struct runner *r, const struct plan_group *g, struct error *err)
{
	const struct cell *first = &r->cells[g->sequence[0]];
	int n = 0;
	for (int i = 0; i < g->n && first->n_depth > cell_snapkv_budget(first); i++) {
		/* Behind a prompt of their own tokens are others than the full cache's. */
		const struct cell *c = &r->cells[g->sequence[i]];
		n = !c->n_prompt && c->n_gen > n && !runner_check_text(&r->facts, r->setup.o, c, NULL) ? c->n_gen : n;
	}
	r->setup.n_remembered = n < QUALITY_TOKENS ? n : QUALITY_TOKENS;
	int rc = pass_evict(&r->setup, first, r->setup.n_remembered, &r->eviction, err);
	r->setup.w->ops->facts(r->setup.w, &r->facts);
	return rc;
}

int runner_cell_context(const struct runner_options *o, const struct cell *c)
{
	int generated = c->n_gen > o->warmup_max ? c->n_gen : o->warmup_max;
	return c->n_depth + c->n_prompt + (c->n_gen ? generated : 0);
}

/* The same of the cells of a group. */
static int group_context(const struct runner *r, const struct plan_group *g)
{
	int most = 0;
	for (int i = 0; i < g->n; i++) {
		int need = runner_cell_context(r->setup.o, &r->cells[g->sequence[i]]);
		most = need > most ? need : most;
	}
	return most;
}

static int text_check(const struct workload_facts *f, int need, struct error *why)
{
	if (!f->text || need <= f->n_text)
		return 0;
	return error_set(why, ERROR_UNSUPPORTED, "%s has %d tokens, and this test takes %d: give a longer text",
			 f->text_name, f->n_text, need);
}

int runner_check_text(const struct workload_facts *f, const struct runner_options *o, const struct cell *c,
		      struct error *why)
{
	return text_check(f, runner_cell_context(o, c), why);
}

/* Opens the workload and prefills to the depth. */
static int group_open(struct runner *r, const struct plan_group *g, struct workload_source *source, struct error *err)
{
	const struct cell *first = &r->cells[g->sequence[0]];
	r->context = group_context(r, g);
	r->lost = 0;
	r->setup.n_remembered = 0;
	struct placement where = {.cell = first, .context = r->context, .prompt = first->n_depth};
	int rc = source->open(source, &where, &r->setup.w, err);
	if (rc) {
		r->setup.w = NULL;
		return rc;
	}
	r->setup.w->ops->facts(r->setup.w, &r->facts);
	r->setup.on_gpu = r->facts.n_gpu_layers > 0;
	r->setup.clock_peak = 0;
	if (r->facts.text)
		token_stream_of_text(&r->setup.stream, r->facts.text, r->facts.n_text);
	else
		token_stream_init(&r->setup.stream, r->setup.o->seed, r->facts.n_vocab);
	if ((rc = text_check(&r->facts, first->n_depth, err)))
		return rc;
	rc = r->setup.w->ops->set_arm(r->setup.w, MODE_REFERENCE, r->setup.o->prefill_fusion, err);
	if (!rc)
		rc = runner_fill_context(r, g, err);
	if (!rc && !runner_stopped(r->setup.o))
		rc = r->setup.w->ops->checkpoint(r->setup.w, err);
	if (!rc && first->snapkv && !runner_stopped(r->setup.o))
		rc = group_evict(r, g, err);
	return rc ? error_prefix(err, rc, "depth %d", first->n_depth) : 0;
}

static void group_close(struct runner *r)
{
	if (r->setup.w)
		r->setup.w->ops->close(r->setup.w);
	r->setup.w = NULL;
}

/*
 * Whether a group that starts with `larger` fills at least the cache that one with `smaller` does, in the same place. A
 * cache that SnapKV will thin out is whole first, and has a window beside it: it needs more than one that stays whole,
 * and of two such nothing is known.
 */
static int fills_as_much(const struct cell *smaller, const struct cell *larger)
{
	for (int a = 0; a < AXIS_COUNT; a++)
		if (axes[a].level <= AXIS_LEVEL_GROUP && a != AXIS_DEPTH && (a != AXIS_SNAPKV || smaller->snapkv) &&
		    !cell_same_value(smaller, larger, (enum axis_id)a))
			return 0;
	return smaller->n_depth <= larger->n_depth && !runner_is_placed_anew(larger);
}

/* Whether as small a cache did not fit in the group's placement; says so in why. */
static int refused_before(const struct runner *r, const struct plan_group *g, struct error *why)
{
	for (int i = 0; i < r->n_refused; i++) {
		const struct refusal *f = &r->refused[i];
		if (f->context <= group_context(r, g) && fills_as_much(&r->cells[f->cell], &r->cells[g->sequence[0]])) {
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
		r->refused[r->n_refused++] = (struct refusal){g->sequence[0], r->context};
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
	return g->code ? runner_deliver_unrun(r, cell, repetition, g->code, &g->why, err)
		       : runner_run_cell(r, cell, repetition, err);
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
			r->progress.decode_total += runner_decode_work(r, &r->cells[cell]);
			r->progress.prefill_total += runner_prefill_work(&r->cells[cell]);
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
		left += runner_runs_left(r, g->sequence[i]);
	if (!left && !low_block(r, g, &low_repetition, cells, &n_low)) {
		free(cells);
		return 0;
	}
	group.code = group_start(r, g, source, &group.why);
	for (int k = 0; k < repetitions * g->n && !rc && (group.code || !runner_stopped(r->setup.o)); k++) {
		int rep = k / g->n, cell = plan_cell(g, rep, k % g->n);
		if (r->states[cell].dropped || runner_is_done(r, cell, rep))
			continue;
		if (is_stable(r, g, cell, rep, cells)) {
			runner_drop_rest(r, cell, rep - 1);
			runner_report(r, &r->cells[cell]);
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
		if (runner_runs_left(r, i))
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
		int64_t runs = runner_runs_left(r, i), passes = runs + (new_unit && any_left(r, i, cell_same_unit));
		r->progress.decode_total += passes * runner_decode_work(r, c);
		r->progress.prefill_total += passes * runner_prefill_work(c);
		if (new_group && any_left(r, i, cell_same_group))
			r->progress.prefill_total += c->n_depth;
		r->progress.runs += (int)runs;
		size_t step = (size_t)runner_prefill_step(r, c);
		n_tokens = step > n_tokens ? step : n_tokens;
		size_t records = (size_t)r->setup.o->warmup_max + (size_t)c->n_gen;
		size_t tokens = records + (size_t)c->n_prompt;
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
	r.progress.delay_s = o->delay_s;
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
	r.plan = &plan;
	if (!rc)
		runner_report(&r, NULL);
	for (int g = 0; !rc && g < plan.n_groups && !runner_stopped(o); g++) {
		rc = run_group(&r, &plan.groups[g], source, err);
		runner_forget_contexts(&r, &plan.groups[g]);
	}
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
