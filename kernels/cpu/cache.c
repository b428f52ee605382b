/* Rows in and out of tables: embedding gather, K/V append. */
#include <assert.h>

#include "kernels/cpu/cache_rows.h"

enum { PARALLEL_ELEMENTS = 1 << 16 };

static void embed_part(void *ctx, int begin, int end, int thread)
{
	const struct embed_params *p = ctx;
	const struct cpu_inner *inner = cpu_inner();
	const struct step step = cpu_step(&p->at);
	const int width = p->table.n_in;

	(void)thread;
	for (int t = begin; t < end; t++) {
		const int token = p->tokens ? p->tokens[t] : step.token;
		float *y = p->y + (size_t)t * (size_t)width;

		assert(token >= 0 && token < p->table.n_out);
		inner->to_f32(cpu_weight_row(&p->table, (size_t)token), cpu_weight_scales(&p->table, (size_t)token),
			      p->table.type, y, (size_t)width);
		inner->scale(y, NULL, p->scale, y, width);
	}
}

void k_embed(const struct embed_params *p)
{
	const int n_rows = p->tokens ? p->n_tokens : 1;

	cpu_parallel(n_rows, cpu_grain(n_rows, (size_t)p->table.n_in, PARALLEL_ELEMENTS), embed_part, (void *)p);
}

/* Of tokens that share a slot of the ring only the last may write: they run in parallel. */
static int first_kept(const struct kv_append_params *p)
{
	return p->kv.ring > 0 && p->n_tokens > p->kv.ring ? p->n_tokens - p->kv.ring : 0;
}

static void append_part(void *ctx, int begin, int end, int thread)
{
	const struct kv_append_params *p = ctx;
	const struct cpu_inner *inner = cpu_inner();
	const struct step step = cpu_step(&p->at);
	const struct kv *kv = &p->kv;
	const size_t hd = (size_t)kv->head_dim;
	const int first = first_kept(p);

	(void)thread;
	for (int i = begin; i < end; i++) {
		const int pos = step.pos + first + i;
		const int slot = kv->ring > 0 ? pos % kv->ring : pos - step.evicted;

		assert(slot >= 0 && slot < kv->capacity);
		for (int h = 0; h < kv->n_kv_heads; h++) {
			const size_t from = ((size_t)(first + i) * (size_t)kv->n_kv_heads + (size_t)h) * hd;

			cache_store(inner, p->k + from, kv->type,
				    cache_row(kv->k, kv->type, kv, (size_t)h, (size_t)slot), hd);
			cache_store(inner, p->v + from, kv->v_type,
				    cache_row(kv->v, kv->v_type, kv, (size_t)h, (size_t)slot), hd);
		}
	}
}

void k_kv_append(const struct kv_append_params *p)
{
	const int n = p->n_tokens - first_kept(p);
	const size_t row = (size_t)p->kv.n_kv_heads * (size_t)p->kv.head_dim;

	cpu_parallel(n, cpu_grain(n, row, PARALLEL_ELEMENTS), append_part, (void *)p);
}
