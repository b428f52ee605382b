/*
 * Graphs of the CUDA device: captured from the stream, with a copy of every node's
 * params, because the driver gives nodes no names of ours.
 *
 * The stream is one chain, so the driver lists its nodes in the order of recording.
 * That is not taken on trust: when a graph is instantiated, every node's type, function
 * and params are compared with what was recorded. Of a library's product only the number of
 * nodes is known: it is counted when they are captured.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/device_cuda_internal.h"

static struct cuda_graph *graph_of(struct device_graph *g)
{
	return (struct cuda_graph *)g;
}

static struct cuda_exec *exec_of(struct device_exec *x)
{
	return (struct cuda_exec *)x;
}

/* ---- recordings ---- */

static size_t params_room(int op)
{
	size_t bytes = op == RECORDED_COPY ? 0 : kernel_params_bytes((enum kernel)op);
	return (bytes + _Alignof(struct cuda_node) - 1) / _Alignof(struct cuda_node) * _Alignof(struct cuda_node);
}

static struct cuda_node *node_of(const struct recording *r, int node)
{
	unsigned char *params = recording_params(r, node);
	return (struct cuda_node *)(params + params_room(r->nodes[node].op));
}

/* The params, which are undefined; null: no memory. */
static void *record(struct cuda_device *c, int op, struct cuda_node node)
{
	struct recording *r = &c->base.capture;
	void *params = recording_add(r, op, params_room(op) + sizeof node);
	if (params)
		*node_of(r, r->n_nodes - 1) = node;
	return params;
}

int cuda_record_kernel(struct cuda_device *c, enum kernel k, const void *params, const struct cuda_launch *l,
		       void ***updatable, struct error *err)
{
	struct cuda_node node = {.launch = *l, .n_driver = 1};
	int rc = cuda_function(c, l->entry_id, &node.function, err);
	if (rc)
		return rc;
	void *to = record(c, (int)k, node);
	if (!to)
		return error_set(err, ERROR_MEMORY, "cuda device: no memory to record %s", kernel_name(k));
	memcpy(to, params, kernel_params_bytes(k));
	const struct recording *r = &c->base.capture;
	*updatable = &node_of(r, r->n_nodes - 1)->updatable;
	return 0;
}

int cuda_record_copy(struct cuda_device *c, struct error *err)
{
	return record(c, RECORDED_COPY, (struct cuda_node){.n_driver = 1})
		       ? 0
		       : error_set(err, ERROR_MEMORY, "cuda device: no memory for a copy");
}

int cuda_captured_nodes(struct cuda_device *c, size_t *n, struct error *err)
{
	struct cu_graph *graph = NULL;
	int status;
	*n = 0;
	int result = c->cu.StreamGetCaptureInfo(c->stream, &status, NULL, &graph, NULL, NULL);
	if (!result && !graph)
		return error_set(err, ERROR_DEVICE, "cuda device: the stream's capture has ended");
	if (!result)
		result = c->cu.GraphGetNodes(graph, NULL, n);
	return result ? cuda_driver_error(&c->cu, result, err, "cuda device: counting the nodes of a capture") : 0;
}

int cuda_record_product(struct cuda_device *c, enum kernel k, const void *params, size_t n_driver, struct error *err)
{
	void *to = record(c, (int)k, (struct cuda_node){.n_driver = (int)n_driver});
	if (!to)
		return error_set(err, ERROR_MEMORY, "cuda device: no memory to record %s", kernel_name(k));
	memcpy(to, params, kernel_params_bytes(k));
	return 0;
}

/* ---- capture ---- */

static int has_calls(const struct cuda_driver *cu, enum device_graph_kind kind, struct error *err)
{
	bool there = kind == DEVICE_GRAPH_WHILE
			     ? cu->GraphCreate && cu->GraphAddNode && cu->GraphConditionalHandleCreate &&
				       cu->StreamBeginCaptureToGraph
		     : kind == DEVICE_GRAPH_RELAUNCHED ? cu->GraphInstantiateWithParams != NULL
						       : true;
	return there ? 0 : error_set(err, ERROR_UNSUPPORTED, "needs a newer driver: this one lacks the calls for it");
}

int device_cuda_can_graph(enum device_graph_kind kind, struct error *err)
{
	struct cuda_driver cu;
	struct error why;
	int rc = cuda_driver_open(&cu, err);
	if (!rc && kind != DEVICE_GRAPH_PLAIN && (rc = cuda_driver_check_graph_kernels(&cu, &why)))
		error_set(err, rc, "needs %s", why.text);
	if (!rc)
		rc = has_calls(&cu, kind, err);
	cuda_driver_close(&cu);
	return rc;
}

int cuda_can_graph(const struct device *d, enum device_graph_kind kind, struct error *err)
{
	const struct cuda_device *c = (const struct cuda_device *)d;
	const struct error *why = kind == DEVICE_GRAPH_PLAIN     ? NULL
				  : kind == DEVICE_GRAPH_PATCHED ? &c->no_patch
								 : &c->no_loop;
	if (why && why->text[0])
		return error_set(err, ERROR_UNSUPPORTED, "needs %s", why->text);
	return has_calls(&c->cu, kind, err);
}

/* A graph of one conditional node, whose body the stream captures into. */
static int begin_body(struct cuda_device *c)
{
	struct cu_graph_node_params node = {
		.type = CU_NODE_CONDITIONAL,
		.u.conditional = {.type = CU_CONDITION_WHILE, .size = 1, .context = c->context},
	};
	struct cu_graph_node *handle;
	int result = c->cu.GraphCreate(&c->loop_graph, 0);
	if (!result)
		result = c->cu.GraphConditionalHandleCreate(&c->loop_condition, c->loop_graph, c->context, 1,
							    CU_CONDITION_ASSIGN_DEFAULT);
	node.u.conditional.handle = c->loop_condition;
	if (!result)
		result = c->cu.GraphAddNode(&handle, c->loop_graph, NULL, 0, &node);
	c->loop_body = result ? NULL : node.u.conditional.bodies[0];
	return result ? result
		      : c->cu.StreamBeginCaptureToGraph(c->stream, c->loop_body, NULL, NULL, 0,
							CU_CAPTURE_THREAD_LOCAL);
}

static void drop_body(struct cuda_device *c)
{
	if (c->loop_graph)
		c->cu.GraphDestroy(c->loop_graph);
	c->loop_graph = c->loop_body = NULL;
	c->loop_condition = 0;
}

int cuda_capture_begin(struct device *d, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	int result = d->kind == DEVICE_GRAPH_WHILE ? begin_body(c)
						   : c->cu.StreamBeginCapture(c->stream, CU_CAPTURE_THREAD_LOCAL);
	c->after_kernel = false;
	if (!result)
		return 0;
	drop_body(c);
	return cuda_driver_error(&c->cu, result, err, "cuda device: cuStreamBeginCapture");
}

static int end(struct cuda_device *c, struct cu_graph **graph)
{
	*graph = NULL;
	c->after_kernel = false;
	return c->cu.StreamEndCapture(c->stream, graph);
}

/* Of a body what it was captured into is the graph: it goes with the graph that it is in. */
int cuda_capture_end(struct device *d, struct device_graph *g, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	struct cuda_graph *own = graph_of(g);
	own->mapped = false;
	int result = end(c, &own->graph);
	own->nodes = own->graph;
	if (c->loop_graph && !result) {
		own->graph = c->loop_graph;
		own->nodes = c->loop_body;
		c->loop_graph = c->loop_body = NULL;
		c->loop_condition = 0;
	}
	if (!result)
		return 0;
	if (own->graph && !c->loop_graph)
		c->cu.GraphDestroy(own->graph);
	drop_body(c);
	return cuda_driver_error(&c->cu, result, err, "cuda device: cuStreamEndCapture");
}

void cuda_capture_abort(struct device *d)
{
	struct cuda_device *c = cuda_of(d);
	struct cu_graph *graph;
	end(c, &graph);
	if (graph && !c->loop_graph)
		c->cu.GraphDestroy(graph);
	drop_body(c);
}

void cuda_graph_destroy(struct device *d, struct device_graph *g)
{
	cuda_of(d)->cu.GraphDestroy(graph_of(g)->graph);
}

/* ---- executable graphs ---- */

static int check_node(struct cuda_device *c, const struct recording *r, int i, bool *same)
{
	const struct cuda_node *n = node_of(r, i);
	int op = r->nodes[i].op, type = -1;
	*same = true;
	if (op != RECORDED_COPY && !n->function)
		return 0; /* a library's own */
	int result = c->cu.GraphNodeGetType(n->handle, &type);
	*same = type == (op == RECORDED_COPY ? CU_NODE_MEMCPY : CU_NODE_KERNEL);
	if (result || !*same || op == RECORDED_COPY)
		return result;
	struct cu_kernel_node params = {0};
	result = c->cu.GraphKernelNodeGetParams(n->handle, &params);
	if (result)
		return result;
	*same = (!params.function || params.function == n->function) && params.params &&
		!memcmp(params.params[0], recording_params(r, i), kernel_params_bytes((enum kernel)op));
	return 0;
}

static int map_nodes(struct cuda_device *c, struct cuda_graph *g, struct error *err)
{
	const struct recording *r = &g->base.rec;
	size_t count = 0, expected = 0, at = 0;
	for (int i = 0; i < r->n_nodes; i++)
		expected += (size_t)node_of(r, i)->n_driver;
	int result = c->cu.GraphGetNodes(g->nodes, NULL, &count);
	if (result)
		return cuda_driver_error(&c->cu, result, err, "cuda device: cuGraphGetNodes");
	if (count != expected)
		return error_set(err, ERROR_DEVICE,
				 "cuda device: a graph of %d operations in %zu nodes has %zu of them", r->n_nodes,
				 expected, count);
	struct cu_graph_node **handles = malloc((count ? count : 1) * sizeof *handles);
	if (!handles)
		return error_set(err, ERROR_MEMORY, "cuda device: no memory for %zu nodes", count);
	int rc = 0;
	g->persistent = false;
	result = c->cu.GraphGetNodes(g->nodes, handles, &count);
	if (result)
		rc = cuda_driver_error(&c->cu, result, err, "cuda device: cuGraphGetNodes");
	for (int i = 0; i < r->n_nodes && !rc; i++) {
		int op = r->nodes[i].op;
		bool same;
		g->persistent |= op == KERNEL_persistent;
		node_of(r, i)->handle = node_of(r, i)->n_driver ? handles[at] : NULL;
		at += (size_t)node_of(r, i)->n_driver;
		result = check_node(c, r, i, &same);
		if (result)
			rc = cuda_driver_error(&c->cu, result, err, "cuda device: reading node %d of a graph", i);
		else if (!same)
			rc = error_set(err, ERROR_DEVICE,
				       "cuda device: node %d of the captured graph is not the recorded %s", i,
				       op == RECORDED_COPY ? "copy" : kernel_name((enum kernel)op));
	}
	free(handles);
	g->mapped = !rc;
	return rc;
}

static int instantiate(struct cuda_device *c, const struct cuda_graph *g, struct cu_graph_exec **exec)
{
	struct cu_instantiate_params p = {.flags = CU_GRAPH_DEVICE_LAUNCH, .upload_stream = c->stream};
	return g->base.kind == DEVICE_GRAPH_RELAUNCHED ? c->cu.GraphInstantiateWithParams(exec, g->graph, &p)
						       : c->cu.GraphInstantiateWithFlags(exec, g->graph, 0);
}

int cuda_instantiate(struct device *d, struct device_graph *g, struct device_exec **out, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	struct cuda_exec *x = calloc(1, sizeof *x);
	if (!x)
		return error_set(err, ERROR_MEMORY, "cuda device: no memory for an executable graph");
	int rc = graph_of(g)->mapped ? 0 : map_nodes(c, graph_of(g), err);
	if (!rc) {
		int result = instantiate(c, graph_of(g), &x->exec);
		if (result)
			rc = cuda_driver_error(&c->cu, result, err, "cuda device: cuGraphInstantiate of %d nodes",
					       g->rec.n_nodes);
	}
	if (rc) {
		free(x);
		return rc;
	}
	*out = &x->base;
	return 0;
}

void *cuda_exec_patched(struct device *d, struct device_exec *x, int node)
{
	(void)d;
	return node_of(&x->graph->rec, node)->updatable;
}

int cuda_exec_upload(struct device *d, struct device_exec *x, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	c->after_kernel = false;
	int result = c->cu.GraphUpload(exec_of(x)->exec, c->stream);
	return result ? cuda_stream_error(c, result, err, "cuda device: cuGraphUpload") : 0;
}

int cuda_exec_set_params(struct device *d, struct device_exec *x, int node, const void *params, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	const struct recording *r = &x->graph->rec;
	const struct cuda_node *n = node_of(r, node);
	const struct cuda_launch *l = &n->launch; /* never depends on the position */
	if (!n->function)
		return error_set(err, ERROR_UNSUPPORTED, "cuda device: node %d (%s) is a library's", node,
				 kernel_name((enum kernel)r->nodes[node].op));
	void *args[] = {(void *)(uintptr_t)params};
	const struct cu_kernel_node p = {
		.function = n->function,
		.grid = {l->grid[0], l->grid[1], l->grid[2]},
		.block = {l->block[0], l->block[1], l->block[2]},
		.shared_bytes = l->shared_bytes,
		.params = args,
	};
	int result = c->cu.GraphExecKernelNodeSetParams(exec_of(x)->exec, n->handle, &p);
	return result ? cuda_driver_error(&c->cu, result, err,
					  "cuda device: cuGraphExecKernelNodeSetParams of node %d (%s)", node,
					  kernel_name((enum kernel)r->nodes[node].op))
		      : 0;
}

int cuda_exec_update(struct device *d, struct device_exec *x, struct device_graph *g, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	struct cu_update_result why = {0};
	int result = c->cu.GraphExecUpdate(exec_of(x)->exec, graph_of(g)->graph, &why);
	if (!result)
		return 0;
	int rc = cuda_driver_error(&c->cu, result, err, "cuda device: cuGraphExecUpdate (reason %d)", why.result);
	return result == CU_GRAPH_EXEC_UPDATE_FAILURE ? ERROR_UNSUPPORTED : rc;
}

int cuda_replay(struct device *d, struct device_exec *x, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	c->after_kernel = false;
	c->persistent |= ((const struct cuda_graph *)x->graph)->persistent;
	int result = c->cu.GraphLaunch(exec_of(x)->exec, c->stream);
	return result ? cuda_stream_error(c, result, err, "cuda device: cuGraphLaunch of %d nodes",
					  x->graph->rec.n_nodes)
		      : 0;
}

void cuda_exec_destroy(struct device *d, struct device_exec *x)
{
	cuda_of(d)->cu.GraphExecDestroy(exec_of(x)->exec); /* one in flight is freed when it is done */
	free(x);
}
