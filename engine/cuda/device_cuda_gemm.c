/*
 * The rate of cuBLASLt's products at a prompt's shapes: the ceiling of device_cuda_prefill.c, whose scratch it uses,
 * without the conversions.
 */
#include <stdlib.h>

#include "engine/cuda/device_cuda_internal.h"

enum {
	PATTERN = 1 << 20, /* bytes of operands, repeated: long enough that no product sees much of it twice a row */
	WARM_UPS = 3,
	PASSES = 5,
	PRODUCTS = 8, /* timed together, so that launching costs nothing */
};

/* Values in (-1, 1) of either type: what a card draws, and so its clock, depends on the bits. */
static void *make_pattern(bool f32)
{
	unsigned char *p = malloc(PATTERN);
	uint32_t state = 12345;
	for (size_t i = 0; p && i < PATTERN; i += f32 ? 4 : 2) {
		state = state * 1664525u + 1013904223u;
		/* An exponent just below that of 1, a random sign and mantissa. */
		uint32_t bits = f32 ? (state & 0x807fffffu) | (0x7du + (state >> 23 & 1)) << 23
				    : (state >> 16 & 0x83ffu) | (0xdu + (state >> 26 & 1)) << 10;
		for (int b = 0; b < (f32 ? 4 : 2); b++)
			p[i + (size_t)b] = (unsigned char)(bits >> (8 * b));
	}
	return p;
}

static int fill(struct device *d, void *at, size_t bytes, const void *pattern, struct error *err)
{
	int rc = 0;
	for (size_t done = 0; done < bytes && !rc; done += PATTERN)
		rc = device_upload(d, (char *)at + done, pattern, bytes - done < PATTERN ? bytes - done : PATTERN, err);
	return rc;
}

static int products(struct cuda_device *c, const struct gemm *g, int n, struct error *err)
{
	int rc = 0;
	c->after_kernel = false;
	for (int i = 0; i < n && !rc; i++)
		rc = cublaslt_gemm(c->prefill.blas, c->stream, g, err);
	return rc;
}

/* Seconds of one product, at best; negative where it fails. */
static double product_seconds(struct cuda_device *c, const struct gemm *g)
{
	struct device *d = &c->base;
	struct device_event *from = NULL, *to = NULL;
	double best = -1;
	int rc = device_event_create(d, &from, NULL);
	if (!rc)
		rc = device_event_create(d, &to, NULL);
	if (!rc)
		rc = products(c, g, WARM_UPS, NULL);
	for (int i = 0; i < PASSES && !rc; i++) {
		double us;
		if ((rc = device_event_record(d, from, NULL)) || (rc = products(c, g, PRODUCTS, NULL)) ||
		    (rc = device_event_record(d, to, NULL)) || (rc = device_synchronize(d, NULL)) ||
		    (rc = device_event_elapsed(d, from, to, &us, NULL)))
			best = -1;
		else if (us > 0 && (best < 0 || us * 1e-6 / PRODUCTS < best))
			best = us * 1e-6 / PRODUCTS;
	}
	device_event_destroy(d, to);
	device_event_destroy(d, from);
	return best;
}

double device_cuda_gemm_rate(struct device *d, int n_in, int n_out, int n_tokens)
{
	struct cuda_device *c = cuda_of(d);
	const struct cuda_prefill *p = &c->prefill;
	bool f32 = p->precision == PREFILL_F32;
	size_t size = f32 ? 4 : 2, rows = (size_t)n_out;
	void *x = NULL, *y = NULL, *pattern = NULL;
	double seconds = -1;
	/* A prompt's product is cut into blocks of rows too. */
	if (rows * (size_t)n_in > p->weight_elements)
		rows = p->weight_elements / (size_t)n_in / 64 * 64;
	if (!p->blas || rows == 0 || c->base.capturing)
		return -1;
	int rc = device_alloc(d, (size_t)n_tokens * (size_t)n_in * size, &x, NULL);
	if (!rc)
		rc = device_alloc(d, (size_t)n_tokens * rows * sizeof(float), &y, NULL);
	if (!rc && (pattern = make_pattern(f32)) && !fill(d, p->weights, rows * (size_t)n_in * size, pattern, NULL) &&
	    !fill(d, x, (size_t)n_tokens * (size_t)n_in * size, pattern, NULL)) {
		const struct gemm g = {
			.type = f32 ? GEMM_F32 : GEMM_F16,
			.w = p->weights,
			.x = x,
			.y = y,
			.y_type = GEMM_F32,
			.n_in = n_in,
			.n_out = (int)rows,
			.n_tokens = n_tokens,
			.x_stride = n_in,
			.y_stride = (int)rows,
			.workspace = p->workspace,
			.workspace_bytes = p->workspace_bytes,
		};
		seconds = product_seconds(c, &g);
	}
	free(pattern);
	device_free(d, y);
	device_free(d, x);
	return seconds > 0 ? 2.0 * (double)rows * n_in * n_tokens / seconds : -1;
}
