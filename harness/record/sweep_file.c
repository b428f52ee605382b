#include "harness/record/sweep_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 4300, NAME_SIZE = 160, SHOWN = 90, DIFFERENCES = 3 };

static json_t *ints(const struct int_axis *a)
{
	json_t *list = json_array();
	for (int i = 0; i < a->n; i++)
		json_array_append_new(list, json_integer(a->values[i]));
	return list;
}

static json_t *words(const struct word_axis *a)
{
	json_t *list = json_array();
	for (int i = 0; i < a->n; i++)
		json_array_append_new(list, json_string(a->values[i]));
	return list;
}

int sweep_describe(const struct matrix *m, json_t **out, struct error *err)
{
	*out = json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "schema_version", 1, "model",
			 words(&m->models), "n_prompt", ints(&m->n_prompt), "n_gen", ints(&m->n_gen), "n_depth",
			 ints(&m->n_depth), "mode", words(&m->modes), "fusion", words(&m->fusions), "sync",
			 words(&m->syncs), "n_gpu_layers", ints(&m->n_gpu_layers), "type_k", words(&m->types_k),
			 "type_v", words(&m->types_v), "n_threads", ints(&m->n_threads));
	if (*out &&
	    json_object_set_new(*out, "snapkv", m->snapkv.n ? words(&m->snapkv) : json_pack("[s]", SNAPKV_OFF))) {
		json_decref(*out);
		*out = NULL;
	}
	return *out ? 0 : error_set(err, ERROR_MEMORY, "no memory for sweep.json");
}

/* Paths into env.json that two looks at one machine may see differently; a name stands for all below it. */
static int is_volatile(const char *path)
{
	static const char *const names[] = {"memory available_bytes", "bandwidth", "command_line"};
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
		snprintf(d->text + used, sizeof d->text - used, "%s%s: %.*s there, %.*s here", used ? "; " : "", path,
			 SHOWN, values[0] ? values[0] : "nothing", SHOWN, values[1] ? values[1] : "nothing");
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

static int check_file(const char *directory, const char *name, const json_t *here, const char *what, struct error *err)
{
	char path[PATH_SIZE];
	json_error_t why;
	snprintf(path, sizeof path, "%s/%s", directory, name);
	json_t *there = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
	if (!there)
		return error_set(err, ERROR_INPUT, "%s: %s; a sweep that got no further is started anew", path,
				 why.text);
	struct differences d = {{0}, 0};
	compare(&d, "", there, (json_t *)here);
	json_decref(there);
	if (!d.n)
		return 0;
	char more[32] = "";
	if (d.n > DIFFERENCES)
		snprintf(more, sizeof more, "; and %d more", d.n - DIFFERENCES);
	return error_set(err, ERROR_INPUT, "%s: %s has changed: %s%s", directory, what, d.text, more);
}

int sweep_check(const char *directory, const json_t *sweep, const json_t *env, struct error *err)
{
	int rc = check_file(directory, "sweep.json", sweep, "the sweep", err);
	return rc ? rc : check_file(directory, "env.json", env, "the environment", err);
}
