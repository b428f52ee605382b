/* Grids of what lies between a prompt's products in float16. */
#include "kernels/cuda/prompt_geometry.h"

#include "kernels/cuda/geometry.h"

/* A block per row; each thread holds up to PROMPT_NORM_HELD vectors of four. */
static int norm_rows(struct cuda_launch *out, int entry, int n_rows, int n)
{
	unsigned vecs = blocks_of(n, 4), least = whole_warps((vecs + PROMPT_NORM_HELD - 1) / PROMPT_NORM_HELD);
	unsigned most = whole_warps(vecs), threads = most < 256 ? most : 256;
	if (threads < least)
		threads = least;
	if (n % 8 || threads > 1024)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return geometry_launch(out, entry, (unsigned)n_rows, 1, threads, 0);
}

int geometry_prompt_norm(const struct prompt_norm_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return norm_rows(out, ENTRY_prompt_norm, p->n_rows, p->n);
}

int geometry_prompt_residual(const struct prompt_residual_params *p, const struct cuda_card *card,
			     struct cuda_launch *out)
{
	(void)card;
	return norm_rows(out, ENTRY_prompt_residual, p->n_rows, p->n);
}

int geometry_prompt_gated(const struct prompt_gated_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	if (p->n % 8 || p->gate_stride % 8 || p->up_stride % 8)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return geometry_elements(out, ENTRY_prompt_gated, p->n / 8, p->n_rows < 65535 ? p->n_rows : 65535);
}

/* cuBLASLt's, which the device asks before it comes here. */
int geometry_prompt_matmul(const struct prompt_matmul_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)p;
	(void)card;
	(void)out;
	return CUDA_GEOMETRY_UNSUPPORTED;
}

int geometry_prompt_qkv(const struct prompt_qkv_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	if (p->head_dim > PROMPT_HEAD_DIM_MAX || p->head_dim % 2)
		return CUDA_GEOMETRY_UNSUPPORTED;
	return geometry_launch(out, ENTRY_prompt_qkv, (unsigned)p->n_tokens, 1, PROMPT_ROWS_THREADS, 0);
}

int geometry_moe_sort(const struct moe_sort_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_launch(out, ENTRY_moe_sort, (unsigned)p->n_expert, 1, PROMPT_SORT_THREADS, 0);
}
