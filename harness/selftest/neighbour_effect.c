#include "harness/selftest/neighbour_effect.h"

#include <math.h>
#include <stdlib.h>

#include "harness/stats/stats.h"

static const double LEVEL = 0.95;

int neighbour_effect_find(const char *device, const double *alone, const double *busy, int rounds, uint64_t seed,
			  struct neighbour_effect *out, struct error *err)
{
	double *d = calloc((size_t)rounds + 1, sizeof *d);
	int rc = d ? 0 : error_set(err, ERROR_MEMORY, "no memory for %d rounds", rounds);
	*out = (struct neighbour_effect){.device = device, .rounds = rounds};
	for (int i = 0; i < rounds && !rc; i++)
		d[i] = log(busy[i] / alone[i]);
	if (!rc && stats_bootstrap_median(d, rounds, LEVEL, seed, &out->interval))
		rc = error_set(err, ERROR_MEMORY, "no memory for an interval over %d rounds", rounds);
	if (!rc) {
		out->alone_us = stats_median(alone, rounds);
		out->busy_us = stats_median(busy, rounds);
		out->change = stats_median(d, rounds);
	}
	free(d);
	return rc;
}

int neighbour_effect_disturbs(const struct neighbour_effect *e, double delta)
{
	return e->interval.low > log1p(delta) || e->interval.high < log1p(-delta);
}

static double percent(double change)
{
	return 100 * expm1(change);
}

void neighbour_effect_print(const struct neighbour_effect *e, int n, double delta, FILE *f)
{
	int disturbed = 0;
	fprintf(f, "%-12s %12s %12s  %s\n", "device", "alone, us", "busy, us",
		"change of a token's time, and 95 % interval");
	for (int i = 0; i < n; i++) {
		disturbed += neighbour_effect_disturbs(&e[i], delta);
		fprintf(f, "%-12s %12.1f %12.1f  %+.2f %% [%+.2f, %+.2f]%s\n", e[i].device, e[i].alone_us, e[i].busy_us,
			percent(e[i].change), percent(e[i].interval.low), percent(e[i].interval.high),
			neighbour_effect_disturbs(&e[i], delta) ? "  DISTURBED" : "");
	}
	fprintf(f,
		"alone: the other devices' processes rest; busy: they decode too; medians over %d rounds of both,\n"
		"next to each other\n",
		n ? e->rounds : 0);
	if (disturbed)
		fprintf(f,
			"%d of %d devices are slower or faster by more than %.3g %% beside the others: what --devices "
			"measures here\nis not what a device does alone; compare sweeps that were measured in the same "
			"way\n",
			disturbed, n, 100 * delta);
	else
		fprintf(f, "no device is surely changed by more than %.3g %% by the others\n", 100 * delta);
}

json_t *neighbour_effect_json(const struct neighbour_effect *e, int n, double delta)
{
	json_t *list = json_array();
	for (int i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:b}", "device", e[i].device,
						      "rounds", e[i].rounds, "alone_us", e[i].alone_us, "busy_us",
						      e[i].busy_us, "change", expm1(e[i].change), "low",
						      expm1(e[i].interval.low), "high", expm1(e[i].interval.high),
						      "disturbed", neighbour_effect_disturbs(&e[i], delta)));
	if (json_array_size(list) == (size_t)n)
		return json_pack("{s:i, s:f, s:f, s:o}", "schema_version", 1, "level", LEVEL, "delta", delta, "devices",
				 list);
	json_decref(list);
	return NULL;
}
