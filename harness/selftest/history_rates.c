#include "harness/selftest/history_rates.h"

#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "harness/measure/workload_sim.h"
#include "harness/stats/stats.h"

/* Ratios of two runs' medians vary by 0.2 %, 0.7 % and 3.6 % there: a run by 1 / sqrt(2) of that. */
const struct history_noise history_noises[] = {
	{"direct, graph-device", 0.0014, 0.004},
	{"graph-params", 0.0050, 0.004},
	{"graph-update", 0.0255, 0.004},
};
const int history_n_noises = sizeof history_noises / sizeof *history_noises;

enum { MOST_COMMITS = 1000, MOST_RUNS = 1000, MOST_TOKENS = 10000 };

void history_rates_options_default(struct history_rates_options *o)
{
	*o = (struct history_rates_options){.series = 100,
					    .planted_commits = 30,
					    .planted_at = 11,
					    .flat_commits = 50,
					    .check_commits = 30,
					    .runs = 5,
					    .tokens = 32,
					    .inject = 0.02,
					    .seed = 1};
	stats_change_options_default(&o->change);
	continuation_options_default(&o->check);
}

struct rates {
	const struct history_noise *noise;
	const struct history_rates_options *o;
	struct sim *sim;
	struct workload *workload;
	uint64_t random;
	double *itl;     /* (tokens): nobody does anything between two */
	double *medians; /* (runs) */
	double *values;  /* (commits) */
	struct stats_change *found;
};

/* Standard normal, by Box and Muller. */
static double normal(uint64_t *state)
{
	double u = ((double)(random_next(state) >> 11) + 0.5) * 0x1p-53,
	       v = (double)(random_next(state) >> 11) * 0x1p-53;
	return sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v);
}

/* What a process measures: the log of the median over its runs of their median latency. */
static int measure(struct rates *r, double slow, double *out, struct error *err)
{
	const struct history_rates_options *o = r->o;
	double middle = r->noise->middle * normal(&r->random);
	sim_reseed(r->sim, random_next(&r->random));
	for (int run = 0; run < o->runs; run++) {
		struct token_record token;
		int rc = r->workload->ops->rewind(r->workload, 0, err);
		if (!rc)
			rc = r->workload->ops->set_arm(r->workload, "direct", "full", err);
		for (int i = 0; i < o->tokens && !rc; i++) {
			rc = r->workload->ops->decode(r->workload, i, &token, err);
			r->itl[i] = token.wall_us;
		}
		if (rc)
			return rc;
		r->medians[run] = stats_median(r->itl, o->tokens);
	}
	*out = log(stats_median(r->medians, o->runs) * (1 + slow)) + middle;
	return isfinite(*out) ? 0 : error_set(err, ERROR_MEMORY, "no memory for a series");
}

/* n commits, slower from `from` on. Returns the number of changes found, or a code. */
static int series(struct rates *r, int n, int from, struct error *err)
{
	for (int i = 0; i < n; i++) {
		int rc = measure(r, i >= from ? r->o->inject : 0, &r->values[i], err);
		if (rc)
			return rc;
	}
	int found = stats_change_points(r->values, NULL, n, &r->o->change, r->found);
	return found < 0 ? error_set(err, ERROR_MEMORY, "no memory for a series") : found;
}

static int planted(struct rates *r, struct history_rates *out, struct error *err)
{
	const struct history_rates_options *o = r->o;
	int n = series(r, o->planted_commits, o->planted_at, err), best = -1;
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++)
		if (best < 0 || abs(r->found[i].at - o->planted_at) < abs(r->found[best].at - o->planted_at))
			best = i;
	int near = best >= 0 && abs(r->found[best].at - o->planted_at) <= 1;
	out->near += near;
	out->exact += near && r->found[best].at == o->planted_at;
	out->missed += !near;
	out->extra += n - near;
	if (near) {
		int from = best ? r->found[best - 1].at : 0, at = r->found[best].at;
		int end = best + 1 < n ? r->found[best + 1].at : o->planted_commits;
		struct series_shift s;
		series_shift(r->values + from, at - from, r->values + at, end - at, 0.95, &s);
		out->covered += s.low <= o->inject && o->inject <= s.high;
	}
	return 0;
}

static int checked(struct rates *r, double slow, int kinds[CONTINUATION_UNCLEAR + 1], struct error *err)
{
	const struct history_rates_options *o = r->o;
	struct continuation v;
	double now;
	int n = series(r, o->check_commits, o->check_commits, err), rc = n < 0 ? n : measure(r, slow, &now, err);
	if (rc)
		return rc;
	int from = n ? r->found[n - 1].at : 0;
	struct series_cell c = {r->values + from, &now, o->check_commits - from, 1, 1};
	if (continuation_judge(&c, 1, &o->check, &v))
		return error_set(err, ERROR_MEMORY, "no memory for a series");
	kinds[v.kind]++;
	return 0;
}

static int measure_all(struct rates *r, struct history_rates *out, struct error *err)
{
	int rc = 0;
	for (int s = 0; s < r->o->series && !rc; s++) {
		rc = planted(r, out, err);
		int n = rc ? rc : series(r, r->o->flat_commits, r->o->flat_commits, err);
		rc = n < 0 ? n : 0;
		out->false_changes += n > 0 ? n : 0;
		out->false_series += n > 0;
		if (!rc)
			rc = checked(r, 0, out->same, err);
		if (!rc)
			rc = checked(r, r->o->inject, out->slower, err);
		out->series += !rc;
	}
	return rc;
}

int history_rates_measure(const struct history_noise *noise, const struct history_rates_options *o,
			  struct history_rates *out, struct error *err)
{
	struct rates r = {.noise = noise, .o = o, .random = o->seed};
	struct sim_options options;
	sim_options_default(&options);
	/* The noise of runs is what was measured, that of their tokens' median included; what single tokens do stays.
	 */
	options.between = noise->run;
	options.within = options.drift = options.wander = options.throttle_every = 0;
	*out = (struct history_rates){0};
	if (o->runs < 1 || o->runs > MOST_RUNS || o->tokens < 1 || o->tokens > MOST_TOKENS || o->planted_commits < 1 ||
	    o->planted_commits > MOST_COMMITS || o->flat_commits < 1 || o->flat_commits > MOST_COMMITS ||
	    o->check_commits < 1 || o->check_commits > MOST_COMMITS)
		return error_set(err, ERROR_INPUT, "from 1 to %d commits, %d runs and %d tokens are simulated",
				 MOST_COMMITS, MOST_RUNS, MOST_TOKENS);
	const struct cell cell = {.model = "simulated", .n_gen = o->tokens};
	const struct placement place = {.cell = &cell, .context = o->tokens};
	r.itl = malloc((size_t)o->tokens * sizeof *r.itl);
	r.medians = malloc((size_t)o->runs * sizeof *r.medians);
	r.values = malloc(MOST_COMMITS * sizeof *r.values);
	r.found = malloc(MOST_COMMITS * sizeof *r.found);
	int rc = r.itl && r.medians && r.values && r.found ? 0 : error_set(err, ERROR_MEMORY, "no memory for a series");
	if (!rc)
		rc = sim_open(&r.sim, &options, o->seed, err);
	if (!rc)
		rc = sim_source(r.sim)->open(sim_source(r.sim), &place, &r.workload, err);
	if (!rc)
		rc = measure_all(&r, out, err);
	if (r.workload)
		r.workload->ops->close(r.workload);
	sim_close(r.sim);
	free(r.found);
	free(r.values);
	free(r.medians);
	free(r.itl);
	return rc;
}
