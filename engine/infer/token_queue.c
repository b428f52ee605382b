#include "engine/infer/token_queue.h"

#include <assert.h>
#include <stdlib.h>

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
	if (p->n_stages > 1)
		return error_set(err, ERROR_UNSUPPORTED,
				 "two devices take turns at every token: none can be queued behind another");
	q->device = d;
	q->n_vocab = (size_t)p->loaded->model.n_vocab;
	q->keep = keep;
	q->n = 0;
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

int token_queue_add(struct token_queue *q, struct pipeline *p, int token, enum graph_mode mode,
		    struct pipeline_timing *t, struct error *err)
{
	struct device *d = q->device;
	int i = q->n, rc;
	assert(i < q->limit);
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

int token_queue_end(struct token_queue *q, struct error *err)
{
	struct device *d = q->device;
	if (!q->keep || !q->n)
		return device_synchronize(d, err);
	return device_download(d, q->kept, q->kept_on_device, (size_t)q->n * q->n_vocab * sizeof *q->kept, err);
}

int token_queue_times(struct token_queue *q, int i, double *device_us, double *itl_us, struct error *err)
{
	struct device *d = q->device;
	assert(i >= 0 && i < q->n);
	int rc = device_event_elapsed(d, q->begin[i], q->end[i], device_us, err);
	return rc ? rc : device_event_elapsed(d, i ? q->end[i - 1] : q->start, q->end[i], itl_us, err);
}
