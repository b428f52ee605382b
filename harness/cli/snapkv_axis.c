#include "harness/cli/snapkv_axis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/infer/snapkv.h"

static int add_one(struct axis_values *a, const char *text, struct error *err)
{
	struct snapkv_options o;
	char name[SNAPKV_NAME_BYTES];
	int rc = snapkv_parse(text, &o, err);
	if (rc)
		return rc;
	snapkv_name(&o, name);
	return axis_words_append(a, "--snapkv", name, err);
}

/* A budget or a range of them, and what belongs to it. */
static int add_value(struct axis_values *a, const char *value, struct error *err)
{
	size_t size = strcspn(value, ",");
	char text[128];
	if (!memchr(value, '-', size))
		return add_one(a, value, err);
	struct axis_values budgets = {0};
	snprintf(text, sizeof text, "%.*s", (int)(size < sizeof text ? size : sizeof text - 1), value);
	int rc = axis_ints_add(&budgets, "--snapkv", text, 1, SNAPKV_MAX_BUDGET, err);
	for (int i = 0; i < budgets.n && !rc; i++) {
		snprintf(text, sizeof text, "%d%s", budgets.ints[i], value + size);
		rc = add_one(a, text, err);
	}
	axis_ints_free(&budgets);
	return rc;
}

int snapkv_axis_add(struct axis_values *a, const char *list, struct error *err)
{
	char *copy = strdup(list);
	if (!copy)
		return error_set(err, ERROR_MEMORY, "--snapkv: no memory for the values");
	int rc = 0;
	for (char *value = copy; value && !rc;) {
		char *end = strchr(value, ',');
		while (end && memchr(end + 1, '=', strcspn(end + 1, ",")))
			end = strchr(end + 1, ',');
		if (end)
			*end++ = 0;
		rc = add_value(a, value, err);
		value = end;
	}
	free(copy);
	return rc;
}
