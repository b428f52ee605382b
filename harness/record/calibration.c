#include "harness/record/calibration.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "harness/record/run_directory.h"

enum {
	LOCK_SECONDS = 3,
	NAME_SIZE = 201,          /* of a file, with the NUL: a temporary one beside it needs a longer name */
	ENTRY_SWEEPS = 1000000,   /* at most, and so many cells */
	ENTRY_VARIATION = 1000000 /* likewise */
};

static const char file_name[] = "calibration.json";

static const char *text_at(const json_t *env, const char *object, const char *key)
{
	const char *s = json_string_value(json_object_get(json_object_get(env, object), key));
	return s ? s : "";
}

void calibration_machine(const json_t *env, char out[CALIBRATION_MACHINE_SIZE])
{
	const json_t *cores = json_object_get(json_object_get(env, "cpu"), "available_cpus");
	const json_t *nvml = json_object_get(json_object_get(env, "gpu"), "nvml");
	const char *driver = json_string_value(json_object_get(nvml, "driver_version"));
	out[0] = '\0';
	if (!*text_at(env, "cpu", "model"))
		return;
	const char *cpu = text_at(env, "cpu", "model"), *host = text_at(env, "system", "host");
	const char *gpu = *text_at(env, "gpu", "name") ? text_at(env, "gpu", "name") : "no GPU";
	snprintf(out, CALIBRATION_MACHINE_SIZE, "%.*s, %d CPUs, %.*s; %.*s%s%.*s", (int)text_cut(cpu, 120), cpu,
		 (int)json_integer_value(cores), (int)text_cut(host, 60), host, (int)text_cut(gpu, 120), gpu,
		 driver ? ", driver " : "", driver ? (int)text_cut(driver, 40) : 0, driver ? driver : "");
}

/* The folder, which is made where make is set; 1 where it is not there, 0, or a code. */
static int open_folder(const char *path, int make, struct run_directory *d, char name[NAME_SIZE], struct error *err)
{
	char folder[RUN_DIRECTORY_PATH];
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int n = 0;
	snprintf(name, NAME_SIZE, "%s", file_name);
	if (path) {
		const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
		struct stat s;
		if (!*last || !strcmp(last, ".") || !strcmp(last, "..") || (!stat(path, &s) && S_ISDIR(s.st_mode)))
			return error_set(err, ERROR_INPUT,
					 "calibration: %s is a folder; name a file in it, as in %s%s%s", path, path,
					 *last ? "/" : "", file_name);
		if (strlen(last) >= NAME_SIZE)
			return error_set(err, ERROR_INPUT, "calibration: a name of %zu bytes; give one of at most %d",
					 strlen(last), NAME_SIZE - 1);
		n = snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + (slash == path)) : 1,
			     slash ? path : ".");
		snprintf(name, NAME_SIZE, "%s", last);
	} else if (state && *state == '/') {
		n = snprintf(folder, sizeof folder, "%s/gemmark", state);
	} else if (home && *home == '/') {
		n = snprintf(folder, sizeof folder, "%s/.local/state/gemmark", home);
	} else {
		return make ? error_set(err, ERROR_IO,
					"calibration: neither XDG_STATE_HOME nor HOME names a folder; set "
					"one, or name a file")
			    : 1;
	}
	if (n >= (int)sizeof folder)
		return error_set(err, ERROR_INPUT, "calibration: a folder's path of %d bytes; name a file elsewhere",
				 n);
	if (make)
		return run_directory_make(d, folder, err);
	if (access(folder, F_OK))
		return 1;
	return run_directory_open(d, folder, err);
}

/* The list, or an empty one where there is no file. */
static int load(const struct run_directory *d, const char *name, json_t **list, struct error *err)
{
	if (faccessat(d->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) && errno == ENOENT) {
		*list = json_array();
		return *list ? 0 : error_set(err, ERROR_MEMORY, "no memory for the calibration");
	}
	int rc = run_directory_load_json(d, name, list, err);
	if (!rc && !json_is_array(*list)) {
		json_decref(*list);
		*list = NULL;
		rc = error_set(err, ERROR_INPUT, "%s/%s: is no calibration; move it away", d->path, name);
	}
	return rc;
}

/* Of so many digits. */
static int number_at(const char *s, int digits)
{
	int x = 0;
	for (int i = 0; i < digits; i++)
		x = 10 * x + (s[i] - '0');
	return x;
}

/* As calibration_add writes it: "2026-05-31T10:00:00Z". */
static int is_time(const char *s)
{
	static const char form[] = "0000-00-00T00:00:00Z";
	size_t i = 0;
	while (form[i] && (form[i] == '0' ? s[i] >= '0' && s[i] <= '9' : s[i] == form[i]))
		i++;
	if (form[i] || s[i])
		return 0;
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int year = number_at(s, 4), month = number_at(s + 5, 2), day = number_at(s + 8, 2);
	int leap = !(year % 4) && (year % 100 || !(year % 400));
	return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (month == 2 && leap) &&
	       number_at(s + 11, 2) < 24 && number_at(s + 14, 2) < 60 && number_at(s + 17, 2) <= 60;
}

/* Its integer, where it is none -1. */
static json_int_t count_of(const json_t *entry, const char *key)
{
	const json_t *x = json_object_get(entry, key);
	return json_is_integer(x) ? json_integer_value(x) : -1;
}

/* Its number, where it is none NAN. */
static double share_of(const json_t *entry, const char *key)
{
	const json_t *x = json_object_get(entry, key);
	return json_is_number(x) ? json_number_value(x) : NAN;
}

/* Adds an entry of the machine. Returns what is wrong with it; null: nothing. */
static const char *add_entry(struct calibration *out, const json_t *entry)
{
	const char *utc = json_string_value(json_object_get(entry, "utc"));
	json_int_t sweeps = count_of(entry, "sweeps"), alarms = count_of(entry, "alarms"),
		   cells = count_of(entry, "cells");
	double variation = share_of(entry, "variation"), most = share_of(entry, "variation_max");
	if (sweeps < 1 || sweeps > ENTRY_SWEEPS)
		return "sweeps is no number from 1 to 1000000";
	if (alarms < 0 || alarms > sweeps)
		return "alarms is no number from 0 to its sweeps";
	if (cells < 0 || cells > ENTRY_SWEEPS)
		return "cells is no number from 0 to 1000000";
	if (!(variation >= 0 && variation <= ENTRY_VARIATION) || !(most >= 0 && most <= ENTRY_VARIATION))
		return "variation or variation_max is no number from 0 to 1000000";
	if (!utc || !is_time(utc))
		return "utc is no time as in 2026-05-31T10:00:00Z";
	if (out->sweeps > INT_MAX - (int)sweeps)
		return "the sweeps of all entries are more than can be counted";
	out->entries++;
	out->sweeps += (int)sweeps;
	out->alarms += (int)alarms;
	out->cells = cells > out->cells ? (int)cells : out->cells;
	out->variation = variation;
	out->variation_max = most;
	snprintf(out->utc, sizeof out->utc, "%s", utc);
	return NULL;
}

int calibration_read(const char *path, const char *machine, struct calibration *out, struct error *err)
{
	struct run_directory d;
	char name[NAME_SIZE];
	json_t *list, *e;
	size_t i;
	*out = (struct calibration){.variation = NAN, .variation_max = NAN};
	int rc = open_folder(path, 0, &d, name, err);
	if (rc)
		return rc > 0 ? 0 : rc;
	rc = load(&d, name, &list, err);
	json_array_foreach(list, i, e)
	{
		const char *of = json_string_value(json_object_get(e, "machine"));
		const char *wrong = !rc && of && !strcmp(of, machine) ? add_entry(out, e) : NULL;
		if (wrong)
			rc = error_set(err, ERROR_INPUT, "%s/%s: entry %zu: %s; correct or remove the entry", d.path,
				       name, i + 1, wrong);
	}
	json_decref(list);
	run_directory_close(&d);
	return rc;
}

int calibration_add(const char *path, const struct calibration_entry *e, struct error *err)
{
	struct run_directory d;
	struct run_file f = {0};
	char name[NAME_SIZE], utc[32];
	json_t *list = NULL;
	time_t now = time(NULL);
	struct tm tm;
	gmtime_r(&now, &tm);
	strftime(utc, sizeof utc, "%Y-%m-%dT%H:%M:%SZ", &tm);
	int rc = open_folder(path, 1, &d, name, err);
	if (rc)
		return rc;
	/* Two at once: one after the other, each in no time. Whoever holds it for long is no calibration. */
	rc = run_directory_lock(&d, LOCK_SECONDS, "end that, or name a file elsewhere with --calibration", err);
	if (!rc)
		rc = load(&d, name, &list, err);
	if (!rc) {
		json_t *entry = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:f, s:f}", "machine", e->machine,
					  "utc", utc, "commit", e->commit ? e->commit : "", "from", e->from, "sweeps",
					  e->sweeps, "alarms", e->alarms, "cells", e->cells, "runs", e->runs,
					  "variation", isfinite(e->variation) ? e->variation : 0, "variation_max",
					  isfinite(e->variation_max) ? e->variation_max : 0);
		if (!entry || json_array_append_new(list, entry))
			rc = error_set(err, ERROR_MEMORY, "no memory for the calibration");
		while (!rc && json_array_size(list) > CALIBRATION_MAX)
			json_array_remove(list, 0);
	}
	if (!rc)
		rc = run_file_open(&f, &d, name, err);
	if (!rc && (json_dumpf(list, f.stream, JSON_INDENT(1)) || fputc('\n', f.stream) == EOF))
		rc = error_set(err, ERROR_IO, "%s/%s: cannot be written", d.path, name);
	if (!rc)
		rc = run_file_commit(&f, 1, err);
	run_file_discard(&f);
	json_decref(list);
	run_directory_close(&d);
	return rc;
}
