/*
 * Graphs of the CUDA device: captured from the stream, with a copy of every node's
 * params, because the driver gives nodes no names of ours.
 *
 * The stream is one chain, so the driver lists its nodes in the order of recording.
 * That is not taken on trust: when a graph is instantiated, every node's type, function
 * and params are compared with what was recorded.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/device_cuda_internal.h"

/* ---- recordings ---- */

void cuda_recording_free(struct cuda_recording *r)
{
	free(r->nodes);
	free(r->bytes);
	*r = (struct cuda_recording){0};
}

void *cuda_recording_add(struct cuda_recording *r, int kernel, size_t bytes)
{
	if (r->n_nodes == r->cap_nodes) {
		int cap = r->cap_nodes ? 2 * r->cap_nodes : 2048;
		struct cuda_node *nodes = realloc(r->nodes, (size_t)cap * sizeof *nodes);
		if (!nodes)
			return NULL;
		r->nodes = nodes;
		r->cap_nodes = cap;
	}
	size_t room = (bytes + 15) & ~(size_t)15;
	if (!r->bytes || r->n_bytes + room > r->cap_bytes) {
		size_t cap = r->cap_bytes ? 2 * r->cap_bytes : 512 << 10;
		while (cap < r->n_bytes + room)
			cap *= 2;
		unsigned char *grown = realloc(r->bytes, cap);
		if (!grown)
			return NULL;
		r->bytes = grown;
		r->cap_bytes = cap;
	}
	r->nodes[r->n_nodes++] = (struct cuda_node){.kernel = kernel, .offset = r->n_bytes};
	void *params = r->bytes + r->n_bytes;
	r->n_bytes += room;
	return params;
}

/* ---- capture ---- */

int cuda_capture_begin(struct device *d, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	int result = c->cu.StreamBeginCapture(c->stream, CU_CAPTURE_THREAD_LOCAL);
	if (result)
		return cuda_driver_error(&c->cu, result, err, "cuda device: cuStreamBeginCapture");
	c->after_kernel = false;
	c->capture.n_nodes = 0;
	c->capture.n_bytes = 0;
	return 0;
}

static int end(struct cuda_device *c, struct cu_graph **graph)
{
	*graph = NULL;
	c->after_kernel = false;
	return c->cu.StreamEndCapture(c->stream, graph);
}

int cuda_capture_end(struct device *d, struct device_graph **out, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	struct cu_graph *graph;
	int result = end(c, &graph), rc = 0;
	if (result)
		rc = cuda_driver_error(&c->cu, result, err, "cuda device: cuStreamEndCapture");
	struct device_graph *g = rc ? NULL : c->spare ? c->spare : calloc(1, sizeof *g);
	if (!rc && !g)
		rc = error_set(err, ERROR_MEMORY, "cuda device: no memory for a graph");
	if (rc) {
		if (graph)
			c->cu.GraphDestroy(graph);
		return rc;
	}
	c->spare = NULL;
	struct cuda_recording room = g->rec;
	*g = (struct device_graph){.graph = graph, .rec = c->capture};
	c->capture = room;
	*out = g;
	return 0;
}

void cuda_capture_abort(struct device *d)
{
	struct cuda_device *c = cuda_of(d);
	struct cu_graph *graph;
	end(c, &graph);
	if (graph)
		c->cu.GraphDestroy(graph);
}

/* ---- executable graphs ---- */

static int check_node(struct cuda_device *c, const struct cuda_recording *r, const struct cuda_node *n, bool *same)
{
	int type = -1, result = c->cu.GraphNodeGetType(n->handle, &type);
	*same = type == (n->kernel < 0 ? CU_NODE_MEMCPY : CU_NODE_KERNEL);
	if (result || !*same || n->kernel < 0)
		return result;
	struct cu_kernel_node params = {0};
	result = c->cu.GraphKernelNodeGetParams(n->handle, &params);
	if (result)
		return result;
	*same = (!params.function || params.function == n->function) && params.params &&
		!memcmp(params.params[0], r->bytes + n->offset, kernel_params_bytes((enum kernel)n->kernel));
	return 0;
}

static int map_nodes(struct cuda_device *c, struct device_graph *g, struct error *err)
{
	struct cuda_recording *r = &g->rec;
	size_t count = 0;
	int result = c->cu.GraphGetNodes(g->graph, NULL, &count);
	if (result)
		return cuda_driver_error(&c->cu, result, err, "cuda device: cuGraphGetNodes");
	if (count != (size_t)r->n_nodes)
		return error_set(err, ERROR_DEVICE, "cuda device: a graph of %d operations has %zu nodes", r->n_nodes,
				 count);
	struct cu_graph_node **handles = malloc((count ? count : 1) * sizeof *handles);
	if (!handles)
		return error_set(err, ERROR_MEMORY, "cuda device: no memory for %zu nodes", count);
	int rc = 0;
	result = c->cu.GraphGetNodes(g->graph, handles, &count);
	if (result)
		rc = cuda_driver_error(&c->cu, result, err, "cuda device: cuGraphGetNodes");
	for (int i = 0; i < r->n_nodes && !rc; i++) {
		bool same;
		r->nodes[i].handle = handles[i];
		result = check_node(c, r, &r->nodes[i], &same);
		if (result)
			rc = cuda_driver_error(&c->cu, result, err, "cuda device: reading node %d of a graph", i);
		else if (!same)
			rc = error_set(err, ERROR_DEVICE,
				       "cuda device: node %d of the captured graph is not the recorded %s", i,
				       r->nodes[i].kernel < 0 ? "copy" : kernel_name((enum kernel)r->nodes[i].kernel));
	}
	free(handles);
	g->mapped = !rc;
	return rc;
}

int cuda_instantiate(struct device *d, struct device_graph *g, struct device_exec **out, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	struct device_exec *x = calloc(1, sizeof *x);
	if (!x)
		return error_set(err, ERROR_MEMORY, "cuda device: no memory for an executable graph");
	int rc = g->mapped ? 0 : map_nodes(c, g, err);
	if (!rc) {
		int result = c->cu.GraphInstantiateWithFlags(&x->exec, g->graph, 0);
		if (result)
			rc = cuda_driver_error(&c->cu, result, err, "cuda device: cuGraphInstantiate of %d nodes",
					       g->rec.n_nodes);
	}
	if (rc) {
		free(x);
		return rc;
	}
	x->graph = g;
	for (int i = 0; i < g->rec.n_nodes; i++) {
		if (g->rec.nodes[i].kernel >= 0)
			x->n_kernels++;
		else
			x->n_copies++;
	}
	*out = x;
	return 0;
}

int cuda_exec_upload(struct device *d, struct device_exec *x, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	c->after_kernel = false;
	int result = c->cu.GraphUpload(x->exec, c->stream);
	return result ? cuda_driver_error(&c->cu, result, err, "cuda device: cuGraphUpload") : 0;
}

int cuda_exec_set_params(struct device *d, struct device_exec *x, int node, const void *params, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	const struct cuda_recording *r = &x->graph->rec;
	if (node < 0 || node >= r->n_nodes || r->nodes[node].kernel < 0)
		return error_set(err, ERROR_DEVICE, "cuda device: exec_set_params: node %d is no kernel node", node);
	const struct cuda_node *n = &r->nodes[node];
	const struct cuda_launch *l = &n->launch; /* never depends on the position */
	void *args[] = {(void *)(uintptr_t)params};
	const struct cu_kernel_node p = {
		.function = n->function,
		.grid = {l->grid[0], l->grid[1], l->grid[2]},
		.block = {l->block[0], l->block[1], l->block[2]},
		.shared_bytes = l->shared_bytes,
		.params = args,
	};
	int result = c->cu.GraphExecKernelNodeSetParams(x->exec, n->handle, &p);
	if (result)
		return cuda_driver_error(&c->cu, result, err,
					 "cuda device: cuGraphExecKernelNodeSetParams of node %d (%s)", node,
					 kernel_name((enum kernel)n->kernel));
	d->counters.node_updates++;
	return 0;
}

int cuda_exec_update(struct device *d, struct device_exec *x, struct device_graph *g, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	struct cu_update_result why = {0};
	int result = c->cu.GraphExecUpdate(x->exec, g->graph, &why);
	if (!result)
		return 0;
	int rc = cuda_driver_error(&c->cu, result, err, "cuda device: cuGraphExecUpdate (reason %d)", why.result);
	return result == CU_GRAPH_EXEC_UPDATE_FAILURE ? ERROR_UNSUPPORTED : rc;
}

int cuda_replay(struct device *d, struct device_exec *x, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	c->after_kernel = false;
	int result = c->cu.GraphLaunch(x->exec, c->stream);
	if (result)
		return cuda_driver_error(&c->cu, result, err, "cuda device: cuGraphLaunch of %d nodes",
					 x->graph->rec.n_nodes);
	d->counters.api_launches++;
	d->counters.kernels += (uint64_t)x->n_kernels;
	d->counters.copies += (uint64_t)x->n_copies;
	return 0;
}

void cuda_exec_destroy(struct device *d, struct device_exec *x)
{
	cuda_of(d)->cu.GraphExecDestroy(x->exec); /* one in flight is freed when it is done */
	free(x);
}

void cuda_graph_destroy(struct device *d, struct device_graph *g)
{
	struct cuda_device *c = cuda_of(d);
	c->cu.GraphDestroy(g->graph);
	if (!c->spare) {
		c->spare = g;
		return;
	}
	cuda_recording_free(&g->rec);
	free(g);
}

int cuda_graph_nodes(struct device_graph *g)
{
	return g->rec.n_nodes;
}

const void *cuda_graph_node(struct device_graph *g, int node, int *kernel)
{
	const struct cuda_node *n = &g->rec.nodes[node];
	*kernel = n->kernel;
	return g->rec.bytes + n->offset;
}
