#include "harness/cli/bench_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "harness/record/json_word.h"
#include "harness/record/result_set.h"

enum { MAX_WORDS = 10000, VERSION = 1 };

static const char description[] = "devices.json";
static const char *const results[] = {"runs.csv",     "tokens.csv", "telemetry.csv",
				      "timeline.csv", "env.json",   "sweep.json"};
enum { RESULTS = sizeof results / sizeof *results };

/* DIR.parts; 0, or -1 where that is too long. */
static int folder_path(const char *directory, char whole[RUN_DIRECTORY_PATH], char out[RUN_DIRECTORY_PATH])
{
	size_t n = strlen(directory);
	while (n > 1 && directory[n - 1] == '/')
		n--;
	/* Room for what is in it. */
	if (!n || n + 64 >= RUN_DIRECTORY_PATH)
		return -1;
	snprintf(whole, RUN_DIRECTORY_PATH, "%.*s", (int)n, directory);
	snprintf(out, RUN_DIRECTORY_PATH, "%.*s.parts", (int)n, directory);
	return 0;
}

int bench_parts_path(const struct bench_parts *p, int i, enum bench_part_file what, char out[RUN_DIRECTORY_PATH],
		     struct error *err)
{
	static const char *const ends[] = {"", ".json", ".log", ".prom"};
	int n = snprintf(out, RUN_DIRECTORY_PATH, "%s/%d%s", p->folder.path, i + 1, ends[what]);
	return n > 0 && n < RUN_DIRECTORY_PATH ? 0
					       : error_set(err, ERROR_INPUT, "%s: too long a path; give a shorter one",
							   text_show_path(p->folder.path).text);
}

bool bench_parts_are_there(const char *directory)
{
	char whole[RUN_DIRECTORY_PATH], path[RUN_DIRECTORY_PATH], file[RUN_DIRECTORY_PATH + 16];
	struct stat s;
	if (folder_path(directory, whole, path))
		return false;
	snprintf(file, sizeof file, "%s/%s", path, description);
	return !lstat(file, &s);
}

static int set_paths(struct bench_parts *p, const char *directory, char path[RUN_DIRECTORY_PATH], struct error *err)
{
	*p = (struct bench_parts){.folder = {.fd = -1}};
	return folder_path(directory, p->whole, path)
		       ? error_set(err, ERROR_INPUT, "%s: too long a path; give a shorter one",
				   text_show_path(directory).text)
		       : 0;
}

static int lock(const struct bench_parts *p, struct error *err)
{
	if (!flock(p->folder.fd, LOCK_EX | LOCK_NB))
		return 0;
	return error_set(err, ERROR_IO,
			 "%s: another gemmark measures its parts; wait until it ends, or name another "
			 "directory",
			 text_show_path(p->whole).text);
}

int bench_parts_make(struct bench_parts *p, const char *directory, const struct device_list *devices, int n_words,
		     char **words, struct error *err)
{
	char path[RUN_DIRECTORY_PATH];
	int rc = set_paths(p, directory, path, err);
	if (!rc && mkdir(path, 0777))
		rc = error_set(err, errno == EEXIST ? ERROR_INPUT : ERROR_IO,
			       "%s: %s; go on with the sweep that is there by --resume %s, or name another directory",
			       text_show_path(path).text, strerror(errno), text_show_path(p->whole).text);
	if (!rc)
		rc = run_directory_open(&p->folder, path, err);
	if (!rc)
		rc = lock(p, err);
	p->devices = *devices;
	p->words = rc ? NULL : calloc((size_t)n_words + 1, sizeof *p->words);
	json_t *line = json_array(), *o = NULL;
	for (int i = 0; p->words && i < n_words; i++) {
		p->words[i] = strdup(words[i]);
		p->n_words += p->words[i] != NULL;
		json_array_append_new(line, json_word(words[i]));
	}
	if (!rc && p->n_words == n_words)
		o = json_pack("{s:i, s:o, s:O}", "gemmark_devices", VERSION, "devices", device_list_json(devices),
			      "command_line", line);
	if (!rc && (!o || json_array_size(line) != (size_t)n_words))
		rc = error_set(err, ERROR_MEMORY, "no memory for %s", description);
	if (!rc)
		rc = run_directory_save_json(&p->folder, description, o, err);
	json_decref(o);
	json_decref(line);
	return rc;
}

static int read_words(struct bench_parts *p, const json_t *line)
{
	int n = (int)json_array_size(line);
	p->words = n > 0 && n < MAX_WORDS ? calloc((size_t)n + 1, sizeof *p->words) : NULL;
	if (!p->words)
		return -1;
	for (p->n_words = 0; p->n_words < n; p->n_words++)
		if (!(p->words[p->n_words] = json_word_bytes(json_array_get(line, (size_t)p->n_words))))
			return -1;
	return 0;
}

int bench_parts_open(struct bench_parts *p, const char *directory, bool to_go_on, struct error *err)
{
	char path[RUN_DIRECTORY_PATH];
	json_t *o = NULL;
	int rc = set_paths(p, directory, path, err);
	if (!rc)
		rc = run_directory_open(&p->folder, path, err);
	if (!rc && to_go_on)
		rc = lock(p, err);
	if (!rc)
		rc = run_directory_load_json(&p->folder, description, &o, err);
	if (!rc && (json_integer_value(json_object_get(o, "gemmark_devices")) != VERSION ||
		    device_list_read(json_object_get(o, "devices"), &p->devices) ||
		    read_words(p, json_object_get(o, "command_line"))))
		rc = error_set(err, ERROR_INPUT, "%s/%s: is none that this gemmark writes; measure anew",
			       text_show_path(path).text, description);
	json_decref(o);
	return rc;
}

void bench_parts_close(struct bench_parts *p)
{
	for (int i = 0; p->words && p->words[i]; i++)
		free(p->words[i]);
	free(p->words);
	p->words = NULL;
	run_directory_close(&p->folder);
}

/* ---- what is in them ---- */

static bool has(const struct run_directory *d, const char *name)
{
	struct stat s;
	return !fstatat(d->fd, name, &s, AT_SYMLINK_NOFOLLOW);
}

int bench_parts_status(const struct bench_parts *p, struct sweep_status *out, bool *whole, struct error *err)
{
	int rc = 0;
	bool all = true;
	sweep_status_init(out);
	out->state = SWEEP_STATE_DONE;
	out->runs_total = 0;
	text_name(out->directory, sizeof out->directory, p->whole, strlen(p->whole));
	for (int i = 0; i < p->devices.n && !rc; i++) {
		char name[16], path[RUN_DIRECTORY_PATH];
		struct sweep_status one;
		struct run_directory part;
		snprintf(name, sizeof name, "%d", i + 1);
		bool begun = has(&p->folder, name) && !run_directory_below(&p->folder, name, 0, &part, NULL);
		if (begun) {
			begun = has(&part, "runs.csv");
			run_directory_close(&part);
		}
		sweep_status_init(&one);
		one.state = SWEEP_STATE_GONE;
		if (begun && !(rc = bench_parts_path(p, i, BENCH_PART_DIRECTORY, path, err)))
			rc = sweep_status_of_directory(path, &one, err);
		if (!rc)
			sweep_status_add(out, &one, p->devices.of[i].name);
		all &= one.state == SWEEP_STATE_DONE;
		if (whole)
			whole[i] = one.state == SWEEP_STATE_DONE;
	}
	/* Whole, but not merged yet. */
	if (all)
		out->state = SWEEP_STATE_GONE;
	return rc;
}

int bench_parts_begun(const struct bench_parts *p, int i, bool *begun, struct error *err)
{
	struct run_directory d;
	char name[16];
	snprintf(name, sizeof name, "%d", i + 1);
	*begun = false;
	if (!has(&p->folder, name))
		return 0;
	int rc = run_directory_below(&p->folder, name, 0, &d, err);
	if (rc)
		return rc;
	*begun = has(&d, "env.json");
	/* Files are made in this order: without env.json no run began. */
	for (int k = 0; k < RESULTS && !*begun; k++)
		unlinkat(d.fd, results[k], 0);
	run_directory_close(&d);
	return 0;
}

void bench_parts_remove(struct bench_parts *p)
{
	static const char *const ends[] = {".json", ".log", ".prom"};
	for (int i = 0; i < p->devices.n; i++) {
		char name[32];
		struct run_directory d;
		snprintf(name, sizeof name, "%d", i + 1);
		if (has(&p->folder, name) && !run_directory_below(&p->folder, name, 0, &d, NULL)) {
			for (int k = 0; k < RESULTS; k++)
				unlinkat(d.fd, results[k], 0);
			run_directory_close(&d);
			unlinkat(p->folder.fd, name, AT_REMOVEDIR);
		}
		for (int k = 0; k < 3; k++) {
			snprintf(name, sizeof name, "%d%s", i + 1, ends[k]);
			unlinkat(p->folder.fd, name, 0);
		}
	}
	unlinkat(p->folder.fd, description, 0);
	rmdir(p->folder.path);
}
