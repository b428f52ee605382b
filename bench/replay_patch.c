#include "bench/replay_patch.h"

/*
 * The driver binds the functions where the module is loaded: no library is linked. As in the engine's patch, nothing
 * here lets the next node start early: one that is launched before the patch ends keeps what it had.
 */
const struct nvrtc_source replay_patch_source = {
	.name = "replay_patch.cu",
	.text = "typedef struct CUgraphDeviceUpdatableNode_st *updatable;\n"
		"extern \"C\" __device__ int cudaGraphKernelNodeSetParam(updatable node, unsigned long offset,\n"
		"	const void *value, unsigned long size);\n"
		"extern \"C\" __device__ int cudaGraphKernelNodeSetGridDim(updatable node, dim3 grid);\n"
		"struct value {\n"
		"	unsigned long long words[4];\n"
		"};\n"
		"struct params {\n"
		"	const updatable *nodes;\n"
		"	int *failed;\n"
		"	int n;\n"
		"	unsigned grid;\n"
		"	struct value value;\n"
		"};\n"
		"extern \"C\" __global__ void patch_param(const __grid_constant__ params p)\n"
		"{\n"
		"	const struct value value = p.value;\n"
		"	for (int i = threadIdx.x; i < p.n; i += blockDim.x) {\n"
		"		const int rc = cudaGraphKernelNodeSetParam(p.nodes[i], 0, &value, sizeof value);\n"
		"		if (rc)\n"
		"			*p.failed = rc;\n"
		"	}\n"
		"	__threadfence();\n"
		"}\n"
		"extern \"C\" __global__ void patch_grid(const __grid_constant__ params p)\n"
		"{\n"
		"	for (int i = threadIdx.x; i < p.n; i += blockDim.x) {\n"
		"		const int rc = cudaGraphKernelNodeSetGridDim(p.nodes[i], dim3(p.grid, 1, 1));\n"
		"		if (rc)\n"
		"			*p.failed = rc;\n"
		"	}\n"
		"	__threadfence();\n"
		"}\n",
};

void replay_patch_open(struct replay_gpu *g, struct nvrtc *n)
{
	const struct replay_function wanted[] = {{"patch_param", &g->patch[REPLAY_PATCH_PARAM]},
						 {"patch_grid", &g->patch[REPLAY_PATCH_GRID]}};
	struct error why = {""};
	g->no_patch = (struct error){""};
	if (!cuda_driver_check_graph_kernels(&g->cu, &g->no_patch) &&
	    replay_gpu_load(g, n, &replay_patch_source, wanted, 2, &g->patch_module, &why))
		error_set(&g->no_patch, ERROR_UNSUPPORTED, "kernels that this driver does not load: %s", why.text);
}

void replay_patch_close(struct replay_gpu *g)
{
	if (g->patch_module)
		g->cu.ModuleUnload(g->patch_module);
}

int replay_patch_launch(struct replay_gpu *g, enum replay_patch what, const struct replay_patch_params *p)
{
	void *args[] = {(void *)(uintptr_t)p};
	struct cu_launch_config config = {
		.grid = {1, 1, 1}, .block = {REPLAY_PATCH_THREADS, 1, 1}, .stream = g->stream};
	return g->cu.LaunchKernelEx(&config, g->patch[what], args, NULL);
}
