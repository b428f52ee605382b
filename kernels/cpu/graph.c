/* What the nodes of a graph do to the graph itself. */
#include <string.h>
#include <time.h>

#include "kernels/cpu/cpu.h"

static int bucket_of(const struct patch_params *p, const struct patch_node *n, const struct step *step)
{
	int bucket = 0;
	while (bucket < n->n_variants - 1 && p->keys << bucket < step->pos - step->evicted + 1)
		bucket++;
	return bucket;
}

void k_patch(const struct patch_params *p)
{
	for (int i = 0; i < p->n; i++) {
		struct patch_node *n = &p->nodes[i];
		struct at at = {.host = *p->step};
		at.host.pos += n->ahead;
		if (n->positional)
			memcpy(n->node, &at, sizeof at);
		if (n->n_variants) {
			n->bucket = bucket_of(p, n, &at.host);
			memcpy((char *)n->node + n->offset, &p->variants[n->first + n->bucket].value, sizeof(int));
		}
	}
}

static unsigned long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long long)t.tv_sec * 1000000000ull + (unsigned long long)t.tv_nsec;
}

void k_advance(const struct advance_params *p)
{
	if (!p->state) {
		*p->marks = (struct loop_mark){.ns = now()};
		return;
	}
	struct loop_state *s = p->state;
	int chosen = !p->sampled || p->sampled->wrong ? -1 : p->sampled->token;
	p->marks[s->next] = (struct loop_mark){.ns = now(), .token = s->step.token, .chosen = chosen};
	s->next++;
	s->go = s->next < s->end && !*p->stop && (!p->sampled || (chosen >= 0 && chosen != s->last));
	if (s->go) {
		s->step.token = p->sampled ? chosen : p->tokens[s->next];
		s->step.pos++;
	}
}
