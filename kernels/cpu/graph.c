/* What the nodes of a graph do to the graph itself. */
#include <string.h>
#include <time.h>

#include "kernels/cpu/cpu.h"

void k_patch(const struct patch_params *p)
{
	for (int i = 0; i < p->n; i++) {
		struct at at = {.host = *p->step};
		at.host.pos += p->nodes[i].ahead;
		memcpy(p->nodes[i].node, &at, sizeof at);
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
	p->marks[s->next] = (struct loop_mark){.ns = now(), .token = s->step.token};
	s->next++;
	s->go = s->next < s->end && !*p->stop;
	if (s->go) {
		s->step.token = p->tokens[s->next];
		s->step.pos++;
	}
}
