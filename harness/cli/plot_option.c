#include "harness/cli/plot_option.h"

#include <string.h>

#include "base/text.h"
#include "harness/plot/plot.h"

int plot_option_formats(unsigned *out, const char *value, struct error *err)
{
	*out = 0;
	do {
		size_t n = strcspn(value, ",");
		if (n == 3 && !strncmp(value, "svg", n))
			*out |= PLOT_FORMAT_SVG;
		else if (n == 3 && !strncmp(value, "png", n))
			*out |= PLOT_FORMAT_PNG;
		else
			return error_set(err, ERROR_INPUT, "'%s' is no format: svg, png or svg,png",
					 text_show(value, n).text);
		value += n;
	} while (*value++);
	return 0;
}
