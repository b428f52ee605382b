/* Tokens that a session generates: one by one, or by a loop on the device, whose ring the host reads. */
#include <assert.h>

#include "engine/device/nvtx.h"
#include "engine/infer/session_internal.h"

/* The device goes on from the token that was chosen last, as far as one graph serves. */
static int launch(struct session *s, struct error *err)
{
	struct generation *g = &s->generation;
	int n = g->n - g->given;
	if (n > GRAPH_LOOP_MAX)
		n = GRAPH_LOOP_MAX;
	for (int i = 0; i < n; i++)
		g->ring.marks[i].ns = 0;
	g->launched = g->passed = 0;
	s->has_logits = s->logits_on_host = false;
	s->logits_row = 0;
	pipeline_set_trace(&s->pipeline, false);
	nvtx_push(graph_mode_name(s->mode), session_position(s));
	int rc = pipeline_loop_chosen(&s->pipeline, g->token, n, g->last, s->mode, &g->launched, &g->timing, err);
	nvtx_pop();
	return rc;
}

/* Settings, and nothing wrong yet. */
static int prepare(struct session *s, struct error *err)
{
	struct generation *g = &s->generation;
	const struct forward *f = pipeline_head(&s->pipeline);
	const struct sampler sampler = {.settings = sampling_of(&g->sampling)};
	int rc = graph_cache_ring(s->pipeline.stages[0].graphs, &g->ring, err);
	if (rc)
		return rc;
	*g->ring.stop = 0;
	return device_send(f->device, f->scratch.sampler, &sampler, sizeof sampler, err);
}

int session_generate_begin(struct session *s, const struct sampling_options *o, int n, int last, struct error *err)
{
	struct generation *g = &s->generation;
	int rc;
	assert(n > 0);
	*g = (struct generation){.sampling = *o, .n = n, .last = last};
	if ((n > 1 && (rc = pipeline_check(&s->pipeline, n - 1, err))) || (rc = session_sample(s, o, &g->token, err)))
		return rc;
	g->given = 1; /* and the device need not wait until it is taken */
	g->loops = graph_mode_loops(s->mode) && s->pipeline.n_stages == 1;
	if (g->loops && n > 1 && g->token != last && !(rc = prepare(s, err)))
		rc = launch(s, err);
	g->given = 0;
	g->open = !rc;
	return rc;
}

static int wait_for_chosen(struct session *s, struct token_timing *timing, struct error *err)
{
	struct generation *g = &s->generation;
	const float *logits;
	int rc = 0;
	if (g->passed == g->launched)
		rc = launch(s, err);
	const volatile struct loop_mark *m = &g->ring.marks[g->passed];
	if (!rc)
		rc = device_wait_mark(s->pipeline.stages[0].device, m, err);
	if (rc)
		return rc;
	pipeline_passed(&s->pipeline, 1);
	if (g->passed++ == 0)
		*timing = session_timing(&g->timing);
	else
		timing->event = GRAPH_EVENT_REPLAY;
	g->token = m->chosen;
	if (g->token >= 0)
		return 0;
	s->has_logits = true;
	return session_logits(s, &logits, err);
}

int session_generate_next(struct session *s, int *token, struct token_timing *timing, struct error *err)
{
	struct generation *g = &s->generation;
	struct token_timing t = {.event = GRAPH_EVENT_DIRECT};
	int rc = 0;
	*token = -1;
	if (g->open && g->given && g->loops)
		rc = wait_for_chosen(s, &t, err);
	else if (g->open && g->given && !(rc = session_decode(s, g->token, &t, err)))
		rc = session_sample(s, &g->sampling, &g->token, err);
	if (timing)
		*timing = t;
	if (rc || !g->open)
		return rc;
	*token = g->token;
	g->given++;
	g->open = g->given < g->n && g->token != g->last;
	return 0;
}

int session_generate_end(struct session *s, struct error *err)
{
	struct generation *g = &s->generation;
	int rc = 0;
	g->open = false;
	if (!g->launched)
		return 0;
	*g->ring.stop = 1;
	rc = device_synchronize(s->pipeline.stages[0].device, err);
	for (; !rc && g->passed < g->launched && g->ring.marks[g->passed].ns; g->passed++)
		pipeline_passed(&s->pipeline, 1);
	s->has_logits = !rc;
	return rc;
}
