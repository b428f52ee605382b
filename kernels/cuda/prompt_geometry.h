/* Launch geometry of what lies between a prompt's products: what kernels and host share. C and CUDA. */
#ifndef GEMMARK_KERNELS_CUDA_PROMPT_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_PROMPT_GEOMETRY_H

enum {
	PROMPT_NORM_HELD = 3,      /* vectors of four of a row that a thread holds: rows of up to 12288 */
	PROMPT_HEAD_DIM_MAX = 512, /* eight rotary pairs a lane */
	PROMPT_ROWS_THREADS = 256,
	PROMPT_SORT_THREADS = 256,
};

#endif
