#include "harness/record/calibration.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "harness/record/run_directory.h"

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
static int open_folder(const char *path, int make, struct run_directory *d, char name[256], struct error *err)
{
	char folder[RUN_DIRECTORY_PATH];
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	snprintf(name, 256, "%s", file_name);
	if (path) {
		const char *slash = strrchr(path, '/');
		snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + (slash == path)) : 1,
			 slash ? path : ".");
		snprintf(name, 256, "%s", slash ? slash + 1 : path);
	} else if (state && *state == '/') {
		snprintf(folder, sizeof folder, "%s/gemmark", state);
	} else if (home && *home == '/') {
		snprintf(folder, sizeof folder, "%s/.local/state/gemmark", home);
	} else {
		return make ? error_set(err, ERROR_IO,
					"calibration: neither XDG_STATE_HOME nor HOME names a folder; set "
					"one, or name a file")
			    : 1;
	}
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

int calibration_read(const char *path, const char *machine, struct calibration *out, struct error *err)
{
	struct run_directory d;
	char name[256];
	json_t *list, *e;
	size_t i;
	*out = (struct calibration){.variation = NAN, .variation_max = NAN};
	int rc = open_folder(path, 0, &d, name, err);
	if (rc)
		return rc > 0 ? 0 : rc;
	rc = load(&d, name, &list, err);
	run_directory_close(&d);
	if (rc)
		return rc;
	json_array_foreach(list, i, e)
	{
		const char *of = json_string_value(json_object_get(e, "machine"));
		const char *utc = json_string_value(json_object_get(e, "utc"));
		json_int_t sweeps = json_integer_value(json_object_get(e, "sweeps"));
		json_int_t alarms = json_integer_value(json_object_get(e, "alarms"));
		json_int_t cells = json_integer_value(json_object_get(e, "cells"));
		if (!of || strcmp(of, machine) || sweeps < 1 || sweeps > 1000000 || alarms < 0 || alarms > sweeps)
			continue;
		out->entries++;
		out->sweeps += (int)sweeps;
		out->alarms += (int)alarms;
		out->cells = cells > out->cells && cells < 1000000 ? (int)cells : out->cells;
		out->variation = json_number_value(json_object_get(e, "variation"));
		out->variation_max = json_number_value(json_object_get(e, "variation_max"));
		snprintf(out->utc, sizeof out->utc, "%s", utc ? utc : "");
	}
	json_decref(list);
	return 0;
}

int calibration_add(const char *path, const struct calibration_entry *e, struct error *err)
{
	struct run_directory d;
	struct run_file f = {0};
	char name[256], utc[32];
	json_t *list = NULL;
	time_t now = time(NULL);
	struct tm tm;
	gmtime_r(&now, &tm);
	strftime(utc, sizeof utc, "%Y-%m-%dT%H:%M:%SZ", &tm);
	int rc = open_folder(path, 1, &d, name, err);
	if (rc)
		return rc;
	/* Two at once: one after the other. */
	if (flock(d.fd, LOCK_EX))
		rc = error_set(err, ERROR_IO, "%s: cannot be locked: %s", d.path, strerror(errno));
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
