#include "tests/support/cupti.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/cuda_library.h"

enum {
	OLDEST_API = 18, /* CUDA 12.0 */
	DOMAIN_DRIVER_API = 1,
	SITE_ENTER = 0,
	KIND_MEMCPY = 1,
	KIND_MEMSET = 2,
	KIND_CONCURRENT_KERNEL = 10, /* a graph's nodes too, as long as graph traces are off */
	COPY_TO_HOST = 2,
	FLUSH_FORCED = 1,
	BUFFER_BYTES = 1 << 20,
	CALLS_MAX = 4096,
};

/* How every activity record of the three kinds begins. */
struct record {
	int kind;
	uint8_t copy_kind; /* of KIND_MEMCPY */
};

typedef void callback(void *user, int domain, uint32_t call, const void *data);
typedef void request_buffer(uint8_t **buffer, size_t *bytes, size_t *records_max);
typedef void take_buffer(void *context, uint32_t stream, uint8_t *buffer, size_t bytes, size_t valid);

#define CUPTI_FUNCTIONS(X)                                                                   \
	X(GetVersion, (uint32_t * version))                                                  \
	X(GetResultString, (int result, const char **text))                                  \
	X(Subscribe, (void **subscriber, callback *f, void *user))                           \
	X(EnableDomain, (uint32_t enable, void *subscriber, int domain))                     \
	X(GetCallbackName, (int domain, uint32_t call, const char **name))                   \
	X(ActivityRegisterCallbacks, (request_buffer * request, take_buffer * take))         \
	X(ActivityEnable, (int kind))                                                        \
	X(ActivityFlushAll, (uint32_t flag))                                                 \
	X(ActivityGetNextRecord, (uint8_t * buffer, size_t valid, const struct record **at)) \
	X(ActivityGetNumDroppedRecords, (void *context, uint32_t stream, size_t *dropped))

static struct {
#define X(name, params) int(*name) params;
	CUPTI_FUNCTIONS(X)
#undef X
} cupti;

/* Records may come from a thread of CUPTI's. */
static struct {
	atomic_int kernels, copies, downloads, fills;
	int enqueued, graph_replays, recorded, node_updates;
	int calls[CALLS_MAX];
	bool capturing;
} seen;

/* ---- what is executed ---- */

static void give_buffer(uint8_t **buffer, size_t *bytes, size_t *records_max)
{
	*buffer = aligned_alloc(8, BUFFER_BYTES);
	*bytes = *buffer ? BUFFER_BYTES : 0;
	*records_max = 0; /* as many as fit */
}

static void count_records(void *context, uint32_t stream, uint8_t *buffer, size_t bytes, size_t valid)
{
	(void)context;
	(void)stream;
	(void)bytes;
	const struct record *r = NULL;
	while (valid && !cupti.ActivityGetNextRecord(buffer, valid, &r)) {
		if (r->kind == KIND_CONCURRENT_KERNEL)
			atomic_fetch_add(&seen.kernels, 1);
		else if (r->kind == KIND_MEMSET)
			atomic_fetch_add(&seen.fills, 1);
		else if (r->kind == KIND_MEMCPY)
			atomic_fetch_add(r->copy_kind == COPY_TO_HOST ? &seen.downloads : &seen.copies, 1);
	}
	free(buffer);
}

/* ---- what is called ---- */

static bool starts(const char *name, const char *with)
{
	return !strncmp(name, with, strlen(with));
}

static void count_call(void *user, int domain, uint32_t call, const void *data)
{
	(void)user;
	const char *name = NULL;
	if (*(const int *)data != SITE_ENTER || cupti.GetCallbackName(domain, call, &name) || !name)
		return;
	if (call < CALLS_MAX)
		seen.calls[call]++;
	if (starts(name, "cuStreamBeginCapture")) {
		seen.capturing = true;
	} else if (starts(name, "cuStreamEndCapture")) {
		seen.capturing = false;
	} else if (starts(name, "cuGraphExecKernelNodeSetParams")) {
		seen.node_updates++;
	} else if (starts(name, "cuLaunch") || starts(name, "cuGraphLaunch") || starts(name, "cuMemset") ||
		   (starts(name, "cuMemcpy") && !starts(name, "cuMemcpyDtoH"))) {
		if (seen.capturing)
			seen.recorded++;
		else
			seen.enqueued++;
		seen.graph_replays += starts(name, "cuGraphLaunch");
	}
}

/* ---- */

static bool load(char *why, int why_bytes)
{
	char path[512];
	void *library = cuda_library_open("libcupti.so", path, sizeof path);
	if (!library) {
		snprintf(why, (size_t)why_bytes, "no CUPTI: libcupti.so.13 or .12 of the CUDA toolkit");
		return false;
	}
	const struct {
		const char *name;
		void *slot;
	} wanted[] = {
#define X(name, params) {"cupti" #name, &cupti.name},
		CUPTI_FUNCTIONS(X)
#undef X
	};
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		void *function = dlsym(library, wanted[i].name);
		if (!function) {
			snprintf(why, (size_t)why_bytes, "%s has no %s", path, wanted[i].name);
			return false;
		}
		memcpy(wanted[i].slot, &function, sizeof function);
	}
	return true;
}

bool cupti_open(char *why, int why_bytes)
{
	if (!load(why, why_bytes))
		return false;
	void *subscriber;
	uint32_t version = 0;
	const char *call = "cuptiGetVersion", *text = "unknown";
	int result = cupti.GetVersion(&version);
	if (!result && version < OLDEST_API) {
		snprintf(why, (size_t)why_bytes, "CUPTI's API is version %u; %d is the oldest", version, OLDEST_API);
		return false;
	}
	if (!result) {
		call = "cuptiSubscribe";
		result = cupti.Subscribe(&subscriber, count_call, NULL);
	}
	if (!result) {
		call = "cuptiEnableDomain";
		result = cupti.EnableDomain(1, subscriber, DOMAIN_DRIVER_API);
	}
	if (!result) {
		call = "cuptiActivityRegisterCallbacks";
		result = cupti.ActivityRegisterCallbacks(give_buffer, count_records);
	}
	const int kinds[] = {KIND_CONCURRENT_KERNEL, KIND_MEMCPY, KIND_MEMSET};
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !result; i++) {
		call = "cuptiActivityEnable";
		result = cupti.ActivityEnable(kinds[i]);
	}
	if (!result)
		return true;
	cupti.GetResultString(result, &text);
	snprintf(why, (size_t)why_bytes, "CUPTI cannot be used here: %s: %s (%d)", call, text, result);
	return false;
}

void cupti_begin(void)
{
	size_t dropped;
	cupti.ActivityFlushAll(FLUSH_FORCED);
	cupti.ActivityGetNumDroppedRecords(NULL, 0, &dropped); /* asking sets it to 0 */
	memset(&seen, 0, sizeof seen);
}

struct cupti_counts cupti_end(void)
{
	size_t dropped = 0;
	int result = cupti.ActivityFlushAll(FLUSH_FORCED);
	if (!result)
		result = cupti.ActivityGetNumDroppedRecords(NULL, 0, &dropped);
	return (struct cupti_counts){
		.kernels = atomic_load(&seen.kernels),
		.copies = atomic_load(&seen.copies),
		.downloads = atomic_load(&seen.downloads),
		.fills = atomic_load(&seen.fills),
		.dropped = result ? -1 : (int)dropped,
		.enqueued = seen.enqueued,
		.graph_replays = seen.graph_replays,
		.recorded = seen.recorded,
		.node_updates = seen.node_updates,
	};
}

void cupti_print_calls(void)
{
	for (uint32_t call = 0; call < CALLS_MAX; call++) {
		const char *name = NULL;
		if (seen.calls[call] && !cupti.GetCallbackName(DOMAIN_DRIVER_API, call, &name))
			printf("    %6d %s\n", seen.calls[call], name ? name : "?");
	}
}
