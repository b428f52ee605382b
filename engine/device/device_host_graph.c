/* Executable graphs of the host device: a graph's recording with params of its own, run from the queue. */
#include <stdlib.h>
#include <string.h>

#include "engine/device/device_host_internal.h"

static struct host_exec *exec_of(struct device_exec *x)
{
	return (struct host_exec *)x;
}

/* A queued replay runs with the params that it was enqueued with. */
static void settle(struct device *d, const struct host_exec *x)
{
	if (x->queued)
		host_drain(host_of(d));
}

int host_instantiate(struct device *d, struct device_graph *g, struct device_exec **out, struct error *err)
{
	(void)d;
	struct host_exec *x = calloc(1, sizeof *x);
	if (!x || recording_copy(&x->rec, &g->rec)) {
		free(x);
		return host_out_of_memory("an executable graph", err);
	}
	int last = x->rec.n_nodes - 1;
	if (g->kind > DEVICE_GRAPH_PATCHED && last >= 0 && x->rec.nodes[last].op == KERNEL_advance)
		x->state = ((const struct advance_params *)recording_params(&x->rec, last))->state;
	*out = &x->base;
	return 0;
}

int host_exec_upload(struct device *d, struct device_exec *x, struct error *err)
{
	(void)d, (void)x, (void)err; /* a replay reads the recording where it is */
	return 0;
}

int host_exec_set_params(struct device *d, struct device_exec *exec, int node, const void *params, struct error *err)
{
	struct host_exec *x = exec_of(exec);
	(void)err;
	settle(d, x);
	memcpy(recording_params(&x->rec, node), params, kernel_params_bytes((enum kernel)x->rec.nodes[node].op));
	return 0;
}

void *host_exec_patched(struct device *d, struct device_exec *exec, int node)
{
	(void)d;
	return recording_params(&exec_of(exec)->rec, node);
}

int host_exec_update(struct device *d, struct device_exec *exec, struct device_graph *g, struct error *err)
{
	struct host_exec *x = exec_of(exec);
	if (!recording_same_nodes(&x->rec, &g->rec))
		return error_set(err, ERROR_UNSUPPORTED, "host device: exec_update: the topology differs");
	settle(d, x);
	memcpy(x->rec.bytes, g->rec.bytes, g->rec.n_bytes);
	return 0;
}

int host_replay(struct device *d, struct device_exec *exec, struct error *err)
{
	struct host_exec *x = exec_of(exec);
	void *to = recording_add(&host_of(d)->queue, QUEUED_REPLAY, sizeof x);
	if (!to)
		return host_out_of_memory("a replay", err);
	memcpy(to, &x, sizeof x);
	x->queued = true;
	return 0;
}

void host_exec_destroy(struct device *d, struct device_exec *exec)
{
	struct host_exec *x = exec_of(exec);
	settle(d, x);
	recording_free(&x->rec);
	free(x);
}
