/* One run of a sweep: its unit's reference, the pass, and the row that comes of both. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/measure/measured_row.h"
#include "harness/measure/nvml.h"
#include "harness/measure/pass_timeline.h"
#include "harness/measure/runner_internal.h"

int runner_decode_work(const struct runner *r, const struct cell *c)
{
	return c->n_gen ? r->setup.o->steady + (1 + cell_runs_twice(c)) * c->n_gen : 0;
}

int runner_prefill_work(const struct cell *c)
{
	return c->n_prompt * (c->n_gen ? 2 + cell_runs_twice(c) : 2 - cell_is_direct(c));
}

void runner_report(struct runner *r, const struct cell *c)
{
	r->progress.cell = c;
	r->progress.run = r->order;
	if (r->sink->progress)
		r->sink->progress(r->sink->ctx, &r->progress);
}

void runner_progress_add(struct runner *r, const struct cell *c, const struct pass *p)
{
	struct runner_progress *all = &r->progress;
	int64_t decode = runner_decode_work(r, c), prefill = runner_prefill_work(c);
	all->decode_done += decode;
	all->prefill_done += prefill;
	if (!p)
		return;
	double in_prefill = decode ? p->prefill_seconds : p->seconds;
	if (prefill) {
		all->prefill_s += in_prefill;
		all->prefill_timed += prefill;
	}
	if (decode) {
		all->decode_s += p->seconds - in_prefill;
		all->decode_timed += decode;
	}
}

static double itl_median(struct runner *r, const struct pass *p)
{
	struct run_row row;
	row_init(&row);
	row_set_tokens(&row, r->setup.records + p->n_warmup, p->n_measured);
	return row.itl_median_us;
}

/* Whether cells of the unit compare the last token's logits alone. */
static int any_runs_twice(const struct runner *r, const struct cell *c)
{
	for (int i = 0; i < r->n; i++)
		if (cell_runs_twice(&r->cells[i]) && cell_same_unit(&r->cells[i], c))
			return 1;
	return 0;
}

/* The unit's direct pass. */
static int unit_reference(struct runner *r, const struct cell *c, struct unit *u, struct error *err)
{
	struct cell direct = *c;
	/* Waits for each token, whatever the unit does. */
	direct.mode = MODE_REFERENCE;
	direct.prefill_mode = NULL;
	direct.sync = SYNC_TOKEN;
	uint64_t *hashes = calloc((size_t)pass_hashes(c), sizeof *hashes);
	if (!hashes)
		return error_set(err, ERROR_MEMORY, "no memory for the hashes of %d tokens", c->n_gen);
	struct pass p;
	r->setup.quality = r->setup.n_remembered && !c->n_prompt ? &u->quality : NULL;
	int rc = pass_run(&r->setup, &direct, &p, hashes, err);
	r->setup.quality = NULL;
	if (!rc && !p.stopped && any_runs_twice(r, c))
		rc = r->setup.w->ops->hash(r->setup.w, 0, &u->last, err);
	runner_progress_add(r, c, &p);
	if (rc || p.stopped) {
		free(hashes);
		return rc ? error_prefix(err, rc, "direct reference") : 0;
	}
	u->hashes = hashes;
	if (c->n_gen)
		u->direct_itl_us = cell_is_queued(c) ? NAN : itl_median(r, &p);
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
	int *counters[] = {&sum->ok, &sum->skipped, &sum->failed, &sum->wrong, &sum->unfinished};
	++*counters[s];
	sum->with_fallbacks += s == RUN_STATUS_OK && fallbacks > 0;
}

/* Columns that differences of the workload's totals give, and what follows from them. t: (2), before and behind. */
static void row_set_graphs(struct runner *r, struct run_row *row, int cell, const struct workload_totals *t)
{
	const struct cell *c = &r->cells[cell];
	struct cell_state *s = &r->states[cell];
	const struct workload_totals *before = &t[0], *now = &t[1];
	row->memory_peak_bytes = now->memory_peak_bytes < 0 ? ROW_UNKNOWN : now->memory_peak_bytes;
	row->memory_bytes = now->memory_bytes < 0 ? ROW_UNKNOWN : now->memory_bytes;
	if (!c->n_gen && cell_is_direct(c))
		return;
	row->captures = now->captures - before->captures;
	if (cell_is_direct(c))
		return;
	if (row->captures > 0) {
		row->capture_us = now->capture_us - before->capture_us;
		row->instantiate_us = now->instantiate_us - before->instantiate_us;
		row->upload_us = now->upload_us - before->upload_us;
		s->one_off_us += row->capture_us + row->instantiate_us + row->upload_us;
		s->graph_nodes = now->graph_nodes;
		s->kernel_nodes = now->kernel_nodes;
		s->positional_nodes = now->positional_nodes;
	}
	if (s->graph_nodes >= 0) {
		row->graph_nodes = s->graph_nodes;
		row->kernel_nodes = s->kernel_nodes;
		row->copy_nodes = s->graph_nodes - s->kernel_nodes;
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
		if (c->n_prompt && !p->first_diff)
			snprintf(reason, size, "the logits after the prompt differ from the first prefill's");
		else
			snprintf(reason, size, "logits differ from the direct reference from token %d of %d on",
				 p->first_diff - (c->n_prompt > 0), c->n_gen);
	} else if (p->stopped) {
		*status = RUN_STATUS_INTERRUPTED;
		snprintf(reason, size, "interrupted after %d of %d tokens", p->n_measured, c->n_gen);
	} else if (p->fallbacks) {
		const char *why = r->setup.w->ops->fallback_reason(r->setup.w);
		snprintf(reason, size, "%d of %d %s were launched directly: %s", p->fallbacks,
			 c->n_gen ? p->n_warmup + p->n_measured : (int)p->prompt.chunks,
			 c->n_gen ? "tokens" : "chunks of the prompt",
			 why && *why ? why : "the workload gives no reason");
	} else if (c->n_gen && !p->steady) {
		snprintf(reason, size, "the warm-up saw no %d steady tokens in a row in %d", r->setup.o->steady,
			 p->n_warmup);
	}
}

int runner_is_done(const struct runner *r, int cell, int repetition)
{
	const struct runner_past *p = r->setup.o->past;
	return p && p->done[(size_t)cell * (size_t)r->setup.o->repetitions + (size_t)repetition];
}

int runner_runs_left(const struct runner *r, int cell)
{
	int n = 0;
	if (r->states[cell].dropped)
		return 0;
	for (int i = 0; i < r->setup.o->repetitions; i++)
		n += !runner_is_done(r, cell, i);
	return n;
}

void runner_drop_rest(struct runner *r, int cell, int repetition)
{
	r->states[cell].dropped = 1;
	if (r->attempt)
		return; /* its repetitions are over */
	for (int i = repetition + 1; i < r->setup.o->repetitions; i++) {
		if (runner_is_done(r, cell, i))
			continue;
		runner_progress_add(r, &r->cells[cell], NULL);
		r->progress.runs--;
	}
}

/* How the run's clock is among its peers'; a remark where it is low and nothing else was remarked. */
static void row_set_clock(struct runner *r, struct run_row *row, int cell, char *reason, size_t size)
{
	int repetition = (int)row->repetition;
	double peers;
	clock_check_note(&r->clocks, cell, repetition, r->attempt, row->sm_clock_mhz);
	if (row->sm_clock_mhz > r->setup.clock_peak)
		r->setup.clock_peak = row->sm_clock_mhz;
	int low = clock_check_run(&r->clocks, cell, repetition, &peers);
	row->clock_low = low < 0 ? ROW_UNKNOWN : low;
	if (low > 0 && !*reason)
		snprintf(reason, size, "SM clock %.0f MHz, below %.0f %% of its peers' %.0f", row->sm_clock_mhz,
			 100 * r->setup.o->clock_fraction, peers);
}

/*
 * What the run launched, chunk by chunk and token by token, against the cell's first run: exact counts, so that any
 * difference counts.
 */
static void row_set_launches(struct runner *r, struct run_row *row, int cell, const struct pass *p, char text[20],
			     char *reason, size_t size)
{
	const struct cell *c = &r->cells[cell];
	struct cell_state *s = &r->states[cell];
	const struct token_record *t = r->setup.records + p->n_warmup;
	uint64_t hash = !c->n_prompt ? row_launch_hash(t, p->n_measured)
			: !c->n_gen  ? p->prompt.sequence
				     : row_launch_hash_behind(p->prompt.sequence, t, p->n_measured);
	if (!hash)
		return;
	snprintf(text, 20, "%016" PRIx64, hash);
	row->launch_hash = text;
	if (s->launches)
		row->launches_differ = hash != s->launches;
	else
		s->launches = hash;
	if (row->launches_differ == 1 && !*reason)
		snprintf(reason, size, "it launched something else than the cell's first run");
}

/*
 * Hands out the row of one run. code: what the run returned; with p null it never started. totals: (2), the workload's
 * before the pass and behind it.
 */
static int deliver(struct runner *r, int cell, int repetition, int code, const struct error *why, const struct pass *p,
		   const struct workload_totals *totals, const char *started, struct error *err)
{
	const struct cell *c = &r->cells[cell];
	struct run_row row;
	char label[CELL_LABEL_SIZE], id[96], hash[20], throttle[COLUMN_TEXT_SIZE], until[STABILITY_TEXT_SIZE],
		launches[20];
	char reason[sizeof why->text + 64] = "";
	row_init(&row);
	cell_label(c, label);
	row_set_cell(&row, c, label, r->setup.w ? &r->facts : NULL);
	row.cell = cell;
	row.order = r->order;
	row.repetition = repetition;
	row.attempt = r->attempt;
	row.until = stability_text(r->setup.o->until, until);
	row.commit = r->setup.o->commit;
	row.machine = r->setup.o->machine;
	row.gpu = row.device && strcmp(row.device, "host") ? r->setup.o->gpu : NULL;
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
		row.fallbacks = c->n_gen || !cell_is_direct(c) ? p->fallbacks : ROW_UNKNOWN;
		if (c->n_depth) {
			row.context_source = r->context_source;
			row.context_prefilled_tokens = r->context_prefilled;
		}
		row.prefill_us = c->n_prompt ? p->prefill_us : r->prefill_us;
		row.prefill_tokens_per_s = (c->n_prompt ? c->n_prompt : c->n_depth) / row.prefill_us * 1e6;
		if (cell_is_prompt(c))
			row.tokens_per_s = row.prefill_tokens_per_s;
		if (c->n_prompt) {
			row_set_prompt(&row, &p->prompt, p->ttft_us);
			row_set_prefill(&row, r->setup.w->ops->prefill_flops(r->setup.w, c->n_depth, c->n_prompt));
		}
		row_set_kv_read(r, &row, measured, p->n_measured);
		if (row_set_tokens(&row, measured, p->n_measured))
			return error_set(err, ERROR_MEMORY, "no memory to summarise %d tokens", p->n_measured);
		if (c->n_prompt && c->n_gen)
			row_add_prompt(&row, p->n_measured);
		row_set_graphs(r, &row, cell, totals);
		if (c->snapkv)
			row_set_eviction(&row, &r->eviction, &r->units[r->states[cell].unit].quality);
		row_set_conditions(&row, &p->conditions, c->n_prompt + p->n_measured,
				   throttle_reasons_text(p->conditions.throttle_reasons, throttle));
		if (!code && !p->stopped) {
			snprintf(hash, sizeof hash, "%016" PRIx64, p->hash);
			row.logits_hash = hash;
		}
	}
	if (code) {
		status = status_of(code);
		r->states[cell].no_memory |= code == ERROR_MEMORY;
		r->lost |= code == ERROR_DEVICE;
		snprintf(reason, sizeof reason, "%s", why->text);
	} else if (p) {
		describe_pass(r, c, p, &status, reason, sizeof reason);
	}
	if (status == RUN_STATUS_OK) {
		row_set_launches(r, &row, cell, p, launches, reason, sizeof reason);
		row_set_clock(r, &row, cell, reason, sizeof reason);
		stability_note(&r->stability, cell, repetition, row_time_us(&row));
	}
	row.status = status;
	row.reason = reason;
	count(r, status, p ? p->fallbacks : 0);
	if (status != RUN_STATUS_OK) {
		r->states[cell].failed = 1;
		runner_drop_rest(r, cell, repetition);
	} else if (c->n_gen && cell_is_direct(c))
		r->units[r->states[cell].unit].direct_itl_us = row.itl_median_us;
	r->order++;
	int rc = 0;
	if (r->stamps)
		rc = r->sink->timeline(r->sink->ctx, id, r->stamps, r->n_stamps, err);
	if (!rc)
		rc = r->sink->run(r->sink->ctx, &row, r->setup.records, n, err);
	runner_report(r, c);
	return rc;
}

static void utc_now(char out[32])
{
	time_t t = time(NULL);
	struct tm tm;
	gmtime_r(&t, &tm);
	strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

int runner_deliver_unrun(struct runner *r, int cell, int repetition, int code, const struct error *why,
			 struct error *err)
{
	char started[32];
	utc_now(started);
	runner_progress_add(r, &r->cells[cell], NULL);
	return deliver(r, cell, repetition, code, why, NULL, NULL, started, err);
}

int runner_is_placed_anew(const struct cell *c)
{
	return c->n_gpu_layers == AXIS_LAYERS_AUTO;
}

static int same_but_deeper(const struct cell *shallow, const struct cell *deep)
{
	for (int a = 0; a < AXIS_COUNT; a++)
		if (a != AXIS_DEPTH && !cell_same_value(shallow, deep, (enum axis_id)a))
			return 0;
	return shallow->n_depth < deep->n_depth;
}

/* A cell that is the same but shallower, and was out of memory; negative: none. */
static int out_of_memory_before(const struct runner *r, int cell)
{
	const struct cell *c = &r->cells[cell];
	for (int i = 0; i < r->n && !runner_is_placed_anew(c); i++)
		if (r->states[i].no_memory && same_but_deeper(&r->cells[i], c))
			return i;
	return -1;
}

/* In slices, so that the sweep can still be stopped. */
static void delay(const struct runner *r)
{
	const struct runner_options *o = r->setup.o;
	const int64_t slice = 100000000;
	for (int64_t left = o->delay_s * (int64_t)1000000000; left > 0 && !runner_stopped(o); left -= slice) {
		if (o->pause)
			o->pause(o->clock_ctx, slice);
		else
			nanosleep(&(struct timespec){.tv_nsec = slice}, NULL);
	}
}

/*
 * Behind the unit's first runs that went well so far. What has no stamps, as a model on two devices, or no memory for
 * them, goes without: its run is measured already.
 */
static int stamp_token(struct runner *r, const struct cell *c, const struct pass *p, struct unit *u, struct error *why)
{
	const struct runner_options *o = r->setup.o;
	bool replayed = !cell_is_direct(c) && strcmp(c->fusion, FUSION_ONE_LAUNCH);
	if (!o->timeline || !c->n_gen || u->stamped[replayed] || p->stopped || p->first_diff >= 0 ||
	    !r->setup.w->ops->timeline)
		return 0;
	u->stamped[replayed] = true;
	int rc = pass_timeline(&r->setup, c, replayed ? MODE_REPLAYED : MODE_REFERENCE, u->hashes, &r->stamps,
			       &r->n_stamps, why);
	return rc == ERROR_UNSUPPORTED || rc == ERROR_MEMORY ? 0 : rc;
}

int runner_run_cell(struct runner *r, int cell, int repetition, struct error *err)
{
	const struct cell *c = &r->cells[cell];
	struct unit *u = &r->units[r->states[cell].unit];
	int smaller = out_of_memory_before(r, cell);
	if (smaller >= 0) {
		struct error why;
		char label[CELL_LABEL_SIZE];
		cell_label(&r->cells[smaller], label);
		error_set(&why, ERROR_UNSUPPORTED, "%s was out of memory already", label);
		return runner_deliver_unrun(r, cell, repetition, ERROR_UNSUPPORTED, &why, err);
	}
	struct error short_text = {""};
	if (runner_check_text(&r->facts, r->setup.o, c, &short_text))
		return runner_deliver_unrun(r, cell, repetition, ERROR_UNSUPPORTED, &short_text, err);
	if (!u->hashes && !u->code)
		u->code = unit_reference(r, c, u, &u->why);
	if (u->code)
		return runner_deliver_unrun(r, cell, repetition, u->code, &u->why, err);
	delay(r);
	if (runner_stopped(r->setup.o))
		return 0;
	struct error why = {""};
	char started[32];
	utc_now(started);
	struct workload_totals totals[2] = {0};
	r->setup.w->ops->totals(r->setup.w, &totals[0]);
	if (r->sink->begin)
		r->sink->begin(r->sink->ctx, cell);
	struct pass p;
	int code = pass_run(&r->setup, c, &p, r->scratch, &why);
	r->setup.w->ops->totals(r->setup.w, &totals[1]); /* what the stamped token takes is not the run's */
	runner_progress_add(r, c, &p);
	pass_compare(&p, c, u->hashes, u->last, r->scratch);
	if (!code)
		code = stamp_token(r, c, &p, u, &why);
	int rc = deliver(r, cell, repetition, code, &why, &p, totals, started, err);
	free(r->stamps);
	r->stamps = NULL;
	return rc;
}
