/*
 * A stand-in for libcuda.so.1 and for NVRTC, in one library: a GPU whose memory is the host's, whose streams do
 * everything at once, and whose kernels do nothing but add, gemmark_replay_cost's, which count, and those that measure
 * memory: three quarters as fast as an H100's. What needs a context
 * fails where none is current, or the one that is has been released by all.
 *
 * FAKE_CUDA in the environment breaks it: "lost-update" (node parameters set later than at capture do not arrive),
 * "lost-node" (a replay leaves one kernel out), "blocking" (a gate is never opened in time), "no-diamonds" (streams
 * cannot wait for events), "no-adds" (add does nothing, launched alone), "no-memory" (what measures it finds nothing).
 * FAKE_CUDA_FREE: bytes of its memory that are free.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/cuda/cuda_driver.h"
#include "kernels/cuda/memory_geometry.h"
#include "kernels/params.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

/* ---- what there is ---- */

struct cu_function {
	char name[64];
};

/* What is known of a kernel's parameters; of a copy the function is null. */
struct cu_graph_node {
	struct cu_function *function;
	void *pointer; /* to the parameters */
	union {
		uint64_t words[3]; /* bench/replay_graph.c's */
		struct add_params add;
	} params;
};

struct cu_graph {
	struct cu_graph_node **nodes;
	size_t n;
};

struct cu_graph_exec {
	const struct cu_graph *graph;
	struct cu_graph_node *nodes; /* copies, which updates change */
};

struct cu_event {
	struct timespec at;
	long long passed_ns;
};

enum { INVALID_CONTEXT = 201 };

static struct cu_graph *capturing;
static long long passed_ns; /* that kernels took, beside what they do */
static int retained;        /* how often the primary context is, of the only thread */
static struct cu_context *current;
static int something; /* what handles that nobody looks into point at */

static bool broken(const char *how)
{
	const char *is = getenv("FAKE_CUDA");
	return is && !strcmp(is, how);
}

static bool counts(const struct cu_function *f)
{
	return f && !strncmp(f->name, "node_", 5);
}

static bool adds(const struct cu_function *f)
{
	return f && !strcmp(f->name, "k_add");
}

/* As blocks of 4 multiprocessors. */
static void measure(const struct cu_launch_config *config, const struct cu_function *f, void *const *params)
{
	enum { MULTIPROCESSORS = 4 };
	static const double bytes_cycle = 0.75 * MEMORY_TUNED_BYTES_CYCLE, bytes_ns = 0.75e-9 * MEMORY_TUNED_BYTES_S;
	const double bytes = (double)config->grid[0] * MEMORY_CHUNK;
	const struct memory_read_params *read = params[0];
	const struct memory_chain_params *chain = params[0];
	for (unsigned i = 0; i < config->grid[0]; i++)
		if (!strcmp(f->name, "k_memory_read"))
			read->cycles[i] = (unsigned long long)(bytes * read->n_chunks / MULTIPROCESSORS / bytes_cycle);
		else
			chain->cycles[i] = MEMORY_LOADS * MEMORY_TUNED_LATENCY_CYCLES;
	if (!strcmp(f->name, "k_memory_read"))
		passed_ns += (long long)(bytes * read->n_chunks / bytes_ns);
}

static void take_params(struct cu_graph_node *n, void **params)
{
	if (counts(n->function))
		memcpy(n->params.words, params[0], sizeof n->params.words);
	else if (adds(n->function))
		memcpy(&n->params.add, params[0], sizeof n->params.add);
}

static void run_node(const struct cu_graph_node *n)
{
	const struct add_params *a = &n->params.add;
	if (counts(n->function))
		*(unsigned *)(uintptr_t)n->params.words[1] += (unsigned)n->params.words[2];
	for (int i = 0; adds(n->function) && i < a->n; i++)
		a->y[i] = (a->a[i] + a->b[i]) * a->scale;
}

static int add_node(struct cu_function *f, void **params)
{
	struct cu_graph_node *n = calloc(1, sizeof *n);
	struct cu_graph_node **grown = realloc(capturing->nodes, (capturing->n + 1) * sizeof *grown);
	if (!n || !grown)
		return CU_OUT_OF_MEMORY;
	n->function = f;
	take_params(n, params);
	capturing->nodes = grown;
	capturing->nodes[capturing->n++] = n;
	return 0;
}

/* ---- functions that do something ---- */

static int fake_DriverGetVersion(int *version)
{
	*version = 13000;
	return 0;
}

static int fake_DeviceGetCount(int *count)
{
	*count = 1;
	return 0;
}

static int fake_DeviceGet(int *device, int ordinal)
{
	*device = ordinal;
	return 0;
}

static int fake_DeviceGetName(char *name, int length, int device)
{
	snprintf(name, (size_t)length, "fake GPU");
	return 0;
}

static int fake_DeviceTotalMem(size_t *bytes, int device)
{
	*bytes = (size_t)4 << 30;
	return 0;
}

static int fake_DeviceGetAttribute(int *value, int attribute, int device)
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

static int fake_GetErrorName(int result, const char **name)
{
	*name = "CUDA_ERROR_FAKE";
	return 0;
}

static int fake_GetErrorString(int result, const char **text)
{
	*text = "made up";
	return 0;
}

static int fake_DevicePrimaryCtxRetain(struct cu_context **context, int device)
{
	*context = (void *)&something;
	retained++;
	return 0;
}

static int fake_DevicePrimaryCtxRelease(int device)
{
	return retained-- > 0 ? 0 : INVALID_CONTEXT;
}

static int fake_DevicePrimaryCtxGetState(int device, unsigned *flags, int *active)
{
	*flags = 0;
	*active = retained > 0;
	return 0;
}

static int fake_CtxSetCurrent(struct cu_context *context)
{
	current = context;
	return 0;
}

static bool no_context(void)
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

static int fake_MemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
	if (no_context())
		return INVALID_CONTEXT;
	const char *set = getenv("FAKE_CUDA_FREE");
	*free_bytes = set ? (size_t)strtoull(set, NULL, 10) : (size_t)3 << 30;
	*total_bytes = (size_t)4 << 30;
	return 0;
}

/* What is less than the memory for a bandwidth is 0: no kernel writes it, and what is read of it is a number. */
static int fake_MemHostAlloc(void **p, size_t bytes, unsigned flags)
{
	enum { LARGE = 64 << 20 };
	if (no_context())
		return INVALID_CONTEXT;
	*p = aligned_alloc(256, (bytes + 255) / 256 * 256);
	if (*p && bytes < LARGE)
		memset(*p, 0, bytes);
	return *p ? 0 : CU_OUT_OF_MEMORY;
}

static int fake_MemAlloc(uint64_t *address, size_t bytes)
{
	void *p = NULL;
	int result = fake_MemHostAlloc(&p, bytes, 0);
	*address = (uint64_t)(uintptr_t)p;
	return result;
}

static int fake_MemFree(uint64_t address)
{
	if (no_context())
		return INVALID_CONTEXT;
	free((void *)(uintptr_t)address);
	return 0;
}

static int fake_MemFreeHost(void *p)
{
	if (no_context())
		return INVALID_CONTEXT;
	free(p);
	return 0;
}

static int fake_MemHostGetDevicePointer(uint64_t *address, void *p, unsigned flags)
{
	*address = (uint64_t)(uintptr_t)p;
	return 0;
}

static int copy(uint64_t dst, uint64_t src, size_t bytes)
{
	if (capturing)
		return add_node(NULL, NULL);
	memmove((void *)(uintptr_t)dst, (const void *)(uintptr_t)src, bytes);
	return 0;
}

static int fake_MemcpyHtoDAsync(uint64_t dst, const void *src, size_t bytes, struct cu_stream *stream)
{
	return copy(dst, (uint64_t)(uintptr_t)src, bytes);
}

static int fake_MemcpyDtoHAsync(void *dst, uint64_t src, size_t bytes, struct cu_stream *stream)
{
	return copy((uint64_t)(uintptr_t)dst, src, bytes);
}

static int fake_MemcpyDtoDAsync(uint64_t dst, uint64_t src, size_t bytes, struct cu_stream *stream)
{
	return copy(dst, src, bytes);
}

static int fake_MemcpyAsync(uint64_t dst, uint64_t src, size_t bytes, struct cu_stream *stream)
{
	return copy(dst, src, bytes);
}

static int fake_StreamCreate(struct cu_stream **stream, unsigned flags)
{
	if (no_context())
		return INVALID_CONTEXT;
	*stream = (void *)&something;
	return 0;
}

static int fake_StreamWaitEvent(struct cu_stream *stream, struct cu_event *event, unsigned flags)
{
	return broken("no-diamonds");
}

static int fake_StreamBeginCapture(struct cu_stream *stream, int mode)
{
	if (no_context())
		return INVALID_CONTEXT;
	capturing = calloc(1, sizeof *capturing);
	return capturing ? 0 : CU_OUT_OF_MEMORY;
}

static int fake_StreamGetCaptureInfo(struct cu_stream *stream, int *status, uint64_t *id, struct cu_graph **graph,
				     const struct cu_graph_node *const **dependencies, size_t *n_dependencies)
{
	*status = capturing != NULL;
	*graph = capturing;
	return 0;
}

static int fake_StreamEndCapture(struct cu_stream *stream, struct cu_graph **graph)
{
	*graph = capturing;
	capturing = NULL;
	return 0;
}

static int fake_EventCreate(struct cu_event **event, unsigned flags)
{
	if (no_context())
		return INVALID_CONTEXT;
	*event = calloc(1, sizeof **event);
	return *event ? 0 : CU_OUT_OF_MEMORY;
}

static int fake_EventRecord(struct cu_event *event, struct cu_stream *stream)
{
	clock_gettime(CLOCK_MONOTONIC, &event->at);
	event->passed_ns = passed_ns;
	return 0;
}

static int fake_EventElapsedTime(float *ms, struct cu_event *from, struct cu_event *to)
{
	*ms = (float)((double)(to->at.tv_sec - from->at.tv_sec) * 1e3 +
		      (double)(to->at.tv_nsec - from->at.tv_nsec + to->passed_ns - from->passed_ns) * 1e-6);
	return 0;
}

static int fake_EventDestroy(struct cu_event *event)
{
	free(event);
	return 0;
}

static int fake_ModuleLoadData(struct cu_module **module, const void *image)
{
	if (no_context())
		return INVALID_CONTEXT;
	*module = (void *)&something;
	return 0;
}

static int fake_ModuleGetFunction(struct cu_function **f, struct cu_module *module, const char *name)
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

static int fake_FuncGetAttribute(int *value, int attribute, struct cu_function *f)
{
	*value = 0;
	return 0;
}

static int fake_OccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, struct cu_function *f, int threads,
							  size_t shared_bytes)
{
	*blocks = 1;
	return 0;
}

static int fake_LaunchKernelEx(const struct cu_launch_config *config, struct cu_function *f, void **params,
			       void **extra)
{
	if (no_context())
		return INVALID_CONTEXT;
	if (capturing)
		return add_node(f, params);
	if (!strcmp(f->name, "gate") && broken("blocking"))
		(*(unsigned **)params[0])[1] = 1;
	if (!strncmp(f->name, "k_memory_", 9) && !broken("no-memory"))
		measure(config, f, params);
	struct cu_graph_node now = {.function = f};
	take_params(&now, params);
	if (adds(f) && !broken("no-adds"))
		run_node(&now);
	return 0;
}

static int fake_GraphInstantiateWithFlags(struct cu_graph_exec **exec, struct cu_graph *graph, unsigned long long flags)
{
	if (no_context())
		return INVALID_CONTEXT;
	struct cu_graph_exec *x = calloc(1, sizeof *x);
	if (!x || !(x->nodes = calloc(graph->n + 1, sizeof *x->nodes)))
		return CU_OUT_OF_MEMORY;
	x->graph = graph;
	for (size_t i = 0; i < graph->n; i++)
		x->nodes[i] = *graph->nodes[i];
	*exec = x;
	return 0;
}

static int fake_GraphLaunch(struct cu_graph_exec *exec, struct cu_stream *stream)
{
	if (no_context())
		return INVALID_CONTEXT;
	for (size_t i = broken("lost-node"); i < exec->graph->n; i++)
		run_node(&exec->nodes[i]);
	return 0;
}

static int fake_GraphExecDestroy(struct cu_graph_exec *exec)
{
	if (no_context())
		return INVALID_CONTEXT;
	free(exec->nodes);
	free(exec);
	return 0;
}

static int fake_GraphDestroy(struct cu_graph *graph)
{
	if (no_context())
		return INVALID_CONTEXT;
	for (size_t i = 0; i < graph->n; i++)
		free(graph->nodes[i]);
	free(graph->nodes);
	free(graph);
	return 0;
}

static int fake_GraphGetNodes(struct cu_graph *graph, struct cu_graph_node **nodes, size_t *count)
{
	if (nodes)
		memcpy(nodes, graph->nodes, graph->n * sizeof *nodes);
	*count = graph->n;
	return 0;
}

static int fake_GraphNodeGetType(struct cu_graph_node *node, int *type)
{
	*type = node->function ? CU_NODE_KERNEL : CU_NODE_MEMCPY;
	return 0;
}

static int fake_GraphKernelNodeGetParams(struct cu_graph_node *node, struct cu_kernel_node *params)
{
	node->pointer = &node->params;
	*params = (struct cu_kernel_node){.function = node->function, .params = &node->pointer};
	return 0;
}

static int fake_GraphExecKernelNodeSetParams(struct cu_graph_exec *exec, struct cu_graph_node *node,
					     const struct cu_kernel_node *params)
{
	for (size_t i = 0; i < exec->graph->n; i++)
		if (exec->graph->nodes[i] == node && !broken("lost-update") && node->function == params->function)
			take_params(&exec->nodes[i], params->params);
	return 0;
}

static int fake_GraphExecUpdate(struct cu_graph_exec *exec, struct cu_graph *graph, struct cu_update_result *result)
{
	if (graph->n != exec->graph->n)
		return CU_GRAPH_EXEC_UPDATE_FAILURE;
	for (size_t i = 0; i < graph->n && !broken("lost-update"); i++)
		exec->nodes[i] = *graph->nodes[i];
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
	*p = &something;
	return 0;
}

int nvrtcDestroyProgram(void **p);
int nvrtcDestroyProgram(void **p)
{
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
	*bytes = 1;
	return 0;
}

int nvrtcGetCUBIN(void *p, char *cubin);
int nvrtcGetCUBIN(void *p, char *cubin)
{
	*cubin = 0;
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
