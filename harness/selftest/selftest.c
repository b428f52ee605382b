#include "harness/selftest/selftest.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "harness/stats/stats_estimate.h"
#include "harness/stats/stats_significance.h"

enum { SIDES = 2 };

struct selftest {
	const struct selftest_options *o;
	struct slowed_source *source;
	int n;                    /* cells */
	struct cell *twins;       /* (n, SIDES) */
	double *medians;          /* (n, SIDES, repetitions) */
	double *tokens;           /* (n, SIDES, repetitions, most) */
	int *n_tokens;            /* (n, SIDES): of all runs */
	int most;                 /* tokens of a run */
	int sweep;                /* at hand, from 0 */
	int repeated;             /* runs, because of the clock, over all sweeps */
	int slowed;               /* cell; -1: none */
	struct verdict *verdicts; /* (n) */
	double *p;                /* (n, 2): naive p, and adjusted */
};

void selftest_options_default(struct selftest_options *o)
{
	*o = (struct selftest_options){.sweeps = 1, .naive_alpha = 0.05};
	runner_options_default(&o->runner);
	verdict_options_default(&o->verdict);
}

void selftest_free(struct selftest_result *r)
{
	free(r->variation);
	r->variation = NULL;
}

static void begin(void *ctx, int twin)
{
	struct selftest *s = ctx;
	int slow = s->slowed >= 0 && twin == SIDES * s->slowed + 1;
	s->source->share = slow ? s->o->inject : 0;
}

static int take_run(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	struct selftest *s = ctx;
	/* The reference passes of other cells are not to be slowed. */
	s->source->share = 0;
	int rc = s->o->run ? s->o->run(s->o->ctx, s->sweep, row->cell % SIDES, row, tokens, n, err) : 0;
	if (rc)
		return rc;
	if (row->status != RUN_STATUS_OK) {
		/* What was interrupted is no result, and no failure. */
		if (s->o->runner.stop && *s->o->runner.stop)
			return 0;
		int code = row->status == RUN_STATUS_WRONG ? ERROR_WRONG : ERROR_DEVICE;
		return error_set(err, code, "%s %s: %s: %s", row->test, row->mode, run_status_name(row->status),
				 row->reason);
	}
	size_t at = (size_t)row->cell;
	/* A later attempt takes its place: of a side all runs have as many tokens. */
	size_t runs = (size_t)s->o->runner.repetitions, n_gen = (size_t)s->twins[at].n_gen;
	double *out = s->tokens + at * runs * (size_t)s->most + (size_t)row->repetition * n_gen;
	for (int i = 0; i < n; i++)
		if (tokens[i].phase == TOKEN_PHASE_MEASURE)
			*out++ = tokens[i].itl_us;
	s->n_tokens[at] += row->attempt ? 0 : (int)n_gen;
	s->repeated += row->attempt > 0;
	s->medians[at * runs + (size_t)row->repetition] = row->itl_median_us;
	return 0;
}

static const double *medians_of(const struct selftest *s, int cell, int side)
{
	return s->medians + (size_t)(SIDES * cell + side) * (size_t)s->o->runner.repetitions;
}

static const double *tokens_of(const struct selftest *s, int cell, int side)
{
	return s->tokens + (size_t)(SIDES * cell + side) * (size_t)s->o->runner.repetitions * (size_t)s->most;
}

static int judge(struct selftest *s, struct selftest_result *out, struct error *err)
{
	int runs = s->o->runner.repetitions, alarm = 0, significant = 0, unsure = 0, naive = 0;
	struct verdict_cell *cells = calloc((size_t)s->n, sizeof *cells);
	if (!cells)
		return error_set(err, ERROR_MEMORY, "no memory to compare %d cells", s->n);
	for (int c = 0; c < s->n; c++)
		cells[c] = (struct verdict_cell){medians_of(s, c, 0), medians_of(s, c, 1), runs, runs, 1, 0};
	int rc = verdict_compare(cells, s->n, &s->o->verdict, s->verdicts, err);
	free(cells);
	if (rc)
		return rc;
	for (int c = 0; c < s->n; c++) {
		s->p[c] = stats_mann_whitney(tokens_of(s, c, 0), s->n_tokens[SIDES * c], tokens_of(s, c, 1),
					     s->n_tokens[SIDES * c + 1]);
		if (isnan(s->p[c]))
			return error_set(err, ERROR_MEMORY, "no memory to compare the tokens of %d runs", runs);
	}
	if (stats_holm(s->p, s->n, s->p + s->n))
		return error_set(err, ERROR_MEMORY, "no memory to compare %d cells", s->n);
	for (int c = 0; c < s->n; c++) {
		const struct verdict *v = &s->verdicts[c];
		int different = v->kind == VERDICT_SLOWER || v->kind == VERDICT_FASTER;
		unsure |= v->p_least >= s->o->verdict.alpha / s->n;
		if (c == s->slowed) {
			out->found += v->kind == VERDICT_SLOWER;
			continue;
		}
		alarm |= different;
		significant |= v->p_holm < s->o->verdict.alpha;
		out->naive_cells += s->p[c] < s->o->naive_alpha;
		out->naive_of++;
		naive |= s->p[s->n + c] < s->o->verdict.alpha;
	}
	out->alarms += alarm;
	out->significant += significant;
	out->unsure += unsure;
	out->naive_sweeps += naive;
	return 0;
}

/* Standard deviation of the logarithms of a side's run medians. */
static double variation(const struct selftest *s, int cell, double *scratch)
{
	const double *medians = medians_of(s, cell, 0);
	for (int i = 0; i < s->o->runner.repetitions; i++)
		scratch[i] = log(medians[i]);
	return stats_deviation(scratch, s->o->runner.repetitions);
}

static int run_sweep(struct selftest *s, int sweep, struct selftest_result *out, struct error *err)
{
	struct runner_options runner = s->o->runner;
	s->sweep = sweep;
	/* Another order each time, and another cell. */
	uint64_t state = runner.seed + (uint64_t)sweep;
	runner.seed = random_next(&state);
	s->slowed = s->o->inject > 0 ? (int)random_below(&state, (uint64_t)s->n) : -1;
	memset(s->n_tokens, 0, SIDES * (size_t)s->n * sizeof *s->n_tokens);
	if (s->o->next)
		s->o->next(s->o->ctx, sweep);
	struct runner_sink sink = {.ctx = s, .run = take_run, .begin = begin};
	struct runner_summary summary;
	int rc = runner_run(s->twins, SIDES * s->n, &s->source->base, &runner, &sink, &summary, err);
	if (rc || summary.interrupted)
		return rc;
	rc = judge(s, out, err);
	if (rc)
		return rc;
	if (s->o->judged && (rc = s->o->judged(s->o->ctx, sweep, s->verdicts, s->slowed, err)))
		return rc;
	for (int c = 0; c < s->n; c++) {
		/* The place of the tokens serves: they have been compared. */
		double v = variation(s, c, s->tokens);
		out->variation[c] += (v - out->variation[c]) / (out->sweeps + 1);
	}
	out->sweeps++;
	out->repeated = s->repeated;
	return 0;
}

int selftest_run(const struct cell *cells, int n, struct slowed_source *source, const struct selftest_options *o,
		 struct selftest_result *out, struct error *err)
{
	assert(n > 0 && o->runner.repetitions > 0 && o->sweeps > 0);
	struct selftest s = {.o = o, .source = source, .n = n, .most = 1};
	*out = (struct selftest_result){.cells = n};
	for (int i = 0; i < n; i++) {
		assert(cells[i].n_gen > 0);
		s.most = cells[i].n_gen > s.most ? cells[i].n_gen : s.most;
	}
	out->tokens = s.most;
	size_t sides = SIDES * (size_t)n, runs = (size_t)o->runner.repetitions;
	s.twins = calloc(sides, sizeof *s.twins);
	s.medians = calloc(sides * runs, sizeof *s.medians);
	s.tokens = calloc(sides * runs, (size_t)s.most * sizeof *s.tokens);
	s.n_tokens = calloc(sides, sizeof *s.n_tokens);
	s.verdicts = calloc((size_t)n, sizeof *s.verdicts);
	s.p = calloc(2 * (size_t)n, sizeof *s.p);
	out->variation = calloc((size_t)n, sizeof *out->variation);
	int rc = 0;
	if (!s.twins || !s.medians || !s.tokens || !s.n_tokens || !s.verdicts || !s.p || !out->variation)
		rc = error_set(err, ERROR_MEMORY, "no memory for %zu runs of %d tokens; measure fewer", sides * runs,
			       s.most);
	for (int i = 0; !rc && i < n; i++)
		s.twins[SIDES * i] = s.twins[SIDES * i + 1] = cells[i];
	for (int sweep = 0; !rc && sweep < o->sweeps; sweep++) {
		if (o->runner.stop && *o->runner.stop)
			break;
		rc = run_sweep(&s, sweep, out, err);
		if (!rc && o->progress)
			o->progress(o->ctx, out);
	}
	free(s.p);
	free(s.verdicts);
	free(s.n_tokens);
	free(s.tokens);
	free(s.medians);
	free(s.twins);
	return rc;
}
