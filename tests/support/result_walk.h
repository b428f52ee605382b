/*
 * Reads everything that a run directory offers, goes on in it, and aborts where that breaks a promise of
 * harness/record/result_set.h or resume.h. For the mutation test and the fuzz target, both of which run under
 * AddressSanitizer too.
 */
#ifndef GEMMARK_TESTS_SUPPORT_RESULT_WALK_H
#define GEMMARK_TESTS_SUPPORT_RESULT_WALK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/record/result_set.h"
#include "harness/record/resume.h"
#include "tests/support/shown_line.h"

static inline void walk_promise(int kept, const char *what)
{
	if (!kept) {
		fprintf(stderr, "broken promise: %s\n", what);
		abort();
	}
}

/* One line that a terminal shows, for failures alone. Returns rc. */
static inline int walk_result(int rc, const struct error *err)
{
	walk_promise(rc <= 0, "a code is 0 or negative");
	walk_promise(!rc || *err->text, "a failure says something");
	walk_promise(is_shown_line(err->text), "a message is one line that a terminal shows");
	return rc;
}

/* A column's text makes the same value. */
static inline void walk_columns(const void *record, const struct column *columns, int n)
{
	static union {
		struct run_row row;
		struct token_row token;
		struct telemetry_row look;
		struct timeline_row stamp;
	} copy;
	for (int i = 0; i < n; i++) {
		char text[COLUMN_TEXT_SIZE];
		const char *written = column_text(record, &columns[i], text);
		walk_promise(!column_set_text(&copy, &columns[i], written), "what is written is read");
		double x = column_number(record, &columns[i]), y = column_number(&copy, &columns[i]);
		walk_promise(isnan(x) ? isnan(y) : fabs(x - y) <= 1e-8 * fabs(x), "a number comes back");
		for (const char *c = written; columns[i].type == COLUMN_TEXT && *c; c++)
			walk_promise((unsigned char)*c >= ' ' || strchr("\t\r\n", *c), "a text has no control bytes");
	}
}

static inline void walk_details(struct result_set *s, size_t row)
{
	struct token_record *tokens;
	struct telemetry_sample *looks;
	struct timeline_stamp *stamps;
	double *itl;
	size_t n, n_itl, n_measured = 0;
	struct error err = {""};
	int rc = walk_result(result_set_tokens(s, row, &tokens, &n, &err), &err);
	walk_promise(!rc || (!tokens && !n), "a failure gives nothing");
	for (size_t i = 0; i < n; i++) {
		struct token_row t = {1, "", tokens[i]};
		walk_columns(&t, token_columns, token_n_columns);
		walk_promise(tokens[i].index >= 0 && *token_phase_name(tokens[i].phase), "a token has a place");
		walk_promise(!i || tokens[i - 1].phase < tokens[i].phase ||
				     (tokens[i - 1].phase == tokens[i].phase && tokens[i - 1].index < tokens[i].index),
			     "tokens are in order");
		n_measured += tokens[i].phase == TOKEN_PHASE_MEASURE;
	}
	free(tokens);
	if (!walk_result(result_set_itl(s, row, &itl, &n_itl, &err), &err))
		walk_promise(n_itl == n_measured, "each measured token has its itl");
	free(itl);
	walk_result(result_set_check_tokens(s, row, &err), &err);
	if (!walk_result(result_set_telemetry(s, row, &looks, &n, &err), &err))
		for (size_t i = 0; i < n; i++) {
			struct telemetry_row t = {1, "", looks[i]};
			walk_columns(&t, telemetry_columns, telemetry_n_columns);
		}
	free(looks);
	if (!walk_result(result_set_timeline(s, row, &stamps, &n, &err), &err))
		for (size_t i = 0; i < n; i++) {
			struct timeline_row t = {1, "", stamps[i]};
			walk_columns(&t, timeline_columns, timeline_n_columns);
			walk_promise(stamps[i].entered_ns >= 0 && stamps[i].published_ns >= stamps[i].entered_ns,
				     "a phase has begun and ended");
			walk_promise(stamps[i].kind >= 0 && stamps[i].kind < timeline_n_kinds, "a phase has a kind");
			walk_promise((stamps[i].block + 1) * (stamps[n - 1].phase + 1) <= (int)n, "blocks are alike");
		}
	free(stamps);
}

static inline void walk_set(struct result_set *s)
{
	size_t n_counting = 0;
	for (size_t i = 0; i < s->n_rows; i++) {
		const struct run_row *row = &s->rows[i];
		walk_columns(row, row_columns, row_n_columns);
		walk_promise(result_set_find(s, row->run_id) == (long)i, "a run is found");
		walk_promise(*run_status_name(row->status), "a status is known");
		walk_promise(row->repetition >= 0 && row->attempt >= 0, "a run has its place");
		walk_promise(row->cell >= 0 && row->cell < s->n_cells, "a row has a cell");
		struct cell cell;
		row_cell(row, &cell);
		walk_promise(cell_same(&cell, &s->cells[row->cell]), "the cell is the row's");
		n_counting += s->counts[i];
		walk_promise(s->ranges[i].at < s->ranges[i].end && s->ranges[i].line > 1, "a row is somewhere");
		walk_details(s, i);
	}
	walk_promise(n_counting >= (size_t)s->n_cells && n_counting <= s->n_rows, "a row of each cell counts");
	result_set_commit(s);
	result_set_machine(s);
}

static inline int walk_keep(void *ctx, const struct run_row *row, struct error *err)
{
	(void)err;
	walk_promise(row->status != RUN_STATUS_INTERRUPTED, "what was interrupted goes");
	++*(size_t *)ctx;
	return 0;
}

/* Going on leaves whole runs, and nothing to do for who goes on again. */
static inline void walk_resume(const struct run_directory *d)
{
	struct resume_dropped dropped;
	struct result_set s;
	struct error err = {""};
	char text[RESUME_TEXT_SIZE];
	size_t kept = 0, again = 0;
	if (walk_result(resume_directory(d, walk_keep, &kept, &dropped, &err), &err))
		return;
	resume_dropped_text(&dropped, text);
	walk_promise(!walk_result(result_set_read(&s, d, &err), &err), "what a sweep goes on in can be read");
	walk_promise(s.n_rows == kept && !s.cut, "the rows that were kept are there");
	for (size_t i = 0; i < s.n_rows; i++)
		walk_promise(!result_set_check_tokens(&s, i, &err), "a run that was kept is whole");
	walk_promise(!result_set_open_tokens(&s, &err) && !s.tokens.n_others && !s.tokens.cut,
		     "tokens are those of the rows");
	result_set_close(&s);
	walk_promise(!resume_directory(d, walk_keep, &again, &dropped, &err), "going on again is possible");
	walk_promise(again == kept && !*resume_dropped_text(&dropped, text), "and finds nothing to do");
}

static inline void walk_directory(const struct run_directory *d)
{
	struct result_set s;
	struct error err = {""};
	if (!walk_result(result_set_read(&s, d, &err), &err))
		walk_set(&s);
	result_set_close(&s);
	walk_resume(d);
}

/* Puts a file of that name there, whatever was. */
static inline int walk_put(const struct run_directory *d, const char *name, const void *bytes, size_t n)
{
	struct run_file f;
	if (run_file_open(&f, d, name, NULL))
		return -1;
	if (n && fwrite(bytes, 1, n, f.stream) != n) {
		run_file_discard(&f);
		return -1;
	}
	return run_file_commit(&f, 0, NULL);
}

#endif
