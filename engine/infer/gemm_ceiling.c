#include "engine/infer/gemm_ceiling.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/device/ops.h"

enum { PASSES_LEAST = 3, NS_LEAST = 300000000, NS_MOST = 1500000000 };

/* The part's largest product of a layer; data null where it has no layer. */
static struct weight largest(const struct loaded_part *part)
{
	struct weight found = {0};
	for (int i = part->range.begin; i < part->range.end; i++) {
		const struct layer_weights *l = &part->weights.layers[i];
		const struct weight *all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
		for (size_t k = 0; k < sizeof all / sizeof *all; k++)
			if (all[k]->data && (double)all[k]->n_in * all[k]->n_out > (double)found.n_in * found.n_out)
				found = *all[k];
	}
	return found;
}

/* One product, waited for. Nanoseconds, or negative. */
static int64_t product_ns(struct device *d, const struct matmul_params *p)
{
	struct emitter e = {.device = d};
	int64_t from = clock_ns();
	op_matmul(&e, *p);
	return e.rc || device_synchronize(d, NULL) ? -1 : clock_ns() - from;
}

static double host_rate(struct device *d, const struct weight *w, int rows)
{
	void *x, *y;
	double flops = 2.0 * w->n_in * w->n_out * rows;
	int64_t best = INT64_MAX, spent = 0;
	if (device_alloc(d, (size_t)rows * (size_t)w->n_in * sizeof(float), &x, NULL))
		return -1;
	if (device_alloc(d, (size_t)rows * (size_t)w->n_out * sizeof(float), &y, NULL)) {
		device_free(d, x);
		return -1;
	}
	for (size_t i = 0; i < (size_t)rows * (size_t)w->n_in; i++)
		((float *)x)[i] = (float)(i % 1021) / 1021 - 0.5f;
	const struct matmul_params p = {
		.w = *w, .x = x, .y = y, .n_tokens = rows, .x_stride = w->n_in, .y_stride = w->n_out};
	/* The first one pages the weights in, and is timed only where one takes very long. */
	for (int i = 0; i <= PASSES_LEAST || (spent < NS_LEAST && best < INT64_MAX); i++) {
		int64_t ns = product_ns(d, &p);
		if (ns <= 0) {
			best = INT64_MAX;
			break;
		}
		spent += ns;
		if ((i || spent > NS_MOST) && ns < best)
			best = ns;
		if (spent > NS_MOST)
			break;
	}
	device_free(d, y);
	device_free(d, x);
	return best < INT64_MAX ? flops / (double)best * 1e9 : -1;
}

double gemm_ceiling_measure(struct loaded_model *m)
{
	struct device *d = m->parts[0].device;
	struct weight w = largest(&m->parts[0]);
	if (m->n_parts > 1 || !w.data)
		return -1;
	return device_has_host_memory(d) ? host_rate(d, &w, m->options.batch)
					 : device_cuda_gemm_rate(d, w.n_in, w.n_out, m->options.batch);
}
