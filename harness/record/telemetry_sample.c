#include "harness/record/telemetry_sample.h"

#include <math.h>
#include <stddef.h>

static const char *const phases[] = {"warmup", "measure"}; /* by `measured` */
static const char *const reasons[] = {
	"gpu_idle",   "applications_clocks", "sw_power_cap",   "hw_slowdown",    "sync_boost",
	"sw_thermal", "hw_thermal",          "hw_power_brake", "display_clocks",
};
enum { N_REASONS = sizeof reasons / sizeof *reasons };

#define COLUMN(column, kind, member)                                                           \
	{                                                                                      \
		.name = column, .type = kind, .offset = offsetof(struct telemetry_row, member) \
	}
#define NAMES(column, kind, member, list)                                                                      \
	{                                                                                                      \
		.name = column, .type = kind, .offset = offsetof(struct telemetry_row, member), .names = list, \
		.n_names = sizeof list / sizeof *list                                                          \
	}
const struct column telemetry_columns[] = {
	{.name = "schema_version",
	 .type = COLUMN_INT,
	 .offset = offsetof(struct telemetry_row, schema_version),
	 .absent = "1"},
	COLUMN("run_id", COLUMN_TEXT, run_id),
	NAMES("phase", COLUMN_NAME, sample.measured, phases),
	COLUMN("time_us", COLUMN_REAL, sample.time_us),
	COLUMN("sm_clock_mhz", COLUMN_REAL, sample.gpu.sm_clock_mhz),
	COLUMN("memory_clock_mhz", COLUMN_REAL, sample.gpu.memory_clock_mhz),
	COLUMN("power_w", COLUMN_REAL, sample.gpu.power_w),
	COLUMN("energy_j", COLUMN_REAL, sample.gpu.energy_j),
	COLUMN("temperature_c", COLUMN_REAL, sample.gpu.temperature_c),
	COLUMN("gpu_utilization", COLUMN_REAL, sample.gpu.utilization),
	COLUMN("memory_utilization", COLUMN_REAL, sample.gpu.memory_utilization),
	NAMES("throttle_reasons", COLUMN_FLAGS, sample.gpu.throttle_reasons, reasons),
	COLUMN("cpu_mhz", COLUMN_REAL, sample.cpu_mhz),
	COLUMN("load_average", COLUMN_REAL, sample.load_average),
};
#undef COLUMN
#undef NAMES
const int telemetry_n_columns = sizeof telemetry_columns / sizeof *telemetry_columns;

void gpu_reading_init(struct gpu_reading *r)
{
	*r = (struct gpu_reading){NAN, NAN, NAN, NAN, NAN, NAN, NAN, -1};
}

const char *throttle_reasons_text(int64_t bits, char out[COLUMN_TEXT_SIZE])
{
	static const struct column column = {.type = COLUMN_FLAGS, .names = reasons, .n_names = N_REASONS};
	return column_text(&bits, &column, out);
}
