/* Time stamps of the host device's kernels, which run one after the other when the queue is drained. */
#include <stdlib.h>

#include "base/clock.h"
#include "engine/device/device_host_internal.h"

int host_stamps_begin(struct device *d, struct error *err)
{
	struct host_stamps *s = calloc(1, sizeof *s);
	if (!s)
		return host_out_of_memory("time stamps", err);
	host_of(d)->stamps = s;
	return 0;
}

void host_stamp(struct host_stamps *s, int64_t begun)
{
	if (s->n == s->cap) {
		int cap = s->cap ? 2 * s->cap : 1024;
		struct host_span *spans = realloc(s->spans, (size_t)cap * sizeof *spans);
		if (!spans) {
			s->lost = true;
			return;
		}
		s->spans = spans;
		s->cap = cap;
	}
	s->spans[s->n++] = (struct host_span){begun, clock_ns()};
}

static int take(const struct host_stamps *s, struct device_stamps *out, struct error *err)
{
	if (s->lost)
		return host_out_of_memory("time stamps", err);
	if (s->n != out->n_launches)
		return error_set(err, ERROR_WRONG, "host device: %d kernels of %d launches left time stamps", s->n,
				 out->n_launches);
	out->n_rows = 1;
	out->multiprocessors = malloc(sizeof *out->multiprocessors);
	out->ns = calloc((size_t)s->n * DEVICE_STAMPS + 1, sizeof *out->ns);
	if (!out->multiprocessors || !out->ns)
		return host_out_of_memory("time stamps", err);
	out->multiprocessors[0] = -1;
	for (int i = 0; i < s->n; i++) {
		int64_t *ns = out->ns + (size_t)i * DEVICE_STAMPS;
		ns[DEVICE_STAMP_ENTERED] = ns[DEVICE_STAMP_INPUT] = s->spans[i].begun - s->spans[0].begun;
		ns[DEVICE_STAMP_LEFT] = s->spans[i].ended - s->spans[0].begun;
	}
	return 0;
}

int host_stamps_end(struct device *d, struct device_stamps *out, struct error *err)
{
	struct host_stamps *s = host_of(d)->stamps;
	host_of(d)->stamps = NULL;
	int rc = take(s, out, err);
	free(s->spans);
	free(s);
	return rc;
}
