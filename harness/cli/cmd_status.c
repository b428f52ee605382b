/*
 * gemmark status: how far a sweep is, from the file that it keeps (bench --status-file) or from its directory. Reads
 * only.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/text.h"
#include "harness/cli/bench_parts.h"
#include "harness/cli/interrupt.h"
#include "harness/cli/next_command.h"
#include "harness/cli/options.h"
#include "harness/record/sweep_status.h"

enum { EXIT_ENDED = 1, EXIT_UNKNOWN = 3, EXIT_WRONG = 4 };

struct status_command {
	const char *path;
	int json;
};

static int apply_json(void *ctx, const char *value, struct error *err)
{
	(void)value;
	(void)err;
	((struct status_command *)ctx)->json = 1;
	return 0;
}

static int take_path(void *ctx, const char *value, struct error *err)
{
	struct status_command *c = ctx;
	if (c->path)
		return error_set(err, ERROR_INPUT, "%s: one sweep at a time; the first was %s",
				 text_show_path(value).text, text_show_path(c->path).text);
	if (!*value)
		return error_set(err, ERROR_INPUT, "an empty name; name a results directory or a status file");
	c->path = value;
	return 0;
}

static const struct option_spec options[] = {
	{"--json", NULL, "print JSON, as bench --status-file has it", apply_json},
	{0},
};

static const struct command command = {
	.name = "status",
	.summary =
		"Tells how far a sweep is: of the file that bench --status-file keeps, or of a results directory as it "
		"stands.\n"
		"Reads only. Exit codes: 0 running or done; 1 ended early: by an error, or its process is gone; 2 "
		"there is "
		"nothing to read; 3 whether it runs cannot be seen from here; 4 a run was wrong; 130 interrupted.",
	.usage = "gemmark status DIR|FILE [options]",
	.examples = "gemmark status results/20260101T120000Z-0123abc\n"
		    "gemmark status sweep.json --json\n",
	.options = options,
	.positional = take_path,
};

static int exit_code(const struct sweep_status *s)
{
	switch (s->state) {
	case SWEEP_STATE_INTERRUPTED:
		return EXIT_INTERRUPTED;
	case SWEEP_STATE_FAILED:
	case SWEEP_STATE_GONE:
		return EXIT_ENDED;
	default:
		break;
	}
	if (s->of_status[RUN_STATUS_WRONG])
		return EXIT_WRONG;
	return s->state == SWEEP_STATE_UNKNOWN ? EXIT_UNKNOWN : 0;
}

static void print_seconds(double s)
{
	if (s < 90)
		printf("%.0f s", s);
	else if (s < 5400)
		printf("%.0f min", s / 60);
	else
		printf("%.1f h", s / 3600);
}

static void print_time(const char *label, int64_t seconds)
{
	char text[32];
	time_t t = (time_t)seconds;
	struct tm tm;
	if (seconds < 0 || !gmtime_r(&t, &tm) || !strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm))
		return;
	double age = (double)(time(NULL) - t);
	printf("%s%s", label, text);
	if (age >= 0) {
		printf(", ");
		print_seconds(age);
		printf(" ago");
	}
	putchar('\n');
}

static void print_text(const char *label, const char *text)
{
	if (!*text)
		return;
	fputs(label, stdout);
	text_print(stdout, text);
	putchar('\n');
}

static void print_counts(const struct sweep_status *s)
{
	const char *between = "";
	printf("runs:     ");
	for (int i = 0; i <= RUN_STATUS_INTERRUPTED; i++) {
		if (!s->of_status[i])
			continue;
		printf("%s%" PRId64 " %s", between, s->of_status[i],
		       i == RUN_STATUS_WRONG ? "WRONG" : run_status_name((enum run_status)i));
		between = ", ";
	}
	printf("%s\n", *between ? "" : "none yet");
}

static void print_process(const struct sweep_status *s)
{
	if (s->process.pid <= 0)
		return;
	printf("process:  %lld on ", s->process.pid);
	text_print(stdout, *s->process.host ? s->process.host : "an unknown host");
	puts(s->state == SWEEP_STATE_GONE      ? ", which is gone"
	     : s->state == SWEEP_STATE_UNKNOWN ? ", which cannot be looked for from here"
					       : "");
}

static void print_status(const struct sweep_status *s, int from_directory)
{
	printf("%s, %" PRId64, sweep_state_name(s->state), s->runs);
	if (s->runs_total >= 0)
		printf(" of %" PRId64, s->runs_total);
	printf(" runs");
	if (s->runs_total > 0)
		printf(" (%.0f %%)", 100.0 * (double)s->runs / (double)s->runs_total);
	if (s->state == SWEEP_STATE_RUNNING && isfinite(s->seconds_left)) {
		printf(", about ");
		print_seconds(s->seconds_left);
		printf(" left");
	}
	putchar('\n');
	print_text("results:  ", s->directory);
	print_counts(s);
	print_text(from_directory ? "last run: " : "now:      ", s->cell);
	print_text("not ok:   ", s->reason);
	print_text("error:    ", s->error);
	print_time(from_directory ? "since:    " : "started:  ", s->started_s);
	print_time("written:  ", s->updated_s);
	print_process(s);
	if (*s->directory && (s->state == SWEEP_STATE_INTERRUPTED || s->state == SWEEP_STATE_GONE))
		next_command_print(stdout, "go on:   ", "bench", "--resume", s->directory);
}

static int print_json(const struct sweep_status *s, struct error *err)
{
	json_t *o;
	int rc = sweep_status_json(s, &o, err);
	if (!rc && (json_dumpf(o, stdout, JSON_INDENT(2)) || putchar('\n') == EOF))
		rc = error_set(err, ERROR_IO, "standard output: the JSON could not be written");
	json_decref(o);
	return rc;
}

/* Of a sweep over several devices, which is no directory yet. */
static int read_parts(const char *path, struct sweep_status *out, struct error *err)
{
	struct bench_parts p;
	int rc = bench_parts_open(&p, path, false, err);
	if (!rc)
		rc = bench_parts_status(&p, out, NULL, err);
	bench_parts_close(&p);
	return rc;
}

int cmd_status(int argc, char **argv)
{
	struct status_command c = {0};
	struct error err = {""};
	struct stat file;
	struct sweep_status s;
	int rc = options_parse(&command, argc, argv, &c, &err);
	if (rc > 0)
		return 0;
	if (!rc && !c.path)
		rc = error_set(&err, ERROR_INPUT, "name a results directory, or the file of bench --status-file");
	if (!rc && stat(c.path, &file))
		rc = error_set(&err, ERROR_INPUT,
			       "%s: %s; name a results directory, or the file of bench --status-file",
			       text_show_path(c.path).text, strerror(errno));
	int directory = !rc && S_ISDIR(file.st_mode);
	if (!rc && directory && bench_parts_are_there(c.path))
		rc = read_parts(c.path, &s, &err);
	else if (!rc)
		rc = directory ? sweep_status_of_directory(c.path, &s, &err) : sweep_status_read(c.path, "", &s, &err);
	if (!rc && c.json)
		rc = print_json(&s, &err);
	else if (!rc)
		print_status(&s, directory);
	return rc ? command_fail(command.name, rc, &err) : exit_code(&s);
}
