#include "harness/measure/nvml.h"

#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
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

struct memory {
	unsigned long long total, free, used;
};

/* nvmlPciInfo_t as of version 3 of its function. */
struct pci {
	char legacy_id[16];
	unsigned domain, bus, device, ids, subsystem_ids;
	char id[32];
};

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
	X(name, "nvmlDeviceGetName", (struct gpu * g, char *out, unsigned size))                               \
	X(memory, "nvmlDeviceGetMemoryInfo", (struct gpu * g, struct memory * out))                            \
	X(pci, "nvmlDeviceGetPciInfo_v3", (struct gpu * g, struct pci * out))                                  \
	X(cpus, "nvmlDeviceGetCpuAffinity", (struct gpu * g, unsigned words, unsigned long *out))              \
	X(slices, "nvmlDeviceGetMaxMigDeviceCount", (struct gpu * g, unsigned *n))                             \
	X(slice, "nvmlDeviceGetMigDeviceHandleByIndex", (struct gpu * g, unsigned i, struct gpu **out))        \
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

static int open_library(struct nvml **out, const char *library, struct error *err)
{
	const char *name = library ? library : "libnvidia-ml.so.1";
	struct nvml *n = calloc(1, sizeof *n);
	*out = NULL;
	if (!n)
		return error_set(err, ERROR_MEMORY, "no memory for NVML");
	int rc = 0, result;
	n->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!n->library)
		rc = error_set(err, ERROR_UNSUPPORTED, "%s not found; install the NVIDIA driver", name);
	if (!rc)
		load(n);
	if (!rc && !n->init)
		rc = error_set(err, ERROR_UNSUPPORTED, "%s has no nvmlInit_v2", name);
	if (!rc && (result = n->init()))
		rc = error_set(err, ERROR_UNSUPPORTED, "nvmlInit says %d", result);
	n->started = n->library && n->init && !rc;
	if (rc) {
		nvml_close(n);
		return rc;
	}
	*out = n;
	return 0;
}

int nvml_open(struct nvml **out, const char *library, const char *pci_bus_id, struct error *err)
{
	int rc = open_library(out, library, err);
	if (rc)
		return error_prefix(err, rc, "no telemetry");
	rc = find_gpu(*out, pci_bus_id, err);
	if (rc) {
		nvml_close(*out);
		*out = NULL;
	}
	return rc;
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

/* ---- all that there are ---- */

/* What a handle is; false where it has no UUID, by which alone it could be chosen. */
static bool read_card(struct nvml *n, struct gpu *g, struct nvml_card *out)
{
	struct memory memory;
	if (!n->uuid || n->uuid(g, out->uuid, sizeof out->uuid) != SUCCESS || !*out->uuid)
		return false;
	if (!n->name || n->name(g, out->name, sizeof out->name) != SUCCESS)
		*out->name = '\0';
	if (n->memory && n->memory(g, &memory) == SUCCESS)
		out->memory_bytes = memory.total;
	return true;
}

static void read_place(struct nvml *n, struct gpu *g, struct nvml_card *out)
{
	enum { BITS = 8 * sizeof(unsigned long), WORDS = CPU_SETSIZE / BITS };
	unsigned long words[WORDS] = {0};
	struct pci pci = {0};
	unsigned mig = 0, pending = 0;
	if (n->pci && n->pci(g, &pci) == SUCCESS)
		snprintf(out->pci_bus_id, sizeof out->pci_bus_id, "%.*s", (int)sizeof pci.id - 1, pci.id);
	if (n->mig && n->mig(g, &mig, &pending) == SUCCESS)
		out->divided = mig != 0;
	if (!n->cpus || n->cpus(g, WORDS, words) != SUCCESS)
		return;
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (words[cpu / BITS] >> cpu % BITS & 1)
			CPU_SET(cpu, &out->cpus);
}

int nvml_list(const char *library, struct nvml_card **out, int *n_out, struct error *err)
{
	struct nvml *n;
	unsigned count = 0;
	*out = NULL;
	*n_out = 0;
	int rc = open_library(&n, library, err);
	if (rc)
		return rc;
	if (!n->count || n->count(&count) != SUCCESS || !n->by_index || !n->uuid)
		rc = error_set(err, ERROR_UNSUPPORTED, "NVML lists no GPUs by UUID; install a newer NVIDIA driver");
	count = count < NVML_CARDS_MAX ? count : NVML_CARDS_MAX;
	struct nvml_card *cards = rc ? NULL : calloc((size_t)count * (1 + NVML_SLICES_MAX) + 1, sizeof *cards);
	if (!rc && !cards)
		rc = error_set(err, ERROR_MEMORY, "no memory for %u GPUs", count);
	for (unsigned i = 0; i < count && !rc; i++) {
		struct nvml_card *card = &cards[*n_out];
		struct gpu *g, *slice;
		unsigned slices = 0;
		*card = (struct nvml_card){.index = (int)i, .slice = -1};
		if (n->by_index(i, &g) != SUCCESS || !read_card(n, g, card))
			continue;
		read_place(n, g, card);
		++*n_out;
		if (!card->divided || !n->slice || !n->slices || n->slices(g, &slices) != SUCCESS)
			continue;
		for (unsigned k = 0; k < slices && k < NVML_SLICES_MAX; k++) {
			struct nvml_card *part = &cards[*n_out];
			*part = *card;
			part->slice = (int)k;
			part->divided = 0;
			part->memory_bytes = 0;
			*n_out += n->slice(g, k, &slice) == SUCCESS && read_card(n, slice, part);
		}
	}
	nvml_close(n);
	*out = cards;
	return rc;
}
