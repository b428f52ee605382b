#include "harness/runner.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/pass.h"
#include "harness/plan.h"

/* What is known of a unit once its direct pass has run. */
struct unit {
	uint64_t *hashes;     /* (n_gen, or 1 for a prompt test): the chain after each token; null before the pass */
	double direct_itl_us; /* median of the direct run last seen */
	int code;             /* of the direct pass, where it failed: no mode of the unit can be checked */
	struct error why;
};

struct cell_state {
	int unit;
	int dropped; /* not measured any further */
	/* Of the graphs that the cell's runs captured so far. */
	double one_off_us;
	int graph_nodes; /* negative: none was captured yet */
	int kernel_nodes;
	int positional_nodes;
};

struct runner {
	const struct cell *cells;
	int n;
	struct pass_setup setup; /* s.w null: no group is open */
	const struct runner_sink *sink;
	struct runner_summary *summary;
	struct unit *units;        /* (n) at most */
	struct cell_state *states; /* (n) */
	uint64_t *scratch;         /* (most measured tokens of a cell): hashes of the pass at hand */
	struct runner_progress progress;
	int order;

	/* Of the group at hand. */
	struct workload_facts facts;
	int context;
	double prefill_us; /* of the depth; NAN at depth 0 */
};

void runner_options_default(struct runner_options *o)
{
	*o = (struct runner_options){
		.repetitions = 5,
		.steady = 4,
		.warmup_max = 32,
		.chunk = 2048,
		.seed = 1,
		.prefill_fusion = "full",
		.commit = "",
		.run_prefix = "run",
	};
}

static int warmup_work(const struct runner *r, const struct cell *c)
{
	return c->n_gen ? r->setup.o->steady + c->n_gen : 0;
}

static void report(struct runner *r, const struct cell *c)
{
	r->progress.cell = c;
	r->progress.run = r->order;
	if (r->sink->progress)
		r->sink->progress(r->sink->ctx, &r->progress);
}

/* Work of a cell's run that is done, or will never be. seconds < 0: dropped. */
static void progress_add(struct runner *r, const struct cell *c, double seconds)
{
	struct runner_progress *p = &r->progress;
	int64_t decode = warmup_work(r, c), prefill = c->n_prompt;
	p->decode_done += decode;
	p->prefill_done += prefill;
	if (seconds >= 0 && decode) {
		p->decode_s += seconds;
		p->decode_timed += decode;
	} else if (seconds >= 0) {
		p->prefill_s += seconds;
		p->prefill_timed += prefill;
	}
}

static double itl_median(struct runner *r, const struct pass *p)
{
	struct run_row row;
	row_init(&row);
	row_set_tokens(&row, r->setup.records + p->n_warmup, p->n_measured);
	return row.itl_median_us;
}

/* The unit's direct pass. */
static int unit_reference(struct runner *r, const struct cell *c, struct unit *u, struct error *err)
{
	struct cell direct = *c;
	direct.mode = MODE_REFERENCE;
	uint64_t *hashes = calloc(c->n_prompt ? 1 : (size_t)c->n_gen, sizeof *hashes);
	if (!hashes)
		return error_set(err, ERROR_MEMORY, "no memory for the hashes of %d tokens", c->n_gen);
	struct pass p;
	int rc = pass_run(&r->setup, &direct, &p, hashes, err);
	progress_add(r, c, p.seconds);
	if (rc || p.stopped) {
		free(hashes);
		return rc ? error_prefix(err, rc, "direct reference") : 0;
	}
	u->hashes = hashes;
	if (c->n_gen)
		u->direct_itl_us = itl_median(r, &p);
	return 0;
}

static enum run_status status_of(int code)
{
	if (code == ERROR_UNSUPPORTED)
		return RUN_STATUS_SKIPPED;
	return code == ERROR_WRONG ? RUN_STATUS_WRONG : RUN_STATUS_FAILED;
}

static void count(struct runner *r, enum run_status s, int fallbacks)
{
	struct runner_summary *sum = r->summary;
	int *counters[] = {&sum->ok, &sum->skipped, &sum->failed, &sum->wrong};
	++*counters[s];
	sum->with_fallbacks += s == RUN_STATUS_OK && fallbacks > 0;
}

/* Columns that differences of the workload's totals give, and what follows from them. */
static void row_set_graphs(struct runner *r, struct run_row *row, int cell, const struct workload_totals *before)
{
	const struct cell *c = &r->cells[cell];
	struct cell_state *s = &r->states[cell];
	struct workload_totals now = {0};
	r->setup.w->ops->totals(r->setup.w, &now);
	row->memory_peak_bytes = now.memory_peak_bytes < 0 ? ROW_UNKNOWN : now.memory_peak_bytes;
	if (!c->n_gen)
		return;
	row->captures = now.captures - before->captures;
	if (cell_is_direct(c))
		return;
	if (row->captures > 0) {
		row->capture_us = now.capture_us - before->capture_us;
		row->instantiate_us = now.instantiate_us - before->instantiate_us;
		row->upload_us = now.upload_us - before->upload_us;
		s->one_off_us += row->capture_us + row->instantiate_us + row->upload_us;
		s->graph_nodes = now.graph_nodes;
		s->kernel_nodes = now.kernel_nodes;
		s->positional_nodes = now.positional_nodes;
	}
	if (s->graph_nodes >= 0) {
		row->graph_nodes = s->graph_nodes;
		row->kernel_nodes = s->kernel_nodes;
		row->positional_nodes = s->positional_nodes;
	}
	double saving = r->units[s->unit].direct_itl_us - row->itl_median_us;
	if (s->one_off_us > 0 && saving > 0 && row->fallbacks == 0)
		row->break_even_tokens = s->one_off_us / saving;
}

static void row_set_kv_read(struct runner *r, struct run_row *row, const struct token_record *t, int n)
{
	double sum = 0;
	for (int i = 0; i < n; i++) {
		int64_t bytes = r->setup.w->ops->kv_bytes_read(r->setup.w, t[i].pos);
		if (bytes < 0)
			return;
		sum += (double)bytes;
	}
	if (n > 0)
		row->kv_bytes_per_token = sum / n;
}

static void describe_pass(struct runner *r, const struct cell *c, const struct pass *p, enum run_status *status,
			  char *reason, size_t size)
{
	if (p->first_diff >= 0) {
		*status = RUN_STATUS_WRONG;
		if (c->n_prompt)
			snprintf(reason, size, "the logits after the prompt differ from the first prefill's");
		else
			snprintf(reason, size, "logits differ from the direct reference from token %d of %d on",
				 p->first_diff, c->n_gen);
	} else if (p->stopped) {
		*status = RUN_STATUS_SKIPPED;
		snprintf(reason, size, "interrupted after %d of %d tokens", p->n_measured, c->n_gen);
	} else if (p->fallbacks) {
		const char *why = r->setup.w->ops->fallback_reason(r->setup.w);
		snprintf(reason, size, "%d of %d tokens were launched directly: %s", p->fallbacks,
			 p->n_warmup + p->n_measured, why && *why ? why : "the workload gives no reason");
	} else if (c->n_gen && !p->steady) {
		snprintf(reason, size, "the warm-up saw no %d steady tokens in a row in %d", r->setup.o->steady,
			 p->n_warmup);
	}
}

/* A cell that is not measured any further: its runs to come count as done, so that the time left stays right. */
static void drop_rest(struct runner *r, int cell, int repetition)
{
	r->states[cell].dropped = 1;
	for (int i = repetition + 1; i < r->setup.o->repetitions; i++)
		progress_add(r, &r->cells[cell], -1);
	r->progress.runs -= r->setup.o->repetitions - repetition - 1;
}

/* Hands out the row of one run. code: what the run returned; with p null it never started. */
static int deliver(struct runner *r, int cell, int repetition, int code, const struct error *why, const struct pass *p,
		   const struct workload_totals *before, const char *started, struct error *err)
{
	const struct cell *c = &r->cells[cell];
	struct run_row row;
	char label[CELL_LABEL_SIZE], id[96], hash[20];
	char reason[sizeof why->text + 64] = "";
	row_init(&row);
	cell_label(c, label);
	row_set_cell(&row, c, label, r->setup.w ? &r->facts : NULL);
	row.cell = cell;
	row.order = r->order;
	row.repetition = repetition;
	row.commit = r->setup.o->commit;
	row.seed = (int64_t)r->setup.o->seed;
	row.started_utc = started;
	snprintf(id, sizeof id, "%s-%05d", r->setup.o->run_prefix, r->order);
	row.run_id = id;
	enum run_status status = RUN_STATUS_OK;
	int n = 0;
	if (p) {
		const struct token_record *measured = r->setup.records + p->n_warmup;
		n = p->n_warmup + p->n_measured;
		row.n_context = r->context;
		row.warmup_tokens = c->n_gen ? p->n_warmup : ROW_UNKNOWN;
		row.fallbacks = c->n_gen ? p->fallbacks : ROW_UNKNOWN;
		row.prefill_us = c->n_prompt ? p->prefill_us : r->prefill_us;
		row.prefill_tokens_per_s = (c->n_prompt ? c->n_prompt : c->n_depth) / row.prefill_us * 1e6;
		if (c->n_prompt)
			row.tokens_per_s = row.prefill_tokens_per_s;
		row_set_kv_read(r, &row, measured, p->n_measured);
		if (row_set_tokens(&row, measured, p->n_measured))
			return error_set(err, ERROR_MEMORY, "no memory to summarise %d tokens", p->n_measured);
		row_set_graphs(r, &row, cell, before);
		if (!code && !p->stopped) {
			snprintf(hash, sizeof hash, "%016" PRIx64, p->hash);
			row.logits_hash = hash;
		}
	}
	if (code) {
		status = status_of(code);
		snprintf(reason, sizeof reason, "%s", why->text);
	} else if (p) {
		describe_pass(r, c, p, &status, reason, sizeof reason);
	}
	row.status = run_status_name(status);
	row.reason = reason;
	count(r, status, p ? p->fallbacks : 0);
	if (status != RUN_STATUS_OK)
		drop_rest(r, cell, repetition);
	else if (c->n_gen && cell_is_direct(c))
		r->units[r->states[cell].unit].direct_itl_us = row.itl_median_us;
	r->order++;
	int rc = r->sink->run(r->sink->ctx, &row, r->setup.records, n, err);
	report(r, c);
	return rc;
}

static void utc_now(char out[32])
{
	time_t t = time(NULL);
	struct tm tm;
	gmtime_r(&t, &tm);
	strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* Drops the cell with a row that says why it never ran. */
static int deliver_unrun(struct runner *r, int cell, int repetition, int code, const struct error *why,
			 struct error *err)
{
	char started[32];
	utc_now(started);
	progress_add(r, &r->cells[cell], -1);
	return deliver(r, cell, repetition, code, why, NULL, NULL, started, err);
}

static int run_cell(struct runner *r, int cell, int repetition, struct error *err)
{
	const struct cell *c = &r->cells[cell];
	struct unit *u = &r->units[r->states[cell].unit];
	if (!u->hashes && !u->code)
		u->code = unit_reference(r, c, u, &u->why);
	if (u->code)
		return deliver_unrun(r, cell, repetition, u->code, &u->why, err);
	if (runner_stopped(r->setup.o))
		return 0;
	struct error why = {""};
	char started[32];
	utc_now(started);
	struct workload_totals before = {0};
	r->setup.w->ops->totals(r->setup.w, &before);
	if (r->sink->begin)
		r->sink->begin(r->sink->ctx, cell);
	struct pass p;
	int code = pass_run(&r->setup, c, &p, r->scratch, &why);
	progress_add(r, c, p.seconds);
	pass_compare(&p, c, u->hashes, r->scratch);
	return deliver(r, cell, repetition, code, &why, &p, &before, started, err);
}

/* Opens the workload and prefills to the depth. */
static int group_open(struct runner *r, const struct plan_group *g, struct workload_source *source, struct error *err)
{
	const struct cell *first = &r->cells[g->sequence[0]];
	int need = 0;
	for (int i = 0; i < g->n; i++) {
		const struct cell *c = &r->cells[g->sequence[i]];
		int cell_need = c->n_prompt;
		if (c->n_gen)
			cell_need = c->n_gen > r->setup.o->warmup_max ? c->n_gen : r->setup.o->warmup_max;
		need = cell_need > need ? cell_need : need;
	}
	r->context = first->n_depth + need;
	r->prefill_us = NAN;
	struct placement where = {
		.model = first->model,
		.type_k = first->type_k,
		.type_v = first->type_v,
		.n_gpu_layers = first->n_gpu_layers,
		.n_threads = first->n_threads,
		.context = r->context,
	};
	int rc = source->open(source, &where, &r->setup.w, err);
	if (rc) {
		r->setup.w = NULL;
		return rc;
	}
	r->setup.w->ops->facts(r->setup.w, &r->facts);
	token_stream_init(&r->setup.stream, r->setup.o->seed, r->facts.n_vocab);
	rc = r->setup.w->ops->set_arm(r->setup.w, MODE_REFERENCE, r->setup.o->prefill_fusion, err);
	double us = 0;
	for (int at = 0; !rc && at < first->n_depth && !runner_stopped(r->setup.o);) {
		int n = first->n_depth - at < r->setup.o->chunk ? first->n_depth - at : r->setup.o->chunk;
		token_fill(&r->setup.stream, at, n, r->setup.tokens);
		int64_t from = runner_now_ns(r->setup.o);
		rc = r->setup.w->ops->prefill(r->setup.w, r->setup.tokens, n, err);
		double took = (double)(runner_now_ns(r->setup.o) - from) / 1e3;
		us += took;
		at += n;
		r->progress.prefill_done += n;
		r->progress.prefill_timed += n;
		r->progress.prefill_s += took / 1e6;
		report(r, first);
	}
	if (!rc && !runner_stopped(r->setup.o))
		rc = r->setup.w->ops->checkpoint(r->setup.w, err);
	if (first->n_depth)
		r->prefill_us = us;
	return rc ? error_prefix(err, rc, "depth %d", first->n_depth) : 0;
}

static int run_group(struct runner *r, const struct plan_group *g, struct workload_source *source, struct error *err)
{
	struct error why = {""};
	int code = group_open(r, g, source, &why);
	int rc = 0;
	for (int i = 0; code && i < g->n && !rc; i++)
		rc = deliver_unrun(r, g->sequence[i], 0, code, &why, err);
	for (int rep = 0; !code && rep < r->setup.o->repetitions; rep++) {
		for (int i = 0; i < g->n && !rc && !runner_stopped(r->setup.o); i++) {
			int cell = plan_cell(g, rep, i);
			if (!r->states[cell].dropped)
				rc = run_cell(r, cell, rep, err);
		}
	}
	for (int i = 0; i < g->n; i++) {
		struct unit *u = &r->units[r->states[g->sequence[i]].unit];
		free(u->hashes);
		u->hashes = NULL;
	}
	if (r->setup.w)
		r->setup.w->ops->close(r->setup.w);
	r->setup.w = NULL;
	return rc;
}

/* Units, work to do, and the largest buffers that any cell needs. */
static int runner_prepare(struct runner *r, struct error *err)
{
	size_t n_tokens = (size_t)r->setup.o->chunk, n_records = 1;
	for (int i = 0; i < r->n; i++) {
		const struct cell *c = &r->cells[i];
		int new_unit = i == 0 || !cell_same_unit(c - 1, c), new_group = i == 0 || !cell_same_group(c - 1, c);
		r->states[i] = (struct cell_state){
			.unit = i == 0 ? 0 : r->states[i - 1].unit + new_unit,
			.graph_nodes = -1,
		};
		int64_t runs = r->setup.o->repetitions + new_unit;
		r->progress.decode_total += runs * warmup_work(r, c);
		r->progress.prefill_total += runs * c->n_prompt + (new_group ? c->n_depth : 0);
		size_t records = (size_t)r->setup.o->warmup_max + (size_t)c->n_gen;
		size_t tokens = records > (size_t)c->n_prompt ? records : (size_t)c->n_prompt;
		n_tokens = tokens > n_tokens ? tokens : n_tokens;
		n_records = records > n_records ? records : n_records;
	}
	r->progress.runs = r->n * r->setup.o->repetitions;
	r->setup.tokens = calloc(n_tokens, sizeof *r->setup.tokens);
	r->setup.records = calloc(n_records, sizeof *r->setup.records);
	r->scratch = calloc(n_records, sizeof *r->scratch);
	if (!r->setup.tokens || !r->setup.records || !r->scratch)
		return error_set(err, ERROR_MEMORY, "no memory for %zu token records; measure fewer tokens", n_records);
	return 0;
}

int runner_run(const struct cell *cells, int n, struct workload_source *source, const struct runner_options *o,
	       const struct runner_sink *sink, struct runner_summary *summary, struct error *err)
{
	assert(n > 0 && o->repetitions > 0 && o->steady > 0 && o->warmup_max >= o->steady && o->chunk > 0);
	*summary = (struct runner_summary){0};
	struct runner r = {.cells = cells, .n = n, .setup.o = o, .sink = sink, .summary = summary};
	struct plan plan = {0};
	r.units = calloc((size_t)n, sizeof *r.units);
	r.states = calloc((size_t)n, sizeof *r.states);
	int rc = 0;
	if (!r.units || !r.states)
		rc = error_set(err, ERROR_MEMORY, "no memory for %d cells; sweep fewer values", n);
	if (!rc)
		rc = runner_prepare(&r, err);
	if (!rc)
		rc = plan_build(cells, n, o->seed, &plan, err);
	for (int g = 0; !rc && g < plan.n_groups && !runner_stopped(o); g++)
		rc = run_group(&r, &plan.groups[g], source, err);
	summary->interrupted = runner_stopped(o);
	plan_free(&plan);
	free(r.scratch);
	free(r.setup.records);
	free(r.setup.tokens);
	free(r.states);
	free(r.units);
	return rc;
}
