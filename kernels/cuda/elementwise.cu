/* Embedding gather, K/V append, and what works element by element. */
#include "kernels/cuda/cache_rows.cuh"
#include "kernels/cuda/quants.cuh"

/* A thread per four elements of a row. */
KERNEL(256) k_embed(const __grid_constant__ struct embed_params p)
{
	const int k = 4 * (int)(blockIdx.x * 256 + threadIdx.x);
	const int t = (int)blockIdx.y;
	const int n = p.table.n_in;

	let_next_start();
	wait_for_earlier();
	const long long token = p.tokens ? p.tokens[t] : step_of(p.at).token;
	float *y = p.y + (long long)t * n;
	if (n % 4 == 0 && k < n) {
		const float4 v = any_vec(p.table, token, k);
		*(float4 *)(y + k) = make_float4(v.x * p.scale, v.y * p.scale, v.z * p.scale, v.w * p.scale);
		return;
	}
	for (int i = k; i < k + 4 && i < n; i++)
		y[i] = any_element(p.table, token, i) * p.scale;
}

/* A CTA per (token, KV head). Of tokens that share a slot of the ring only the last writes. */
KERNEL(256) k_kv_append(const __grid_constant__ struct kv_append_params p)
{
	const struct kv &kv = p.kv;
	const int t = (int)blockIdx.x / kv.n_kv_heads;
	const int head = (int)blockIdx.x % kv.n_kv_heads;

	let_next_start();
	wait_for_earlier();
	if (kv.ring > 0 && t < p.n_tokens - kv.ring)
		return;
	const struct step step = step_of(p.at);
	const long long from = (long long)blockIdx.x * kv.head_dim;
	const int slot = append_slot(kv, step.pos + t, step.evicted);
	store_row(cache_row(kv.k, kv.type, kv, head, slot), kv.type, kv.head_dim, p.k + from);
	store_row(cache_row(kv.v, kv.v_type, kv, head, slot), kv.v_type, kv.head_dim, p.v + from);
}

KERNEL(256) k_add(const __grid_constant__ struct add_params p)
{
	const long long i = (long long)blockIdx.x * 256 + threadIdx.x;

	let_next_start();
	wait_for_earlier();
	if (i < p.n)
		p.y[i] = (p.a[i] + p.b[i]) * p.scale;
}

KERNEL(256) k_gated(const __grid_constant__ struct gated_params p)
{
	const int i = (int)(blockIdx.x * 256 + threadIdx.x);

	let_next_start();
	wait_for_earlier();
	if (i >= p.n)
		return;
	for (long long row = blockIdx.y; row < p.n_rows; row += gridDim.y)
		p.y[row * p.y_stride + i] =
			activate(p.gate[row * p.gate_stride + i], p.act) * p.up[row * p.up_stride + i];
}

KERNEL(256) k_softcap(const __grid_constant__ struct softcap_params p)
{
	const long long i = (long long)blockIdx.x * 256 + threadIdx.x;

	let_next_start();
	wait_for_earlier();
	if (i < p.n)
		p.x[i] = softcap(p.x[i], p.cap);
}
