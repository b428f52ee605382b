/* Rows in and out of tables: embedding gather, K/V append. */
#include <assert.h>

#include "kernels/cpu/inner.h"

enum { PARALLEL_ELEMENTS = 1 << 16 };

void k_embed(const struct embed_params *p)
{
	const struct cpu_inner *inner = cpu_inner();
	const struct step step = cpu_step(&p->at);
	const int n_rows = p->tokens ? p->n_tokens : 1;
	const int width = p->table.n_in;
	const int parallel = n_rows > 1 && (size_t)n_rows * (size_t)width > PARALLEL_ELEMENTS;

#pragma omp parallel for schedule(static) if (parallel)
	for (int t = 0; t < n_rows; t++) {
		const int token = p->tokens ? p->tokens[t] : step.token;
		float *y = p->y + (size_t)t * (size_t)width;

		assert(token >= 0 && token < p->table.n_out);
		inner->to_f32(cpu_weight_row(&p->table, (size_t)token), cpu_weight_scales(&p->table, (size_t)token),
			      p->table.type, y, (size_t)width);
		inner->scale(y, NULL, p->scale, y, width);
	}
}

void k_kv_append(const struct kv_append_params *p)
{
	const struct cpu_inner *inner = cpu_inner();
	const struct step step = cpu_step(&p->at);
	const struct kv *kv = &p->kv;
	const size_t hd = (size_t)kv->head_dim;
	/* Of tokens that share a slot of the ring only the last may write: they run in parallel. */
	const int first = kv->ring > 0 && p->n_tokens > kv->ring ? p->n_tokens - kv->ring : 0;
	const int n = p->n_tokens - first;
	const int parallel = n > 1 && (size_t)n * (size_t)kv->n_kv_heads * hd > PARALLEL_ELEMENTS;

#pragma omp parallel for schedule(static) if (parallel)
	for (int i = 0; i < n; i++) {
		const int pos = step.pos + first + i;
		const int slot = kv->ring > 0 ? pos % kv->ring : pos - step.evicted;

		assert(slot >= 0 && slot < kv->capacity);
		for (int h = 0; h < kv->n_kv_heads; h++) {
			const size_t from = ((size_t)(first + i) * (size_t)kv->n_kv_heads + (size_t)h) * hd;
			const size_t to = ((size_t)h * (size_t)kv->capacity + (size_t)slot) * hd;

			inner->from_f32(p->k + from, kv->type, (char *)kv->k + cpu_row_bytes(kv->type, to, 0), hd);
			inner->from_f32(p->v + from, kv->v_type, (char *)kv->v + cpu_row_bytes(kv->v_type, to, 0), hd);
		}
	}
}
