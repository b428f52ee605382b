/* A line of a history's file, taken apart: nothing of it is trusted. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/hash.h"
#include "harness/record/column.h"
#include "harness/record/commit_date.h"
#include "harness/record/history_file.h"
#include "harness/record/text_block.h"

enum { FIRST_SLOTS = 1024 };

/* Beyond what anything that is measured takes, in any unit. */
static const double LEAST = 1e-12, MOST = 1e15;

static int bad(const struct history *h, size_t number, const char *what, struct error *err)
{
	return error_set(err, ERROR_INPUT, "%s: line %zu: %s; restore the line, or take it out", h->path, number, what);
}

static int no_memory(const struct history *h, struct error *err)
{
	return error_set(err, ERROR_MEMORY, "%s: not enough memory to read it", h->path);
}

/* A text of the object that is not empty and not too long, or null. */
static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s && *s && strlen(s) < HISTORY_TEXT ? s : NULL;
}

/* Room for one more of n. */
static int grow(void **list, int n, size_t size)
{
	if (n & (n - 1))
		return 0;
	void *grown = realloc(*list, (n ? 2 * (size_t)n : 1) * size);
	*list = grown ? grown : *list;
	return grown ? 0 : -1;
}

static int find_hash(const uint64_t *hashes, int n, uint64_t hash)
{
	for (int i = 0; i < n; i++)
		if (hashes[i] == hash)
			return i;
	return -1;
}

/* A copy without what is joined; null: no memory. */
static json_t *without_joined(const struct history *h, const json_t *o)
{
	json_t *copy = json_copy((json_t *)o);
	for (int i = 0; copy && h->join && i < h->join->n; i++)
		json_object_del(copy, h->join->names[i]);
	return copy;
}

/* ---- cells ---- */

/* Every axis, or the name that another tool gave it. What is wrong; null: nothing. */
static const char *read_cell(struct history *h, const json_t *o, struct history_cell *c)
{
	const char *name = text_of(o, "name"), *hash = text_of(o, "model_hash");
	const char *key;
	json_t *value;
	size_t known = 0;
	if (name) {
		const char *model = text_of(o, axes[AXIS_MODEL].name);
		c->name = text_block_keep(&h->texts, name);
		c->axes.model = model ? text_block_keep(&h->texts, model) : NULL;
		if (!c->name || (model && !c->axes.model))
			return "there is not enough memory for a cell";
		return json_object_size(o) == 1 + (model != NULL) ? NULL
								  : "a cell with a name has more than that and a model";
	}
	if (hash && (strlen(hash) >= CELL_HASH_SIZE || strspn(hash, "0123456789abcdef") != strlen(hash)))
		return "model_hash is no hash";
	snprintf(c->axes.model_hash, sizeof c->axes.model_hash, "%s", hash ? hash : "");
	known += json_object_get(o, "model_hash") != NULL;
	for (int a = 0; a < AXIS_COUNT; a++) {
		const json_t *x = json_object_get(o, axes[a].name);
		known += x != NULL;
		if (axes[a].kind == AXIS_INT) {
			json_int_t at = x ? json_integer_value(x) : axes[a].absent ? atoi(axes[a].absent) : -1;
			if ((x && !json_is_integer(x)) || at < (a == AXIS_GPU_LAYERS ? AXIS_LAYERS_AUTO : 0) ||
			    at > INT_MAX)
				return "a cell lacks an axis, or has no number where one belongs";
			cell_set_int(&c->axes, (enum axis_id)a, (int)at);
		} else {
			const char *word = x ? text_of(o, axes[a].name) : axes[a].absent;
			if (!word || (word != axes[a].absent && !(word = text_block_keep(&h->texts, word))))
				return "a cell lacks an axis, or has no text where one belongs";
			cell_set_word(&c->axes, (enum axis_id)a, word);
		}
	}
	/* An axis of a later version makes another cell: its key has it, and who cannot show it says so. */
	json_object_foreach((json_t *)o, key, value)
	{
		if (strlen(key) >= HISTORY_TEXT || !(json_is_integer(value) || json_is_string(value)))
			return "a cell has neither a number nor a text";
	}
	return known == json_object_size(o) ? NULL
					    : "a cell has an axis that this program does not know: use a later one";
}

/* The identity: what the content's hash tells needs no name. */
static char *cell_key(const struct history *h, const json_t *line, const json_t *cell)
{
	json_t *copy = without_joined(h, cell);
	char *key = NULL;
	if (copy && text_of(cell, "model_hash"))
		json_object_del(copy, "model");
	json_t *all = json_pack("[O, O, O, b]", copy, json_object_get(line, "metric"), json_object_get(line, "unit"),
				!strcmp(json_string_value(json_object_get(line, "better")), "more"));
	if (all)
		key = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(all);
	json_decref(copy);
	return key;
}

/* The index of the line's cell, or a code. */
static int take_cell(struct history *h, const json_t *line, size_t number, struct error *err)
{
	const json_t *o = json_object_get(line, "cell");
	const char *metric = text_of(line, "metric"), *unit = text_of(line, "unit"), *better = text_of(line, "better");
	if (!json_is_object(o) || !metric || !unit || !better || (strcmp(better, "less") && strcmp(better, "more")))
		return bad(h, number, "has no cell, metric, unit, or no better that is less or more", err);
	char *key = cell_key(h, line, o);
	if (!key)
		return no_memory(h, err);
	uint64_t hash = hash_bytes(key, strlen(key), 0);
	int at = find_hash(h->cell_hashes, h->n_cells, hash);
	if (at >= 0) {
		free(key);
		return at;
	}
	void *cells = h->cells, *hashes = h->cell_hashes;
	int rc = h->n_cells < HISTORY_CELLS ? 0 : bad(h, number, "is of one cell too many: 4096 are read", err);
	if (!rc && (grow(&cells, h->n_cells, sizeof *h->cells) || grow(&hashes, h->n_cells, sizeof hash)))
		rc = no_memory(h, err);
	h->cells = cells;
	h->cell_hashes = hashes;
	if (!rc) {
		struct history_cell *c = &h->cells[h->n_cells];
		*c = (struct history_cell){.key = text_block_keep(&h->texts, key),
					   .metric = text_block_keep(&h->texts, metric),
					   .unit = text_block_keep(&h->texts, unit),
					   .more_is_better = !strcmp(better, "more")};
		const char *wrong = read_cell(h, o, c);
		rc = wrong ? bad(h, number, wrong, err) : 0;
		h->cell_hashes[h->n_cells] = hash;
		if (!rc && (!c->key || !c->metric || !c->unit))
			rc = no_memory(h, err);
	}
	free(key);
	return rc ? rc : h->n_cells++;
}

/* ---- environments ---- */

static int read_environment(struct history *h, const json_t *o, struct history_environment *e)
{
	const char *key;
	json_t *value;
	e->names = calloc(json_object_size(o) + 1, sizeof *e->names);
	e->values = calloc(json_object_size(o) + 1, sizeof *e->values);
	if (!e->names || !e->values)
		return -1;
	json_object_foreach((json_t *)o, key, value)
	{
		e->names[e->n] = (char *)text_block_keep(&h->texts, key);
		e->values[e->n] = (char *)text_block_keep(&h->texts, json_string_value(value));
		if (!e->names[e->n] || !e->values[e->n])
			return -1;
		e->n++;
	}
	return 0;
}

/* The index of what has that key. */
static int add_environment(struct history *h, const json_t *o, const char *key, size_t number, struct error *err)
{
	uint64_t hash = hash_bytes(key, strlen(key), 0);
	int at = find_hash(h->environment_hashes, h->n_environments, hash);
	if (at >= 0)
		return at;
	if (h->n_environments == HISTORY_ENVIRONMENTS)
		return bad(h, number, "is of one environment too many: 1024 are read", err);
	void *list = h->environments, *hashes = h->environment_hashes;
	int rc = grow(&list, h->n_environments, sizeof *h->environments) ||
		 grow(&hashes, h->n_environments, sizeof hash);
	h->environments = list;
	h->environment_hashes = hashes;
	if (rc)
		return no_memory(h, err);
	struct history_environment *e = &h->environments[h->n_environments];
	*e = (struct history_environment){.key = text_block_keep(&h->texts, key)};
	h->environment_hashes[h->n_environments] = hash;
	h->n_environments++; /* it is freed with the others, whole or not */
	return !e->key || read_environment(h, o, e) ? no_memory(h, err) : h->n_environments - 1;
}

static int take_environment(struct history *h, const json_t *line, size_t number, struct error *err)
{
	const json_t *o = json_object_get(line, "env");
	const char *name;
	json_t *value;
	if (!json_is_object(o) || json_object_size(o) > HISTORY_FACTS)
		return bad(h, number, "has no env, or one of more than 64 facts", err);
	json_object_foreach((json_t *)o, name, value)
	{
		if (!*name || strlen(name) >= HISTORY_TEXT || !json_is_string(value) ||
		    json_string_length(value) >= HISTORY_TEXT)
			return bad(h, number, "has a fact in its env that is no short text", err);
	}
	json_t *kept = without_joined(h, o);
	char *key = kept ? json_dumps(kept, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	int rc = key ? add_environment(h, kept, key, number, err) : no_memory(h, err);
	free(key);
	json_decref(kept);
	return rc;
}

/* ---- numbers ---- */

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The list's numbers, from least to MOST; NAN for null where nulls are taken. Null: it is none, or no memory. */
static double *read_numbers(const json_t *list, double least, int nulls, int *n)
{
	size_t size = json_array_size(list);
	double *out = size && size <= HISTORY_RUNS ? malloc(size * sizeof *out) : NULL;
	for (size_t i = 0; out && i < size; i++) {
		const json_t *v = json_array_get(list, i);
		out[i] = json_is_number(v) ? json_number_value(v) : NAN;
		if (!(nulls && json_is_null(v)) && !(out[i] >= least && out[i] <= MOST)) {
			free(out);
			return NULL;
		}
	}
	*n = (int)size;
	return out;
}

static double median_of(const double *x, int n)
{
	double *sorted = malloc((size_t)n * sizeof *sorted), median = NAN;
	if (sorted) {
		memcpy(sorted, x, (size_t)n * sizeof *sorted);
		qsort(sorted, (size_t)n, sizeof *sorted, compare_doubles);
		median = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
	}
	free(sorted);
	return median;
}

static int read_runs(struct history *h, const json_t *line, size_t number, struct history_record *r, struct error *err)
{
	const json_t *mads = json_object_get(line, "mads"), *tokens = json_object_get(line, "tokens");
	int n = 0;
	r->runs = read_numbers(json_object_get(line, "runs"), LEAST, 0, &r->n_runs);
	if (!r->runs)
		return bad(h, number, "has no runs, which are 1 to 4096 numbers from 1e-12 to 1e15", err);
	if (mads && (!(r->mads = read_numbers(mads, 0, 1, &n)) || n != r->n_runs))
		return bad(h, number, "has mads that are not as many numbers, or nulls, as its runs", err);
	if (tokens && (!json_is_integer(tokens) || json_integer_value(tokens) < 0))
		return bad(h, number, "has tokens that are no whole number", err);
	r->tokens = tokens ? json_integer_value(tokens) : COLUMN_UNKNOWN;
	r->median = median_of(r->runs, r->n_runs);
	return isfinite(r->median) ? 0 : no_memory(h, err);
}

/* ---- the line ---- */

static int read_head(struct history *h, const json_t *line, size_t number, struct history_record *r, struct error *err)
{
	const char *machine = text_of(line, "machine"), *commit = text_of(line, "commit"),
		   *date = text_of(line, "date");
	const char *run = text_of(line, "run");
	const json_t *version = json_object_get(line, "v"), *order = json_object_get(line, "order");
	char plain[HISTORY_TEXT];
	if (!json_is_integer(version) || json_integer_value(version) < 1)
		return bad(h, number, "has no version v", err);
	if (json_integer_value(version) != HISTORY_VERSION)
		return error_set(err, ERROR_INPUT,
				 "%s: line %zu is of version %lld, this program knows %d: use a later one", h->path,
				 number, (long long)json_integer_value(version), HISTORY_VERSION);
	if (!machine || !commit || !run)
		return bad(h, number, "has no machine, commit or run, which are texts of up to 255 bytes", err);
	if (!date || commit_date_parse(date, &r->date))
		return bad(h, number, "has no date, as in 2026-05-31T10:00:00Z", err);
	if (order && (!json_is_integer(order) || json_integer_value(order) < 0))
		return bad(h, number, "has an order that is no whole number from 0", err);
	if (!h->machine && !(h->machine = text_block_keep(&h->texts, machine)))
		return no_memory(h, err);
	if (strcmp(h->machine, machine))
		return bad(h, number, "is of another machine than those before it, and machines are never mixed", err);
	r->order = json_integer_value(order);
	snprintf(plain, sizeof plain, "%s", commit);
	size_t n = strlen(plain);
	r->dirty = n > 6 && !strcmp(plain + n - 6, "-dirty");
	plain[r->dirty ? n - 6 : n] = '\0';
	r->commit = text_block_keep(&h->texts, plain);
	r->run = text_block_keep(&h->texts, run);
	return r->commit && r->run ? 0 : no_memory(h, err);
}

static int same_work(const struct history_record *a, const struct history_record *b)
{
	return a->cell == b->cell && a->dirty == b->dirty && !strcmp(a->run, b->run) && !strcmp(a->commit, b->commit);
}

static int same_numbers(const struct history_record *a, const struct history_record *b)
{
	return a->environment == b->environment && a->n_runs == b->n_runs &&
	       !memcmp(a->runs, b->runs, (size_t)a->n_runs * sizeof *a->runs);
}

static uint64_t work_hash(const struct history_record *r)
{
	uint64_t hash = hash_bytes(r->run, strlen(r->run), (uint64_t)r->cell);
	return hash_bytes(r->commit, strlen(r->commit), hash);
}

static int *slot_of(const struct history *h, const struct history_record *r)
{
	int at = (int)(work_hash(r) % (uint64_t)h->n_slots);
	while (h->slots[at] && !same_work(&h->records[h->slots[at] - 1], r))
		at = at + 1 == h->n_slots ? 0 : at + 1;
	return &h->slots[at];
}

/* At least twice as many slots as records. */
static int make_slots(struct history *h)
{
	if (2 * (h->n_records + 1) <= h->n_slots)
		return 0;
	int n = h->n_slots ? 4 * h->n_slots : FIRST_SLOTS;
	int *slots = calloc((size_t)n, sizeof *slots);
	if (!slots)
		return -1;
	free(h->slots);
	h->slots = slots;
	h->n_slots = n;
	for (int i = 0; i < h->n_records; i++)
		*slot_of(h, &h->records[i]) = i + 1;
	return 0;
}

/* Two cells of one process, which --across makes one. */
static int joined_within(const struct history *h, const struct history_record *a, const struct history_record *b,
			 struct error *err)
{
	char names[128] = "";
	size_t used = 0;
	for (int i = 0; i < h->join->n && used + 1 < sizeof names; i++)
		used += (size_t)snprintf(names + used, sizeof names - used, "%s--across %s", i ? " " : "",
					 h->join->names[i]);
	return error_set(err, ERROR_INPUT,
			 "%s: lines %zu and %zu are of one process, which measured both of what %s would make one "
			 "series; leave out the one in which they differ",
			 h->path, a->line, b->line, names);
}

/* Takes the record's arrays, or frees them. */
static int keep(struct history *h, struct history_record *r, struct error *err)
{
	void *records = h->records;
	int rc = 0, *slot = NULL;
	if (make_slots(h) || grow(&records, h->n_records, sizeof *r))
		rc = no_memory(h, err);
	h->records = records;
	if (!rc)
		slot = slot_of(h, r);
	if (!rc && *slot) {
		struct history_record *there = &h->records[*slot - 1];
		if (there->own != r->own)
			rc = joined_within(h, there, r, err);
		else if (!same_numbers(there, r))
			rc = error_set(
				err, ERROR_INPUT,
				"%s: lines %zu and %zu are the same cell of the same results, and differ; take one of "
				"them out",
				h->path, there->line, r->line);
		/* Two branches may have numbered it each for itself. */
		there->order = !rc && r->order < there->order ? r->order : there->order;
		there->date = !rc && r->date < there->date ? r->date : there->date;
		h->repeated += !rc;
		rc = rc ? rc : 1;
	} else if (!rc && h->n_records == HISTORY_RECORDS) {
		rc = bad(h, r->line, "is one too many: 131072 are read", err);
	}
	if (!rc) {
		*slot = h->n_records + 1;
		h->records[h->n_records++] = *r;
		return 0;
	}
	free(r->runs);
	free(r->mads);
	return rc;
}

int history_take(struct history *h, const char *line, size_t n, size_t number, struct error *err)
{
	json_error_t why;
	struct history_record r = {.line = number};
	if (n > HISTORY_LINE_BYTES)
		return bad(h, number, "is longer than 131072 bytes", err);
	json_t *o = json_loadb(line, n, JSON_REJECT_DUPLICATES, &why);
	if (!o)
		return error_set(err, ERROR_INPUT, "%s: line %zu, column %d: %s; restore the line, or take it out",
				 h->path, number, why.column, why.text);
	int rc = json_is_object(o) ? read_head(h, o, number, &r, err) : bad(h, number, "is no JSON object", err);
	if (!rc) {
		r.cell = take_cell(h, o, number, err);
		rc = r.cell < 0 ? r.cell : 0;
	}
	if (!rc && h->join && h->join->n) {
		const struct history whole = {0};
		char *own = cell_key(&whole, o, json_object_get(o, "cell"));
		rc = own ? 0 : no_memory(h, err);
		r.own = own ? hash_bytes(own, strlen(own), 0) : 0;
		free(own);
	}
	if (!rc) {
		r.environment = take_environment(h, o, number, err);
		rc = r.environment < 0 ? r.environment : 0;
	}
	if (!rc)
		rc = read_runs(h, o, number, &r, err);
	json_decref(o);
	if (!rc)
		return keep(h, &r, err);
	free(r.runs);
	free(r.mads);
	return rc;
}
