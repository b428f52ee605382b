#include "engine/infer/token_queue.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/infer/placement_check.h"

void token_queue_close(struct token_queue *q)
{
	for (int i = 0; i < q->capacity; i++) {
		device_event_destroy(q->device, q->begin[i]);
		device_event_destroy(q->device, q->end[i]);
	}
	if (q->device) {
		device_event_destroy(q->device, q->start);
		device_free(q->device, q->kept_on_device);
	}
	free(q->begin);
	free(q->end);
	free(q->kept);
	*q = (struct token_queue){0};
}

static int grow(struct token_queue *q, int n, struct error *err)
{
	struct device *d = q->device;
	if (n > TOKEN_QUEUE_MAX)
		return error_set(err, ERROR_UNSUPPORTED, "%d tokens cannot be queued, %d can; measure fewer", n,
				 TOKEN_QUEUE_MAX);
	struct device_event **begin = realloc(q->begin, (size_t)n * sizeof *begin);
	q->begin = begin ? begin : q->begin;
	struct device_event **end = realloc(q->end, (size_t)n * sizeof *end);
	q->end = end ? end : q->end;
	if (!begin || !end)
		return error_set(err, ERROR_MEMORY, "no memory for the events of %d tokens", n);
	while (q->capacity < n) {
		int i = q->capacity, rc = device_event_create(d, &begin[i], err);
		if (rc)
			return rc;
		if ((rc = device_event_create(d, &end[i], err))) {
			device_event_destroy(d, begin[i]);
			return rc;
		}
		q->capacity++;
	}
	return 0;
}

static int make_room(struct token_queue *q, struct error *err)
{
	size_t bytes = TOKEN_QUEUE_DEPTH * q->n_vocab * sizeof *q->kept;
	void *p;
	if (q->kept_on_device)
		return 0;
	if (!q->kept && !(q->kept = malloc(bytes)))
		return error_set(err, ERROR_MEMORY, "no memory for the logits of %d tokens", TOKEN_QUEUE_DEPTH);
	int rc = device_alloc(q->device, bytes, &p, err);
	if (!rc)
		q->kept_on_device = p;
	return rc;
}

int token_queue_begin(struct token_queue *q, struct pipeline *p, int n, bool keep, struct error *err)
{
	struct device *d = pipeline_head(p)->device;
	int rc = 0;
	assert(n > 0 && (!keep || n <= TOKEN_QUEUE_DEPTH) && (!q->device || q->device == d));
	if ((rc = placement_check_queue(&(struct placement_stages){.n = p->n_stages}, err)))
		return rc;
	q->device = d;
	q->n_vocab = (size_t)p->loaded->model.n_vocab;
	q->keep = keep;
	q->n = q->n_ahead = q->n_launched = q->n_launches = 0;
	q->limit = n;
	if (!q->start)
		rc = device_event_create(d, &q->start, err);
	if (!rc && n > q->capacity)
		rc = grow(q, n, err);
	if (!rc && keep)
		rc = make_room(q, err);
	if (rc || (rc = pipeline_synchronize(p, err)) || (rc = device_event_record(d, q->start, err)))
		return rc;
	/* Reached now, also on a device that runs nothing before it is waited for. */
	return device_event_wait(d, q->start, err);
}

/* The next of the tokens told ahead, as many as one graph serves. */
static int launch_ahead(struct token_queue *q, struct pipeline *p, enum graph_mode mode, struct error *err)
{
	struct token_queue_launch *l = &q->launches[q->n_launches];
	assert(q->n_launches < TOKEN_QUEUE_LAUNCHES && q->n_launched < q->n_ahead);
	*l = (struct token_queue_launch){.first = q->n_launched};
	int rc = pipeline_loop(p, &q->ring, l->first, q->n_ahead - l->first, mode, &l->n, &l->timing, err);
	q->n_launched += l->n;
	q->n_launches += !rc;
	return rc;
}

int token_queue_ahead(struct token_queue *q, struct pipeline *p, const int *tokens, int n, enum graph_mode mode,
		      struct error *err)
{
	int rc;
	assert(graph_mode_loops(mode) && !q->n && !q->n_ahead && n > 0 && n <= q->limit && n <= GRAPH_LOOP_MAX);
	if (q->keep)
		return 0;
	q->graphs = p->stages[0].graphs;
	if ((rc = graph_cache_ring(q->graphs, &q->ring, err)) || (rc = graph_ring_start(q->graphs, err)))
		return rc;
	for (int i = 0; i < n; i++) {
		q->ring.marks[i].ns = 0;
		q->ring.tokens[i] = tokens[i];
	}
	*q->ring.stop = 0;
	q->n_ahead = n;
	return launch_ahead(q, p, mode, err);
}

/*
 * Kernels and copies are each token's own, and what the host took for the launch is shared among its tokens; that it
 * was one is counted with the first.
 */
static int take_ahead(const struct token_queue *q, int i, int token, struct pipeline_timing *t, struct error *err)
{
	const struct token_queue_launch *l = &q->launches[q->n_launches - 1];
	if (token != q->ring.tokens[i])
		return error_set(err, ERROR_INPUT, "token %d of the queue is %d, and the device was told %d", i, token,
				 q->ring.tokens[i]);
	while (l->first > i)
		l--;
	const struct device_counters *all = &l->timing.counters;
	uint64_t n = (uint64_t)l->n, rest = all->copies % n;
	*t = i == l->first ? l->timing : (struct pipeline_timing){.event = GRAPH_EVENT_REPLAY};
	if (l->timing.event == GRAPH_EVENT_FALLBACK)
		t->event = GRAPH_EVENT_FALLBACK;
	t->submit_us = l->timing.submit_us / l->n;
	t->counters.kernels = all->kernels / n;
	t->counters.copies = all->copies / n + (i == l->first ? rest : 0);
	return 0;
}

static int enqueue_ahead(struct token_queue *q, struct pipeline *p, int token, enum graph_mode mode,
			 struct pipeline_timing *t, struct error *err)
{
	int i = q->n, rc = 0;
	/* The position of another bucket: its graph is launched when the loop before it has ended. */
	if (i == q->n_launched)
		rc = launch_ahead(q, p, mode, err);
	if (!rc)
		rc = take_ahead(q, i, token, t, err);
	q->n += !rc;
	return rc;
}

int token_queue_add(struct token_queue *q, struct pipeline *p, int token, enum graph_mode mode,
		    struct pipeline_timing *t, struct error *err)
{
	struct device *d = q->device;
	int i = q->n, rc;
	assert(i < q->limit);
	if (i < q->n_ahead)
		return enqueue_ahead(q, p, token, mode, t, err);
	if (i >= TOKEN_QUEUE_DEPTH && (rc = device_event_wait(d, q->end[i - TOKEN_QUEUE_DEPTH], err)))
		return rc;
	if ((rc = pipeline_enqueue(p, token, mode, q->begin[i], q->end[i], t, err)))
		return rc;
	q->n++;
	if (!q->keep)
		return 0;
	return device_copy(d, q->kept_on_device + (size_t)i * q->n_vocab, pipeline_head(p)->scratch.logits,
			   q->n_vocab * sizeof *q->kept, err);
}

int token_queue_position(const struct token_queue *q, const struct pipeline *p)
{
	return pipeline_position(p) - (q->n_launched > q->n ? q->n_launched - q->n : 0);
}

int token_queue_wait(struct token_queue *q, int i, struct error *err)
{
	assert(i >= 0 && i < q->n);
	return i < q->n_ahead ? device_wait_mark(q->device, &q->ring.marks[i], err)
			      : device_event_wait(q->device, q->end[i], err);
}

/* Tokens that were told and are not wanted any more. */
static int stop_ahead(struct token_queue *q, struct pipeline *p, struct error *err)
{
	int done = 0, last = q->launches[q->n_launches - 1].first;
	/* A launch behind the one that stops would go on from where it ought to have ended. */
	int rc = last ? device_wait_mark(q->device, &q->ring.marks[last - 1], err) : 0;
	*q->ring.stop = 1;
	if (!rc)
		rc = device_synchronize(q->device, err);
	while (!rc && done < q->n_launched && q->ring.marks[done].ns)
		done++;
	if (!rc)
		pipeline_retreat(p, q->n_launched - done);
	return rc;
}

int token_queue_end(struct token_queue *q, struct pipeline *p, struct error *err)
{
	struct device *d = q->device;
	if (q->n < q->n_ahead)
		return stop_ahead(q, p, err);
	if (!q->keep || !q->n)
		return device_synchronize(d, err);
	return device_download(d, q->kept, q->kept_on_device, (size_t)q->n * q->n_vocab * sizeof *q->kept, err);
}

static unsigned long long mark_ns(const struct token_queue *q, int i)
{
	return q->ring.marks[i < 0 ? GRAPH_LOOP_MAX : i].ns;
}

int token_queue_times(struct token_queue *q, int i, double *device_us, double *itl_us, struct error *err)
{
	struct device *d = q->device;
	assert(i >= 0 && i < q->n);
	if (i < q->n_ahead) {
		*device_us = *itl_us = (double)(mark_ns(q, i) - mark_ns(q, i - 1)) * 1e-3;
		return 0;
	}
	int rc = device_event_elapsed(d, q->begin[i], q->end[i], device_us, err);
	return rc ? rc : device_event_elapsed(d, i ? q->end[i - 1] : q->start, q->end[i], itl_us, err);
}
