/* A small run directory: of tests that change it, and the fuzzer's seed. Include cmocka.h or assert.h before. */
#ifndef GEMMARK_TESTS_SUPPORT_RESULT_SAMPLE_H
#define GEMMARK_TESTS_SUPPORT_RESULT_SAMPLE_H

#include <math.h>
#include <stdio.h>

#include "harness/record/recorder.h"

enum { SAMPLE_WARMUP = 1, SAMPLE_MEASURED = 2 };

/* Two modes, two repetitions, one of which was run again; a prompt test; one that failed, one interrupted. */
static inline int sample_write(const char *path, struct error *err)
{
	static const struct {
		const char *mode;
		int repetition, attempt, n_prompt;
		enum run_status status;
	} runs[] = {
		{"direct", 0, 0, 0, RUN_STATUS_OK},         {"graph-device", 0, 0, 0, RUN_STATUS_OK},
		{"graph-device", 1, 0, 0, RUN_STATUS_OK},   {"direct", 1, 0, 0, RUN_STATUS_OK},
		{"direct", 1, 1, 0, RUN_STATUS_OK},         {"direct", 0, 0, 4, RUN_STATUS_OK},
		{"graph-loop", 0, 0, 0, RUN_STATUS_FAILED}, {"graph-update", 0, 0, 0, RUN_STATUS_INTERRUPTED},
	};
	static const struct timeline_stamp stamps[4] = {
		{0, 3, 0, -1, 0, 0, 10, 20, 30},
		{0, 3, 1, 0, 1, 31, COLUMN_UNKNOWN, COLUMN_UNKNOWN, 32},
		{1, 0, 0, -1, 0, 5, 10, 20, 30},
		{1, 0, 1, 0, 1, 30, 31, COLUMN_UNKNOWN, 40},
	};
	struct recorder *r;
	int rc = recorder_open(&r, path, err);
	for (size_t i = 0; i < sizeof runs / sizeof *runs && !rc; i++) {
		struct token_record tokens[SAMPLE_WARMUP + SAMPLE_MEASURED];
		struct telemetry_sample looks[2] = {{.time_us = 1}, {.time_us = 2.5, .measured = 1}};
		struct run_row row;
		char id[16];
		row_init(&row);
		for (int c = 0; c < row_n_columns; c++)
			if (row_columns[c].type == COLUMN_TEXT)
				column_set_text(&row, &row_columns[c], row_columns[c].name);
			else
				column_set_text(&row, &row_columns[c], row_columns[c].type == COLUMN_NAME ? "ok" : "3");
		snprintf(id, sizeof id, "run-%zu", i);
		int n = runs[i].n_prompt || runs[i].status == RUN_STATUS_FAILED ? 0 : SAMPLE_WARMUP + SAMPLE_MEASURED;
		n -= runs[i].status == RUN_STATUS_INTERRUPTED;
		row.schema_version = SCHEMA_VERSION;
		row.run_id = id;
		row.status = runs[i].status;
		row.reason = i % 2 ? "" : "\"quoted\", of\ntwo lines";
		row.mode = runs[i].mode;
		row.order = (int64_t)i;
		row.repetition = runs[i].repetition;
		row.attempt = runs[i].attempt;
		row.n_prompt = runs[i].n_prompt;
		row.n_gen = runs[i].n_prompt ? 0 : SAMPLE_MEASURED;
		row.warmup_tokens = n ? SAMPLE_WARMUP : ROW_UNKNOWN;
		row.telemetry_samples = 1;
		for (int t = 0; t < SAMPLE_WARMUP + SAMPLE_MEASURED; t++)
			tokens[t] = (struct token_record){
				.phase = t < SAMPLE_WARMUP ? TOKEN_PHASE_WARMUP : TOKEN_PHASE_MEASURE,
				.index = t < SAMPLE_WARMUP ? t : t - SAMPLE_WARMUP,
				.event = t ? TOKEN_EVENT_REPLAY : TOKEN_EVENT_CAPTURE,
				.itl_us = t ? 10.5 * t : NAN,
				.gpu_us = NAN,
				.host_us = NAN,
			};
		for (int k = 0; k < 2; k++) {
			gpu_reading_init(&looks[k].gpu);
			looks[k].gpu.throttle_reasons = 4;
			looks[k].cpu_mhz = NAN;
		}
		rc = recorder_telemetry(r, id, looks, 2, err);
		if (!rc && i == 1)
			rc = recorder_timeline(r, id, stamps, 4, err);
		if (!rc)
			rc = recorder_run(r, &row, tokens, n, err);
	}
	int closed = recorder_close(r, rc ? NULL : err);
	return rc ? rc : closed;
}

#endif
