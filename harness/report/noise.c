#include "harness/report/noise.h"

#include <stdlib.h>

#include "harness/stats/stats.h"

int noise_init(struct noise *s, int n_cells)
{
	*s = (struct noise){.spreads = calloc((size_t)n_cells + 1, sizeof *s->spreads), .most = -1};
	return s->spreads ? 0 : -1;
}

void noise_add(struct noise *s, int place, int runs, double mad, double median)
{
	if (runs < 2 || !(median > 0))
		return;
	double spread = s->spreads[s->n++] = mad / median;
	s->noisiest = spread > s->most ? place : s->noisiest;
	s->most = spread > s->most ? spread : s->most;
}

double noise_middle(const struct noise *s)
{
	return stats_median(s->spreads, s->n);
}

void noise_free(struct noise *s)
{
	free(s->spreads);
	s->spreads = NULL;
}
