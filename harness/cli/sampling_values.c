#include "harness/cli/sampling_values.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/text.h"
#include "harness/cli/options.h"

static int number(const char *value, const char *what, double *out, struct error *err)
{
	char *end;
	*out = strtod(value, &end);
	/* strtod alone would take leading white space. */
	if (end == value || *end || isspace((unsigned char)*value))
		return error_set(err, ERROR_INPUT, "%s: '%s' is not a number", what, text_show_path(value).text);
	return 0;
}

/* Whether the options are still within their ranges. */
static int checked(int rc, const char *what, const struct sampling_options *o, struct error *err)
{
	if (!rc && (rc = sampling_check(o, err)))
		rc = error_prefix(err, rc, "%s", what);
	return rc;
}

int sampling_temperature(const char *value, struct sampling_options *o, struct error *err)
{
	return checked(number(value, "--temp", &o->temperature, err), "--temp", o, err);
}

int sampling_top_k(const char *value, struct sampling_options *o, struct error *err)
{
	return options_int(value, "--top-k", 0, INT_MAX, &o->top_k, err);
}

int sampling_top_p(const char *value, struct sampling_options *o, struct error *err)
{
	return checked(number(value, "--top-p", &o->top_p, err), "--top-p", o, err);
}

int sampling_min_p(const char *value, struct sampling_options *o, struct error *err)
{
	return checked(number(value, "--min-p", &o->min_p, err), "--min-p", o, err);
}

int sampling_seed(const char *value, const char *option, struct sampling_options *o, struct error *err)
{
	char *end;
	errno = 0;
	unsigned long long seed = strtoull(value, &end, 10);
	/* strtoull alone would take a sign and white space. */
	if (!isdigit((unsigned char)*value) || *end || errno)
		return error_set(err, ERROR_INPUT, "%s: '%s' is not a whole number from 0 to %llu", option,
				 text_show_path(value).text, ULLONG_MAX);
	o->seed = seed;
	return 0;
}
