#include "tests/support/compared.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/random.h"
#include "tests/support/ok.h"
#include "tests/support/put_record.h"

char compared_folder[FOLDER_BYTES];
struct compared compared;

static const char *const modes[COMPARED_CELLS] = {"direct", "graph-params", "graph-update", "graph-device"};

int compared_set_up(void **state)
{
	(void)state;
	return folder_make(compared_folder, "compare");
}

int compared_tear_down(void **state)
{
	(void)state;
	return folder_remove(compared_folder);
}

/* About normal: the sum of twelve uniform numbers. */
static double noise(uint64_t *state)
{
	double sum = -6;
	for (int i = 0; i < 12; i++)
		sum += (double)(random_next(state) >> 11) * 0x1p-53;
	return sum;
}

void compared_path(char out[160], const char *side, int process)
{
	snprintf(out, 160, "%s/%s-%d", compared_folder, side, process);
}

static void write_row(FILE *f, const struct compared_side *m, int cell, int depth, int repetition, int process,
		      uint64_t *state)
{
	struct run_row row;
	char id[32], label[CELL_LABEL_SIZE];
	struct cell c = {.model = m->model ? m->model : "m.gguf",
			 .type_k = "f16",
			 .type_v = "f16",
			 .n_threads = 2,
			 .n_ubatch = m->ubatch ? m->ubatch : 512,
			 .n_depth = 64 + depth,
			 .n_prompt = m->n_prompt,
			 .n_gpu_layers = m->gpu_layers,
			 .n_gen = COMPARED_TOKENS,
			 .fusion = m->fusion ? m->fusion : "full",
			 .mode = modes[(cell + m->first_mode) % COMPARED_CELLS]};
	snprintf(c.model_hash, sizeof c.model_hash, "%016x", 7 + m->content);
	row_init(&row);
	row_set_axes(&row, &c);
	cell_label(&c, label);
	snprintf(id, sizeof id, "r-%d-%d-%d", cell, depth, repetition);
	if (m->own_runs)
		snprintf(id, sizeof id, "s%d.%d-%d%d%d", (int)m->seed, process, cell, depth, repetition);
	row.run_id = id;
	row.test = label;
	row.order = repetition * COMPARED_CELLS + cell;
	row.repetition = repetition * (m->step ? m->step : 1) + m->first_repetition + (m->diagonal ? depth : 0);
	int there = (!m->status_process || m->status_process == process + 1) &&
		    (!m->status_repetition || m->status_repetition == repetition + 1);
	row.status = cell == m->cells - 1 && there ? m->status : RUN_STATUS_OK;
	row.reason = row.status == RUN_STATUS_OK ? ""
		     : m->reason                 ? m->reason
						 : "out of \xe2\x80\xae"
						   "memory|`<b>";
	row.until = m->until ? m->until : "fixed";
	row.commit = m->commit ? m->commit : "abc";
	row.attempt = 0;
	row.warmup_tokens = 0;
	double x = 1000 * (cell + 1) * (1 + m->slower[cell]) * (1 + m->all) * (1 + m->drift * process) *
		   (1 + m->run_drift * repetition) * exp(m->noise * noise(state));
	x *= m->scale > 0 ? m->scale : 1;
	row.itl_median_us = x;
	row.itl_p90_us = 1.1 * x;
	row.itl_p99_us = 1.3 * x * (1 + m->tail);
	row.submit_median_us = 50 * exp(m->noise * noise(state));
	int odd = process % 2;
	row.api_launches_per_token =
		m->silent ? NAN : 100 + m->launches + cell * m->launches_cell + odd * m->launches_odd;
	row.api_launches_per_prompt = m->prompt > 0 ? m->prompt : NAN;
	row.kernels_per_token = 100;
	row.node_updates_per_token = 0;
	row.weight_bytes_per_token = 12345;
	if (m->weights)
		row.prefill_weights = m->weights_process && m->weights_process != process + 1 ? "resident" : m->weights;
	row.memory_peak_bytes = 1 << 20;
	row.logits_hash = m->hash ? m->hash : "0123456789abcdef";
	row.logits_hash = m->silent ? "" : odd && m->hash_odd ? m->hash_odd : row.logits_hash;
	put_record(f, &row, row_columns, row_n_columns);
}

void compared_make(const char *side, int process, const struct compared_side *m)
{
	char path[160];
	char file[176];
	uint64_t state = m->seed * 1000 + (uint64_t)process;
	compared_path(path, side, process);
	assert_int_equal(mkdir(path, 0777), 0);
	snprintf(file, sizeof file, "%s/env.json", path);
	json_t *env =
		json_pack("{s:{s:s, s:i}, s:{s:s}, s:o, s:{s:s, s:s}}", "cpu", "model", "CPU", "available_cpus", 2,
			  "system", "host", "box", "gpu",
			  m->gpu ? json_pack("{s:s, s:{s:s*}}", "name", m->gpu, "nvml", "driver_version", m->driver)
				 : json_null(),
			  "build", "flags", m->flags ? m->flags : "-O3", "type", "Release");
	assert_int_equal(json_dump_file(env, file, 0), 0);
	json_decref(env);
	if (m->weights_asked) {
		snprintf(file, sizeof file, "%s/sweep.json", path);
		json_t *sweep = json_pack("{s:s}", "prefill_weights", m->weights_asked);
		assert_int_equal(json_dump_file(sweep, file, 0), 0);
		json_decref(sweep);
	}
	snprintf(file, sizeof file, "%s/runs.csv", path);
	FILE *f = fopen(file, "w");
	assert_non_null(f);
	put_record(f, NULL, row_columns, row_n_columns);
	for (int i = 0; i < m->repetitions; i++)
		for (int c = 0; c < m->cells; c++)
			for (int d = 0; d <= m->more_depths; d++)
				write_row(f, m, c, d, i, process, &state);
	assert_int_equal(fclose(f), 0);
}

int compared_run(const struct compared_side *base, const struct compared_side *head, int n,
		 const struct compare_options *o, struct error *err)
{
	char path[160];
	compared.n = n;
	for (int i = 0; i < n; i++) {
		compared_make("base", i, base);
		compared_make("head", i, head);
		compared.base[i] = &compared.sets[i];
		compared.head[i] = &compared.sets[COMPARED_PROCESSES + i];
		compared_path(path, "base", i);
		OK(result_set_open(compared.base[i], path, e));
		compared_path(path, "head", i);
		OK(result_set_open(compared.head[i], path, e));
	}
	return compare_run(compared.base, n, compared.head, n, o, &compared.c, err);
}

void compared_free(void)
{
	compare_free(&compared.c);
	for (int i = 0; i < compared.n; i++) {
		result_set_close(compared.base[i]);
		result_set_close(compared.head[i]);
	}
	assert_int_equal(folder_remove(compared_folder), 0);
	assert_int_equal(folder_make(compared_folder, "compare"), 0);
}

struct compare_options compared_options(void)
{
	struct compare_options o;
	compare_options_default(&o);
	o.paired = 1;
	return o;
}

struct compared_side compared_other(struct compared_side m)
{
	m.seed = 2;
	return m;
}
