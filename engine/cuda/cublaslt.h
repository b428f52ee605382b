/*
 * Matrix products for prefill through cuBLASLt, loaded at run time.
 *
 * One form only, the one that a transformer needs: y[t] = w . x[t], all row-major, accumulated in
 * float32, written as float32 or rounded to float16. The plan for a shape is searched once and kept.
 */
#ifndef GEMMARK_ENGINE_CUDA_CUBLASLT_H
#define GEMMARK_ENGINE_CUDA_CUBLASLT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "engine/cuda/cuda_driver.h"

struct cublaslt; /* opaque */

enum gemm_type {
	GEMM_F32, /* float32 arithmetic throughout: no TF32 */
	GEMM_F16, /* float16 inputs */
};

struct gemm {
	enum gemm_type type; /* of w and x */
	const void *w;       /* (n_out, n_in) */
	const void *x;       /* (n_tokens, n_in), rows x_stride apart */
	void *y;             /* (n_tokens, n_out), rows y_stride apart; 16-byte aligned */
	enum gemm_type y_type;
	int n_in, n_out, n_tokens;
	int x_stride, y_stride;
	void *workspace; /* on the device, 256-byte aligned */
	size_t workspace_bytes;
};

/* ERROR_UNSUPPORTED where the library is missing: the line says what to do. The context must be current. */
int cublaslt_open(struct cublaslt **out, struct error *err);
void cublaslt_close(struct cublaslt *b);

/* Whether a product of that shape was enqueued before, and is again without a search or the loading of a kernel. */
bool cublaslt_is_ready(const struct cublaslt *b, const struct gemm *g);
/* Enqueues. w, x and the workspace: 16-byte aligned. */
int cublaslt_gemm(struct cublaslt *b, struct cu_stream *stream, const struct gemm *g, struct error *err);

#endif
