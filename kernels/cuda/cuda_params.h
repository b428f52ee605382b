/* Params of the CUDA device's own kernels, which are no part of the forward pass: conversions around cuBLASLt. */
#ifndef GEMMARK_KERNELS_CUDA_CUDA_PARAMS_H
#define GEMMARK_KERNELS_CUDA_CUDA_PARAMS_H

#include "kernels/params.h"

/* y = rows first_row .. first_row + n_rows of w (all experts' rows counted through), (n_rows, w.n_in). */
struct dequant_params {
	struct weight w;
	void *y; /* bf16 for dequant_to_bf16, float for dequant_to_f32; 16-byte aligned */
	int first_row;
	int n_rows;
};

/* y (n_rows, n) bf16 = x (n_rows, n), rows x_stride apart; both 16-byte aligned */
struct convert_params {
	const float *x;
	void *y;
	int n_rows;
	int n;
	int x_stride;
	int reserved;
};

#endif
