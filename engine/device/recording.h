/*
 * What a stream was told, kept: nodes in their order, each with a copy of its params. A recorded
 * graph on every device, and the host device's queue.
 */
#ifndef GEMMARK_ENGINE_DEVICE_RECORDING_H
#define GEMMARK_ENGINE_DEVICE_RECORDING_H

#include <stdbool.h>
#include <stddef.h>

enum { RECORDED_COPY = -1 };

struct recorded_node {
	int op;        /* a kernel's id, RECORDED_COPY, or below that what the recording device means by it */
	size_t offset; /* of its params in bytes */
};

/* All zero: empty. */
struct recording {
	struct recorded_node *nodes;
	int n_nodes, cap_nodes;
	unsigned char *bytes;
	size_t n_bytes, cap_bytes;
};

/* Adds a node with room for `bytes` of params, 16-byte aligned, valid until the next; null: no memory. */
void *recording_add(struct recording *r, int op, size_t bytes);
/* Drops the nodes and keeps the memory for the next ones. */
void recording_clear(struct recording *r);
void recording_free(struct recording *r);
/* to: overwritten. -1: no memory, and to is empty. */
int recording_copy(struct recording *to, const struct recording *from);
/* The same nodes in the same order, whatever their params. */
bool recording_same_nodes(const struct recording *a, const struct recording *b);

static inline void *recording_params(const struct recording *r, int node)
{
	return r->bytes + r->nodes[node].offset;
}

#endif
