#include "harness/cli/neighbours.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/terminal.h"
#include "base/text.h"
#include "harness/cli/device_list.h"
#include "harness/cli/device_process.h"
#include "harness/cli/interrupt.h"
#include "harness/measure/progress.h"
#include "harness/record/result_set.h"
#include "harness/record/run_directory.h"
#include "harness/selftest/neighbour_effect.h"
#include "harness/stats/stats.h"

enum {
	RUNS = 4, /* of a device in each half of a round */
	REPETITIONS_MAX = 10000,
	WORDS = 2 * AXIS_COUNT + 16,
	LINE_SIZE = 512,
};

/* Runs [from, to) of a process, by their order. */
struct span {
	int from, to;
};

struct process {
	pid_t pid;
	char directory[RUN_DIRECTORY_PATH], log[RUN_DIRECTORY_PATH + 8];
	int fd;                    /* of its runs.csv; negative: not there yet */
	int rows;                  /* whole lines but for the header */
	struct span *alone, *busy; /* (rounds) */
};

struct study {
	const struct neighbours *o;
	struct device_list devices;
	struct process *of; /* (devices.n) */
	char folder[RUN_DIRECTORY_PATH];
	bool temporary;
};

/* ---- the processes ---- */

static int start(struct study *s, int i, struct error *err)
{
	static char bench[] = "bench", out[] = "--out", repetitions[] = "-r", many[8], telemetry[] = "--telemetry",
		    none[] = "0", prompt[] = "-p";
	struct process *p = &s->of[i];
	char *words[WORDS] = {bench}, names[AXIS_COUNT][AXIS_TEXT_SIZE], numbers[AXIS_COUNT][AXIS_TEXT_SIZE];
	int n = 1;
	snprintf(many, sizeof many, "%d", REPETITIONS_MAX);
	for (int a = 0; a < AXIS_COUNT; a++) {
		const struct axis_values *v = &s->o->cell->of[a];
		if (!v->n || a == AXIS_PROMPT)
			continue;
		axis_option((enum axis_id)a, names[a]);
		words[n++] = names[a];
		if (axes[a].kind == AXIS_INT && a == AXIS_GPU_LAYERS && v->ints[0] == AXIS_LAYERS_AUTO)
			snprintf(numbers[a], sizeof numbers[a], "auto");
		else if (axes[a].kind == AXIS_INT)
			snprintf(numbers[a], sizeof numbers[a], "%d", v->ints[0]);
		words[n++] = axes[a].kind == AXIS_INT ? numbers[a] : v->words[0];
	}
	char *const rest[] = {prompt, none, repetitions, many, telemetry, none, out, p->directory};
	memcpy(words + n, rest, sizeof rest);
	p->fd = -1;
	p->pid = device_process_start(&s->devices.of[i], words, p->log, err);
	return p->pid < 0 ? (int)p->pid : 0;
}

/* Its last words; "" where it said none. */
static void last_line(const struct process *p, char line[LINE_SIZE])
{
	char next[LINE_SIZE];
	FILE *f = fopen(p->log, "r");
	*line = '\0';
	while (f && fgets(next, sizeof next, f)) {
		next[strcspn(next, "\n")] = '\0';
		if (*next)
			memcpy(line, next, sizeof next);
	}
	if (f)
		fclose(f);
}

/* The rows so far; ERROR_IO where the process has ended. */
static int count_rows(struct study *s, int i, struct error *err)
{
	struct process *p = &s->of[i];
	char bytes[1 << 14], path[RUN_DIRECTORY_PATH + 16], line[LINE_SIZE];
	ssize_t n;
	if (p->fd < 0) {
		snprintf(path, sizeof path, "%s/runs.csv", p->directory);
		p->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		p->rows = -1;
	}
	while (p->fd >= 0 && (n = read(p->fd, bytes, sizeof bytes)) > 0)
		for (ssize_t k = 0; k < n; k++)
			p->rows += bytes[k] == '\n';
	if (waitpid(p->pid, NULL, WNOHANG) != p->pid)
		return 0;
	p->pid = 0;
	last_line(p, line);
	return error_set(err, ERROR_IO, "device %s: its process ended after %d runs%s%s", s->devices.of[i].name,
			 p->rows > 0 ? p->rows : 0, *line ? ": " : "", line);
}

static void signal_all(const struct study *s, int but, int number)
{
	for (int i = 0; i < s->devices.n; i++)
		if (i != but && s->of[i].pid > 0)
			kill(s->of[i].pid, number);
}

/* Until the processes (one, or all where `only` is negative) have RUNS whole runs behind the one at hand. */
static int measure(struct study *s, int only, int round, struct error *err)
{
	const struct timespec moment = {.tv_nsec = 5000000};
	int waiting = 1, rc = 0;
	for (int i = 0; i < s->devices.n && !rc; i++) {
		if (only >= 0 && i != only)
			continue;
		rc = count_rows(s, i, err);
		/* The run at hand is of neither half. */
		(only < 0 ? s->of[i].busy : s->of[i].alone)[round].from = s->of[i].rows + 1;
	}
	while (!rc && waiting && !interrupt_noted) {
		waiting = 0;
		nanosleep(&moment, NULL);
		for (int i = 0; i < s->devices.n && !rc; i++) {
			if (only >= 0 && i != only)
				continue;
			struct span *span = &(only < 0 ? s->of[i].busy : s->of[i].alone)[round];
			rc = count_rows(s, i, err);
			span->to = s->of[i].rows;
			waiting |= span->to < span->from + RUNS;
		}
	}
	return rc;
}

static int wait_for_first(struct study *s, struct error *err)
{
	const struct timespec moment = {.tv_nsec = 20000000};
	int rc = 0, waiting = 1;
	while (!rc && waiting && !interrupt_noted) {
		waiting = 0;
		for (int i = 0; i < s->devices.n && !rc; i++) {
			rc = count_rows(s, i, err);
			waiting |= s->of[i].fd < 0 || s->of[i].rows < 1;
		}
		nanosleep(&moment, NULL);
	}
	return rc;
}

static int measure_rounds(struct study *s, struct error *err)
{
	int rc = wait_for_first(s, err), n = s->devices.n;
	for (int round = 0; round < s->o->rounds && !rc && !interrupt_noted; round++) {
		/* Every second round the other way round: what drifts hits both alike. */
		for (int k = 0; k <= n && !rc && !interrupt_noted; k++) {
			int only = round % 2 ? n - 1 - k : k - 1;
			signal_all(s, only, only < 0 ? SIGCONT : SIGSTOP);
			if (only >= 0 && s->of[only].pid > 0)
				kill(s->of[only].pid, SIGCONT);
			rc = measure(s, only, round, err);
		}
		signal_all(s, -1, SIGCONT);
		if (terminal_redraws(STDERR_FILENO))
			fprintf(stderr, "\rround %d of %d\033[K", round + 1, s->o->rounds);
	}
	progress_clear();
	return rc;
}

static void end_all(struct study *s)
{
	signal_all(s, -1, SIGTERM);
	signal_all(s, -1, SIGCONT);
	for (int i = 0; i < s->devices.n; i++) {
		if (s->of[i].pid > 0)
			waitpid(s->of[i].pid, NULL, 0);
		s->of[i].pid = 0;
		if (s->of[i].fd >= 0)
			close(s->of[i].fd);
		s->of[i].fd = -1;
	}
}

/* ---- what they measured ---- */

/* The median over the runs of a span that went well; negative: none did. */
static double span_median(const struct result_set *set, const struct span *span, double *scratch)
{
	int n = 0;
	for (size_t i = 0; i < set->n_rows; i++) {
		const struct run_row *r = &set->rows[i];
		if (r->order >= span->from && r->order < span->to && r->status == RUN_STATUS_OK)
			scratch[n++] = row_time_us(r);
	}
	return n ? stats_median(scratch, n) : -1;
}

static int find_effect(struct study *s, int i, struct neighbour_effect *out, struct error *err)
{
	struct process *p = &s->of[i];
	const char *device = s->devices.of[i].name;
	int rounds = s->o->rounds;
	struct result_set set;
	int rc = result_set_open(&set, p->directory, err);
	double *values = rc ? NULL : calloc(2 * (size_t)rounds + set.n_rows + 1, sizeof *values);
	if (!rc && !values)
		rc = error_set(err, ERROR_MEMORY, "no memory for %zu runs", set.n_rows);
	for (int k = 0; k < rounds && !rc; k++) {
		values[k] = span_median(&set, &p->alone[k], values + 2 * rounds);
		values[rounds + k] = span_median(&set, &p->busy[k], values + 2 * rounds);
		if (values[k] <= 0 || values[rounds + k] <= 0)
			rc = error_set(err, ERROR_INPUT, "device %s: no run of round %d went well: %s", device, k + 1,
				       set.n_rows && set.rows[set.n_rows - 1].reason ? set.rows[set.n_rows - 1].reason
										     : "");
	}
	if (!rc)
		rc = neighbour_effect_find(device, values, values + rounds, rounds, s->o->seed, out, err);
	free(values);
	result_set_close(&set);
	return rc;
}

static int say(const struct study *s, const struct neighbour_effect *effects, struct error *err)
{
	struct run_directory d = {.fd = -1};
	int n = s->devices.n, rc = 0;
	json_t *o = neighbour_effect_json(effects, n, s->o->delta);
	if (!o)
		return error_set(err, ERROR_MEMORY, "no memory for neighbours.json");
	if (!s->temporary)
		rc = run_directory_open(&d, s->folder, err);
	if (!rc && !s->temporary)
		rc = run_directory_save_json(&d, "neighbours.json", o, err);
	run_directory_close(&d);
	if (!rc && !s->o->json)
		neighbour_effect_print(effects, n, s->o->delta, stdout);
	else if (!rc && (json_dumpf(o, stdout, JSON_INDENT(2)) || putchar('\n') == EOF))
		rc = error_set(err, ERROR_IO, "standard output: the JSON could not be written");
	json_decref(o);
	return rc;
}

static int say_effects(struct study *s, int *disturbed, struct error *err)
{
	struct neighbour_effect effects[DEVICE_LIST_MAX];
	int rc = 0;
	*disturbed = 0;
	for (int i = 0; i < s->devices.n && !rc; i++) {
		rc = find_effect(s, i, &effects[i], err);
		if (!rc)
			*disturbed |= neighbour_effect_disturbs(&effects[i], s->o->delta);
	}
	return rc ? rc : say(s, effects, err);
}

/* ---- the whole ---- */

static int remove_entry(const char *path, const struct stat *s, int type, struct FTW *f)
{
	(void)s, (void)type, (void)f;
	remove(path);
	return 0;
}

static int make_folder(struct study *s, struct error *err)
{
	const char *under = getenv("TMPDIR");
	struct run_directory d;
	s->temporary = !s->o->output;
	if (s->o->output) {
		int rc = run_directory_check_new(s->o->output, err);
		if (!rc)
			rc = run_directory_make(&d, s->o->output, err);
		if (rc)
			return rc;
		run_directory_close(&d);
		snprintf(s->folder, sizeof s->folder, "%s", s->o->output);
		return 0;
	}
	int n = snprintf(s->folder, sizeof s->folder, "%s/gemmark-neighbours-XXXXXX", under && *under ? under : "/tmp");
	if (n >= 0 && (size_t)n < sizeof s->folder && mkdtemp(s->folder))
		return 0;
	int rc = error_set(err, ERROR_IO, "%s: %s; name a directory with --out", s->folder, strerror(errno));
	*s->folder = '\0';
	return rc;
}

static int check(const struct neighbours *o, const struct device_list *l, struct error *err)
{
	char option[AXIS_TEXT_SIZE];
	if (l->n < 2)
		return error_set(
			err, ERROR_INPUT,
			"--neighbours: one device has none; name several with --devices, as 0,1 or all; without GPUs "
			"cpu,cpu");
	if (!o->cell->of[AXIS_MODEL].n)
		return error_set(err, ERROR_INPUT, "--neighbours: -m: no model; name a GGUF file");
	for (int a = 0; a < AXIS_COUNT; a++)
		if (o->cell->of[a].n > 1)
			return error_set(err, ERROR_INPUT, "--neighbours: measures one cell; give %s one value",
					 axis_option((enum axis_id)a, option));
	return 0;
}

static int make_processes(struct study *s, struct error *err)
{
	int n = s->devices.n, rounds = s->o->rounds;
	s->of = calloc((size_t)n, sizeof *s->of);
	if (!s->of)
		return error_set(err, ERROR_MEMORY, "no memory for %d devices", n);
	for (int i = 0; i < n; i++) {
		struct process *p = &s->of[i];
		p->fd = -1;
		p->alone = calloc(2 * (size_t)rounds, sizeof *p->alone);
		if (!p->alone)
			return error_set(err, ERROR_MEMORY, "no memory for %d rounds", rounds);
		p->busy = p->alone + rounds;
		int length = snprintf(p->directory, sizeof p->directory, "%s/%d", s->folder, i + 1);
		if (length < 0 || (size_t)length >= sizeof p->directory)
			return error_set(err, ERROR_INPUT, "--out: too long a path; give a shorter one");
		snprintf(p->log, sizeof p->log, "%s.log", p->directory);
	}
	return 0;
}

int neighbours_measure(const struct neighbours *o, int *disturbed, struct error *err)
{
	struct study *s = calloc(1, sizeof *s);
	if (!s)
		return error_set(err, ERROR_MEMORY, "no memory for --neighbours");
	s->o = o;
	int rc = device_list_parse(o->devices, NULL, "", &s->devices, err);
	rc = rc ? error_prefix(err, rc, "--devices") : check(o, &s->devices, err);
	if (!rc) {
		/* From now on there is something to put away. */
		interrupt_is_noted();
		rc = make_folder(s, err);
	}
	if (!rc)
		rc = make_processes(s, err);
	for (int i = 0; i < s->devices.n && !rc; i++)
		rc = start(s, i, err);
	if (!rc)
		rc = measure_rounds(s, err);
	if (s->of)
		end_all(s);
	if (!rc && !interrupt_noted)
		rc = say_effects(s, disturbed, err);
	for (int i = 0; s->of && i < s->devices.n; i++)
		free(s->of[i].alone);
	if (s->temporary && *s->folder)
		nftw(s->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(s->of);
	free(s);
	return rc;
}
