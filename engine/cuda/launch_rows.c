#include "engine/cuda/launch_rows.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;
	return (x > y) - (x < y);
}

/* The multiprocessors of the records, each once and in order. */
static int list_multiprocessors(struct device_stamps *out, const struct block_stamp *records, size_t n)
{
	int *all = out->multiprocessors, kept = 0;
	for (size_t i = 0; i < n; i++)
		all[i] = (int)records[i].sm;
	qsort(all, n, sizeof *all, compare);
	for (size_t i = 0; i < n; i++)
		if (!i || all[i] != all[i - 1])
			all[kept++] = all[i];
	return kept;
}

static int check(const struct device_stamps *out, const struct device_launched *launches,
		 const struct block_stamp *records, size_t n, struct error *err)
{
	size_t at = 0;
	for (int i = 0; i < out->n_launches; i++)
		for (unsigned b = 0; b < launches[i].n_blocks; b++, at++) {
			const struct block_stamp *r = &records[at];
			if (at >= n)
				return error_set(err, ERROR_WRONG, "cuda device: launch %d of %d left no time stamps",
						 i, out->n_launches);
			if (r->n_blocks != launches[i].n_blocks || !r->left || r->input < r->entered ||
			    r->left < r->input)
				return error_set(err, ERROR_WRONG,
						 "cuda device: time stamps of launch %d of %d are not in order", i,
						 out->n_launches);
		}
	return at == n ? 0
		       : error_set(err, ERROR_WRONG, "cuda device: %zu blocks left time stamps, and %zu were launched",
				   n, at);
}

static void join(int64_t *ns, int64_t entered, int64_t input, int64_t left)
{
	if (ns[DEVICE_STAMP_ENTERED] < 0 || entered < ns[DEVICE_STAMP_ENTERED])
		ns[DEVICE_STAMP_ENTERED] = entered;
	if (ns[DEVICE_STAMP_INPUT] < 0 || input < ns[DEVICE_STAMP_INPUT])
		ns[DEVICE_STAMP_INPUT] = input;
	if (left > ns[DEVICE_STAMP_LEFT])
		ns[DEVICE_STAMP_LEFT] = left;
}

int launch_rows(struct device_stamps *out, const struct device_launched *launches, const struct block_stamp *records,
		size_t n, struct error *err)
{
	int rc = check(out, launches, records, n, err);
	if (rc)
		return rc;
	unsigned long long first = n ? records[0].entered : 0;
	for (size_t i = 1; i < n; i++)
		first = records[i].entered < first ? records[i].entered : first;
	out->multiprocessors = malloc((n + 1) * sizeof *out->multiprocessors);
	if (out->multiprocessors)
		out->n_rows = list_multiprocessors(out, records, n);
	size_t n_ns = (size_t)out->n_rows * (size_t)out->n_launches * DEVICE_STAMPS;
	out->ns = malloc((n_ns + 1) * sizeof *out->ns);
	if (!out->multiprocessors || !out->ns)
		return error_set(err, ERROR_MEMORY, "cuda device: no memory for %zu time stamps", n_ns);
	for (size_t i = 0; i < n_ns; i++)
		out->ns[i] = -1;
	size_t at = 0;
	for (int i = 0; i < out->n_launches; i++)
		for (unsigned b = 0; b < launches[i].n_blocks; b++, at++) {
			const struct block_stamp *r = &records[at];
			int sm = (int)r->sm;
			const int *found = bsearch(&sm, out->multiprocessors, (size_t)out->n_rows, sizeof sm, compare);
			size_t row = (size_t)(found - out->multiprocessors);
			join(out->ns + (row * (size_t)out->n_launches + (size_t)i) * DEVICE_STAMPS,
			     (int64_t)(r->entered - first), (int64_t)(r->input - first), (int64_t)(r->left - first));
		}
	return 0;
}
