#include "tests/support/fake_sweep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

void fake_sweep_init(struct fake_sweep *x, int repetitions)
{
	memset(x, 0, sizeof *x);
	fake_init(&x->fake);
	runner_options_default(&x->options);
	x->options.clock = fake_clock;
	x->options.clock_ctx = &x->fake;
	x->options.repetitions = repetitions;
}

void fake_sweep_free(struct fake_sweep *x)
{
	free(x->cells);
	matrix_free(&x->matrix);
}

void fake_sweep_cells(struct fake_sweep *x, const struct fake_axes *a)
{
	struct matrix *m = &x->matrix;
	char n_gen[16], n_prompt[16];
	snprintf(n_gen, sizeof n_gen, "%d", a->n_gen);
	snprintf(n_prompt, sizeof n_prompt, "%d", a->n_prompt);
	const struct {
		enum axis_id axis;
		const char *words;
	} values[] = {
		{AXIS_MODEL, "dir/m.gguf"}, {AXIS_MODE, a->modes},   {AXIS_FUSION, a->fusions}, {AXIS_SYNC, a->syncs},
		{AXIS_TYPE_K, "f16"},       {AXIS_TYPE_V, "f16"},    {AXIS_GEN, n_gen},         {AXIS_PROMPT, n_prompt},
		{AXIS_DEPTH, a->depths},    {AXIS_GPU_LAYERS, "-1"}, {AXIS_THREADS, "0"},
	};
	for (size_t i = 0; i < sizeof values / sizeof *values; i++)
		assert_int_equal(matrix_add(m, values[i].axis, values[i].words, NULL), 0);
	assert_int_equal(matrix_cells(m, NULL, &x->cells, &x->n, NULL), 0);
}

static int keep(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	struct fake_sweep *x = ctx;
	assert_true(x->n_runs < FAKE_SWEEP_RUNS && n <= FAKE_SWEEP_TOKENS);
	if (x->fail_at && x->n_runs == x->fail_at)
		return error_set(err, ERROR_IO, "disk full");
	struct kept_run *k = &x->runs[x->n_runs++];
	k->row = *row;
	k->row.reason = k->row.run_id = k->row.test = k->row.logits_hash = k->row.launch_hash = NULL;
	snprintf(k->status, sizeof k->status, "%s", run_status_name(row->status));
	snprintf(k->reason, sizeof k->reason, "%s", row->reason);
	snprintf(k->run_id, sizeof k->run_id, "%s", row->run_id);
	snprintf(k->test, sizeof k->test, "%s", row->test);
	snprintf(k->hash, sizeof k->hash, "%s", row->logits_hash ? row->logits_hash : "");
	if (n)
		memcpy(k->tokens, tokens, (size_t)n * sizeof *tokens);
	k->n = n;
	return 0;
}

static void watch(void *ctx, const struct runner_progress *p)
{
	struct fake_sweep *x = ctx;
	x->went_back |= p->decode_done < x->last.decode_done || p->prefill_done < x->last.prefill_done;
	x->last = *p;
}

void fake_sweep_run(struct fake_sweep *x, struct workload_source *source)
{
	const struct runner_sink sink = {.ctx = x, .run = keep, .progress = watch};
	struct error err = {""};
	int before = x->n_runs;
	x->last = (struct runner_progress){0};
	int rc = runner_run(x->cells, x->n, source, &x->options, &sink, &x->summary, &err);
	assert_int_equal(rc, x->fail_at ? ERROR_IO : 0);
	assert_int_equal(x->fake.opened, x->fake.closed);
	assert_false(x->went_back);
	if (rc || x->summary.interrupted)
		return;
	/* All work was done or given up. */
	assert_int_equal(x->last.run, x->last.runs);
	if (!x->options.past)
		assert_int_equal(x->last.run, x->n_runs - before);
}

int fake_sweep_count(const struct fake_sweep *x, const char *mode, const char *status)
{
	int n = 0;
	for (int i = 0; i < x->n_runs; i++)
		n += (!mode || !strcmp(x->runs[i].row.mode, mode)) && !strcmp(x->runs[i].status, status);
	return n;
}

const struct kept_run *fake_sweep_first(const struct fake_sweep *x, const char *mode, int depth)
{
	for (int i = 0; i < x->n_runs; i++)
		if (!strcmp(x->runs[i].row.mode, mode) && x->runs[i].row.n_depth == depth)
			return &x->runs[i];
	fail_msg("no row of %s at %d", mode, depth);
	abort();
}
