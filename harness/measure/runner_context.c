/* What comes before a group's tests: its tokens up to the depth, computed or kept from before. */
#include <limits.h>
#include <math.h>

#include "harness/measure/context_store.h"
#include "harness/measure/runner_internal.h"

int runner_prefill_step(const struct runner *r, const struct cell *c)
{
	int chunk = r->setup.o->chunk;
	return c->n_ubatch > chunk ? c->n_ubatch : chunk - chunk % (c->n_ubatch > 0 ? c->n_ubatch : 1);
}

static int has_work(const struct runner *r, const struct plan_group *g)
{
	for (int i = 0; i < g->n; i++)
		if (runner_runs_left(r, g->sequence[i]))
			return 1;
	return 0;
}

/* Of the groups behind g that go on from what g computes, in the order in which they run; *at: 0 first. Null: none. */
static const struct cell *later_cell(const struct runner *r, const struct plan_group *g, int *at)
{
	const struct cell *here = &r->cells[g->sequence[0]];
	int index = (int)(g - r->plan->groups);
	while (index + ++*at < r->plan->n_groups) {
		const struct plan_group *later = &r->plan->groups[index + *at];
		const struct cell *c = &r->cells[later->sequence[0]];
		if (!cell_same_placement(here, c))
			return NULL; /* those of a placement are neighbours */
		if (c->n_depth && has_work(r, later))
			return c;
	}
	return NULL;
}

/* Where to stop for that later group: at its depth; where it has mine and evicts, before what it observes. 0: nowhere
 */
static int stop_for(struct workload *w, int depth, const struct cell *later)
{
	if (later->n_depth < depth)
		return context_store_whole(w, later->n_depth) == later->n_depth ? later->n_depth : 0;
	return later->n_depth == depth && later->snapkv ? context_store_whole(w, depth - 1) : 0;
}

/* The next one behind `at` and before g's own depth; INT_MAX: none. */
static int next_stop(const struct runner *r, const struct plan_group *g, int at)
{
	int stop = INT_MAX, k = 0, depth = r->cells[g->sequence[0]].n_depth;
	for (const struct cell *c; (c = later_cell(r, g, &k));) {
		int n = stop_for(r->setup.w, depth, c);
		if (n > at && n < stop)
			stop = n;
	}
	return stop;
}

/* What n tokens are computed for is kept in memory for the groups to come, and, being a depth, on the disk. */
static int keep(struct runner *r, const struct plan_group *g, int n, struct error *err)
{
	int k = 0, whole = context_store_whole(r->setup.w, n) == n, wanted = 0;
	int is_depth = n == r->cells[g->sequence[0]].n_depth;
	for (const struct cell *c; (c = later_cell(r, g, &k));) {
		wanted |= c->n_depth == n || (c->n_depth > n && whole);
		is_depth |= c->n_depth == n;
	}
	return context_store_keep(r->setup.o->contexts, r->setup.w, &r->setup.stream, n,
				  (is_depth ? CONTEXT_STORE_DISK : 0u) | (wanted ? CONTEXT_STORE_MEMORY : 0u), err);
}

/* n tokens from `at` on; their time is added to *us. */
static int prefill(struct runner *r, const struct cell *c, int at, int n, double *us, struct error *err)
{
	token_fill(&r->setup.stream, at, n, r->setup.tokens);
	int64_t from = runner_now_ns(r->setup.o);
	int rc = r->setup.w->ops->prefill(r->setup.w, r->setup.tokens, n, err);
	double took = (double)(runner_now_ns(r->setup.o) - from) / 1e3;
	*us += took;
	r->context_prefilled += n;
	r->progress.prefill_done += n;
	r->progress.prefill_timed += n;
	r->progress.prefill_s += took / 1e6;
	runner_report(r, c);
	return rc;
}

void runner_forget_contexts(const struct runner *r, const struct plan_group *g)
{
	const struct plan_group *next = g + 1;
	if (r->setup.o->contexts && (next == r->plan->groups + r->plan->n_groups ||
				     !cell_same_placement(&r->cells[g->sequence[0]], &r->cells[next->sequence[0]])))
		context_store_forget(r->setup.o->contexts);
}

int runner_fill_context(struct runner *r, const struct plan_group *g, struct error *err)
{
	const struct cell *c = &r->cells[g->sequence[0]];
	struct context_store *contexts = r->setup.o->contexts;
	int at = 0, rc = 0, step = runner_prefill_step(r, c);
	double us = 0;
	r->context_source = CONTEXT_SOURCE_PREFILL;
	r->context_prefilled = 0;
	r->prefill_us = NAN;
	if (!c->n_depth)
		return 0;
	if (contexts)
		rc = context_store_restore(contexts, r->setup.w, &r->setup.stream, c->n_depth, &at, &r->context_source,
					   err);
	r->progress.prefill_done += at;
	const int restored = at;
	while (!rc && at < c->n_depth && !runner_stopped(r->setup.o)) {
		int stop = contexts ? next_stop(r, g, at) : INT_MAX, n = c->n_depth - at;
		n = n < step ? n : step;
		n = n < stop - at ? n : stop - at;
		rc = prefill(r, c, at, n, &us, err);
		at += n;
		if (!rc && contexts && (at == stop || at == c->n_depth))
			rc = keep(r, g, at, err);
	}
	if (!restored && at == c->n_depth)
		r->prefill_us = us;
	return rc;
}
