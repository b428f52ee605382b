/* Comparisons of run directories whose difference is known, because it was written into them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/random.h"
#include "harness/cli/options.h"
#include "harness/record/calibration.h"
#include "harness/report/compare.h"
#include "harness/report/compare_output.h"
#include "tests/support/command.h"
#include "tests/support/folder.h"
#include "tests/support/ok.h"
#include "tests/support/read_csv.h"

enum { PROCESSES = 14, CELLS = 4, TOKENS = 4 };

/* What a side is made of. Times are 1000 us and more, by the cell. */
struct made {
	double slower[CELLS]; /* relative, of a cell's latency */
	double all;           /* of all cells */
	double tail;          /* of the 99th percentile alone */
	double drift;         /* of a process's number, of both sides alike */
	double noise;         /* standard deviation from process to process */
	double launches;      /* a token, more */
	int repetitions;
	enum run_status status; /* of the last cell */
	const char *until;
	const char *model;
	const char *hash; /* of the logits */
	const char *gpu;  /* env.json's */
	const char *flags;
	int cells;
	uint64_t seed;
	int first_mode;
	int first_repetition;
};

static const struct made plain = {.noise = 0.002, .repetitions = 1, .cells = CELLS, .seed = 1};

static char folder[FOLDER_BYTES];
static const char *const modes[CELLS] = {"direct", "graph-params", "graph-update", "graph-device"};

static int set_up(void **state)
{
	(void)state;
	return folder_make(folder, "compare");
}

static int tear_down(void **state)
{
	(void)state;
	return folder_remove(folder);
}

/* About normal: the sum of twelve uniform numbers. */
static double noise(uint64_t *state)
{
	double sum = -6;
	for (int i = 0; i < 12; i++)
		sum += (double)(random_next(state) >> 11) * 0x1p-53;
	return sum;
}

static void path_of(char out[160], const char *side, int process)
{
	snprintf(out, 160, "%s/%s-%d", folder, side, process);
}

/* By the table of columns, without a recorder, which forces each row to the disk. */
static void put_row(FILE *f, const struct run_row *row)
{
	char text[COLUMN_TEXT_SIZE];
	for (int i = 0; i < row_n_columns; i++) {
		const char *value = row ? column_text(row, &row_columns[i], text) : row_columns[i].name;
		fprintf(f, *value ? "%s\"%s\"" : "%s%s", i ? "," : "", value);
	}
	fputc('\n', f);
}

static void write_row(FILE *f, const struct made *m, int cell, int repetition, int process, uint64_t *state)
{
	struct run_row row;
	char id[32], label[CELL_LABEL_SIZE];
	struct cell c = {.model = m->model ? m->model : "m.gguf",
			 .type_k = "f16",
			 .type_v = "f16",
			 .n_threads = 2,
			 .n_ubatch = 512,
			 .n_depth = 64,
			 .n_gen = TOKENS,
			 .fusion = "full",
			 .mode = modes[(cell + m->first_mode) % CELLS]};
	snprintf(c.model_hash, sizeof c.model_hash, "%016x", 7);
	row_init(&row);
	row_set_axes(&row, &c);
	cell_label(&c, label);
	snprintf(id, sizeof id, "r-%d-%d", cell, repetition);
	row.run_id = id;
	row.test = label;
	row.order = repetition * CELLS + cell;
	row.repetition = repetition + m->first_repetition;
	row.status = cell == m->cells - 1 ? m->status : RUN_STATUS_OK;
	row.reason = row.status == RUN_STATUS_OK ? ""
						 : "out of \xe2\x80\xae"
						   "memory|`<b>";
	row.until = m->until ? m->until : "fixed";
	row.commit = "abc";
	row.attempt = 0;
	row.warmup_tokens = 0;
	double x = 1000 * (cell + 1) * (1 + m->slower[cell]) * (1 + m->all) * (1 + m->drift * process) *
		   exp(m->noise * noise(state));
	row.itl_median_us = x;
	row.itl_p90_us = 1.1 * x;
	row.itl_p99_us = 1.3 * x * (1 + m->tail);
	row.submit_median_us = 50 * exp(m->noise * noise(state));
	row.api_launches_per_token = 100 + m->launches;
	row.kernels_per_token = 100;
	row.node_updates_per_token = 0;
	row.weight_bytes_per_token = 12345;
	row.memory_peak_bytes = 1 << 20;
	row.logits_hash = m->hash ? m->hash : "0123456789abcdef";
	put_row(f, &row);
}

/* One process's directory. */
static void make(const char *side, int process, const struct made *m)
{
	char path[160];
	char file[176];
	uint64_t state = m->seed * 1000 + (uint64_t)process;
	path_of(path, side, process);
	assert_int_equal(mkdir(path, 0777), 0);
	snprintf(file, sizeof file, "%s/env.json", path);
	json_t *env =
		json_pack("{s:{s:s, s:i}, s:{s:s}, s:o, s:{s:s, s:s}}", "cpu", "model", "CPU", "available_cpus", 2,
			  "system", "host", "box", "gpu", m->gpu ? json_pack("{s:s}", "name", m->gpu) : json_null(),
			  "build", "flags", m->flags ? m->flags : "-O3", "type", "Release");
	assert_int_equal(json_dump_file(env, file, 0), 0);
	json_decref(env);
	snprintf(file, sizeof file, "%s/runs.csv", path);
	FILE *f = fopen(file, "w");
	assert_non_null(f);
	put_row(f, NULL);
	for (int i = 0; i < m->repetitions; i++)
		for (int c = 0; c < m->cells; c++)
			write_row(f, m, c, i, process, &state);
	assert_int_equal(fclose(f), 0);
}

struct pair {
	struct result_set sets[2 * PROCESSES];
	struct result_set *base[PROCESSES], *head[PROCESSES];
	int n;
	struct comparison c;
};

static struct pair pair;

/* Makes n processes a side, or opens what is there, and compares them. */
static int compare(const struct made *base, const struct made *head, int n, const struct compare_options *o,
		   struct error *err)
{
	char path[160];
	pair.n = n;
	for (int i = 0; i < n; i++) {
		make("base", i, base);
		make("head", i, head);
		pair.base[i] = &pair.sets[i];
		pair.head[i] = &pair.sets[PROCESSES + i];
		path_of(path, "base", i);
		OK(result_set_open(pair.base[i], path, e));
		path_of(path, "head", i);
		OK(result_set_open(pair.head[i], path, e));
	}
	return compare_run(pair.base, n, pair.head, n, o, &pair.c, err);
}

static void done(void)
{
	compare_free(&pair.c);
	for (int i = 0; i < pair.n; i++) {
		result_set_close(pair.base[i]);
		result_set_close(pair.head[i]);
	}
	assert_int_equal(folder_remove(folder), 0);
	assert_int_equal(folder_make(folder, "compare"), 0);
}

static struct compare_options paired(void)
{
	struct compare_options o;
	compare_options_default(&o);
	o.paired = 1;
	return o;
}

/* Head's noise must be another one. */
static struct made other(struct made m)
{
	m.seed = 2;
	return m;
}

static void test_one_slower(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made base = plain, head = other(plain);
	struct error err = {""};
	base.drift = head.drift = 0.02; /* of the machine: both sides of a pair have it */
	head.slower[2] = 0.05;
	for (o.paired = 0; o.paired < 2; o.paired++) {
		if (!o.paired)
			base.drift = head.drift = 0;
		else
			base.drift = head.drift = 0.02;
		OK(compare(&base, &head, PROCESSES, &o, e));
		assert_int_equal(pair.c.n, CELLS);
		for (int i = 0; i < CELLS; i++) {
			const struct compare_cell *k = &pair.c.cells[i];
			int slow = !strcmp(k->cell.mode, "graph-update");
			const struct verdict *v = &k->values[METRIC_TIME].verdict;
			assert_int_equal(k->outcome, slow ? COMPARE_SLOWER : COMPARE_SAME);
			assert_true(fabs(v->effect - (slow ? 0.05 : 0)) < 0.005);
			assert_true(v->low <= v->effect && v->effect <= v->high);
			assert_true(fabs(k->relative.effect - (slow ? 0.05 : 0)) < 0.006);
			assert_int_equal(k->exact[EXACT_LAUNCHES].change, EXACT_SAME);
			assert_int_equal(k->exact[EXACT_LOGITS].change, EXACT_SAME);
			/* The tail moved with the median. */
			assert_int_equal(k->values[METRIC_P90].verdict.kind, slow ? VERDICT_SLOWER : VERDICT_SAME);
		}
		assert_int_equal(compare_exit_code(&pair.c), 1);
		assert_int_equal(pair.c.common.kind, VERDICT_SAME);
		char sentence[COMPARE_SENTENCE_SIZE];
		compare_sentence(&pair.c, sentence);
		assert_non_null(strstr(sentence, "1 of 4 cells is slower (tg4 @ d64 graph-update full: +"));
		assert_non_null(strstr(sentence, "3 are the same."));
		done();
	}
	/* Faster is no regression. */
	o = paired();
	head.slower[2] = -0.05;
	OK(compare(&base, &head, PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&pair.c), 0);
	assert_int_equal(pair.c.count[COMPARE_FASTER], 1);
	done();
	(void)err;
}

/* All cells move by 3 %: paired, it is head's doing; else it may be the machine's, and the exit code says cannot tell.
 */
static void test_common(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made head = other(plain);
	head.all = 0.03;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.common.kind, VERDICT_SLOWER);
	assert_true(fabs(pair.c.common.effect - 0.03) < 0.002 && pair.c.common_cells == CELLS);
	for (int i = 0; i < CELLS; i++) {
		assert_int_equal(pair.c.cells[i].outcome, COMPARE_SLOWER);
		assert_int_equal(pair.c.cells[i].relative.kind, VERDICT_SAME);
	}
	assert_int_equal(compare_exit_code(&pair.c), 1);
	char sentence[COMPARE_SENTENCE_SIZE];
	compare_common_sentence(&pair.c, sentence);
	assert_non_null(strstr(sentence, "Common to all 4 cells: +"));
	assert_non_null(strstr(sentence, "head's cells moved so far together"));
	done();
	o.paired = 0;
	head.slower[1] = 0.05;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.count[COMPARE_COMMON], 3);
	assert_int_equal(pair.c.count[COMPARE_SLOWER], 1);
	assert_int_equal(compare_exit_code(&pair.c), 1);
	compare_common_sentence(&pair.c, sentence);
	assert_non_null(strstr(sentence, "or the machine"));
	done();
	head.slower[1] = 0;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.count[COMPARE_COMMON], 4);
	assert_int_equal(compare_exit_code(&pair.c), 3);
	done();
	/* Asked to, the gate takes each cell as it is. */
	o.gate = COMPARE_GATE_ABSOLUTE;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&pair.c), 1);
	done();
}

static void test_tail(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made head = other(plain);
	head.tail = 1;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	for (int i = 0; i < CELLS; i++) {
		const struct compare_value *v = pair.c.cells[i].values;
		assert_int_equal(v[METRIC_TIME].verdict.kind, VERDICT_SAME);
		assert_int_equal(v[METRIC_P99].verdict.kind, VERDICT_SLOWER);
		assert_true(fabs(v[METRIC_P99].verdict.effect - 1) < 0.01);
	}
	done();
}

static void test_exact(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made head = other(plain);
	head.launches = 1;
	head.hash = "ffffffffffffffff";
	OK(compare(&plain, &head, PROCESSES, &o, e));
	for (int i = 0; i < CELLS; i++) {
		const struct compare_exact *x = &pair.c.cells[i].exact[EXACT_LAUNCHES];
		assert_int_equal(x->change, EXACT_DIFFERENT);
		assert_string_equal(x->base, "100");
		assert_string_equal(x->head, "101");
		assert_int_equal(pair.c.cells[i].exact[EXACT_LOGITS].change, EXACT_DIFFERENT);
		assert_int_equal(pair.c.cells[i].exact[EXACT_KERNELS].change, EXACT_SAME);
		assert_int_equal(pair.c.cells[i].exact[EXACT_KEPT].change, EXACT_UNKNOWN);
	}
	assert_int_equal(pair.c.exact_gated, CELLS);
	assert_int_equal(compare_exit_code(&pair.c), 1);
	done();
	/* Fewer are none; and what gates is a choice. */
	OK(compare(&head, &plain, PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&pair.c), 0);
	done();
	o.gate_exact = 0;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&pair.c), 0);
	done();
	o.gate_exact = 1u << EXACT_LOGITS;
	OK(compare(&head, &plain, PROCESSES, &o, e));
	assert_int_equal(compare_exit_code(&pair.c), 1);
	done();
}

static void test_statuses(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made head = other(plain);
	head.status = RUN_STATUS_WRONG;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.count[COMPARE_WRONG], 1);
	assert_int_equal(compare_exit_code(&pair.c), 4);
	done();
	head.status = RUN_STATUS_FAILED;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.count[COMPARE_LOST], 1);
	assert_int_equal(compare_exit_code(&pair.c), 1);
	done();
	OK(compare(&head, &plain, PROCESSES, &o, e));
	assert_int_equal(pair.c.count[COMPARE_GAINED], 1);
	assert_int_equal(compare_exit_code(&pair.c), 0);
	done();
	OK(compare(&head, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.count[COMPARE_NOT_RUN], 1);
	assert_int_equal(compare_exit_code(&pair.c), 0);
	done();
}

/* What cannot be compared is refused, and says what to do. */
static void test_refused(void **state)
{
	(void)state;
	static const struct {
		struct made head;
		const char *says, *allowed;
	} cases[] = {
		{{.noise = 0.002, .repetitions = 1, .cells = CELLS - 1, .seed = 2},
		 "1 cells are in base alone, 0 in head alone",
		 "cells"},
		{{.noise = 0.002, .repetitions = 1, .cells = CELLS, .seed = 2, .gpu = "H100"},
		 "gpu: there is none in base, one in head",
		 "env"},
		{{.noise = 0.002, .repetitions = 1, .cells = CELLS, .seed = 2, .flags = "-O2"},
		 "build flags: \"-O3\" in base, \"-O2\" in head",
		 "env"},
		{{.noise = 0.002, .repetitions = 1, .cells = CELLS, .seed = 2, .until = "stable=0.5"}, "--until", ""},
		{{.noise = 0.002, .repetitions = 1, .cells = CELLS, .seed = 2, .first_repetition = 2147483647},
		 "repetition 2147483647",
		 ""},
		{{.noise = 0.002, .repetitions = 1, .cells = CELLS, .seed = 2, .model = "other.gguf"}, NULL, ""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct compare_options o = paired();
		struct error err = {""};
		int rc = compare(&plain, &cases[i].head, 10, &o, &err);
		/* The same content under another name is the same model. */
		assert_int_equal(rc, cases[i].says ? ERROR_INPUT : 0);
		if (cases[i].says && !strstr(err.text, cases[i].says))
			fail_msg("%s", err.text);
		done();
		o.allow_env_diff = !strcmp(cases[i].allowed, "env");
		o.common_cells = !strcmp(cases[i].allowed, "cells");
		if (!*cases[i].allowed)
			continue;
		OK(compare(&plain, &cases[i].head, 10, &o, e));
		assert_int_equal(pair.c.n, cases[i].head.cells);
		assert_int_equal(pair.c.n_differences > 0, o.allow_env_diff);
		done();
	}
}

/* One mode against another, as if they were commits; a side with two values is refused. */
static void test_across(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made base = plain, head = other(plain);
	struct error err = {""};
	base.cells = head.cells = 1; /* direct, of 1000 us */
	head.first_mode = 1;         /* graph-params */
	assert_int_equal(compare(&base, &head, PROCESSES, &o, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "matrices differ"));
	done();
	OK(compare_across("mode", &o.across, e));
	head.slower[0] = -0.04;
	OK(compare(&base, &head, PROCESSES, &o, e));
	assert_int_equal(pair.c.n, 1);
	assert_int_equal(pair.c.cells[0].outcome, COMPARE_FASTER);
	assert_string_equal(pair.c.cells[0].cell.mode, "base:head");
	assert_string_equal(pair.c.cells[0].base_row->mode, "direct");
	assert_string_equal(pair.c.cells[0].head_row->mode, "graph-params");
	done();
	base.cells = head.cells = 2;
	head.first_mode = 0;
	assert_int_equal(compare(&base, &head, PROCESSES, &o, &err), ERROR_INPUT);
	assert_non_null(strstr(err.text, "several values"));
	done();
	assert_int_equal(compare_across("n_depth", &o.across, &err), ERROR_INPUT);
	assert_int_equal(compare_across("speed", &o.across, &err), ERROR_INPUT);
}

/* Repetitions of one process a side: the run is the unit, and it is said that processes are not. */
static void test_single(void **state)
{
	(void)state;
	struct compare_options o;
	struct made base = plain, head = other(plain);
	compare_options_default(&o);
	base.repetitions = head.repetitions = 12;
	head.slower[0] = 0.08;
	OK(compare(&base, &head, 1, &o, e));
	assert_true(pair.c.single_process);
	assert_int_equal(pair.c.cells[0].values[METRIC_TIME].n, 12);
	assert_int_equal(compare_exit_code(&pair.c), 1);
	done();
	/* As much as two processes of one program differ cannot be told, unless it is known that they differ less. */
	head.slower[0] = 0.04;
	OK(compare(&base, &head, 1, &o, e));
	assert_int_equal(pair.c.cells[0].outcome, COMPARE_UNCLEAR);
	assert_int_equal(compare_exit_code(&pair.c), 3);
	done();
	o.process = 0.01;
	OK(compare(&base, &head, 1, &o, e));
	assert_int_equal(pair.c.cells[0].outcome, COMPARE_SLOWER);
	done();
	o.process = 0.05;
	/* Several repetitions in several processes: the process is the unit. */
	base.repetitions = head.repetitions = 3;
	OK(compare(&base, &head, PROCESSES, &o, e));
	assert_false(pair.c.single_process);
	assert_int_equal(pair.c.cells[0].values[METRIC_TIME].n, PROCESSES);
	done();
	/* Too few to say anything are inconclusive, whatever they say, and never the same. */
	OK(compare(&base, &head, 3, &o, e));
	assert_int_equal(pair.c.count[COMPARE_UNCLEAR], CELLS);
	assert_true(isinf(pair.c.cells[0].values[METRIC_TIME].verdict.detectable));
	assert_int_equal(compare_exit_code(&pair.c), 3);
	done();
}

/* At most one false alarm in a hundred comparisons of equal things is promised. */
static void test_false_alarms(void **state)
{
	(void)state;
	int alarms = 0;
	struct compare_options o = paired();
	for (int i = 0; i < 40; i++) {
		struct made base = plain, head = plain;
		base.seed = 100 + 2 * (uint64_t)i;
		head.seed = base.seed + 1;
		base.noise = head.noise = 0.03; /* so much that a careless test would find a lot */
		o.paired = i % 2;
		OK(compare(&base, &head, PROCESSES, &o, e));
		alarms += compare_exit_code(&pair.c) == 1;
		done();
	}
	/* P(more than 3 of 40 at 1 %) is 0.0007; with 5 % a cell there would be about 7. */
	assert_true(alarms <= 2);
}

/* ---- the command ---- */

static void test_command(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made head = other(plain);
	char names[4][160], calibration[160];
	head.status = RUN_STATUS_FAILED;
	head.slower[0] = 0.05;
	OK(compare(&plain, &head, PROCESSES, &o, e));
	compare_free(&pair.c);
	snprintf(calibration, sizeof calibration, "%s/state/c.json", folder);
	static char all[2 * PROCESSES][160];
	static char base_word[] = "--base", head_word[] = "--head";
	char *words[4 * PROCESSES + 16] = {"compare", "--paired", "--calibration", calibration, "-o", "json"};
	int n = 6;
	for (int i = 0; i < PROCESSES; i++) {
		path_of(all[2 * i], "base", i);
		path_of(all[2 * i + 1], "head", i);
		words[n++] = base_word;
		words[n++] = all[2 * i];
		words[n++] = head_word;
		words[n++] = all[2 * i + 1];
	}
	assert_int_equal(command_run(folder, cmd_compare, words), 1);
	char path[160];
	snprintf(path, sizeof path, "%s/out", folder);
	json_t *j = json_load_file(path, 0, NULL);
	assert_non_null(j);
	assert_int_equal(json_integer_value(json_object_get(j, "exit_code")), 1);
	assert_int_equal(json_array_size(json_object_get(j, "cells")), CELLS);
	assert_true(json_is_null(json_object_get(j, "calibration")));
	json_decref(j);
	char csv_format[] = "csv", md[] = "md", table[] = "table";
	words[5] = csv_format;
	assert_int_equal(command_run(folder, cmd_compare, words), 1);
	struct csv_rows rows;
	assert_int_equal(csv_read(&rows, path), 0);
	assert_true(rows.n_rows > CELLS);
	assert_string_equal(csv_at(&rows, 1, "metric"), "latency");
	assert_true(fabs(strtod(csv_at(&rows, 1, "effect"), NULL) - 0.05) < 0.005);
	csv_rows_free(&rows);
	/* For people nothing of a file reaches the terminal, or Markdown, as more than text. */
	words[5] = md;
	assert_int_equal(command_run(folder, cmd_compare, words), 1);
	assert_true(command_said(folder, "out", "| tg4 @ d64 | direct"));
	assert_false(command_said(folder, "out", "\xe2\x80\xae"));
	words[5] = table;
	assert_int_equal(command_run(folder, cmd_compare, words), 1);
	assert_true(command_said(folder, "out", "memory|`<b>"));
	assert_false(command_said(folder, "out", "\xe2\x80\xae"));
	assert_true(command_said(folder, "out", "not calibrated here"));
	assert_true(command_said(folder, "out", "fails now"));
	for (int i = 0; i < pair.n; i++) {
		result_set_close(pair.base[i]);
		result_set_close(pair.head[i]);
	}
	pair.n = 0;
	(void)names;
}

static void test_calibrate(void **state)
{
	(void)state;
	struct compare_options o = paired();
	struct made head = other(plain);
	char path[160], calibration[160], base[160], second[160];
	struct made base_made = plain;
	base_made.repetitions = head.repetitions = 10;
	OK(compare(&base_made, &head, 1, &o, e));
	done();
	make("base", 0, &base_made);
	make("head", 0, &head);
	path_of(base, "base", 0);
	path_of(second, "head", 0);
	snprintf(calibration, sizeof calibration, "%s/state/c.json", folder);
	char *words[] = {"compare", base, second, "--calibrate", "--calibration", calibration, NULL};
	assert_int_equal(command_run(folder, cmd_compare, words), 0);
	assert_true(command_said(folder, "out", "calibrated here: 0 of 1 comparisons"));
	assert_int_equal(command_run(folder, cmd_compare, words), 0);
	assert_true(command_said(folder, "out", "calibrated here: 0 of 2 comparisons"));
	/* Without asking, nothing is kept; another machine knows nothing of it. */
	words[3] = words[4];
	words[4] = words[5];
	words[5] = NULL;
	command_run(folder, cmd_compare, words);
	assert_true(command_said(folder, "out", "calibrated here: 0 of 2 comparisons"));
	struct calibration k;
	OK(calibration_read(calibration, "another", &k, e));
	assert_int_equal(k.entries, 0);
	/* Of a pair of units 0.2 % each. */
	json_t *env = json_pack("{s:{s:s, s:i}, s:{s:s}, s:n}", "cpu", "model", "CPU", "available_cpus", 2, "system",
				"host", "box", "gpu");
	char machine[CALIBRATION_MACHINE_SIZE];
	calibration_machine(env, machine);
	json_decref(env);
	OK(calibration_read(calibration, machine, &k, e));
	assert_int_equal(k.entries, 2);
	assert_true(k.variation > 0.001 && k.variation < 0.004);
	/* What is no calibration is left alone. */
	snprintf(path, sizeof path, "%s/state/other.json", folder);
	FILE *f = fopen(path, "w");
	fputs("{}\n", f);
	fclose(f);
	struct error err = {""};
	struct calibration_entry entry = {.machine = "m", .from = "compare", .sweeps = 1};
	assert_int_equal(calibration_add(path, &entry, &err), ERROR_INPUT);
	assert_int_equal(calibration_read(path, "m", &k, &err), ERROR_INPUT);
}

static void test_usage(void **state)
{
	(void)state;
	char *cases[][6] = {{"compare", NULL},
			    {"compare", "only", NULL},
			    {"compare", "nowhere", "nowhere", NULL},
			    {"compare", "a", "b", "c", NULL},
			    {"compare", "a", "b", "--gate", "yes", NULL},
			    {"compare", "a", "b", "--gate-exact", "launches,time", NULL}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(command_run(folder, cmd_compare, cases[i]), 2);
		assert_true(command_said(folder, "errors", "gemmark compare: "));
		assert_false(command_said(folder, "out", "c"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_slower, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_common, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_tail, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_exact, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_statuses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_across, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_single, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_false_alarms, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_command, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_calibrate, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_usage, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
