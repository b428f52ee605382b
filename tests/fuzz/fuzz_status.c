/*
 * libFuzzer target: what is read of a sweep that runs, as JSON of any bytes: its status file, the matrix of its
 * sweep.json, the devices of its parts, and a list of CPUs.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/cli/device_list.h"
#include "harness/measure/cpu_division.h"
#include "harness/record/sweep_matrix.h"
#include "harness/record/sweep_status.h"
#include "tests/support/shown_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(int kept)
{
	if (!kept)
		abort();
}

/* What was taken is written and taken again, as it was. */
static void walk_status(const json_t *o)
{
	struct sweep_status s, again;
	struct error err = {""};
	json_t *written;
	char *text;
	size_t n;
	if (sweep_status_parse(o, "f", &s, &err)) {
		promise(*err.text && is_shown_line(err.text));
		return;
	}
	promise(is_shown_line(s.cell) && is_shown_line(s.reason) && is_shown_line(s.error) &&
		is_shown_line(s.directory));
	if (sweep_status_json(&s, &written, &err))
		return;
	promise(!sweep_status_parse(written, "f", &again, &err));
	promise(again.runs == s.runs && again.state == s.state && !strcmp(again.reason, s.reason));
	json_decref(written);
	sweep_status_add(&again, &s, "0");
	FILE *f = open_memstream(&text, &n);
	promise(f != NULL);
	sweep_status_metrics(&s, f);
	fclose(f);
	free(text);
	process_mark_check("/nonexistent", &s.process);
}

static void walk_matrix(const json_t *o)
{
	struct matrix m = {0};
	struct error err = {""};
	struct cell *cells = NULL;
	int n;
	if (sweep_matrix_read(o, "d", &m, &err) || matrix_cells(&m, NULL, &cells, &n, &err))
		promise(*err.text && is_shown_line(err.text));
	else
		promise(n > 0 && n <= MATRIX_MAX_CELLS);
	free(cells);
	matrix_free(&m);
}

static void walk_devices(const json_t *o)
{
	static struct device_list l;
	if (device_list_read(json_object_get(o, "devices"), &l))
		return;
	for (int i = 0; i < l.n; i++)
		promise(is_shown_line(l.of[i].name) && CPU_COUNT(&l.of[i].cpus) > 0);
	json_t *written = device_list_json(&l);
	promise(written && !device_list_read(written, &l));
	json_decref(written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *o = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	char *list = strndup((const char *)data, size);
	cpu_set_t cpus, again;
	char text[1 << 13];
	if (list && !cpu_list_parse(list, &cpus))
		promise(!cpu_list_parse(cpu_list_text(&cpus, text, sizeof text), &again) && CPU_EQUAL(&cpus, &again));
	free(list);
	if (!o)
		return 0;
	walk_status(o);
	walk_matrix(o);
	walk_devices(o);
	json_decref(o);
	return 0;
}
