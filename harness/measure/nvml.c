#include "harness/measure/nvml.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The library's constants, as nvml.h of CUDA 12 and 13 has them. */
enum { SUCCESS = 0, CLOCK_SM = 1, CLOCK_MEMORY = 2, SENSOR_GPU = 0, TEXT_SIZE = 96 };

struct utilization {
	unsigned gpu;
	unsigned memory;
};

struct gpu; /* nvmlDevice_t points to one */

/* X(member, name in the library, parameters) */
#define NVML_FUNCTIONS(X)                                                                                      \
	X(init, "nvmlInit_v2", (void))                                                                         \
	X(shutdown, "nvmlShutdown", (void))                                                                    \
	X(count, "nvmlDeviceGetCount_v2", (unsigned *n))                                                       \
	X(by_index, "nvmlDeviceGetHandleByIndex_v2", (unsigned i, struct gpu **out))                           \
	X(by_bus_id, "nvmlDeviceGetHandleByPciBusId_v2", (const char *id, struct gpu **out))                   \
	X(clock, "nvmlDeviceGetClockInfo", (struct gpu * g, int type, unsigned *mhz))                          \
	X(max_clock, "nvmlDeviceGetMaxClockInfo", (struct gpu * g, int type, unsigned *mhz))                   \
	X(application_clock, "nvmlDeviceGetApplicationsClock", (struct gpu * g, int type, unsigned *mhz))      \
	X(power, "nvmlDeviceGetPowerUsage", (struct gpu * g, unsigned *mw))                                    \
	X(energy, "nvmlDeviceGetTotalEnergyConsumption", (struct gpu * g, unsigned long long *mj))             \
	X(temperature, "nvmlDeviceGetTemperature", (struct gpu * g, int sensor, unsigned *c))                  \
	X(utilization, "nvmlDeviceGetUtilizationRates", (struct gpu * g, struct utilization * out))            \
	X(event_reasons, "nvmlDeviceGetCurrentClocksEventReasons", (struct gpu * g, unsigned long long *bits)) \
	X(throttle_reasons, "nvmlDeviceGetCurrentClocksThrottleReasons",                                       \
	  (struct gpu * g, unsigned long long *bits)) /* the older name */                                     \
	X(driver_version, "nvmlSystemGetDriverVersion", (char *out, unsigned size))                            \
	X(vbios_version, "nvmlDeviceGetVbiosVersion", (struct gpu * g, char *out, unsigned size))              \
	X(uuid, "nvmlDeviceGetUUID", (struct gpu * g, char *out, unsigned size))                               \
	X(ecc, "nvmlDeviceGetEccMode", (struct gpu * g, int *current, int *pending))                           \
	X(mig, "nvmlDeviceGetMigMode", (struct gpu * g, unsigned *current, unsigned *pending))                 \
	X(persistence, "nvmlDeviceGetPersistenceMode", (struct gpu * g, int *on))                              \
	X(power_limit, "nvmlDeviceGetEnforcedPowerLimit", (struct gpu * g, unsigned *mw))                      \
	X(default_power_limit, "nvmlDeviceGetPowerManagementDefaultLimit", (struct gpu * g, unsigned *mw))     \
	X(pcie_generation, "nvmlDeviceGetCurrPcieLinkGeneration", (struct gpu * g, unsigned *generation))      \
	X(pcie_width, "nvmlDeviceGetCurrPcieLinkWidth", (struct gpu * g, unsigned *lanes))                     \
	X(max_pcie_generation, "nvmlDeviceGetMaxPcieLinkGeneration", (struct gpu * g, unsigned *generation))   \
	X(max_pcie_width, "nvmlDeviceGetMaxPcieLinkWidth", (struct gpu * g, unsigned *lanes))

struct nvml {
	void *library;
	int started;
	struct gpu *gpu;
#define X(member, name, params) int(*member) params; /* null: this library has none */
	NVML_FUNCTIONS(X)
#undef X
};

static void load(struct nvml *n)
{
	const struct {
		const char *name;
		void *slot;
	} wanted[] = {
#define X(member, name, params) {name, &n->member},
		NVML_FUNCTIONS(X)
#undef X
	};
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		void *symbol = dlsym(n->library, wanted[i].name);
		memcpy(wanted[i].slot, &symbol, sizeof symbol);
	}
}

static int find_gpu(struct nvml *n, const char *pci_bus_id, struct error *err)
{
	unsigned count = 0;
	if (pci_bus_id) {
		if (!n->by_bus_id || n->by_bus_id(pci_bus_id, &n->gpu))
			return error_set(err, ERROR_UNSUPPORTED, "no telemetry: NVML knows no GPU at %s", pci_bus_id);
		return 0;
	}
	if (!n->count || n->count(&count) || count != 1 || !n->by_index || n->by_index(0, &n->gpu))
		return error_set(err, ERROR_UNSUPPORTED,
				 "no telemetry: NVML lists %u GPUs, and which one is measured is not known", count);
	return 0;
}

int nvml_open(struct nvml **out, const char *library, const char *pci_bus_id, struct error *err)
{
	const char *name = library ? library : "libnvidia-ml.so.1";
	struct nvml *n = calloc(1, sizeof *n);
	*out = NULL;
	if (!n)
		return error_set(err, ERROR_MEMORY, "no memory for NVML");
	int rc = 0, result;
	n->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!n->library)
		rc = error_set(err, ERROR_UNSUPPORTED, "no telemetry: %s not found; install the NVIDIA driver", name);
	if (!rc)
		load(n);
	if (!rc && !n->init)
		rc = error_set(err, ERROR_UNSUPPORTED, "no telemetry: %s has no nvmlInit_v2", name);
	if (!rc && (result = n->init()))
		rc = error_set(err, ERROR_UNSUPPORTED, "no telemetry: nvmlInit says %d", result);
	n->started = n->library && n->init && !rc;
	if (!rc)
		rc = find_gpu(n, pci_bus_id, err);
	if (rc) {
		nvml_close(n);
		return rc;
	}
	*out = n;
	return 0;
}

void nvml_close(struct nvml *n)
{
	if (!n)
		return;
	if (n->started && n->shutdown)
		n->shutdown();
	if (n->library)
		dlclose(n->library);
	free(n);
}

/* A call that may be missing or fail: its number, scaled, or NAN. */
#define NUMBER(function, arguments, value, scale) \
	((function) && (function)arguments == SUCCESS ? (double)(value) * (scale) : NAN)

void nvml_read(struct nvml *n, struct gpu_reading *r)
{
	unsigned x = 0;
	unsigned long long wide = 0;
	struct utilization u = {0};
	gpu_reading_init(r);
	r->sm_clock_mhz = NUMBER(n->clock, (n->gpu, CLOCK_SM, &x), x, 1);
	r->memory_clock_mhz = NUMBER(n->clock, (n->gpu, CLOCK_MEMORY, &x), x, 1);
	r->power_w = NUMBER(n->power, (n->gpu, &x), x, 1e-3);
	r->energy_j = NUMBER(n->energy, (n->gpu, &wide), wide, 1e-3);
	r->temperature_c = NUMBER(n->temperature, (n->gpu, SENSOR_GPU, &x), x, 1);
	r->utilization = NUMBER(n->utilization, (n->gpu, &u), u.gpu, 1);
	r->memory_utilization = isnan(r->utilization) ? NAN : (double)u.memory;
	if ((n->event_reasons && n->event_reasons(n->gpu, &wide) == SUCCESS) ||
	    (n->throttle_reasons && n->throttle_reasons(n->gpu, &wide) == SUCCESS))
		r->throttle_reasons = (int64_t)(wide & INT64_MAX);
}

/* ---- what the card is ---- */

static json_t *number_or_null(double x)
{
	return isnan(x) ? json_null() : json_integer((json_int_t)x);
}

static json_t *text_or_null(int result, const char *text)
{
	json_t *s = result == SUCCESS ? json_string(text) : NULL;
	return s ? s : json_null();
}

static json_t *on_or_null(int result, unsigned on)
{
	return result == SUCCESS ? json_boolean(on) : json_null();
}

enum { MISSING = -1 };

json_t *nvml_describe(struct nvml *n)
{
	char driver[TEXT_SIZE] = "", vbios[TEXT_SIZE] = "", uuid[TEXT_SIZE] = "";
	int ecc = 0, pending = 0, persistence = 0;
	unsigned mig = 0, mig_pending = 0, x = 0;
	int has_driver = n->driver_version ? n->driver_version(driver, sizeof driver) : MISSING;
	int has_vbios = n->vbios_version ? n->vbios_version(n->gpu, vbios, sizeof vbios) : MISSING;
	int has_uuid = n->uuid ? n->uuid(n->gpu, uuid, sizeof uuid) : MISSING;
	int has_ecc = n->ecc ? n->ecc(n->gpu, &ecc, &pending) : MISSING;
	int has_mig = n->mig ? n->mig(n->gpu, &mig, &mig_pending) : MISSING;
	int has_persistence = n->persistence ? n->persistence(n->gpu, &persistence) : MISSING;
	json_t *o = json_object();
	const struct {
		const char *name;
		double value;
	} numbers[] = {
		{"power_limit_w", NUMBER(n->power_limit, (n->gpu, &x), x, 1e-3)},
		{"default_power_limit_w", NUMBER(n->default_power_limit, (n->gpu, &x), x, 1e-3)},
		{"max_sm_clock_mhz", NUMBER(n->max_clock, (n->gpu, CLOCK_SM, &x), x, 1)},
		{"max_memory_clock_mhz", NUMBER(n->max_clock, (n->gpu, CLOCK_MEMORY, &x), x, 1)},
		{"application_sm_clock_mhz", NUMBER(n->application_clock, (n->gpu, CLOCK_SM, &x), x, 1)},
		{"application_memory_clock_mhz", NUMBER(n->application_clock, (n->gpu, CLOCK_MEMORY, &x), x, 1)},
		{"max_pcie_generation", NUMBER(n->max_pcie_generation, (n->gpu, &x), x, 1)},
		{"max_pcie_width", NUMBER(n->max_pcie_width, (n->gpu, &x), x, 1)},
		{"pcie_generation_now", NUMBER(n->pcie_generation, (n->gpu, &x), x, 1)},
		{"pcie_width_now", NUMBER(n->pcie_width, (n->gpu, &x), x, 1)},
	};
	json_object_set_new(o, "uuid", text_or_null(has_uuid, uuid));
	json_object_set_new(o, "driver_version", text_or_null(has_driver, driver));
	json_object_set_new(o, "vbios_version", text_or_null(has_vbios, vbios));
	json_object_set_new(o, "ecc", on_or_null(has_ecc, (unsigned)ecc));
	json_object_set_new(o, "mig", on_or_null(has_mig, mig));
	json_object_set_new(o, "persistence", on_or_null(has_persistence, (unsigned)persistence));
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		json_object_set_new(o, numbers[i].name, number_or_null(numbers[i].value));
	return o;
}
