/* From when multiprocessors had blocks of launches to what each of them did all the time between. */
#include "engine/infer/launch_timeline.h"

#include <stdlib.h>

#include "engine/infer/persistent.h"

/* When the first multiprocessor that has a part of launch i had its input: then those in front of it are complete. */
static int64_t begin_of(const struct device_stamps *d, int i)
{
	int64_t begin = -1;
	for (int r = 0; r < d->n_rows; r++) {
		int64_t ns =
			d->ns[((size_t)r * (size_t)d->n_launches + (size_t)i) * DEVICE_STAMPS + DEVICE_STAMP_INPUT];
		if (ns >= 0 && (begin < 0 || ns < begin))
			begin = ns;
	}
	return begin;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* A multiprocessor has blocks of the next launch before its last of this one has left: they count from then on. */
static void fill_row(struct token_timeline *t, const struct device_stamps *d, const int64_t *begins, int row)
{
	int64_t left = 0;
	for (int i = 0; i < t->n_phases; i++) {
		size_t at = (size_t)row * (size_t)t->n_phases + (size_t)i;
		const int64_t *from = d->ns + at * DEVICE_STAMPS;
		int64_t *to = t->ns + at * PERSISTENT_STAMPS;
		if (from[DEVICE_STAMP_ENTERED] < 0) {
			to[PERSISTENT_ENTERED] = left;
			to[PERSISTENT_INPUT] = to[PERSISTENT_WORKED] = -1;
			left = later(left, i + 1 < t->n_phases ? begins[i + 1] : begins[i]);
		} else {
			to[PERSISTENT_ENTERED] = later(from[DEVICE_STAMP_ENTERED], left);
			to[PERSISTENT_INPUT] = later(from[DEVICE_STAMP_INPUT], to[PERSISTENT_ENTERED]);
			left = later(from[DEVICE_STAMP_LEFT], to[PERSISTENT_INPUT]);
			to[PERSISTENT_WORKED] = left;
		}
		to[PERSISTENT_PUBLISHED] = left;
	}
}

int launch_timeline(struct token_timeline *t, const struct device_stamps *d, struct error *err)
{
	t->n_blocks = d->n_rows;
	t->n_phases = d->n_launches;
	const size_t n_ns = (size_t)t->n_blocks * (size_t)t->n_phases * PERSISTENT_STAMPS;
	int64_t *begins = calloc((size_t)t->n_phases + 1, sizeof *begins);
	t->phases = calloc((size_t)t->n_phases + 1, sizeof *t->phases);
	t->multiprocessors = calloc((size_t)t->n_blocks + 1, sizeof *t->multiprocessors);
	t->ns = calloc(n_ns + 1, sizeof *t->ns);
	int rc = begins && t->phases && t->multiprocessors && t->ns
			 ? 0
			 : error_set(err, ERROR_MEMORY, "no memory for the %zu time stamps of a token", n_ns);
	for (int i = 0; i < t->n_phases && !rc; i++) {
		begins[i] = begin_of(d, i);
		t->phases[i] = (struct phase_label){(enum phase_kind)d->labels[i].kind, d->labels[i].layer};
	}
	for (int r = 0; r < t->n_blocks && !rc; r++) {
		t->multiprocessors[r] = d->multiprocessors[r];
		fill_row(t, d, begins, r);
	}
	free(begins);
	return rc;
}
