#include "harness/record/telemetry_sample.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void gpu_reading_init(struct gpu_reading *r)
{
	*r = (struct gpu_reading){NAN, NAN, NAN, NAN, NAN, NAN, NAN, -1};
}

const char *throttle_reasons_text(int64_t bits, char out[THROTTLE_REASONS_SIZE])
{
	static const char *const names[] = {
		"gpu_idle",   "applications_clocks", "sw_power_cap",   "hw_slowdown",    "sync_boost",
		"sw_thermal", "hw_thermal",          "hw_power_brake", "display_clocks",
	};
	enum { N = sizeof names / sizeof *names };
	size_t used = 0;
	out[0] = '\0';
	if (bits < 0)
		return out;
	if (bits == 0)
		return strcpy(out, "none");
	for (int i = 0; i < N; i++)
		if (bits & INT64_C(1) << i)
			used += (size_t)snprintf(out + used, THROTTLE_REASONS_SIZE - used, "%s%s", used ? "+" : "",
						 names[i]);
	int64_t rest = bits >> N << N;
	if (rest)
		snprintf(out + used, THROTTLE_REASONS_SIZE - used, "%s%#llx", used ? "+" : "",
			 (unsigned long long)rest);
	return out;
}
