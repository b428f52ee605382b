#include "engine/device/recording.h"

#include <stdlib.h>
#include <string.h>

enum { NODES_AT_FIRST = 2048, BYTES_AT_FIRST = 512 << 10, ALIGNMENT = 16 };

void *recording_add(struct recording *r, int op, size_t bytes)
{
	if (r->n_nodes == r->cap_nodes) {
		int cap = r->cap_nodes ? 2 * r->cap_nodes : NODES_AT_FIRST;
		struct recorded_node *nodes = realloc(r->nodes, (size_t)cap * sizeof *nodes);
		if (!nodes)
			return NULL;
		r->nodes = nodes;
		r->cap_nodes = cap;
	}
	size_t room = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (!r->bytes || r->n_bytes + room > r->cap_bytes) {
		size_t cap = r->cap_bytes ? 2 * r->cap_bytes : BYTES_AT_FIRST;
		while (cap < r->n_bytes + room)
			cap *= 2;
		unsigned char *grown = realloc(r->bytes, cap);
		if (!grown)
			return NULL;
		r->bytes = grown;
		r->cap_bytes = cap;
	}
	r->nodes[r->n_nodes++] = (struct recorded_node){.op = op, .offset = r->n_bytes};
	void *params = r->bytes + r->n_bytes;
	r->n_bytes += room;
	return params;
}

void recording_clear(struct recording *r)
{
	r->n_nodes = 0;
	r->n_bytes = 0;
}

void recording_free(struct recording *r)
{
	free(r->nodes);
	free(r->bytes);
	*r = (struct recording){0};
}

int recording_copy(struct recording *to, const struct recording *from)
{
	*to = (struct recording){0};
	to->nodes = malloc((size_t)(from->n_nodes ? from->n_nodes : 1) * sizeof *to->nodes);
	to->bytes = malloc(from->n_bytes ? from->n_bytes : 1);
	if (!to->nodes || !to->bytes) {
		recording_free(to);
		return -1;
	}
	if (from->n_nodes) {
		memcpy(to->nodes, from->nodes, (size_t)from->n_nodes * sizeof *to->nodes);
		memcpy(to->bytes, from->bytes, from->n_bytes);
	}
	to->n_nodes = to->cap_nodes = from->n_nodes;
	to->n_bytes = to->cap_bytes = from->n_bytes;
	return 0;
}

bool recording_same_nodes(const struct recording *a, const struct recording *b)
{
	if (a->n_nodes != b->n_nodes || a->n_bytes != b->n_bytes)
		return false;
	for (int i = 0; i < a->n_nodes; i++)
		if (a->nodes[i].op != b->nodes[i].op)
			return false;
	return true;
}
