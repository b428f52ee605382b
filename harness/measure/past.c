#include "harness/measure/past.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/measure/clock_check.h"

int past_init(struct past *p, const struct cell *cells, int n, int repetitions, struct error *err)
{
	*p = (struct past){.cells = cells, .n = n, .repetitions = repetitions};
	p->done = calloc((size_t)n, (size_t)repetitions);
	p->closed = calloc((size_t)n, 1);
	p->attempts = calloc((size_t)n, (size_t)repetitions);
	p->clocks = calloc((size_t)n * (size_t)repetitions, sizeof *p->clocks);
	p->runner.done = p->done;
	p->runner.closed = p->closed;
	p->values = calloc((size_t)n * (size_t)repetitions, sizeof *p->values);
	p->launches = calloc((size_t)n, sizeof *p->launches);
	p->runner.launches = p->launches;
	p->runner.attempts = p->attempts;
	p->runner.values = p->values;
	p->runner.clocks = p->clocks;
	for (size_t i = 0; p->clocks && p->values && i < (size_t)n * (size_t)repetitions; i++)
		p->clocks[i] = p->values[i] = NAN;
	return p->done && p->closed && p->attempts && p->clocks && p->values && p->launches
		       ? 0
		       : error_set(err, ERROR_MEMORY, "no memory for the runs of %d cells", n);
}

void past_free(struct past *p)
{
	free(p->done);
	free(p->closed);
	free(p->attempts);
	free(p->clocks);
	free(p->values);
	free(p->launches);
	*p = (struct past){0};
}

/* The row's values as they were resolved, or as they were asked for: a value that stands for another may be either. */
static int is_of(const struct run_row *r, const struct cell *c)
{
	struct cell of, named = *c;
	const char *slash = strrchr(c->model, '/');
	named.model = slash ? slash + 1 : c->model;
	row_cell(r, &of);
	if (cell_same(&of, &named))
		return 1;
	of.n_gpu_layers = (int)r->n_gpu_layers_asked;
	of.n_threads = (int)r->n_threads_asked;
	return cell_same(&of, &named);
}

int past_take(struct past *p, struct run_row *row, struct error *err)
{
	const char *id = row->run_id ? row->run_id : "?";
	int found = -1;
	for (int i = 0; i < p->n; i++) {
		if (!is_of(row, &p->cells[i]))
			continue;
		if (found >= 0)
			return error_set(err, ERROR_INPUT,
					 "run %s: two models are called %s; rename one and start anew", id,
					 row->model_path_name);
		found = i;
	}
	if (found < 0 || row->repetition < 0 || row->repetition >= p->repetitions || row->order < 0)
		return error_set(err, ERROR_INPUT, "run %s is none of this sweep's; start anew", id);
	size_t at = (size_t)found * (size_t)p->repetitions + (size_t)row->repetition;
	if (row->attempt < 0 || row->attempt > CLOCK_CHECK_RETRIES_MAX ||
	    (p->done[at] && row->attempt == p->attempts[at]))
		return error_set(err, ERROR_INPUT, "run %s is there twice; start anew", id);
	/* An attempt before it may be missing, as one that was damaged is; the latest counts. */
	if (!p->done[at] || row->attempt > p->attempts[at]) {
		p->attempts[at] = (unsigned char)row->attempt;
		p->clocks[at] = row->sm_clock_mhz;
		p->values[at] = row_time_us(row);
	}
	p->done[at] = 1;
	if (!p->launches[found] && row->launch_hash)
		p->launches[found] = strtoull(row->launch_hash, NULL, 16);
	row->cell = found;
	p->rows++;
	p->ok += row->status == RUN_STATUS_OK;
	p->wrong += row->status == RUN_STATUS_WRONG;
	p->closed[found] |= row->status != RUN_STATUS_OK;
	if (row->order >= p->runner.order)
		p->runner.order = (int)row->order + 1;
	return 0;
}
