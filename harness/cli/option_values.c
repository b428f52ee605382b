#include "harness/cli/option_values.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "harness/cli/options.h"
#include "harness/sweep/axis.h"

/* Index of value in names, or ERROR_INPUT. */
static int choose(const char *value, const char *what, const char *const *names, int n, struct error *err)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(value, names[i]))
			return i;
	const char *near = options_nearest(value, names, n);
	if (near)
		return error_set(err, ERROR_INPUT, "%s '%s' is unknown (did you mean %s?)", what, value, near);
	char list[160] = "";
	for (int i = 0; i < n; i++) {
		size_t used = strlen(list);
		snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
	}
	return error_set(err, ERROR_INPUT, "%s '%s' is unknown; choose from %s", what, value, list);
}

int options_mode(const char *value, enum graph_mode *out, struct error *err)
{
	const char *names[GRAPH_MODE_COUNT];
	for (int m = 0; m < GRAPH_MODE_COUNT; m++)
		names[m] = graph_mode_name((enum graph_mode)m);
	int i = choose(value, "mode", names, GRAPH_MODE_COUNT, err);
	if (i < 0)
		return i;
	*out = (enum graph_mode)i;
	return 0;
}

int options_fusion(const char *value, enum fusion *out, struct error *err)
{
	const char *names[FUSION_COUNT];
	for (int f = 0; f < FUSION_COUNT; f++)
		names[f] = fusion_name((enum fusion)f);
	int i = choose(value, "fusion", names, FUSION_COUNT, err);
	if (i < 0)
		return i;
	*out = (enum fusion)i;
	return 0;
}

int options_cache_type(const char *value, enum tensor_type *out, struct error *err)
{
#define X(NAME, word, number, block, block_bytes, file_type, a, b) #word,
	static const char *const names[] = {TENSOR_CACHE_TYPES(X, , )};
#undef X
	int i = choose(value, "cache type", names, sizeof names / sizeof *names, err);
	if (i < 0)
		return i;
	*out = tensor_type_parse(names[i])->type;
	return 0;
}

int options_head(const char *value, bool *on_host, struct error *err)
{
	static const char *const names[] = {"gpu", "cpu"};
	int i = choose(value, "place", names, 2, err);
	if (i < 0)
		return i;
	*on_host = i == 1;
	return 0;
}

int options_ple(const char *value, bool *on_host, struct error *err)
{
	static const char *const names[] = {"device", "host"};
	int i = choose(value, "place", names, 2, err);
	if (i < 0)
		return i;
	*on_host = i == 1;
	return 0;
}

int options_pdl(const char *value, bool *on, struct error *err)
{
	static const char *const names[] = {"off", "on"};
	int i = choose(value, "setting", names, 2, err);
	if (i < 0)
		return i;
	*on = i == 1;
	return 0;
}

int options_persistent_limits(const char *value, enum persistent_limits_by *out, struct error *err)
{
	const char *const names[] = {persistent_limits_name(PERSISTENT_LIMITS_MEASURED),
				     persistent_limits_name(PERSISTENT_LIMITS_CONSTANT)};
	int i = choose(value, "choice", names, 2, err);
	if (i < 0)
		return i;
	*out = (enum persistent_limits_by)i;
	return 0;
}

int options_prefill_rows(const char *value, enum prefill_rows *out, struct error *err)
{
	const char *const names[] = {prefill_rows_name(PREFILL_ROWS_LAST), prefill_rows_name(PREFILL_ROWS_ALL)};
	int i = choose(value, "rows", names, 2, err);
	if (i < 0)
		return i;
	*out = (enum prefill_rows)i;
	return 0;
}

int options_prefill_precision(const char *value, enum prefill_precision *out, struct error *err)
{
	const char *const names[] = {prefill_precision_name(PREFILL_F16), prefill_precision_name(PREFILL_F32)};
	int i = choose(value, "precision", names, 2, err);
	if (i < 0)
		return i;
	*out = (enum prefill_precision)i;
	return 0;
}

int options_prefill_weights(const char *value, int *n_layers, struct error *err)
{
	static const char *const names[] = {"auto", "resident", "convert"};
	static const int values[] = {PREFILL_WEIGHTS_AUTO, PREFILL_WEIGHTS_RESIDENT, PREFILL_WEIGHTS_CONVERT};
	if (*value == '-' || isdigit((unsigned char)*value))
		return options_int(value, "--prefill-weights", 0, AXIS_LAYERS_MAX, n_layers, err);
	int i = choose(value, "choice or number of layers", names, 3, err);
	if (i < 0)
		return i;
	*n_layers = values[i];
	return 0;
}

int options_host_products(const char *value, enum host_products *out, struct error *err)
{
	const char *const names[] = {host_products_name(HOST_PRODUCTS_F32), host_products_name(HOST_PRODUCTS_BF16)};
	int i = choose(value, "type", names, 2, err);
	if (i < 0)
		return i;
	*out = (enum host_products)i;
	return device_host_can_products(*out, err) ? error_prefix(err, ERROR_INPUT, "--host-products %s", value) : 0;
}
