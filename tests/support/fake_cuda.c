/*
 * A stand-in for libcuda.so.1 and for NVRTC, in one library: a GPU whose memory is the host's, whose streams do
 * everything at once, and whose kernels do nothing but add, gemmark_replay_cost's, which count, and those that measure
 * memory: three quarters as fast as an H100's, also at copies for a bandwidth. What needs a context fails where none is
 * current, or the one that is has been released by all. Here are the GPU, its memory, its events and what is found by
 * name; kernels and graphs are in fake_cuda_graph.c.
 *
 * FAKE_CUDA in the environment breaks it: "lost-update" (what of nodes is set later than at capture does not arrive),
 * "lost-node" (a replay leaves one kernel out), "blocking" (a gate is never opened in time), "no-diamonds" (streams
 * cannot wait for events), "no-adds" (add does nothing, launched alone), "no-memory" (what measures it finds nothing),
 * "old-driver" (it is for CUDA 12.2), "no-patch" (kernels that set other nodes do not load), "crowded" (no
 * multiprocessor has room for a block), "trap" (what waits for kernels says that one has failed), "illegal" (the same,
 * by another code).
 * FAKE_CUDA_FREE: bytes of its memory that are free.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/fake_cuda.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

/* ---- what there is ---- */

struct cu_event {
	struct timespec at;
	long long passed_ns;
};

static int retained; /* how often the primary context is, of the only thread */
static struct cu_context *current;
static int something; /* what handles that nobody looks into point at */

bool fake_broken(const char *how)
{
	const char *is = getenv("FAKE_CUDA");
	return is && !strcmp(is, how);
}

/* ---- functions that do something ---- */

int fake_DriverGetVersion(int *version)
{
	*version = fake_broken("old-driver") ? 12020 : 13000;
	return 0;
}

int fake_DeviceGetCount(int *count)
{
	*count = 1;
	return 0;
}

int fake_DeviceGet(int *device, int ordinal)
{
	*device = ordinal;
	return 0;
}

int fake_DeviceGetName(char *name, int length, int device)
{
	snprintf(name, (size_t)length, "fake GPU");
	return 0;
}

int fake_DeviceTotalMem(size_t *bytes, int device)
{
	*bytes = (size_t)4 << 30;
	return 0;
}

int fake_DeviceGetAttribute(int *value, int attribute, int device)
{
	switch (attribute) {
	case CU_ATTRIBUTE_CC_MAJOR:
		*value = 9;
		break;
	case CU_ATTRIBUTE_CC_MINOR:
		*value = 0;
		break;
	case CU_ATTRIBUTE_MULTIPROCESSORS:
		*value = 4;
		break;
	case CU_ATTRIBUTE_L2_BYTES:
		*value = 1 << 20;
		break;
	case CU_ATTRIBUTE_SHARED_PER_SM:
	case CU_ATTRIBUTE_SHARED_PER_BLOCK_OPTIN:
		*value = 227 << 10;
		break;
	default:
		*value = 1000000;
	}
	return 0;
}

int fake_GetErrorName(int result, const char **name)
{
	*name = "CUDA_ERROR_FAKE";
	return 0;
}

int fake_GetErrorString(int result, const char **text)
{
	*text = "made up";
	return 0;
}

int fake_DevicePrimaryCtxRetain(struct cu_context **context, int device)
{
	*context = (void *)&something;
	retained++;
	return 0;
}

int fake_DevicePrimaryCtxRelease(int device)
{
	return retained-- > 0 ? 0 : INVALID_CONTEXT;
}

int fake_DevicePrimaryCtxGetState(int device, unsigned *flags, int *active)
{
	*flags = 0;
	*active = retained > 0;
	return 0;
}

int fake_CtxSetCurrent(struct cu_context *context)
{
	current = context;
	return 0;
}

bool fake_no_context(void)
{
	return !current || retained < 1;
}

/* For tests. */
int fake_cuda_contexts(bool *is_current);
int fake_cuda_contexts(bool *is_current)
{
	*is_current = current != NULL;
	return retained;
}

int fake_MemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	const char *set = getenv("FAKE_CUDA_FREE");
	*free_bytes = set ? (size_t)strtoull(set, NULL, 10) : (size_t)3 << 30;
	*total_bytes = (size_t)4 << 30;
	return 0;
}

enum { LARGE = 64 << 20, MEASURED = 512 << 20 };

/* What is less than the memory for a bandwidth is 0: no kernel writes it, and what is read of it is a number. */
int fake_MemHostAlloc(void **p, size_t bytes, unsigned flags)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	*p = aligned_alloc(256, (bytes + 255) / 256 * 256);
	if (*p && bytes < LARGE)
		memset(*p, 0, bytes);
	return *p ? 0 : CU_OUT_OF_MEMORY;
}

int fake_MemAlloc(uint64_t *address, size_t bytes)
{
	void *p = NULL;
	int result = fake_MemHostAlloc(&p, bytes, 0);
	*address = (uint64_t)(uintptr_t)p;
	return result;
}

int fake_MemFree(uint64_t address)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	free((void *)(uintptr_t)address);
	return 0;
}

int fake_MemFreeHost(void *p)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	free(p);
	return 0;
}

int fake_MemHostGetDevicePointer(uint64_t *address, void *p, unsigned flags)
{
	*address = (uint64_t)(uintptr_t)p;
	return 0;
}

static int copy(uint64_t dst, uint64_t src, size_t bytes)
{
	if (fake_capturing())
		return fake_capture_copy();
	memmove((void *)(uintptr_t)dst, (const void *)(uintptr_t)src, bytes);
	return 0;
}

int fake_MemcpyHtoDAsync(uint64_t dst, const void *src, size_t bytes, struct cu_stream *stream)
{
	return copy(dst, (uint64_t)(uintptr_t)src, bytes);
}

int fake_MemcpyDtoHAsync(void *dst, uint64_t src, size_t bytes, struct cu_stream *stream)
{
	return copy((uint64_t)(uintptr_t)dst, src, bytes);
}

/* One that large is for a bandwidth: it takes its time on the GPU and none here. */
int fake_MemcpyDtoDAsync(uint64_t dst, uint64_t src, size_t bytes, struct cu_stream *stream)
{
	if (bytes >= MEASURED && !fake_capturing()) {
		fake_pass_bytes(2.0 * (double)bytes);
		return 0;
	}
	return copy(dst, src, bytes);
}

int fake_MemcpyAsync(uint64_t dst, uint64_t src, size_t bytes, struct cu_stream *stream)
{
	return copy(dst, src, bytes);
}

int fake_StreamCreate(struct cu_stream **stream, unsigned flags)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	*stream = (void *)&something;
	return 0;
}

/* What earlier work ended with. */
static int ended(void)
{
	return fake_broken("trap") ? CU_LAUNCH_FAILED : fake_broken("illegal") ? CU_ILLEGAL_INSTRUCTION : 0;
}

int fake_StreamSynchronize(struct cu_stream *stream)
{
	return ended();
}

int fake_StreamQuery(struct cu_stream *stream)
{
	return ended();
}

int fake_EventSynchronize(struct cu_event *event)
{
	return ended();
}

int fake_StreamWaitEvent(struct cu_stream *stream, struct cu_event *event, unsigned flags)
{
	return fake_broken("no-diamonds");
}

int fake_EventCreate(struct cu_event **event, unsigned flags)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	*event = calloc(1, sizeof **event);
	return *event ? 0 : CU_OUT_OF_MEMORY;
}

int fake_EventRecord(struct cu_event *event, struct cu_stream *stream)
{
	clock_gettime(CLOCK_MONOTONIC, &event->at);
	event->passed_ns = fake_passed_ns();
	return 0;
}

int fake_EventElapsedTime(float *ms, struct cu_event *from, struct cu_event *to)
{
	*ms = (float)((double)(to->at.tv_sec - from->at.tv_sec) * 1e3 +
		      (double)(to->at.tv_nsec - from->at.tv_nsec + to->passed_ns - from->passed_ns) * 1e-6);
	return 0;
}

int fake_EventDestroy(struct cu_event *event)
{
	free(event);
	return 0;
}

int fake_ModuleLoadData(struct cu_module **module, const void *image)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	/* A cubin is its source's name. */
	if (fake_broken("no-patch") && strstr(image, "patch.cu"))
		return NO_BINARY;
	*module = (void *)&something;
	return 0;
}

int fake_ModuleGetFunction(struct cu_function **f, struct cu_module *module, const char *name)
{
	static struct cu_function functions[4096];
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
		if (!functions[i].name[0] || !strcmp(functions[i].name, name)) {
			snprintf(functions[i].name, sizeof functions[i].name, "%s", name);
			*f = &functions[i];
			return 0;
		}
	return CU_OUT_OF_MEMORY;
}

int fake_FuncGetAttribute(int *value, int attribute, struct cu_function *f)
{
	*value = 0;
	return 0;
}

int fake_OccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, struct cu_function *f, int threads, size_t shared_bytes)
{
	*blocks = !fake_broken("crowded");
	return 0;
}

/* ---- how they are found ---- */

#define X(name, version, params)         \
	static int nothing_##name params \
	{                                \
		return 0;                \
	}
CUDA_DRIVER_FUNCTIONS(X)
#undef X

int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status);
int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status)
{
#define FAKE(name)                                         \
	{                                                  \
		"cu" #name, (void *)(uintptr_t)fake_##name \
	}
	static const struct {
		const char *name;
		void *function;
	} all[] = {FAKE(DriverGetVersion),
		   FAKE(DeviceGetCount),
		   FAKE(DeviceGet),
		   FAKE(DeviceGetName),
		   FAKE(DeviceTotalMem),
		   FAKE(DeviceGetAttribute),
		   FAKE(GetErrorName),
		   FAKE(GetErrorString),
		   FAKE(DevicePrimaryCtxRetain),
		   FAKE(DevicePrimaryCtxRelease),
		   FAKE(DevicePrimaryCtxGetState),
		   FAKE(CtxSetCurrent),
		   FAKE(MemGetInfo),
		   FAKE(MemHostAlloc),
		   FAKE(MemAlloc),
		   FAKE(MemFree),
		   FAKE(MemFreeHost),
		   FAKE(MemHostGetDevicePointer),
		   FAKE(MemcpyHtoDAsync),
		   FAKE(MemcpyDtoHAsync),
		   FAKE(MemcpyDtoDAsync),
		   FAKE(MemcpyAsync),
		   FAKE(StreamCreate),
		   FAKE(StreamWaitEvent),
		   FAKE(StreamSynchronize),
		   FAKE(StreamQuery),
		   FAKE(EventSynchronize),
		   FAKE(StreamBeginCapture),
		   FAKE(StreamGetCaptureInfo),
		   FAKE(StreamEndCapture),
		   FAKE(EventCreate),
		   FAKE(EventRecord),
		   FAKE(EventElapsedTime),
		   FAKE(EventDestroy),
		   FAKE(ModuleLoadData),
		   FAKE(ModuleGetFunction),
		   FAKE(FuncGetAttribute),
		   FAKE(OccupancyMaxActiveBlocksPerMultiprocessor),
		   FAKE(LaunchKernelEx),
		   FAKE(GraphInstantiateWithFlags),
		   FAKE(GraphUpload),
		   FAKE(GraphLaunch),
		   FAKE(GraphExecDestroy),
		   FAKE(GraphDestroy),
		   FAKE(GraphGetNodes),
		   FAKE(GraphNodeGetType),
		   FAKE(GraphKernelNodeGetParams),
		   FAKE(GraphExecKernelNodeSetParams),
		   FAKE(GraphExecUpdate),
#define X(name, version, params) {"cu" #name, (void *)(uintptr_t)nothing_##name},
		   CUDA_DRIVER_FUNCTIONS(X)
#undef X
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (!strcmp(all[i].name, symbol)) {
			*function = all[i].function;
			*status = 0;
			return 0;
		}
	return CU_NOT_FOUND;
}

/* ---- NVRTC ---- */

int nvrtcVersion(int *major, int *minor);
int nvrtcVersion(int *major, int *minor)
{
	*major = 13;
	*minor = 99; /* nobody's cached cubins */
	return 0;
}

int nvrtcCreateProgram(void **p, const char *source, const char *name, int n, const char *const *headers,
		       const char *const *names);
int nvrtcCreateProgram(void **p, const char *source, const char *name, int n, const char *const *headers,
		       const char *const *names)
{
	*p = strdup(name);
	return *p ? 0 : CU_OUT_OF_MEMORY;
}

int nvrtcDestroyProgram(void **p);
int nvrtcDestroyProgram(void **p)
{
	free(*p);
	return 0;
}

int nvrtcCompileProgram(void *p, int n, const char *const *options);
int nvrtcCompileProgram(void *p, int n, const char *const *options)
{
	return 0;
}

int nvrtcGetCUBINSize(void *p, size_t *bytes);
int nvrtcGetCUBINSize(void *p, size_t *bytes)
{
	*bytes = strlen(p) + 1;
	return 0;
}

int nvrtcGetCUBIN(void *p, char *cubin);
int nvrtcGetCUBIN(void *p, char *cubin)
{
	memcpy(cubin, p, strlen(p) + 1);
	return 0;
}

int nvrtcGetProgramLogSize(void *p, size_t *bytes);
int nvrtcGetProgramLogSize(void *p, size_t *bytes)
{
	*bytes = 1;
	return 0;
}

int nvrtcGetProgramLog(void *p, char *log);
int nvrtcGetProgramLog(void *p, char *log)
{
	*log = 0;
	return 0;
}

const char *nvrtcGetErrorString(int result);
const char *nvrtcGetErrorString(int result)
{
	return "made up";
}
