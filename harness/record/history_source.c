#include "harness/record/history_source.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/hash.h"
#include "base/text.h"
#include "harness/record/commit_date.h"
#include "harness/record/result_place.h"

enum { DIGITS = 9 };

/*
 * What series are split at: the card or the CPU, its driver, CUDA, the compiler of its kernels, what sets the clocks,
 * and what rows depend on beside the axes.
 */
static const struct {
	const char *name, *path;
} env_facts[] = {
	{"gpu", "gpu name"},
	{"driver", "gpu nvml driver_version"},
	{"cuda", "gpu driver_cuda_version"},
	{"nvrtc", "gpu nvrtc_version"},
	{"vbios", "gpu nvml vbios_version"},
	{"ecc", "gpu nvml ecc"},
	{"mig", "gpu nvml mig"},
	{"power_limit_w", "gpu nvml power_limit_w"},
	{"max_sm_clock_mhz", "gpu nvml max_sm_clock_mhz"},
	{"application_sm_clock_mhz", "gpu nvml application_sm_clock_mhz"},
	{"application_memory_clock_mhz", "gpu nvml application_memory_clock_mhz"},
	{"cpu", "cpu model"},
	{"cpus", "cpu available_cpus"},
	{"isa", "cpu isa"},
	{"governor", "cpu governor"},
	{"turbo_disabled", "cpu turbo_disabled"},
	{"kernel", "system kernel"},
	{"compiler", "build compiler"},
	{"flags", "build flags"},
};
static const char *const sweep_facts[] = {
	"prefill_fusion", "prefill_precision", "prefill_weights", "host_products", "ple", "pdl", "persistent_limits",
	"head",           "text_hash",
};

void history_lines_free(struct history_lines *l)
{
	for (int i = 0; i < l->n; i++)
		free(l->lines[i].text);
	free(l->lines);
	*l = (struct history_lines){0};
}

static int no_memory(struct error *err)
{
	return error_set(err, ERROR_MEMORY, "no memory for a history's lines");
}

int history_lines_add(struct history_lines *out, json_t *o, const char *file, struct error *err)
{
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(DIGITS)) : NULL;
	json_decref(o);
	if (!text)
		return no_memory(err);
	if (out->n == out->room) {
		int room = out->room ? 2 * out->room : 64;
		void *grown = realloc(out->lines, (size_t)room * sizeof *out->lines);
		if (!grown) {
			free(text);
			return no_memory(err);
		}
		out->lines = grown;
		out->room = room;
	}
	struct history_line *line = &out->lines[out->n++];
	line->text = text;
	snprintf(line->file, sizeof line->file, "%s", file);
	return 0;
}

/* A name as a line holds it: printable, of HISTORY_TEXT bytes at most. */
static json_t *name_of(const char *text)
{
	char name[HISTORY_TEXT];
	text_name(name, sizeof name, text, strlen(text));
	return json_string(name);
}

/* ---- a results directory ---- */

int history_is_fact(const char *name)
{
	int known = !strcmp(name, "device") || !strcmp(name, "gpu_uuid");
	for (size_t i = 0; i < sizeof env_facts / sizeof *env_facts; i++)
		known |= !strcmp(name, env_facts[i].name);
	for (size_t i = 0; i < sizeof sweep_facts / sizeof *sweep_facts; i++)
		known |= !strcmp(name, sweep_facts[i]);
	return known;
}

int history_machine(const struct result_set *s, const char *machine, char out[HISTORY_TEXT], struct error *err)
{
	const char *host = json_string_value(result_set_fact(s, "system host")), *what = result_set_machine(s);
	char named[2 * HISTORY_TEXT];
	if (!machine && !what)
		return error_set(err, ERROR_INPUT,
				 "%s: has no env.json that says what machine it is of; name it with --machine",
				 s->directory.path);
	snprintf(named, sizeof named, "%.120s%s%.120s",
		 machine ? ""
		 : host  ? host
			 : "",
		 !machine && host ? ", " : "", machine ? machine : what);
	text_name(out, HISTORY_TEXT, named, strlen(named));
	return 0;
}

/* Texts as they are, all else as JSON has it; null: unknown. */
static int add_fact(json_t *env, const char *name, const json_t *value)
{
	if (!value || json_is_null(value))
		return 0;
	char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
	if (!text && !json_is_string(value))
		return -1;
	int rc = json_object_set_new(env, name, name_of(text ? text : json_string_value(value)));
	free(text);
	return rc;
}

static json_t *environment(const struct result_set *s, const struct run_row *row)
{
	json_t *env = json_object();
	int rc = env ? 0 : -1;
	if (!rc && row->device && *row->device)
		rc = json_object_set_new(env, "device", name_of(row->device));
	if (!rc && row->gpu && *row->gpu)
		rc = json_object_set_new(env, "gpu_uuid", name_of(row->gpu));
	for (size_t i = 0; i < sizeof env_facts / sizeof *env_facts && !rc; i++)
		rc = add_fact(env, env_facts[i].name, result_set_fact(s, env_facts[i].path));
	for (size_t i = 0; i < sizeof sweep_facts / sizeof *sweep_facts && !rc; i++)
		rc = add_fact(env, sweep_facts[i], json_object_get(s->sweep, sweep_facts[i]));
	/* What it came to, of prompts alone. */
	if (!rc && row->n_prompt > 0 && row->prefill_weights && *row->prefill_weights)
		rc = json_object_set_new(env, "prefill_weights", name_of(row->prefill_weights));
	if (rc) {
		json_decref(env);
		return NULL;
	}
	return env;
}

static json_t *cell_object(const struct cell *c)
{
	json_t *o = json_object();
	int rc = o ? 0 : -1;
	for (int a = 0; a < AXIS_COUNT && !rc; a++) {
		const char *word = axes[a].kind == AXIS_WORD ? cell_word(c, (enum axis_id)a) : NULL;
		if (axes[a].kind == AXIS_INT)
			rc = json_object_set_new(o, axes[a].name, json_integer(cell_int(c, (enum axis_id)a)));
		else
			rc = json_object_set_new(o, axes[a].name, name_of(word ? word : "unknown"));
		if (a == AXIS_MODEL && !rc && *c->model_hash)
			rc = json_object_set_new(o, "model_hash", json_string(c->model_hash));
	}
	if (rc) {
		json_decref(o);
		return NULL;
	}
	return o;
}

/* The rows of one cell and commit: places [from, to) of an order by commit and cell. */
struct rows {
	const struct result_set *s;
	const size_t *order;
	size_t from, to;
};

static int compare_rows(const void *a, const void *b, void *ctx)
{
	const struct result_set *s = ctx;
	const struct run_row *x = &s->rows[*(const size_t *)a], *y = &s->rows[*(const size_t *)b];
	int order = strcmp(x->commit, y->commit);
	order = order ? order : x->cell - y->cell;
	return order ? order : x < y ? -1 : x > y;
}

/* Numbers of those that are measured, and null where no run has a MAD. */
static int run_lists(const struct rows *r, json_t **runs, json_t **mads)
{
	int any = 0;
	*runs = json_array();
	*mads = json_array();
	for (size_t i = r->from; i < r->to && *runs && *mads; i++) {
		const struct run_row *row = &r->s->rows[r->order[i]];
		double us = row_time_us(row);
		if (!r->s->counts[r->order[i]] || row->status != RUN_STATUS_OK || !(us > 0) || !isfinite(us))
			continue;
		int token = row->n_gen > 0 && !row->n_prompt && isfinite(row->itl_mad_us) && row->itl_mad_us >= 0;
		any |= token;
		if (json_array_append_new(*runs, json_real(us)) ||
		    json_array_append_new(*mads, token ? json_real(row->itl_mad_us) : json_null()))
			return -1;
	}
	if (*mads && !any) {
		json_decref(*mads);
		*mads = NULL;
		return *runs ? 0 : -1;
	}
	return *runs && *mads ? 0 : -1;
}

/* started: of the commit's first run, or null. */
static int date_of(const char *commit, const char *started, const struct history_dates *dates,
		   char out[COMMIT_DATE_SIZE], struct error *err)
{
	int64_t seconds;
	if (!dates->date)
		return commit_date_ask(dates->folder, commit, out, err);
	const char *text = strcmp(dates->date, "run") ? dates->date : started;
	if (!text || commit_date_parse(text, &seconds))
		return error_set(err, ERROR_INPUT, "%s is no date, as in 2026-05-31T10:00:00Z",
				 text_show(text ? text : "", text ? strlen(text) : 0).text);
	commit_date_text(seconds, out);
	return 0;
}

/*
 * What tells a process's runs of a cell from another's: the start of its sweep, which is in front of their order, and
 * what the first of them measured, since several may start in one second. However the rows come to be here, in their
 * shard or merged with others, and however many follow, it is the same.
 */
static void run_of(const struct rows *r, char out[HISTORY_TEXT])
{
	char id[HISTORY_TEXT], numbers[160];
	size_t i = r->from;
	while (i + 1 < r->to && r->s->rows[r->order[i]].status != RUN_STATUS_OK)
		i++;
	const struct run_row *row = &r->s->rows[r->order[i]];
	snprintf(id, sizeof id, "%.200s", row->run_id);
	char *end = strrchr(id, '-');
	if (end && end > id && strspn(end + 1, "0123456789") == strlen(end + 1))
		*end = '\0';
	snprintf(numbers, sizeof numbers, "%.9g %.9g %.9g %.9g %.9g %.9g", row->itl_median_us, row->itl_p90_us,
		 row->submit_median_us, row->prefill_us, row->tokens_per_s, row->wall_median_us);
	size_t n = text_name(out, HISTORY_TEXT - 16, id, strlen(id));
	snprintf(out + n, HISTORY_TEXT - n, "-%08x", (unsigned)hash_bytes(numbers, strlen(numbers), 0));
}

static int add_cell(struct history_lines *out, const struct rows *r, const char *machine, const char *date,
		    int64_t order, struct error *err)
{
	const struct result_set *s = r->s;
	const struct run_row *row = &s->rows[r->order[r->from]];
	const struct cell *c = &s->cells[row->cell];
	const char *slash = strrchr(c->model, '/'), *model = slash ? slash + 1 : c->model;
	char run[HISTORY_TEXT], file[HISTORY_NAME_SIZE];
	json_t *runs, *mads;
	int rc = run_lists(r, &runs, &mads);
	run_of(r, run);
	history_file_name(machine, model, c->model_hash, file);
	if (!rc && !json_array_size(runs)) {
		json_decref(runs);
		out->not_ok++;
		return 0;
	}
	const char *metric = cell_is_prompt(c) ? "prefill" : c->n_prompt ? "time" : "itl";
	json_t *o = rc ? NULL
		       : json_pack("{s:i, s:s, s:o, s:s, s:I, s:s, s:o, s:s, s:s, s:s, s:O}", "v", HISTORY_VERSION,
				   "machine", machine, "commit", name_of(row->commit), "date", date, "order",
				   (json_int_t)order, "run", run, "cell", cell_object(c), "metric", metric, "unit",
				   "us", "better", "less", "runs", runs);
	if (o && mads && json_object_set(o, "mads", mads))
		rc = -1;
	if (o && c->n_gen && json_object_set_new(o, "tokens", json_integer(c->n_gen)))
		rc = -1;
	if (o && json_object_set_new(o, "env", environment(s, row)))
		rc = -1;
	json_decref(runs);
	json_decref(mads);
	if (rc || !o) {
		json_decref(o);
		return no_memory(err);
	}
	return history_lines_add(out, o, file, err);
}

/* All cells of a commit: places [from, to). */
static int add_commit(struct history_lines *out, struct rows r, const char *machine, const struct history_dates *dates,
		      int64_t order, struct error *err)
{
	const struct run_row *rows = r.s->rows;
	const char *commit = rows[r.order[r.from]].commit, *started = NULL;
	char date[COMMIT_DATE_SIZE];
	int digits, dirty, before = out->n;
	size_t end = r.to;
	if (!commit_is_name(commit, &digits, &dirty))
		return error_set(err, ERROR_INPUT, "is of commit '%s', which is no commit's name",
				 text_show(commit, strlen(commit)).text);
	for (size_t i = r.from; i < end; i++) {
		const char *at = rows[r.order[i]].started_utc;
		started = at && *at && (!started || strcmp(at, started) < 0) ? at : started;
	}
	int rc = date_of(commit, started, dates, date, err);
	for (; r.from < end && !rc; r.from = r.to) {
		for (r.to = r.from; r.to < end && rows[r.order[r.to]].cell == rows[r.order[r.from]].cell; r.to++)
			;
		rc = add_cell(out, &r, machine, date, order, err);
	}
	out->dirty += dirty ? out->n - before : 0;
	return rc;
}

int history_from_results(struct history_lines *out, struct result_set *s, const char *machine,
			 const struct history_dates *dates, int64_t order, struct error *err)
{
	char named[HISTORY_TEXT];
	struct result_places places = result_places(s);
	/* Merged: its env.json has what all have in common. */
	if (!machine && (places.machines > 1 || places.more))
		return error_set(err, ERROR_INPUT,
				 "%s: its runs are of %d machines, which a history never mixes; add the directories "
				 "that were merged, or name what they have in common with --machine",
				 s->directory.path, places.machines);
	int rc = history_machine(s, machine, named, err);
	if (!rc && !s->n_rows)
		rc = error_set(err, ERROR_INPUT, "%s: there is no run in it", s->directory.path);
	for (size_t i = 0; i < s->n_rows && !rc; i++) {
		const char *until = s->rows[i].until;
		if (until && *until && strcmp(until, "fixed"))
			rc = error_set(
				err, ERROR_INPUT,
				"%s: how often it ran depended on what it measured (--until %.40s); measure it with a "
				"fixed -r",
				s->directory.path, until);
	}
	if (rc)
		return rc;
	size_t *by = malloc(s->n_rows * sizeof *by);
	if (!by)
		return no_memory(err);
	for (size_t i = 0; i < s->n_rows; i++)
		by[i] = i;
	qsort_r(by, s->n_rows, sizeof *by, compare_rows, s);
	for (size_t from = 0, to; from < s->n_rows && !rc; from = to) {
		for (to = from; to < s->n_rows && !strcmp(s->rows[by[to]].commit, s->rows[by[from]].commit); to++)
			;
		rc = add_commit(out, (struct rows){s, by, from, to}, named, dates, order, err);
	}
	free(by);
	return rc ? error_prefix(err, rc, "%s", s->directory.path) : 0;
}
