#include "tests/support/fake_cuda.h"

#include <stdlib.h>
#include <string.h>

#include "bench/replay_patch.h"
#include "kernels/cuda/memory_geometry.h"
#include "kernels/params.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

/* ---- what there is ---- */

/* What is known of a kernel's parameters; of a copy the function is null. */
struct cu_graph_node {
	struct cu_function *function;
	void *pointer; /* to the parameters */
	unsigned grid;
	union params {
		struct {
			uint64_t cycles, count;
			unsigned add, blocks;
		} node; /* bench/replay_graph.c's */
		struct add_params add;
		struct replay_patch_params patch;
		struct patch_params engine_patch;
		struct persistent_params token;
	} params;
	struct cu_graph *graph;
	size_t index;
	bool updatable; /* its address is what kernels know it by */
};

struct cu_graph {
	struct cu_graph_node **nodes;
	size_t n;
	bool updatable;             /* a node is: then it has one executable graph, which cuGraphExecUpdate refuses */
	struct cu_graph_exec *exec; /* the last one */
};

struct cu_graph_exec {
	const struct cu_graph *graph;
	struct cu_graph_node *nodes; /* copies, which updates change */
	bool uploaded;               /* since the host updated an updatable node */
};

static struct cu_graph *capturing;
static long long passed_ns; /* that kernels took, beside what they do */

/* ---- kernels ---- */

static bool counts(const struct cu_function *f)
{
	return f && !strncmp(f->name, "node_", 5);
}

static bool adds(const struct cu_function *f)
{
	return f && !strcmp(f->name, "k_add");
}

void fake_pass_bytes(double bytes)
{
	passed_ns += (long long)(bytes / (0.75e-9 * MEMORY_TUNED_BYTES_S));
}

/* As blocks of 4 multiprocessors. */
static void measure(const struct cu_launch_config *config, const struct cu_function *f, void *const *params)
{
	enum { MULTIPROCESSORS = 4 };
	static const double bytes_cycle = 0.75 * MEMORY_TUNED_BYTES_CYCLE;
	const double bytes = (double)config->grid[0] * MEMORY_CHUNK;
	const struct memory_read_params *read = params[0];
	const struct memory_chain_params *chain = params[0];
	for (unsigned i = 0; i < config->grid[0]; i++)
		if (!strcmp(f->name, "k_memory_read"))
			read->cycles[i] = (unsigned long long)(bytes * read->n_chunks / MULTIPROCESSORS / bytes_cycle);
		else
			chain->cycles[i] = MEMORY_LOADS * MEMORY_TUNED_LATENCY_CYCLES;
	if (!strcmp(f->name, "k_memory_read"))
		fake_pass_bytes(bytes * read->n_chunks);
}

static bool patches(const struct cu_function *f)
{
	return f && !strncmp(f->name, "patch_", 6);
}

static bool engine_patches(const struct cu_function *f)
{
	return f && !strcmp(f->name, "k_patch");
}

static bool is_token(const struct cu_function *f)
{
	return f && !strncmp(f->name, "k_persistent_", 13) && strcmp(f->name, "k_persistent_tile");
}

static void take_params(struct cu_graph_node *n, void **params)
{
	size_t bytes = counts(n->function)           ? sizeof n->params.node
		       : adds(n->function)           ? sizeof n->params.add
		       : patches(n->function)        ? sizeof n->params.patch
		       : engine_patches(n->function) ? sizeof n->params.engine_patch
		       : is_token(n->function)       ? sizeof n->params.token
						     : 0;
	if (bytes)
		memcpy(&n->params, params[0], bytes);
}

/* What kernels call: of a graph that runs, the node that is known by this. */
static struct cu_graph_node *running(const void *updatable)
{
	const struct cu_graph_node *n = updatable;
	return n && n->updatable && n->graph->exec ? &n->graph->exec->nodes[n->index] : NULL;
}

static int set_param(const void *updatable, size_t offset, const void *value, size_t bytes)
{
	struct cu_graph_node *n = running(updatable);
	if (!n || offset + bytes > sizeof n->params)
		return 1;
	if (!fake_broken("lost-update"))
		memcpy((char *)&n->params + offset, value, bytes);
	return 0;
}

static int set_grid(const void *updatable, unsigned grid)
{
	struct cu_graph_node *n = running(updatable);
	if (!n)
		return 1;
	if (!fake_broken("lost-update"))
		n->grid = grid;
	return 0;
}

static void run_patch(const struct cu_graph_node *n)
{
	const struct replay_patch_params *p = &n->params.patch;
	void *const *nodes = (void *const *)(uintptr_t)p->nodes;
	for (int i = 0; i < p->n; i++) {
		int rc = !strcmp(n->function->name, "patch_grid") ? set_grid(nodes[i], p->grid)
								  : set_param(nodes[i], 0, p->value, sizeof p->value);
		if (rc)
			*(int *)(uintptr_t)p->failed = rc;
	}
}

/* Of kernels/cuda/patch.cu what concerns grids: no kernel of a position is emulated here. */
static void run_engine_patch(const struct patch_params *p)
{
	for (int i = 0; i < p->n; i++) {
		struct patch_node *n = &p->nodes[i];
		int bucket = 0;
		while (bucket < n->n_variants - 1 && p->keys << bucket < p->step->pos - p->step->evicted + 1)
			bucket++;
		if (bucket == n->bucket)
			continue;
		const struct patch_variant *v = &p->variants[n->first + bucket];
		n->bucket = bucket;
		if (set_grid(n->node, v->grid[0]) || set_param(n->node, (size_t)n->offset, &v->value, sizeof v->value))
			abort();
	}
}

static void run_node(const struct cu_graph_node *n)
{
	enum { ADD_THREADS = 256, NODE_NS = 100000 };
	const struct add_params *a = &n->params.add;
	passed_ns += counts(n->function) ? NODE_NS : 0;
	if (counts(n->function))
		*(unsigned *)(uintptr_t)n->params.node.count +=
			n->params.node.add * (n->grid < n->params.node.blocks ? n->grid : n->params.node.blocks);
	else if (patches(n->function))
		run_patch(n);
	else if (engine_patches(n->function))
		run_engine_patch(&n->params.engine_patch);
	for (int i = 0; adds(n->function) && i < a->n && i < (int)n->grid * ADD_THREADS; i++)
		a->y[i] = (a->a[i] + a->b[i]) * a->scale;
}

static int add_node(struct cu_function *f, void **params, const struct cu_launch_config *config)
{
	struct cu_graph_node *n = calloc(1, sizeof *n);
	struct cu_graph_node **grown = realloc(capturing->nodes, (capturing->n + 1) * sizeof *grown);
	if (!n || !grown)
		return CU_OUT_OF_MEMORY;
	n->function = f;
	n->grid = config ? config->grid[0] : 0;
	n->graph = capturing;
	n->index = capturing->n;
	take_params(n, params);
	for (unsigned i = 0; config && i < config->n_attributes; i++) {
		struct cu_launch_attribute *a = &config->attributes[i];
		if (a->id != CU_LAUNCH_DEVICE_UPDATABLE || !a->value.device_updatable.on)
			continue;
		a->value.device_updatable.node = n;
		n->updatable = capturing->updatable = true;
	}
	capturing->nodes = grown;
	capturing->nodes[capturing->n++] = n;
	return 0;
}

/* ---- captures and launches ---- */

bool fake_capturing(void)
{
	return capturing != NULL;
}

int fake_capture_copy(void)
{
	return add_node(NULL, NULL, NULL);
}

long long fake_passed_ns(void)
{
	return passed_ns;
}

int fake_StreamBeginCapture(struct cu_stream *stream, int mode)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	capturing = calloc(1, sizeof *capturing);
	return capturing ? 0 : CU_OUT_OF_MEMORY;
}

int fake_StreamGetCaptureInfo(struct cu_stream *stream, int *status, uint64_t *id, struct cu_graph **graph,
			      const struct cu_graph_node *const **dependencies, size_t *n_dependencies)
{
	*status = capturing != NULL;
	*graph = capturing;
	return 0;
}

int fake_StreamEndCapture(struct cu_stream *stream, struct cu_graph **graph)
{
	*graph = capturing;
	capturing = NULL;
	return 0;
}

int fake_LaunchKernelEx(const struct cu_launch_config *config, struct cu_function *f, void **params, void **extra)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	if (capturing)
		return add_node(f, params, config);
	if (!strcmp(f->name, "gate") && fake_broken("blocking"))
		(*(unsigned **)params[0])[1] = 1;
	if (!strncmp(f->name, "k_memory_", 9) && !fake_broken("no-memory"))
		measure(config, f, params);
	struct cu_graph_node now = {.function = f, .grid = config->grid[0]};
	take_params(&now, params);
	if (adds(f) && !fake_broken("no-adds"))
		run_node(&now);
	return 0;
}

int fake_GraphInstantiateWithFlags(struct cu_graph_exec **exec, struct cu_graph *graph, unsigned long long flags)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	if (graph->updatable && graph->exec)
		return NOT_SUPPORTED;
	struct cu_graph_exec *x = calloc(1, sizeof *x);
	if (!x || !(x->nodes = calloc(graph->n + 1, sizeof *x->nodes)))
		return CU_OUT_OF_MEMORY;
	x->graph = graph;
	for (size_t i = 0; i < graph->n; i++)
		x->nodes[i] = *graph->nodes[i];
	*exec = graph->exec = x;
	return 0;
}

int fake_GraphUpload(struct cu_graph_exec *exec, struct cu_stream *stream)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	exec->uploaded = true;
	return 0;
}

int fake_GraphLaunch(struct cu_graph_exec *exec, struct cu_stream *stream)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	if (exec->graph->updatable && !exec->uploaded)
		return NOT_SUPPORTED;
	for (size_t i = fake_broken("lost-node"); i < exec->graph->n; i++)
		run_node(&exec->nodes[i]);
	return 0;
}

int fake_GraphExecDestroy(struct cu_graph_exec *exec)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	free(exec->nodes);
	free(exec);
	return 0;
}

int fake_GraphDestroy(struct cu_graph *graph)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
	for (size_t i = 0; i < graph->n; i++)
		free(graph->nodes[i]);
	free(graph->nodes);
	free(graph);
	return 0;
}

int fake_GraphGetNodes(struct cu_graph *graph, struct cu_graph_node **nodes, size_t *count)
{
	if (nodes)
		memcpy(nodes, graph->nodes, graph->n * sizeof *nodes);
	*count = graph->n;
	return 0;
}

int fake_GraphNodeGetType(struct cu_graph_node *node, int *type)
{
	*type = node->function ? CU_NODE_KERNEL : CU_NODE_MEMCPY;
	return 0;
}

int fake_GraphKernelNodeGetParams(struct cu_graph_node *node, struct cu_kernel_node *params)
{
	node->pointer = &node->params;
	*params = (struct cu_kernel_node){.function = node->function, .params = &node->pointer};
	return 0;
}

int fake_GraphExecKernelNodeSetParams(struct cu_graph_exec *exec, struct cu_graph_node *node,
				      const struct cu_kernel_node *params)
{
	for (size_t i = 0; i < exec->graph->n; i++)
		if (exec->graph->nodes[i] == node && !fake_broken("lost-update") &&
		    node->function == params->function) {
			take_params(&exec->nodes[i], params->params);
			exec->nodes[i].grid = params->grid[0];
			exec->uploaded = exec->uploaded && !node->updatable;
		}
	return 0;
}

int fake_GraphExecUpdate(struct cu_graph_exec *exec, struct cu_graph *graph, struct cu_update_result *result)
{
	if (graph->updatable || exec->graph->updatable)
		return NOT_SUPPORTED;
	if (graph->n != exec->graph->n)
		return CU_GRAPH_EXEC_UPDATE_FAILURE;
	for (size_t i = 0; i < graph->n && !fake_broken("lost-update"); i++)
		exec->nodes[i] = *graph->nodes[i];
	return 0;
}
