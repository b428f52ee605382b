#include "harness/cli/shard_option.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "engine/model/model.h"
#include "harness/sweep/shard.h"

/* A whole number from 1 up to the end character, which it must end with. */
static int parse_number(const char *text, char end)
{
	int n = 0;
	for (; *text >= '0' && *text <= '9' && n <= SHARDS_MAX; text++)
		n = 10 * n + (*text - '0');
	return *text == end && n <= SHARDS_MAX ? n : 0;
}

int shard_option_parse(const char *value, struct shard_choice *out, struct error *err)
{
	const char *slash = strchr(value, '/');
	*out = (struct shard_choice){parse_number(value, '/'), slash ? parse_number(slash + 1, '\0') : 0};
	if (out->index && out->count && out->index <= out->count)
		return 0;
	return error_set(err, ERROR_INPUT,
			 "--shard: '%s' is not I/N, shard I from 1 of N, at most %d (2/4: the second of four)",
			 text_show(value, strlen(value)).text, SHARDS_MAX);
}

/* The last model that was opened: placements of one are neighbours. */
struct models {
	const char *path;
	struct model model;
};

static double row_bytes(const char *type, int head_dim)
{
	const struct tensor_traits *t = type ? tensor_type_parse(type) : NULL;
	return t ? (double)tensor_type_cache_row(t->type, head_dim) : 0;
}

static void close_model(struct models *m)
{
	if (m->path)
		model_close(&m->model);
	m->path = NULL;
}

static int find_model(void *ctx, const struct cell *c, struct shard_model *out, struct error *err)
{
	struct models *m = ctx;
	if (!m->path || strcmp(m->path, c->model)) {
		close_model(m);
		int rc = model_open(&m->model, c->model, err);
		if (rc)
			return rc;
		m->path = c->model;
	}
	*out = (struct shard_model){(double)m->model.file.map_bytes, (double)model_decode_bytes(&m->model), 0};
	for (int i = 0; i < m->model.n_layer; i++) {
		const struct model_layer *l = &m->model.layers[i];
		if (!l->sliding)
			out->position +=
				(row_bytes(c->type_k, l->head_dim) + row_bytes(c->type_v, l->head_dim)) * l->n_head_kv;
	}
	return 0;
}

/* Cells as they were asked for: the same on each machine. */
static int divide(const struct shard_choice *choice, const struct matrix *m, const struct runner_options *o, int n,
		  struct cell **asked, struct shards *out, struct error *err)
{
	struct models opened = {0};
	struct shard_models models = {&opened, find_model};
	struct shard_effort effort = {.repetitions = o->repetitions, .warmup = o->steady, .delay_s = o->delay_s};
	int n_asked, rc = matrix_cells(m, NULL, asked, &n_asked, err);
	if (!rc && n_asked != n)
		rc = error_set(
			err, ERROR_INPUT,
			"--shard: of the models, -ngl, -t and -ub two values come to the same on this machine, which "
			"need not be so where the other shards run; name each once");
	if (!rc)
		rc = shards_divide(*asked, n_asked, choice->count, &effort, &models, out, err);
	close_model(&opened);
	return rc;
}

static void print_plan(const struct shards *s, const struct shard_choice *choice, FILE *f)
{
	double all = 0, most = 0;
	for (int i = 0; i < s->n; i++) {
		all += s->cost[i];
		most = s->cost[i] > most ? s->cost[i] : most;
	}
	fprintf(f, "%d cells in %d shards; cells of one placement and depth stay together: %d such unit%s\n",
		s->n_cells, s->n, s->n_units, s->n_units == 1 ? "" : "s");
	for (int i = 0; i < s->n; i++)
		fprintf(f, "  shard %d/%d  %5d cell%s  %5.1f %% of the estimated cost%s\n", i + 1, s->n, s->cells[i],
			s->cells[i] == 1 ? " " : "s", all > 0 ? 100 * s->cost[i] / all : 0,
			i + 1 == choice->index ? "  <- this one" : "");
	if (most > 0)
		fprintf(f, "on machines that are alike, all together %.1f times as fast as one\n", all / most);
	fputs("The cost of a shard is what its tokens read, a prompt's counting 1/32 each, and loading its models.\n\n",
	      f);
}

int shard_option_apply(const struct shard_choice *choice, const struct matrix *m, const struct runner_options *o,
		       struct cell *cells, int *n, json_t **description, FILE *plan, struct error *err)
{
	struct cell *asked = NULL;
	struct shards s = {0};
	char division[20];
	*description = NULL;
	int rc = divide(choice, m, o, *n, &asked, &s, err);
	if (!rc) {
		snprintf(division, sizeof division, "%016" PRIx64, shards_hash(&s, asked));
		json_t *counts = json_array();
		for (int i = 0; i < s.n; i++)
			json_array_append_new(counts, json_integer(s.cells[i]));
		*description = json_pack("{s:i, s:i, s:o, s:s}", "index", choice->index, "count", choice->count,
					 "cells", counts, "division", division);
		if (!*description)
			rc = error_set(err, ERROR_MEMORY, "no memory for sweep.json");
	}
	if (!rc && plan)
		print_plan(&s, choice, plan);
	if (!rc)
		*n = shards_keep(&s, choice->index - 1, cells);
	shards_free(&s);
	free(asked);
	return rc;
}
