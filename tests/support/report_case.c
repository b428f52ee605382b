#include "tests/support/report_case.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "harness/record/token_record.h"
#include "tests/support/put_record.h"

static FILE *open_in(const char *path, const char *name)
{
	char file[512];
	snprintf(file, sizeof file, "%s/%s", path, name);
	FILE *f = fopen(file, "w");
	if (!f)
		fail_msg("%s: %s", file, strerror(errno));
	return f;
}

static void put_tokens(FILE *f, const struct run_row *row, int n)
{
	for (int i = 0; i < n; i++) {
		struct token_row t = {.schema_version = SCHEMA_VERSION,
				      .run_id = row->run_id,
				      .token = {.phase = TOKEN_PHASE_MEASURE,
						.index = i,
						.pos = i,
						.kv_len = i + 1,
						.event = TOKEN_EVENT_DIRECT,
						.submit_us = 10,
						.gpu_us = NAN,
						.wall_us = NAN,
						.host_us = NAN,
						.itl_us = row->itl_median_us + i - n / 2}};
		put_record(f, &t, token_columns, token_n_columns);
	}
}

static void fill(struct run_row *row, const struct report_case *c, const char *mode, const char *fusion, int depth,
		 int repetition, int order)
{
	static char id[64], test[CELL_LABEL_SIZE];
	struct cell cell = {.model = "m.gguf",
			    .type_k = "f16",
			    .type_v = "f16",
			    .n_threads = 1,
			    .n_ubatch = 512,
			    .n_depth = depth,
			    .n_gen = c->tokens ? c->tokens : 8,
			    .fusion = fusion,
			    .mode = mode};
	row_init(row);
	row_set_axes(row, &cell);
	cell_label(&cell, test);
	snprintf(id, sizeof id, "20260101T000000Z-%05d", order);
	row->run_id = id;
	row->status = RUN_STATUS_OK;
	row->order = order;
	row->repetition = repetition;
	row->attempt = 0;
	row->model = "Made";
	row->arch = "gemma4";
	row->weight_type = "Q8_0";
	row->test = test;
	row->device = "host";
	row->commit = "abc1234";
	row->until = "fixed";
	row->warmup_tokens = 0;
	row->itl_median_us = row->itl_p90_us = 1000;
	row->submit_median_us = 10;
	row->api_launches_per_token = 100;
}

int report_case_write(const struct report_case *c, const char *path)
{
	int order = 0;
	if (mkdir(path, 0777))
		fail_msg("%s: %s", path, strerror(errno));
	FILE *runs = open_in(path, "runs.csv"), *tokens = c->tokens ? open_in(path, "tokens.csv") : NULL;
	put_record(runs, NULL, row_columns, row_n_columns);
	if (tokens)
		put_record(tokens, NULL, token_columns, token_n_columns);
	for (int rep = 0; rep < c->repetitions; rep++)
		for (int d = 0; d < c->n_depths; d++)
			for (int f = 0; c->fusions[f]; f++)
				for (int m = 0; c->modes[m]; m++) {
					struct run_row row;
					fill(&row, c, c->modes[m], c->fusions[f], c->depths[d], rep, order++);
					if (c->edit)
						c->edit(c->ctx, &row);
					if (row.status == RUN_STATUS_OK && isnan(row.tokens_per_s))
						row.tokens_per_s = 1e6 / row.itl_median_us;
					put_record(runs, &row, row_columns, row_n_columns);
					if (tokens && row.status == RUN_STATUS_OK)
						put_tokens(tokens, &row, c->tokens);
				}
	assert_int_equal(fclose(runs), 0);
	if (tokens)
		assert_int_equal(fclose(tokens), 0);
	if (c->env) {
		FILE *env = open_in(path, "env.json");
		fputs(c->env, env);
		assert_int_equal(fclose(env), 0);
	}
	return order;
}
