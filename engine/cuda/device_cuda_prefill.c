/*
 * Matrix products of a prompt's chunk: cuBLASLt over weights and activations brought to
 * one type, also in a capture. Weights that have another type are converted a block of rows at a time, so
 * that the scratch is small beside the model; activations are, where their kernel did not write them so.
 */
#include <string.h>

#include "engine/cuda/device_cuda_internal.h"

enum {
	WEIGHT_ELEMENTS = 32 << 20, /* of a block of rows: 64 MiB of f16 */
	WORKSPACE_BYTES = 32 << 20, /* what cuBLASLt recommends for Hopper */
	ROW_ALIGNMENT = 64,         /* rows of a block: keeps its part of y aligned */
};

struct cuda_prefill_bytes device_cuda_prefill_bytes(const struct cuda_open_options *o)
{
	bool f32 = o->prefill == PREFILL_F32;
	if (o->batch < GEMM_MIN_TOKENS)
		return (struct cuda_prefill_bytes){0};
	return (struct cuda_prefill_bytes){
		.workspace = WORKSPACE_BYTES,
		.weights = (size_t)WEIGHT_ELEMENTS * (f32 ? 4 : 2),
		.activations = f32 ? 0 : (size_t)o->batch * (size_t)o->n_in_max * 2,
		.scales = f32 ? 0 : (size_t)o->batch * sizeof(float),
	};
}

int cuda_prefill_open(struct cuda_device *c, const struct cuda_open_options *o, struct error *err)
{
	struct cuda_prefill *p = &c->prefill;
	p->precision = o->prefill;
	if (o->batch < GEMM_MIN_TOKENS)
		return 0;
	int rc = cublaslt_open(&p->blas, err);
	if (rc)
		return error_prefix(err, rc, "prompts in chunks of %d tokens", o->batch);
	const struct cuda_prefill_bytes bytes = device_cuda_prefill_bytes(o);
	p->workspace_bytes = bytes.workspace;
	p->weight_elements = WEIGHT_ELEMENTS;
	p->activation_elements = bytes.activations / 2;
	rc = device_alloc(&c->base, bytes.workspace, &p->workspace, err);
	if (!rc)
		rc = device_alloc(&c->base, bytes.weights, &p->weights, err);
	if (!rc && bytes.activations)
		rc = device_alloc(&c->base, bytes.activations, &p->activations, err);
	void *scales = NULL;
	if (!rc && bytes.scales)
		rc = device_alloc(&c->base, bytes.scales, &scales, err);
	p->scales = scales;
	return rc ? error_prefix(err, rc, "scratch of prompts in chunks of %d tokens", o->batch) : 0;
}

void cuda_prefill_close(struct cuda_device *c)
{
	cublaslt_close(c->prefill.blas);
}

static int geometry_failed(const char *what, struct error *err)
{
	return error_set(err, ERROR_UNSUPPORTED, "cuda device: no kernel does %s with these shapes and types", what);
}

/* what: for the error. */
static int enqueue(struct cuda_device *c, enum kernel k, const void *params, const char *what, struct error *err)
{
	struct cuda_launch l;
	if (cuda_geometry(k, params, &c->card, &l))
		return geometry_failed(what, err);
	void **unused;
	int rc = c->base.capturing ? cuda_record_kernel(c, k, params, &l, &unused, err) : 0;
	return rc ? rc : cuda_enqueue(c, &l, params, NULL, kernel_name(k), err);
}

static int to_f16(struct cuda_device *c, const struct matmul_params *m, struct error *err)
{
	const struct to_f16_params p = {
		.x = m->x,
		.y = c->prefill.activations,
		.y_scale = c->prefill.scales,
		.n_rows = m->n_tokens,
		.n = m->w.n_in,
		.x_stride = m->x_stride,
	};
	if ((size_t)m->n_tokens * (size_t)m->w.n_in > c->prefill.activation_elements)
		return error_set(err, ERROR_DEVICE,
				 "cuda device: a product of %d rows of %d is larger than was announced", m->n_tokens,
				 m->w.n_in);
	return enqueue(c, KERNEL_to_f16, &p, "the conversion of activations", err);
}

static int scale_rows(struct cuda_device *c, const struct scale_rows_params *p, struct error *err)
{
	return enqueue(c, KERNEL_scale_rows, p, "the scaling of rows", err);
}

static int dequantise(struct cuda_device *c, const struct weight *w, int first, int rows, enum gemm_type type,
		      struct error *err)
{
	const struct dequant_params p = {
		.w = *w,
		.y = c->prefill.weights,
		.first_row = first,
		.n_rows = rows,
		.y_type = type == GEMM_F16 ? TENSOR_F16 : TENSOR_F32,
	};
	return enqueue(c, KERNEL_dequant, &p, "the conversion of weights", err);
}

/* What a kernel's launch asks of cuBLASLt. */
struct product {
	enum kernel kernel;
	const void *params;
};

/*
 * Into the open capture. A shape's first product searches for an algorithm and loads its kernels: none of that belongs
 * in a capture.
 */
static int capture_product(struct cuda_device *c, struct product of, const struct gemm *g, struct error *err)
{
	size_t before, after;
	int rc;
	if (!cublaslt_is_ready(c->prefill.blas, g))
		return device_refuse(&c->base, "a product of a shape that was never launched", err);
	if ((rc = cuda_captured_nodes(c, &before, err)) || (rc = cublaslt_gemm(c->prefill.blas, c->stream, g, err)) ||
	    (rc = cuda_captured_nodes(c, &after, err)))
		return rc;
	return cuda_record_product(c, of.kernel, of.params, after - before, err);
}

static int run_product(struct cuda_device *c, const struct gemm *g, struct error *err)
{
	int rc = cublaslt_gemm(c->prefill.blas, c->stream, g, err);
	c->base.counters.api_launches++;
	c->base.counters.kernels++; /* at least: a split product has a second one */
	return rc;
}

/* g: all but the weights, of which w is converted unless it has the operands' type. */
static int multiply(struct cuda_device *c, struct product of, const struct weight *w, struct gemm g, struct error *err)
{
	struct cuda_prefill *p = &c->prefill;
	bool in_place = w->type == (g.type == GEMM_F32 ? TENSOR_F32 : TENSOR_F16);
	size_t y_size = g.y_type == GEMM_F32 ? 4 : 2;
	int rows = w->n_out, rc = 0;
	if (!in_place && (size_t)rows * (size_t)w->n_in > p->weight_elements) {
		rows = (int)(p->weight_elements / (size_t)w->n_in) / ROW_ALIGNMENT * ROW_ALIGNMENT;
		if (rows < 1)
			return error_set(err, ERROR_UNSUPPORTED, "cuda device: matmul of rows of %d is too wide",
					 w->n_in);
	}
	g.n_in = w->n_in;
	g.w = in_place ? w->data : p->weights;
	g.workspace = p->workspace;
	g.workspace_bytes = p->workspace_bytes;
	char *y = g.y;
	for (int first = 0; first < w->n_out && !rc; first += rows) {
		g.n_out = w->n_out - first < rows ? w->n_out - first : rows;
		g.y = y + (size_t)first * y_size;
		if (!in_place && (rc = dequantise(c, w, first, g.n_out, g.type, err)))
			return rc;
		c->after_kernel = false;
		rc = c->base.capturing ? capture_product(c, of, &g, err) : run_product(c, &g, err);
	}
	return rc ? error_prefix(err, rc, "matmul of %d tokens", g.n_tokens) : 0;
}

int cuda_prefill_matmul(struct cuda_device *c, const struct matmul_params *m, struct error *err)
{
	bool f32 = c->prefill.precision == PREFILL_F32;
	int rc = f32 ? 0 : to_f16(c, m, err);
	if (rc)
		return rc;
	const struct gemm g = {
		.type = f32 ? GEMM_F32 : GEMM_F16,
		.x = f32 ? (const void *)m->x : c->prefill.activations,
		.y = m->y,
		.y_type = GEMM_F32,
		.n_tokens = m->n_tokens,
		.x_stride = f32 ? m->x_stride : m->w.n_in,
		.y_stride = m->y_stride,
	};
	rc = multiply(c, (struct product){KERNEL_matmul, m}, &m->w, g, err);
	if (rc || f32)
		return rc;
	return scale_rows(c,
			  &(struct scale_rows_params){.y = m->y,
						      .scale = c->prefill.scales,
						      .n_rows = m->n_tokens,
						      .n = m->w.n_out,
						      .y_stride = m->y_stride},
			  err);
}

int cuda_prefill_product(struct cuda_device *c, const struct prompt_matmul_params *m, struct error *err)
{
	if (!c->prefill.blas || c->prefill.precision != PREFILL_F16)
		return error_set(err, ERROR_UNSUPPORTED,
				 "cuda device: a product in f16 on a device that was opened without them");
	const struct gemm g = {
		.type = GEMM_F16,
		.x = m->x,
		.y = m->y,
		.y_type = m->y_type == TENSOR_F16 ? GEMM_F16 : GEMM_F32,
		.n_tokens = m->n_tokens,
		.x_stride = m->w.n_in,
		.y_stride = m->y_stride,
	};
	int rc = multiply(c, (struct product){KERNEL_prompt_matmul, m}, &m->w, g, err);
	if (rc || !m->scale)
		return rc;
	return scale_rows(
		c,
		&(struct scale_rows_params){
			.y = m->y, .scale = m->scale, .n_rows = m->n_tokens, .n = m->w.n_out, .y_stride = m->y_stride},
		err);
}
