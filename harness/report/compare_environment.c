#include "harness/report/compare_environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/record/result_place.h"

enum { SHOWN = 90 };

/*
 * Paths into env.json and sweep.json. Left out is what the two sides are compared for (commit, dirty, version), what
 * moves by itself (free memory, clocks now, measured bandwidth) and how the command was written.
 */
static const char *const facts[] = {
	"cpu model",
	"cpu cores",
	"cpu available_cpus",
	"cpu isa",
	"cpu governor",
	"cpu turbo_disabled",
	"cpu smt",
	"memory total_bytes",
	"system kernel",
	"system container",
	"gpu name",
	"gpu memory_bytes",
	"gpu driver_cuda_version",
	"gpu kernel_module",
	"gpu nvrtc_version",
	"gpu nvml driver_version",
	"gpu nvml vbios_version",
	"gpu nvml ecc",
	"gpu nvml mig",
	"gpu nvml persistence",
	"gpu nvml power_limit_w",
	"gpu nvml max_sm_clock_mhz",
	"gpu nvml application_sm_clock_mhz",
	"gpu nvml application_memory_clock_mhz",
	"gpu nvml max_pcie_generation",
	"gpu nvml max_pcie_width",
	"build compiler",
	"build flags",
	"build type",
	"seed",
};

/* Of sweep.json: what rows depend on, beside the axes, whose values the cells have. */
static const char *const settings[] = {
	"steady",
	"warmup_max",
	"prefill_fusion",
	"seed",
	"until_error",
	"prefill_precision",
	"prefill_weights",
	"host_products",
	"ple",
	"pdl",
	"persistent_limits",
	"head",
};

static const json_t *at_path(const json_t *from, const char *path)
{
	char key[64];
	while (from && *path) {
		size_t n = strcspn(path, " ");
		snprintf(key, sizeof key, "%.*s", (int)n, path);
		from = json_object_get(from, key);
		path += n + (path[n] == ' ');
	}
	return from;
}

/* Once, of however many directories. */
static int add(char ***lines, int *n, const char *text, struct error *err)
{
	for (int i = 0; i < *n; i++)
		if (!strcmp((*lines)[i], text))
			return 0;
	char **grown = realloc(*lines, ((size_t)*n + 1) * sizeof *grown);
	if (grown)
		*lines = grown;
	char *copy = grown ? strdup(text) : NULL;
	if (!copy)
		return error_set(err, ERROR_MEMORY, "no memory to compare environments");
	(*lines)[(*n)++] = copy;
	return 0;
}

static int differ(const char *path, const json_t *base, const json_t *head, char ***lines, int *n, struct error *err)
{
	if (!base || !head || json_is_null(base) || json_is_null(head) || json_equal(base, head))
		return 0;
	char *texts[2] = {json_dumps(base, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS),
			  json_dumps(head, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS)};
	char line[400];
	snprintf(line, sizeof line, "%s: %.*s in base, %.*s in head", path, SHOWN, texts[0] ? texts[0] : "?", SHOWN,
		 texts[1] ? texts[1] : "?");
	free(texts[0]);
	free(texts[1]);
	return add(lines, n, line, err);
}

/* Files of one name and other contents; other files are other cells. */
static int compare_models(const json_t *base, const json_t *head, char ***lines, int *n, struct error *err)
{
	size_t i, j;
	json_t *a, *b;
	json_array_foreach(base, i, a)
	{
		json_array_foreach(head, j, b)
		{
			const char *name = json_string_value(json_object_get(a, "file"));
			const char *other = json_string_value(json_object_get(b, "file"));
			char path[300];
			if (!name || !other || strcmp(name, other))
				continue;
			snprintf(path, sizeof path, "model %s", name);
			int rc = differ(path, json_object_get(a, "xxh3_64"), json_object_get(b, "xxh3_64"), lines, n,
					err);
			if (rc)
				return rc;
		}
	}
	return 0;
}

/* What tokens were fed; a sweep without a text was fed the seeded stream's. */
static int compare_texts(const json_t *base, const json_t *head, char ***lines, int *n, struct error *err)
{
	const char *a = json_string_value(json_object_get(base, "text_hash"));
	const char *b = json_string_value(json_object_get(head, "text_hash"));
	char line[300];
	if (!base || !head || (!a && !b) || (a && b && !strcmp(a, b)))
		return 0;
	snprintf(line, sizeof line, "text_hash: %s in base, %s in head", a ? text_show(a, strlen(a)).text : "none",
		 b ? text_show(b, strlen(b)).text : "none");
	return add(lines, n, line, err);
}

int compare_environment(const struct result_set *base, const struct result_set *head, char ***lines, int *n,
			struct error *err)
{
	int rc = 0;
	for (size_t i = 0; !rc && i < sizeof facts / sizeof *facts; i++)
		rc = differ(facts[i], at_path(base->env, facts[i]), at_path(head->env, facts[i]), lines, n, err);
	/* A GPU on one side alone is a difference, too. */
	if (!rc && base->env && head->env &&
	    json_is_object(json_object_get(base->env, "gpu")) != json_is_object(json_object_get(head->env, "gpu")))
		rc = add(lines, n,
			 json_is_object(json_object_get(base->env, "gpu")) ? "gpu: there is one in base, none in head"
									   : "gpu: there is none in base, one in head",
			 err);
	if (!rc)
		rc = compare_models(json_object_get(base->env, "models"), json_object_get(head->env, "models"), lines,
				    n, err);
	for (size_t i = 0; !rc && i < sizeof settings / sizeof *settings; i++)
		rc = differ(settings[i], at_path(base->sweep, settings[i]), at_path(head->sweep, settings[i]), lines, n,
			    err);
	if (!rc)
		rc = compare_texts(base->sweep, head->sweep, lines, n, err);
	return rc;
}

static const char *shown(const char *text)
{
	return text ? text : "";
}

static int compare_places(const struct run_row *base, const struct run_row *row, char ***lines, int *n,
			  struct error *err)
{
	char line[500];
	if (!result_place_differs(base, row))
		return 0;
	const char *words[4] = {shown(base->machine), shown(base->gpu), shown(row->machine), shown(row->gpu)};
	struct text_shown texts[4];
	for (int i = 0; i < 4; i++)
		texts[i] = text_show(words[i], strlen(words[i]));
	snprintf(line, sizeof line, "machine of merged cells: %s%s%s in base, %s%s%s in head", texts[0].text,
		 *texts[1].text ? " " : "", texts[1].text, texts[2].text, *texts[3].text ? " " : "", texts[3].text);
	return add(lines, n, line, err);
}

int compare_environment_row(const struct run_row *base, const struct run_row *row, int merged, char ***lines, int *n,
			    struct error *err)
{
	int rc = merged ? compare_places(base, row, lines, n, err) : 0;
	if (rc)
		return rc;
	const char *a = base->prefill_weights, *b = row->prefill_weights;
	char line[300];
	if (base->status != RUN_STATUS_OK || row->status != RUN_STATUS_OK || row->n_prompt < 1 ||
	    base->n_gpu_layers != row->n_gpu_layers || !a || !b || !*a || !*b || !strcmp(a, b))
		return 0;
	snprintf(line, sizeof line, "prefill_weights of prompts: %s in base, %s in head", text_show(a, strlen(a)).text,
		 text_show(b, strlen(b)).text);
	return add(lines, n, line, err);
}
