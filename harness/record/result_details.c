/* The tokens of a result set's runs, the looks at the machine, and the time stamps within a token. */
#include "harness/record/result_set.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

#define TIMELINE_MAX_NS ((int64_t)1 << 53) /* exact as a double; more than a hundred days */

static long find_run(const void *ctx, const char *run_id)
{
	return result_set_find(ctx, run_id);
}

int result_set_open_tokens(struct result_set *s, struct error *err)
{
	static const char *const required[] = {"run_id", "phase", "token_index", "itl_us", "graph_event", NULL};
	const struct detail_runs runs = {s, find_run};
	if (s->tokens.fd >= 0)
		return 0;
	return detail_file_open(&s->tokens, &s->directory, "tokens.csv", token_columns, token_n_columns, required,
				RESULT_SET_MAX_DETAIL_BYTES, &runs, err);
}

int result_set_open_telemetry(struct result_set *s, struct error *err)
{
	static const char *const required[] = {"run_id", "phase", "time_us", NULL};
	const struct detail_runs runs = {s, find_run};
	if (s->telemetry.fd >= 0)
		return 0;
	return detail_file_open(&s->telemetry, &s->directory, "telemetry.csv", telemetry_columns, telemetry_n_columns,
				required, RESULT_SET_MAX_DETAIL_BYTES, &runs, err);
}

static int compare_tokens(const void *a, const void *b)
{
	const struct token_record *x = a, *y = b;
	if (x->phase != y->phase)
		return x->phase < y->phase ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static int bad_run(const struct result_set *s, size_t row, const char *file, const char *what, struct error *err)
{
	return error_set(
		err, ERROR_INPUT, "%s/%s: run %s: %s; restore the file, or take the run's line out of runs.csv",
		s->directory.path, file, text_show(s->rows[row].run_id, strlen(s->rows[row].run_id)).text, what);
}

/* What every token must have: a phase, an index and an event. */
static int check_token(const struct result_set *s, size_t row, const struct token_record *t, struct error *err)
{
	char what[64];
	const char *missing = !*token_phase_name(t->phase)   ? "phase"
			      : t->index < 0                 ? "token_index"
			      : !*token_event_name(t->event) ? "graph_event"
							     : NULL;
	if (!missing)
		return 0;
	snprintf(what, sizeof what, "a token without %s", missing);
	return bad_run(s, row, "tokens.csv", what, err);
}

int result_set_tokens(struct result_set *s, size_t row, struct token_record **out, size_t *n, struct error *err)
{
	struct token_row *read;
	struct token_record *tokens = NULL;
	char what[96];
	*out = NULL;
	*n = 0;
	int rc = result_set_open_tokens(s, err);
	if (!rc)
		rc = detail_file_read(&s->tokens, row, sizeof *read, (void **)&read, n, err);
	if (rc || !*n) {
		*n = 0;
		return rc;
	}
	tokens = calloc(*n, sizeof *tokens);
	if (!tokens)
		rc = error_set(err, ERROR_MEMORY, "%s: not enough memory for %zu tokens", s->directory.path, *n);
	for (size_t i = 0; i < *n && !rc; i++) {
		tokens[i] = read[i].token;
		rc = check_token(s, row, &tokens[i], err);
	}
	free(read);
	if (!rc)
		qsort(tokens, *n, sizeof *tokens, compare_tokens);
	for (size_t i = 1; i < *n && !rc; i++) {
		if (compare_tokens(&tokens[i - 1], &tokens[i]))
			continue;
		snprintf(what, sizeof what, "token %d of its %s is there twice", tokens[i].index,
			 token_phase_name(tokens[i].phase));
		rc = bad_run(s, row, "tokens.csv", what, err);
	}
	if (rc) {
		free(tokens);
		*n = 0;
		return rc;
	}
	*out = tokens;
	return 0;
}

int result_set_itl(struct result_set *s, size_t row, double **out, size_t *n, struct error *err)
{
	struct token_record *tokens;
	size_t n_tokens, first = 0;
	*out = NULL;
	*n = 0;
	int rc = result_set_tokens(s, row, &tokens, &n_tokens, err);
	if (rc)
		return rc;
	while (first < n_tokens && tokens[first].phase != TOKEN_PHASE_MEASURE)
		first++;
	if (first < n_tokens && !(*out = calloc(n_tokens - first, sizeof **out)))
		rc = error_set(err, ERROR_MEMORY, "%s: not enough memory for %zu tokens", s->directory.path, n_tokens);
	for (size_t i = first; i < n_tokens && !rc; i++)
		(*out)[(*n)++] = tokens[i].itl_us;
	free(tokens);
	return rc;
}

int result_set_check_tokens(struct result_set *s, size_t row, struct error *err)
{
	const struct run_row *r = &s->rows[row];
	struct token_record *tokens;
	size_t n, n_phase[2] = {0, 0};
	char what[128];
	int rc = result_set_tokens(s, row, &tokens, &n, err);
	if (rc)
		return rc;
	for (size_t i = 0; i < n && !rc; i++) {
		const struct token_record *t = &tokens[i];
		if ((size_t)t->index != n_phase[t->phase]++) {
			snprintf(what, sizeof what, "token %zu of its %s is missing", n_phase[t->phase] - 1,
				 token_phase_name(t->phase));
			rc = bad_run(s, row, "tokens.csv", what, err);
		}
	}
	free(tokens);
	if (rc)
		return rc;
	int64_t warmup = r->warmup_tokens == ROW_UNKNOWN ? 0 : r->warmup_tokens;
	int64_t measured = r->n_gen == ROW_UNKNOWN ? 0 : r->n_gen;
	if ((int64_t)n_phase[TOKEN_PHASE_WARMUP] == warmup &&
	    ((int64_t)n_phase[TOKEN_PHASE_MEASURE] == measured ||
	     (r->status != RUN_STATUS_OK && (int64_t)n_phase[TOKEN_PHASE_MEASURE] < measured)))
		return 0;
	snprintf(what, sizeof what, "%zu + %zu tokens where its row says %lld + %lld", n_phase[TOKEN_PHASE_WARMUP],
		 n_phase[TOKEN_PHASE_MEASURE], (long long)warmup, (long long)measured);
	return bad_run(s, row, "tokens.csv", what, err);
}

int result_set_telemetry(struct result_set *s, size_t row, struct telemetry_sample **out, size_t *n, struct error *err)
{
	struct telemetry_row *read;
	*out = NULL;
	*n = 0;
	if (s->telemetry.fd < 0 && run_directory_lacks(&s->directory, "telemetry.csv"))
		return 0;
	int rc = result_set_open_telemetry(s, err);
	if (!rc)
		rc = detail_file_read(&s->telemetry, row, sizeof *read, (void **)&read, n, err);
	if (rc || !*n) {
		*n = 0;
		return rc;
	}
	*out = calloc(*n, sizeof **out);
	if (!*out)
		rc = error_set(err, ERROR_MEMORY, "%s: not enough memory for %zu looks", s->directory.path, *n);
	for (size_t i = 0; i < *n && !rc; i++)
		(*out)[i] = read[i].sample;
	free(read);
	*n = rc ? 0 : *n;
	return rc;
}

/* Whether it ends within its header, as where the sweep ended while that was written: then it has no rows. */
static bool ends_in_header(int fd)
{
	char header[1024], text[sizeof header];
	int n = 0;
	for (int i = 0; i < timeline_n_columns; i++)
		n += snprintf(header + n, sizeof header - (size_t)n, "%s\"%s\"", i ? "," : "",
			      timeline_columns[i].name);
	ssize_t got = pread(fd, text, sizeof text, 0);
	return got >= 0 && got <= n && !memcmp(text, header, (size_t)got);
}

int result_set_open_timeline(struct result_set *s, struct error *err)
{
	static const char *const required[] = {"run_id", "block", "phase", "kind", "entered_ns", "published_ns", NULL};
	const struct detail_runs runs = {s, find_run};
	if (s->timeline.fd >= 0 || run_directory_lacks(&s->directory, "timeline.csv"))
		return 0;
	int fd = run_directory_open_file(&s->directory, "timeline.csv", O_RDONLY, err);
	if (fd < 0)
		return fd;
	bool empty = ends_in_header(fd);
	close(fd);
	if (empty)
		return 0;
	return detail_file_open(&s->timeline, &s->directory, "timeline.csv", timeline_columns, timeline_n_columns,
				required, RESULT_SET_MAX_DETAIL_BYTES, &runs, err);
}

static int compare_stamps(const void *a, const void *b)
{
	const struct timeline_stamp *x = a, *y = b;
	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return (x->phase > y->phase) - (x->phase < y->phase);
}

/* Whether a stamp that may be missing is between two others. */
static bool is_between(int64_t from, int64_t ns, int64_t to)
{
	return ns == COLUMN_UNKNOWN || (from <= ns && ns <= to);
}

/* stamps: (n), sorted. What is wrong with them as a token's; null: nothing. */
static const char *wrong_stamps(const struct timeline_stamp *stamps, size_t n)
{
	size_t n_phases = 0;
	while (n_phases < n && stamps[n_phases].block == stamps[0].block)
		n_phases++;
	if (n % n_phases)
		return "a time stamp is missing, or there twice";
	for (size_t i = 0; i < n; i++) {
		const struct timeline_stamp *s = &stamps[i], *alike = &stamps[i % n_phases];
		int64_t input = s->input_ns == COLUMN_UNKNOWN ? s->entered_ns : s->input_ns;
		if (s->kind < 0)
			return "a time stamp without a kind";
		if ((size_t)s->block != i / n_phases || s->block < 0 || (size_t)s->phase != i % n_phases ||
		    s->phase < 0)
			return "a time stamp is missing, or there twice";
		if (s->kind != alike->kind || s->layer != alike->layer)
			return "blocks that disagree on what a phase is";
		if (s->layer >= 0 && (size_t)s->layer >= n_phases)
			return "more layers than phases";
		if (s->entered_ns < 0 || s->published_ns > TIMELINE_MAX_NS || s->entered_ns > s->published_ns ||
		    !is_between(s->entered_ns, s->input_ns, s->published_ns) ||
		    !is_between(input, s->worked_ns, s->published_ns) ||
		    (s->phase && s[-1].published_ns > s->entered_ns))
			return "time stamps that are not in order";
	}
	return NULL;
}

int result_set_timeline(struct result_set *s, size_t row, struct timeline_stamp **out, size_t *n, struct error *err)
{
	struct timeline_row *read = NULL;
	const char *wrong = NULL;
	*out = NULL;
	*n = 0;
	int rc = result_set_open_timeline(s, err);
	if (!rc && s->timeline.fd >= 0)
		rc = detail_file_read(&s->timeline, row, sizeof *read, (void **)&read, n, err);
	if (rc || !*n) {
		*n = 0;
		return rc;
	}
	struct timeline_stamp *stamps = calloc(*n, sizeof *stamps);
	if (!stamps)
		rc = error_set(err, ERROR_MEMORY, "%s: not enough memory for %zu time stamps", s->directory.path, *n);
	for (size_t i = 0; i < *n && !rc; i++)
		stamps[i] = read[i].stamp;
	free(read);
	if (!rc)
		qsort(stamps, *n, sizeof *stamps, compare_stamps);
	if (!rc)
		wrong = wrong_stamps(stamps, *n);
	if (wrong)
		rc = bad_run(s, row, "timeline.csv", wrong, err);
	if (rc) {
		free(stamps);
		*n = 0;
		return rc;
	}
	*out = stamps;
	return 0;
}

int result_set_check_telemetry(struct result_set *s, size_t row, struct error *err)
{
	struct telemetry_sample *looks;
	size_t n;
	int64_t n_measured = 0, said = s->rows[row].telemetry_samples;
	int rc = result_set_telemetry(s, row, &looks, &n, err);
	if (rc)
		return rc;
	for (size_t i = 0; i < n; i++)
		n_measured += looks[i].measured;
	free(looks);
	if (said == ROW_UNKNOWN || said == n_measured)
		return 0;
	return error_set(err, ERROR_INPUT, "%s: run %.80s: %lld measured looks where its row says %lld",
			 s->telemetry.path, s->rows[row].run_id, (long long)n_measured, (long long)said);
}
