#include "harness/cli/bench_devices.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/terminal.h"
#include "base/text.h"
#include "harness/cli/bench_parts.h"
#include "harness/cli/bench_status.h"
#include "harness/cli/device_list.h"
#include "harness/cli/device_process.h"
#include "harness/cli/interrupt.h"
#include "harness/cli/next_command.h"
#include "harness/cli/results_directory.h"
#include "harness/measure/cpu_division.h"
#include "harness/measure/progress.h"
#include "harness/record/build_info.h"
#include "harness/record/merge.h"
#include "harness/record/result_set.h"
#include "harness/report/table.h"

enum { EXTRA_WORDS = 20, EXIT_INCOMPLETE = 2, EXIT_WRONG = 4, LINE_SIZE = 1024, CPUS_TEXT = 256 };

struct process {
	pid_t pid;  /* 0: none runs */
	int status; /* of its end, as waitpid has it */
	bool ran;
};

struct coordinator {
	struct bench_parts parts;
	struct process of[DEVICE_LIST_MAX];
	struct bench_status status;
	bool progress; /* a line a change */
	int64_t shown;
};

bool bench_devices_wanted(const struct bench *b)
{
	return b->devices && strcmp(b->devices, "none") != 0;
}

/* ---- the processes ---- */

/* The sweep's own words, overruled where each has something of its own; or, where it has begun, to go on. */
static int start(struct coordinator *c, int i, struct error *err)
{
	const struct bench_parts *p = &c->parts;
	char directory[RUN_DIRECTORY_PATH], status[RUN_DIRECTORY_PATH], log[RUN_DIRECTORY_PATH],
		metrics[RUN_DIRECTORY_PATH], shard[32];
	char bench[] = "bench", resume[] = "--resume";
	bool begun;
	int rc = bench_parts_path(p, i, BENCH_PART_DIRECTORY, directory, err);
	if (rc || (rc = bench_parts_path(p, i, BENCH_PART_STATUS, status, err)) ||
	    (rc = bench_parts_path(p, i, BENCH_PART_LOG, log, err)) ||
	    (rc = bench_parts_path(p, i, BENCH_PART_METRICS, metrics, err)) ||
	    (rc = bench_parts_begun(p, i, &begun, err)))
		return rc;
	snprintf(shard, sizeof shard, "%d/%d", i + 1, p->devices.n);
	const char *own[] = {"--devices", "none", "--shard", shard, "--out", directory,           "--status-file",
			     status,      "-o",   "table",   "-oe", "none",  "--prometheus-file", metrics};
	size_t n = 0, n_own = sizeof own / sizeof *own - (c->status.metrics_file ? 0 : 2);
	char **words = calloc((size_t)p->n_words + EXTRA_WORDS, sizeof *words);
	if (!words)
		return error_set(err, ERROR_MEMORY, "no memory for a command line");
	if (begun) {
		words[n++] = bench;
		words[n++] = resume;
		words[n++] = directory;
	} else {
		memcpy(words, p->words, (size_t)p->n_words * sizeof *words);
		memcpy(words + p->n_words, own, n_own * sizeof *words);
	}
	unlink(status);
	pid_t pid = device_process_start(&p->devices.of[i], words, log, err);
	free(words);
	if (pid < 0)
		return (int)pid;
	c->of[i] = (struct process){.pid = pid, .ran = true};
	return 0;
}

/* Takes the ends there are; how many still run. */
static int reap(struct coordinator *c)
{
	int n = 0;
	for (int i = 0; i < c->parts.devices.n; i++) {
		struct process *p = &c->of[i];
		if (p->pid && waitpid(p->pid, &p->status, WNOHANG) == p->pid)
			p->pid = 0;
		n += p->pid != 0;
	}
	return n;
}

static void pass_on(const struct coordinator *c, int number)
{
	for (int i = 0; i < c->parts.devices.n; i++)
		if (c->of[i].pid)
			kill(c->of[i].pid, number);
}

/* What they say of themselves, together. */
static void look(struct coordinator *c)
{
	struct sweep_status *now = &c->status.now, one;
	char path[RUN_DIRECTORY_PATH], directory[SWEEP_STATUS_PATH];
	struct process_mark self = now->process;
	int64_t started = now->started_s;
	memcpy(directory, now->directory, sizeof directory);
	sweep_status_init(now);
	now->runs_total = 0;
	for (int i = 0; i < c->parts.devices.n; i++) {
		if (!bench_parts_path(&c->parts, i, BENCH_PART_STATUS, path, NULL) &&
		    !sweep_status_read(path, "", &one, NULL))
			sweep_status_add(now, &one, c->parts.devices.of[i].name);
		else if (c->of[i].pid)
			now->runs_total = -1; /* it has not said yet how many there are */
	}
	now->state = SWEEP_STATE_RUNNING;
	now->process = self;
	now->started_s = started;
	memcpy(now->directory, directory, sizeof directory);
}

static void show(struct coordinator *c)
{
	const struct sweep_status *s = &c->status.now;
	char total[24] = "?", left[32] = "", line[LINE_SIZE];
	bool redraws = terminal_redraws(STDERR_FILENO);
	if (!redraws && (!c->progress || s->runs == c->shown))
		return;
	c->shown = s->runs;
	if (s->runs_total >= 0)
		snprintf(total, sizeof total, "%lld", (long long)s->runs_total);
	if (isfinite(s->seconds_left))
		snprintf(left, sizeof left, ", %.0f %s left",
			 s->seconds_left < 90 ? s->seconds_left : s->seconds_left / 60,
			 s->seconds_left < 90 ? "s" : "min");
	snprintf(line, sizeof line, "[%lld/%s]%s  %s", (long long)s->runs, total, left, s->cell);
	if (redraws)
		fprintf(stderr, "\r%.*s\033[K", (int)text_cut(line, 79), line);
	else
		fprintf(stderr, "%s\n", line);
	fflush(stderr);
}

static void wait_for_all(struct coordinator *c)
{
	const struct timespec moment = {.tv_nsec = 100000000};
	int told = 0, looks = 0;
	while (reap(c)) {
		if (interrupt_noted && !told) {
			told = 1;
			pass_on(c, SIGTERM);
		}
		/* Once a second, as they write it. */
		if (looks++ % 10 == 0) {
			look(c);
			show(c);
			bench_status_write(&c->status);
		}
		nanosleep(&moment, NULL);
	}
	look(c);
	progress_clear();
}

/* ---- their ends ---- */

/* Warnings and errors of a process, which went into its log. */
static void print_log(const struct coordinator *c, int i)
{
	char path[RUN_DIRECTORY_PATH], line[LINE_SIZE];
	static const char mark[] = "gemmark bench: ";
	FILE *f = bench_parts_path(&c->parts, i, BENCH_PART_LOG, path, NULL) ? NULL : fopen(path, "r");
	while (f && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, mark, sizeof mark - 1))
			continue;
		fprintf(stderr, "gemmark bench: device %s: ", c->parts.devices.of[i].name);
		text_print(stderr, line + sizeof mark - 1);
		fputc('\n', stderr);
	}
	if (f)
		fclose(f);
}

static void print_ends(const struct coordinator *c)
{
	for (int i = 0; i < c->parts.devices.n; i++) {
		if (!c->of[i].ran)
			continue;
		print_log(c, i);
		if (WIFSIGNALED(c->of[i].status))
			fprintf(stderr,
				"gemmark bench: device %s: its process was ended by signal %d; its runs are kept\n",
				c->parts.devices.of[i].name, WTERMSIG(c->of[i].status));
	}
}

/* The table of what was merged. */
static int print_table(const char *directory, struct error *err)
{
	struct result_set set;
	struct table *table = NULL;
	int rc = result_set_open(&set, directory, err);
	if (!rc)
		rc = table_open(&table, set.cells, set.n_cells, err);
	for (size_t i = 0; i < set.n_rows && !rc; i++)
		rc = table_add(table, &set.rows[i], err);
	if (!rc)
		table_write(table, stdout);
	table_close(table);
	result_set_close(&set);
	return rc;
}

static int merge_parts(struct coordinator *c, struct error *err)
{
	char paths[DEVICE_LIST_MAX][RUN_DIRECTORY_PATH];
	const char *list[DEVICE_LIST_MAX];
	struct merge_options o = {.paths = list, .out = c->parts.whole};
	struct merge_summary summary;
	int rc = 0;
	for (int i = 0; i < c->parts.devices.n && !rc; i++) {
		bool begun;
		list[o.n] = paths[o.n];
		rc = bench_parts_path(&c->parts, i, BENCH_PART_DIRECTORY, paths[o.n], err);
		if (!rc)
			rc = bench_parts_begun(&c->parts, i, &begun, err);
		o.n += !rc && begun;
	}
	if (!rc)
		rc = merge_directories(&o, &summary, err);
	return rc ? error_prefix(err, rc, "the parts are whole and stay in %s.parts", c->parts.whole) : 0;
}

static void print_where(const struct coordinator *c)
{
	const struct sweep_status *s = &c->status.now;
	printf("\n%lld run%s ok", (long long)s->of_status[RUN_STATUS_OK], s->of_status[RUN_STATUS_OK] == 1 ? "" : "s");
	for (int i = RUN_STATUS_SKIPPED; i <= RUN_STATUS_WRONG; i++)
		if (s->of_status[i])
			printf(", %lld %s", (long long)s->of_status[i],
			       i == RUN_STATUS_WRONG ? "WRONG" : run_status_name((enum run_status)i));
	printf(", on %d device%s", c->parts.devices.n, c->parts.devices.n == 1 ? "" : "s");
	if (c->parts.devices.n > 1)
		printf("\nwhat is compared within a depth and placement was measured on one device; what stands side "
		       "by side "
		       "across\nthem may be of two, and their difference the devices'");
	putchar('\n');
	results_directory_print(stdout, c->parts.whole);
	bool gnuplot = next_command_finds("gnuplot");
	next_command_print_output(stdout, "report: ", "report", c->parts.whole, gnuplot ? "report.html" : "report.md");
}

/* As with an option that is wrong: there is nothing to keep. */
static bool any_begun(const struct bench_parts *p)
{
	bool begun = false;
	for (int i = 0; i < p->devices.n && !begun; i++)
		if (bench_parts_begun(p, i, &begun, NULL))
			return true;
	return begun;
}

/* Whole parts are merged; of others it is said how to go on. */
static int finish(struct coordinator *c, int *code, struct error *err)
{
	bool whole[DEVICE_LIST_MAX];
	struct sweep_status all;
	int missing = 0, rc = bench_parts_status(&c->parts, &all, whole, err);
	print_ends(c);
	if (rc)
		return rc;
	for (int i = 0; i < c->parts.devices.n; i++) {
		const struct process *p = &c->of[i];
		/* One without cells makes no directory, and ends well. */
		missing += !whole[i] && !(p->ran && WIFEXITED(p->status) && !WEXITSTATUS(p->status));
	}
	for (int i = 0; i <= RUN_STATUS_INTERRUPTED; i++)
		c->status.now.of_status[i] = all.of_status[i];
	c->status.now.runs = all.runs;
	if (missing) {
		*code = interrupt_noted ? EXIT_INTERRUPTED : EXIT_INCOMPLETE;
		if (!any_begun(&c->parts)) {
			bench_status_end(&c->status, SWEEP_STATE_FAILED, "no device's process began");
			bench_parts_remove(&c->parts);
			rmdir(c->parts.whole);
			return 0;
		}
		fprintf(stderr, "gemmark bench: %d of %d parts %s not whole; nothing is lost%s\n", missing,
			c->parts.devices.n, missing == 1 ? "is" : "are", interrupt_noted ? "; interrupted" : "");
		next_command_print(stdout, "go on:  ", "bench", "--resume", c->parts.whole);
		bench_status_end(&c->status, interrupt_noted ? SWEEP_STATE_INTERRUPTED : SWEEP_STATE_FAILED,
				 interrupt_noted ? "" : "a device's process ended early");
		return 0;
	}
	rc = merge_parts(c, err);
	if (!rc)
		rc = print_table(c->parts.whole, err);
	if (rc) {
		bench_status_end(&c->status, SWEEP_STATE_FAILED, err->text);
		return rc;
	}
	print_where(c);
	bench_parts_remove(&c->parts);
	*code = all.of_status[RUN_STATUS_WRONG] ? EXIT_WRONG : all.of_status[RUN_STATUS_OK] ? 0 : EXIT_INCOMPLETE;
	bench_status_end(&c->status, SWEEP_STATE_DONE, "");
	return 0;
}

static int run(struct coordinator *c, const bool *whole, int *code, struct error *err)
{
	int rc = 0;
	interrupt_is_noted();
	bench_status_start(&c->status, c->parts.whole);
	for (int i = 0; i < c->parts.devices.n && !rc; i++)
		if (!whole[i])
			rc = start(c, i, err);
	if (rc)
		pass_on(c, SIGTERM);
	wait_for_all(c);
	if (rc)
		bench_status_end(&c->status, SWEEP_STATE_FAILED, err->text);
	return rc ? rc : finish(c, code, err);
}

static void print_devices(const struct device_list *l)
{
	char cpus[CPUS_TEXT];
	for (int i = 0; i < l->n; i++) {
		const struct listed_device *d = &l->of[i];
		fprintf(stderr, "device %s: ", d->name);
		if (*d->uuid)
			fprintf(stderr, "%s, %s, ", d->uuid, d->card);
		if (d->node >= 0)
			fprintf(stderr, "NUMA node %d, ", d->node);
		fprintf(stderr, "CPUs %s\n", cpu_list_text(&d->cpus, cpus, sizeof cpus));
	}
	if (l->n == 1)
		fprintf(stderr, "one device: one process measures all of it; a second one would halve the time\n");
}

static int check(const struct bench *b, struct error *err)
{
	if (b->shard.count)
		return error_set(err, ERROR_INPUT, "--devices: divides the sweep itself; leave --shard out");
	if (b->runner.until > 0)
		return error_set(
			err, ERROR_INPUT,
			"--until: what another device still needs is not known to a shard; give -r with --devices");
	if (b->format != BENCH_FORMAT_TABLE || b->error_format != BENCH_FORMAT_NONE)
		return error_set(err, ERROR_INPUT,
				 "--devices: prints the table; leave -o and -oe out: runs.csv has every run");
	if (b->dry_run)
		return error_set(
			err, ERROR_INPUT,
			"--devices: --dry-run --shard 1/N shows how N devices share a sweep; leave --devices out");
	return 0;
}

int bench_devices_run(const struct bench *b, int argc, char **argv, int *code, struct error *err)
{
	struct coordinator *c = calloc(1, sizeof *c);
	struct device_list *devices = calloc(1, sizeof *devices);
	char made[RESULTS_DIRECTORY_SIZE], stamp[32], name[96];
	const char *output = b->output;
	const bool whole[DEVICE_LIST_MAX] = {false};
	const struct axis_values *models = &b->axes.matrix.of[AXIS_MODEL];
	int number, rc = c && devices ? check(b, err) : error_set(err, ERROR_MEMORY, "no memory for --devices");
	if (!rc) {
		c->parts.folder.fd = -1;
		c->progress = b->progress;
		bench_status_init(&c->status, b->status_file, b->metrics_file);
		rc = device_list_parse(b->devices, NULL, "", devices, err);
		rc = rc ? error_prefix(err, rc, "--devices") : 0;
	}
	if (!rc && !models->n)
		rc = error_set(err, ERROR_INPUT, "-m: no model; name a GGUF file");
	if (!rc)
		rc = bench_status_check(&c->status, models, b->text, output, err);
	if (!rc && output)
		rc = run_directory_check_new(output, err);
	if (!rc && !output) {
		time_t now = time(NULL);
		struct tm tm;
		gmtime_r(&now, &tm);
		strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
		snprintf(name, sizeof name, "%s-%.60s", stamp, build_info()->commit);
		rc = results_directory_make("results", name, made, &number, err);
		output = made;
	} else if (!rc) {
		struct run_directory d;
		/* Its name is taken from now on. */
		rc = run_directory_make(&d, output, err);
		if (!rc)
			run_directory_close(&d);
	}
	if (!rc)
		rc = bench_parts_make(&c->parts, output, devices, argc, argv, err);
	if (!rc) {
		print_devices(devices);
		rc = run(c, whole, code, err);
	}
	if (c)
		bench_parts_close(&c->parts);
	free(devices);
	free(c);
	return rc;
}

int bench_devices_resume(struct bench *b, int *code, struct error *err)
{
	const char *directory = b->resume;
	struct coordinator *c = calloc(1, sizeof *c);
	struct sweep_status all;
	bool whole[DEVICE_LIST_MAX];
	int rc = c ? bench_parts_open(&c->parts, directory, true, err) : error_set(err, ERROR_MEMORY, "no memory");
	if (!rc)
		rc = bench_parse(b, c->parts.n_words, c->parts.words, err);
	if (!rc) {
		c->progress = b->progress;
		bench_status_init(&c->status, b->status_file, b->metrics_file);
		rc = bench_parts_status(&c->parts, &all, whole, err);
	}
	if (!rc) {
		print_devices(&c->parts.devices);
		rc = run(c, whole, code, err);
	}
	if (c)
		bench_parts_close(&c->parts);
	free(c);
	/* Its words went with the parts. */
	matrix_free(&b->axes.matrix);
	return rc ? error_prefix(err, rc, "--resume") : 0;
}
