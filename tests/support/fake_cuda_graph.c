#include "tests/support/fake_cuda.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/memory_geometry.h"
#include "kernels/params.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

/* ---- what there is ---- */

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

/* ---- captures and launches ---- */

bool fake_capturing(void)
{
	return capturing != NULL;
}

int fake_capture_copy(void)
{
	return add_node(NULL, NULL);
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
		return add_node(f, params);
	if (!strcmp(f->name, "gate") && fake_broken("blocking"))
		(*(unsigned **)params[0])[1] = 1;
	if (!strncmp(f->name, "k_memory_", 9) && !fake_broken("no-memory"))
		measure(config, f, params);
	struct cu_graph_node now = {.function = f};
	take_params(&now, params);
	if (adds(f) && !fake_broken("no-adds"))
		run_node(&now);
	return 0;
}

int fake_GraphInstantiateWithFlags(struct cu_graph_exec **exec, struct cu_graph *graph, unsigned long long flags)
{
	if (fake_no_context())
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

int fake_GraphLaunch(struct cu_graph_exec *exec, struct cu_stream *stream)
{
	if (fake_no_context())
		return INVALID_CONTEXT;
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
		if (exec->graph->nodes[i] == node && !fake_broken("lost-update") && node->function == params->function)
			take_params(&exec->nodes[i], params->params);
	return 0;
}

int fake_GraphExecUpdate(struct cu_graph_exec *exec, struct cu_graph *graph, struct cu_update_result *result)
{
	if (graph->n != exec->graph->n)
		return CU_GRAPH_EXEC_UPDATE_FAILURE;
	for (size_t i = 0; i < graph->n && !fake_broken("lost-update"); i++)
		exec->nodes[i] = *graph->nodes[i];
	return 0;
}
