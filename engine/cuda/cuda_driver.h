/*
 * The part of the CUDA driver API that the CUDA device uses, loaded at run time.
 *
 * Every function is asked for by the version of its signature (cuGetProcAddress), at most 12.0, or 12.3 for those that
 * older drivers lack: those stay in the drivers of CUDA 13, where the plain names mean newer signatures. So no CUDA
 * header is needed to build, and the program starts without a GPU. Types are this file's own; their layouts are
 * the driver's ABI.
 */
#ifndef GEMMARK_ENGINE_CUDA_CUDA_DRIVER_H
#define GEMMARK_ENGINE_CUDA_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum cu_result {
	CU_OK = 0,
	CU_OUT_OF_MEMORY = 2,
	CU_NO_DEVICE = 100,
	CU_NOT_FOUND = 500,
	CU_NOT_READY = 600,
	CU_ILLEGAL_INSTRUCTION = 715,
	CU_LAUNCH_FAILED = 719,
	CU_GRAPH_EXEC_UPDATE_FAILURE = 910,
};

enum cu_device_attribute {
	CU_ATTRIBUTE_CLOCK_KHZ = 13,
	CU_ATTRIBUTE_MULTIPROCESSORS = 16,
	CU_ATTRIBUTE_PCI_BUS = 33,
	CU_ATTRIBUTE_PCI_SLOT = 34,
	CU_ATTRIBUTE_MEMORY_CLOCK_KHZ = 36,
	CU_ATTRIBUTE_MEMORY_BUS_BITS = 37,
	CU_ATTRIBUTE_L2_BYTES = 38,
	CU_ATTRIBUTE_PCI_DOMAIN = 50,
	CU_ATTRIBUTE_CC_MAJOR = 75,
	CU_ATTRIBUTE_CC_MINOR = 76,
	CU_ATTRIBUTE_SHARED_PER_SM = 81,
	CU_ATTRIBUTE_SHARED_PER_BLOCK_OPTIN = 97,
};

enum cu_function_attribute {
	CU_FUNCTION_SHARED_BYTES = 1,
	CU_FUNCTION_MAX_DYNAMIC_SHARED = 8,
};

enum {
	CU_STREAM_FLAG_NON_BLOCKING = 1,
	CU_CAPTURE_THREAD_LOCAL = 1,
	CU_HOST_ALLOC_DEVICEMAP = 2,
	CU_EVENT_FLAG_DISABLE_TIMING = 2,
	CU_NODE_KERNEL = 0,
	CU_NODE_MEMCPY = 1,
	CU_LAUNCH_COOPERATIVE = 2,
	CU_NODE_CONDITIONAL = 13,
	CU_LAUNCH_PROGRAMMATIC_SERIALIZATION = 6,
	CU_LAUNCH_DEVICE_UPDATABLE = 13,
	CU_GRAPH_DEVICE_LAUNCH = 4,
	CU_CONDITION_ASSIGN_DEFAULT = 1,
	CU_CONDITION_WHILE = 1,
};

/* Opaque handles. */
struct cu_context;
struct cu_module;
struct cu_function;
struct cu_stream;
struct cu_event;
struct cu_graph;
struct cu_graph_exec;
struct cu_graph_node;

struct cu_kernel_node {
	struct cu_function *function;
	unsigned grid[3];
	unsigned block[3];
	unsigned shared_bytes;
	void **params;
	void **extra;
	void *kernel;
	struct cu_context *context;
};

struct cu_launch_attribute {
	int id;
	char pad[4];
	union {
		char pad[64];
		int cooperative;
		int programmatic_serialization;
		struct {
			int on;
			void *node; /* receives what kernels know the node by */
		} device_updatable;
	} value;
};

struct cu_launch_config {
	unsigned grid[3];
	unsigned block[3];
	unsigned shared_bytes;
	struct cu_stream *stream;
	struct cu_launch_attribute *attributes;
	unsigned n_attributes;
};

struct cu_update_result {
	int result;
	struct cu_graph_node *error_node;
	struct cu_graph_node *error_from_node;
};

struct cu_conditional_node {
	uint64_t handle;
	int type;
	unsigned size;
	struct cu_graph **bodies; /* (size), receives them */
	struct cu_context *context;
};

struct cu_graph_node_params {
	int type;
	int reserved[3];
	union {
		long long size[29];
		struct cu_conditional_node conditional;
	} u;
	long long reserved2;
};

struct cu_instantiate_params {
	uint64_t flags;
	struct cu_stream *upload_stream;
	struct cu_graph_node *error_node;
	int result;
};

/* X(name in the driver without "cu", version of the signature, parameters) */
#define CUDA_DRIVER_FUNCTIONS(X)                                                                               \
	X(Init, 2000, (unsigned flags))                                                                        \
	X(DriverGetVersion, 2020, (int *version))                                                              \
	X(GetErrorName, 6000, (int result, const char **name))                                                 \
	X(GetErrorString, 6000, (int result, const char **text))                                               \
	X(DeviceGetCount, 2000, (int *count))                                                                  \
	X(DeviceGet, 2000, (int *device, int ordinal))                                                         \
	X(DeviceGetName, 2000, (char *name, int length, int device))                                           \
	X(DeviceTotalMem, 3020, (size_t * bytes, int device))                                                  \
	X(DeviceGetAttribute, 2000, (int *value, int attribute, int device))                                   \
	X(DevicePrimaryCtxRetain, 7000, (struct cu_context * *context, int device))                            \
	X(DevicePrimaryCtxRelease, 11000, (int device))                                                        \
	X(DevicePrimaryCtxGetState, 7000, (int device, unsigned *flags, int *active))                          \
	X(CtxSetCurrent, 4000, (struct cu_context * context))                                                  \
	X(MemGetInfo, 3020, (size_t * free_bytes, size_t * total_bytes))                                       \
	X(MemAlloc, 3020, (uint64_t * address, size_t bytes))                                                  \
	X(MemFree, 3020, (uint64_t address))                                                                   \
	X(MemHostAlloc, 2020, (void **p, size_t bytes, unsigned flags))                                        \
	X(MemFreeHost, 2000, (void *p))                                                                        \
	X(MemHostGetDevicePointer, 3020, (uint64_t * address, void *p, unsigned flags))                        \
	X(MemcpyHtoDAsync, 3020, (uint64_t dst, const void *src, size_t bytes, struct cu_stream *stream))      \
	X(MemcpyDtoHAsync, 3020, (void *dst, uint64_t src, size_t bytes, struct cu_stream *stream))            \
	X(MemcpyDtoDAsync, 3020, (uint64_t dst, uint64_t src, size_t bytes, struct cu_stream * stream))        \
	X(MemcpyAsync, 4000, (uint64_t dst, uint64_t src, size_t bytes, struct cu_stream * stream))            \
	X(StreamCreate, 2000, (struct cu_stream * *stream, unsigned flags))                                    \
	X(StreamDestroy, 4000, (struct cu_stream * stream))                                                    \
	X(StreamSynchronize, 2000, (struct cu_stream * stream))                                                \
	X(StreamWaitEvent, 3020, (struct cu_stream * stream, struct cu_event * event, unsigned flags))         \
	X(StreamQuery, 2000, (struct cu_stream * stream))                                                      \
	X(StreamBeginCapture, 10010, (struct cu_stream * stream, int mode))                                    \
	X(StreamGetCaptureInfo, 11030,                                                                         \
	  (struct cu_stream * stream, int *status, uint64_t *id, struct cu_graph **graph,                      \
	   const struct cu_graph_node *const **dependencies, size_t *n_dependencies))                          \
	X(StreamEndCapture, 10000, (struct cu_stream * stream, struct cu_graph * *graph))                      \
	X(EventCreate, 2000, (struct cu_event * *event, unsigned flags))                                       \
	X(EventRecord, 2000, (struct cu_event * event, struct cu_stream * stream))                             \
	X(EventSynchronize, 2000, (struct cu_event * event))                                                   \
	X(EventElapsedTime, 2000, (float *ms, struct cu_event *from, struct cu_event *to))                     \
	X(EventDestroy, 4000, (struct cu_event * event))                                                       \
	X(ModuleLoadData, 2000, (struct cu_module * *module, const void *image))                               \
	X(ModuleUnload, 2000, (struct cu_module * module))                                                     \
	X(ModuleGetFunction, 2000, (struct cu_function * *f, struct cu_module * module, const char *name))     \
	X(ModuleGetGlobal, 3020, (uint64_t * at, size_t * bytes, struct cu_module * module, const char *name)) \
	X(FuncGetAttribute, 2020, (int *value, int attribute, struct cu_function *f))                          \
	X(FuncSetAttribute, 9000, (struct cu_function * f, int attribute, int value))                          \
	X(OccupancyMaxActiveBlocksPerMultiprocessor, 6050,                                                     \
	  (int *n_blocks, struct cu_function *f, int block, size_t shared_bytes))                              \
	X(LaunchKernelEx, 11060,                                                                               \
	  (const struct cu_launch_config *config, struct cu_function *f, void **params, void **extra))         \
	X(GraphInstantiateWithFlags, 11040,                                                                    \
	  (struct cu_graph_exec * *exec, struct cu_graph * graph, unsigned long long flags))                   \
	X(GraphUpload, 11010, (struct cu_graph_exec * exec, struct cu_stream * stream))                        \
	X(GraphLaunch, 10000, (struct cu_graph_exec * exec, struct cu_stream * stream))                        \
	X(GraphExecDestroy, 10000, (struct cu_graph_exec * exec))                                              \
	X(GraphDestroy, 10000, (struct cu_graph * graph))                                                      \
	X(GraphGetNodes, 10000, (struct cu_graph * graph, struct cu_graph_node * *nodes, size_t * count))      \
	X(GraphNodeGetType, 10000, (struct cu_graph_node * node, int *type))                                   \
	X(GraphKernelNodeGetParams, 12000, (struct cu_graph_node * node, struct cu_kernel_node * params))      \
	X(GraphExecKernelNodeSetParams, 12000,                                                                 \
	  (struct cu_graph_exec * exec, struct cu_graph_node * node, const struct cu_kernel_node *params))     \
	X(GraphExecUpdate, 12000,                                                                              \
	  (struct cu_graph_exec * exec, struct cu_graph * graph, struct cu_update_result * result))

/* The same of those that a driver may lack: then null. */
#define CUDA_DRIVER_LATER_FUNCTIONS(X)                                                                               \
	X(GraphCreate, 10000, (struct cu_graph * *graph, unsigned flags))                                            \
	X(GraphInstantiateWithParams, 12000,                                                                         \
	  (struct cu_graph_exec * *exec, struct cu_graph * graph, struct cu_instantiate_params * params))            \
	X(GraphAddNode, 12020,                                                                                       \
	  (struct cu_graph_node * *node, struct cu_graph * graph, struct cu_graph_node *const *dependencies,         \
	   size_t n_dependencies, struct cu_graph_node_params *params))                                              \
	X(GraphConditionalHandleCreate, 12030,                                                                       \
	  (uint64_t * handle, struct cu_graph * graph, struct cu_context * context, unsigned value, unsigned flags)) \
	X(StreamBeginCaptureToGraph, 12030,                                                                          \
	  (struct cu_stream * stream, struct cu_graph * graph, struct cu_graph_node *const *dependencies,            \
	   const void *edges, size_t n_dependencies, int mode))

/* Each returns an enum cu_result, or another of the driver's codes. */
struct cuda_driver {
	void *library;
	int version; /* 13000 for CUDA 13.0 */
#define X(name, version, params) int(*name) params;
	CUDA_DRIVER_FUNCTIONS(X)
	CUDA_DRIVER_LATER_FUNCTIONS(X)
#undef X
};

/*
 * Loads the driver and initialises it. ERROR_UNSUPPORTED where there is no driver or no GPU: the line
 * then says which, and begins with "no GPU". The caller closes it.
 */
int cuda_driver_open(struct cuda_driver *cu, struct error *err);
void cuda_driver_close(struct cuda_driver *cu);

/* Whether the driver is new enough for kernels that set nodes and launch graphs: ERROR_UNSUPPORTED says which is. */
int cuda_driver_check_graph_kernels(const struct cuda_driver *cu, struct error *why);

/* ERROR_DEVICE (ERROR_MEMORY for out of memory): "what: CUDA_ERROR_NAME (its text)". */
int cuda_driver_error(const struct cuda_driver *cu, int result, struct error *err, const char *what, ...)
	__attribute__((format(printf, 4, 5)));

#endif
