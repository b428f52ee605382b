#include "harness/record/sweep_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "harness/record/json_word.h"

enum { NAME_SIZE = 160, SHOWN = 90, DIFFERENCES = 3 };

static json_t *values(const struct axis_values *v, enum axis_id a)
{
	json_t *list = json_array();
	for (int i = 0; i < v->n; i++)
		json_array_append_new(list,
				      axes[a].kind == AXIS_INT ? json_integer(v->ints[i]) : json_word(v->words[i]));
	return list;
}

/* What an axis without values has; nothing where that cannot be said. */
static json_t *absent(enum axis_id a)
{
	if (!axes[a].absent)
		return json_array();
	return axes[a].kind == AXIS_INT ? json_pack("[i]", atoi(axes[a].absent)) : json_pack("[s]", axes[a].absent);
}

static json_t *pairs(const struct matrix *m)
{
	json_t *list = json_array();
	for (int i = 0; i < m->n_pairs; i++)
		json_array_append_new(list, json_pack("[i, i]", m->pairs[i].n_prompt, m->pairs[i].n_gen));
	return list;
}

int sweep_describe(const struct matrix *m, json_t **out, struct error *err)
{
	int failed = !(*out = json_pack("{s:i}", "schema_version", 1));
	for (int a = 0; a < AXIS_COUNT && !failed; a++)
		failed = json_object_set_new(*out, axes[a].name,
					     m->of[a].n ? values(&m->of[a], (enum axis_id)a) : absent((enum axis_id)a));
	/* Files from before there were any had none. */
	if (!failed && m->n_pairs)
		failed = json_object_set_new(*out, "n_prompt_n_gen", pairs(m));
	if (!failed)
		return 0;
	json_decref(*out);
	*out = NULL;
	return error_set(err, ERROR_MEMORY, "no memory for sweep.json");
}

/* A file that is older than an axis swept what its absence means. */
static void complete(json_t *sweep)
{
	for (int a = 0; a < AXIS_COUNT; a++)
		if (json_is_object(sweep) && !json_object_get(sweep, axes[a].name))
			json_object_set_new(sweep, axes[a].name, absent((enum axis_id)a));
}

/* Paths into env.json that two looks at one machine may see differently; a name stands for all below it. */
static int is_volatile(const char *path)
{
	static const char *const names[] = {"memory available_bytes", "bandwidth", "gpu_memory", "command_line"};
	/* Of a GPU, whatever moves with its load. */
	static const char *const moving[] = {"clock_now",   "temperature", "power_now", "utilization",
					     "memory_free", "throttle",    "_now"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strncmp(path, names[i], strlen(names[i])))
			return 1;
	for (size_t i = 0; i < sizeof moving / sizeof *moving; i++)
		if (!strncmp(path, "gpu", 3) && strstr(path, moving[i]))
			return 1;
	return 0;
}

struct differences {
	char text[400];
	int n;
};

static void add_difference(struct differences *d, const char *path, const json_t *there, const json_t *here)
{
	char *values[2] = {there ? json_dumps(there, JSON_ENCODE_ANY | JSON_COMPACT) : NULL,
			   here ? json_dumps(here, JSON_ENCODE_ANY | JSON_COMPACT) : NULL};
	if (d->n++ < DIFFERENCES) {
		size_t used = strlen(d->text);
		const char *text[2] = {values[0] ? values[0] : "nothing", values[1] ? values[1] : "nothing"};
		snprintf(d->text + used, sizeof d->text - used, "%s%s: %.*s there, %.*s here", used ? "; " : "", path,
			 (int)text_cut(text[0], SHOWN), text[0], (int)text_cut(text[1], SHOWN), text[1]);
	}
	free(values[0]);
	free(values[1]);
}

static void join(char out[NAME_SIZE], const char *path, const char *key)
{
	snprintf(out, NAME_SIZE, "%s%s%s", path, *path ? " " : "", key);
}

/* Objects member by member, everything else as a whole. */
static void compare(struct differences *d, const char *path, json_t *there, json_t *here)
{
	const char *key;
	json_t *value;
	char below[NAME_SIZE];
	if (is_volatile(path) || json_equal(there, here))
		return;
	if (!json_is_object(there) || !json_is_object(here)) {
		add_difference(d, path, there, here);
		return;
	}
	json_object_foreach(there, key, value)
	{
		join(below, path, key);
		compare(d, below, value, json_object_get(here, key));
	}
	json_object_foreach(here, key, value)
	{
		join(below, path, key);
		if (!json_object_get(there, key))
			compare(d, below, NULL, value);
	}
}

static int check_file(const struct run_directory *d, const char *name, const json_t *here, const char *what,
		      void (*complete_it)(json_t *), struct error *err)
{
	json_t *there;
	int rc = run_directory_load_json(d, name, &there, err);
	if (rc)
		return rc;
	if (complete_it)
		complete_it(there);
	struct differences found = {{0}, 0};
	compare(&found, "", there, (json_t *)here);
	json_decref(there);
	if (!found.n)
		return 0;
	char more[32] = "";
	if (found.n > DIFFERENCES)
		snprintf(more, sizeof more, "; and %d more", found.n - DIFFERENCES);
	return error_set(err, ERROR_INPUT, "%s: %s has changed: %s%s", d->path, what, found.text, more);
}

int sweep_check(const struct run_directory *d, const json_t *sweep, const json_t *env, struct error *err)
{
	int rc = check_file(d, "sweep.json", sweep, "the sweep", complete, err);
	return rc ? rc : check_file(d, "env.json", env, "the environment", NULL, err);
}

/* What shards of one sweep agree in. */
static json_t *division_of(const json_t *sweep)
{
	json_t *all = json_deep_copy(sweep), *shard = json_object_get(all, "shard"),
	       *models = json_object_get(all, "model");
	json_object_set_new(all, "models", json_integer((json_int_t)json_array_size(models)));
	json_object_del(all, "model");
	json_object_del(all, "device_memory");
	json_object_del(shard, "index");
	return all;
}

int sweep_same_division(const char *first_path, const json_t *first, const char *path, const json_t *sweep,
			struct error *err)
{
	json_t *there = division_of(first), *here = division_of(sweep);
	struct differences found = {{0}, 0};
	compare(&found, "", there, here);
	int memory = !there || !here;
	json_decref(there);
	json_decref(here);
	if (memory)
		return error_set(err, ERROR_MEMORY, "no memory to compare sweeps");
	if (!found.n)
		return 0;
	return error_set(err, ERROR_INPUT, "%s (there) and %s (here) are no shards of one sweep: %s",
			 text_show_path(first_path).text, text_show_path(path).text, found.text);
}

int sweep_keep(const struct run_directory *d, const json_t *sweep, const json_t *env, int *written, struct error *err)
{
	static const char *const names[] = {"sweep.json", "env.json"};
	const json_t *values[] = {sweep, env};
	*written = 0;
	for (int i = 0; i < 2; i++) {
		if (!faccessat(d->fd, names[i], F_OK, AT_SYMLINK_NOFOLLOW) || errno != ENOENT)
			continue;
		int rc = run_directory_save_json(d, names[i], values[i], err);
		if (rc)
			return rc;
		++*written;
	}
	return sweep_check(d, sweep, env, err);
}
