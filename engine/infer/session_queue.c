/* Tokens of a session that are not waited for one by one. */
#include <assert.h>

#include "engine/device/nvtx.h"
#include "engine/infer/session_internal.h"

int session_queue_begin(struct session *s, int n, bool keep_logits, struct error *err)
{
	int rc = pipeline_check(&s->pipeline, n, err);
	if (rc)
		return rc;
	s->has_logits = s->logits_on_host = false;
	pipeline_set_trace(&s->pipeline, false);
	return token_queue_begin(&s->queue, &s->pipeline, n, keep_logits, err);
}

int session_ahead(struct session *s, const int *tokens, int n, struct error *err)
{
	if (!graph_mode_loops(s->mode) || n < 1)
		return 0;
	int rc = session_check_tokens(s, tokens, n, err);
	if (rc)
		return rc;
	nvtx_push(graph_mode_name(s->mode), session_position(s));
	rc = token_queue_ahead(&s->queue, &s->pipeline, tokens, n, s->mode, err);
	nvtx_pop();
	return rc;
}

int session_enqueue(struct session *s, int token, struct token_timing *timing, struct error *err)
{
	struct pipeline_timing t;
	int rc = session_check_tokens(s, &token, 1, err);
	if (rc)
		return rc;
	nvtx_push(graph_mode_name(s->mode), session_position(s));
	rc = token_queue_add(&s->queue, &s->pipeline, token, s->mode, &t, err);
	nvtx_pop();
	if (!rc && timing)
		*timing = session_timing(&t);
	return rc;
}

int session_queue_position(const struct session *s)
{
	return token_queue_position(&s->queue, &s->pipeline);
}

int session_queue_wait(struct session *s, int i, struct error *err)
{
	return token_queue_wait(&s->queue, i, err);
}

int session_queue_end(struct session *s, struct error *err)
{
	int rc = token_queue_end(&s->queue, &s->pipeline, err);
	s->logits_row = 0;
	s->has_logits = !rc && s->queue.n;
	return rc;
}

int session_queue_times(struct session *s, int i, double *device_us, double *itl_us, struct error *err)
{
	return token_queue_times(&s->queue, i, device_us, itl_us, err);
}

int session_queue_logits(struct session *s, int i, const float **logits, struct error *err)
{
	const struct token_queue *q = &s->queue;
	assert(q->keep && i >= 0 && i < q->n);
	*logits = q->kept + (size_t)i * q->n_vocab;
	int rc = session_check_logits(s, *logits, session_position(s) - q->n + i, err);
	if (rc)
		*logits = NULL;
	return rc;
}
