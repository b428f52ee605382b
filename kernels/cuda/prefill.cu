/*
 * Attention of a chunk of tokens whose keys and values are already in the cache, float32.
 *
 * A CTA takes the query rows (token, head) of a block of tokens that share a KV head,
 * and goes through the keys that any of them attends in tiles of PREFILL_KEYS with a
 * running maximum and sum. Scores: slices of PREFILL_SLICE elements of head_dim of queries and keys
 * in shared memory, 4 by 4 (or 2 by 4) products a thread. Values: PREFILL_VALUES rows at a
 * time; a warp owns rows of the result, its lanes the columns, in registers.
 */
#include "kernels/cuda/load8.cuh"
#include "kernels/cuda/prefill_geometry.h"

extern __shared__ __align__(16) char shared_memory[];

template <int HD> INLINE void prefill(const struct attention_prefill_params &p)
{
	enum {
		ROWS = HD > 256 ? 32 : 64,
		QI = ROWS / 16, /* rows of scores per thread */
		STRIDE = PREFILL_SLICE + PREFILL_PAD,
		P_STRIDE = PREFILL_KEYS + PREFILL_PAD,
		OWN = ROWS / (PREFILL_THREADS / WARP), /* rows of the result per warp */
		COLS = HD / WARP,
		WIDTH = COLS % 4 == 0 ? 4 : 1,
	};
	float *const qs = (float *)shared_memory;     /* (ROWS, STRIDE) */
	float *const ks = qs + ROWS * STRIDE;         /* (PREFILL_KEYS, STRIDE) */
	float *const ps = ks + PREFILL_KEYS * STRIDE; /* (ROWS, P_STRIDE): scores, then probabilities */
	float *const vs = ps + ROWS * P_STRIDE;       /* (PREFILL_VALUES, HD) */
	struct span *const spans = (struct span *)(vs + PREFILL_VALUES * HD); /* (ROWS) */
	float2 *const stats = (float2 *)(spans + ROWS); /* (ROWS): greatest score, sum of probabilities */
	const struct kv &kv = p.kv;
	const int tid = threadIdx.x, warp = tid / WARP, lane = tid % WARP;
	const int tx = tid % 16, ty = tid / 16;
	const int kv_head = blockIdx.y;
	const int group = p.n_heads / kv.n_kv_heads;
	const int block_tokens = ROWS / group;
	/* The last tokens attend the most keys: first, so that none is left running alone. */
	const int t0 = (int)(gridDim.x - 1 - blockIdx.x) * block_tokens;
	const int n_rows = min(block_tokens, p.n_tokens - t0) * group;

	let_next_start();
	wait_for_earlier();
	const struct step step = step_of(p.at);
	const int key0 = attended(kv, p.window, step.pos + t0, step.evicted).first;
	const int key_end = attended(kv, p.window, step.pos + t0 + (n_rows - 1) / group, step.evicted).end;
	const int head_row = kv_head * kv.capacity;

	const int stage_row = tid / 4, stage_k = tid % 4 * 8; /* of a slice: four threads a row, eight elements each */
	const int q_from = ((t0 + stage_row / group) * p.n_heads + kv_head * group + stage_row % group) * HD + stage_k;

	float acc[OWN][COLS];
	if (tid < ROWS) { /* read after the first barrier */
		spans[tid] = attended(kv, p.window, step.pos + t0 + tid / group, step.evicted);
		if (tid >= n_rows)
			spans[tid].end = 0;
		stats[tid] = make_float2(NEGATIVE_INFINITY, 0.0f);
	}
#pragma unroll
	for (int i = 0; i < OWN; i++)
#pragma unroll
		for (int c = 0; c < COLS; c++)
			acc[i][c] = 0.0f;

	for (int first = key0; first < key_end; first += PREFILL_KEYS) {
		float s[QI][4];
#pragma unroll
		for (int i = 0; i < QI; i++)
#pragma unroll
			for (int j = 0; j < 4; j++)
				s[i][j] = 0.0f;
		const int stage_key = first + stage_row;
		const int stage_slot = kv.ring > 0 ? stage_key % kv.ring : stage_key;
		const int stage_from = head_row + stage_slot;

#pragma unroll 1
		for (int d = 0; d < HD; d += PREFILL_SLICE) {
			float v[8];
#pragma unroll
			for (int k = 0; k < 8; k++)
				v[k] = 0.0f;
			if (stage_key < key_end)
				load8_row(kv.k, kv.type, HD, stage_from, stage_k + d, v);
			float4 *to = (float4 *)(ks + stage_row * STRIDE + stage_k);
			to[0] = make_float4(v[0], v[1], v[2], v[3]);
			to[1] = make_float4(v[4], v[5], v[6], v[7]);
			if (stage_row < ROWS) {
				float4 a = make_float4(0, 0, 0, 0), b = a;
				if (stage_row < n_rows) {
					a = *(const float4 *)(p.q + q_from + d);
					b = *(const float4 *)(p.q + q_from + d + 4);
				}
				to = (float4 *)(qs + stage_row * STRIDE + stage_k);
				to[0] = make_float4(a.x * p.scale, a.y * p.scale, a.z * p.scale, a.w * p.scale);
				to[1] = make_float4(b.x * p.scale, b.y * p.scale, b.z * p.scale, b.w * p.scale);
			}
			__syncthreads();
#pragma unroll 1
			for (int k = 0; k < PREFILL_SLICE; k += 4) {
				float4 a[QI];
#pragma unroll
				for (int i = 0; i < QI; i++)
					a[i] = *(const float4 *)(qs + (ty + 16 * i) * STRIDE + k);
#pragma unroll
				for (int j = 0; j < 4; j++) {
					const float4 b = *(const float4 *)(ks + (tx + 16 * j) * STRIDE + k);
#pragma unroll
					for (int i = 0; i < QI; i++) {
						s[i][j] = fmaf(a[i].x, b.x, s[i][j]);
						s[i][j] = fmaf(a[i].y, b.y, s[i][j]);
						s[i][j] = fmaf(a[i].z, b.z, s[i][j]);
						s[i][j] = fmaf(a[i].w, b.w, s[i][j]);
					}
				}
			}
			__syncthreads();
		}
#pragma unroll
		for (int i = 0; i < QI; i++)
#pragma unroll
			for (int j = 0; j < 4; j++)
				ps[(ty + 16 * i) * P_STRIDE + tx + 16 * j] = s[i][j];
		__syncthreads();

		/* Each warp its own rows, which only it reads afterwards. */
#pragma unroll
		for (int i = 0; i < OWN; i++) {
			float *row = ps + (warp * OWN + i) * P_STRIDE;
			const struct span span = spans[warp * OWN + i];
			const float2 old = stats[warp * OWN + i];
			const int a = first + lane, b = a + WARP;
			const float sa = a >= span.first && a < span.end ? row[lane] : NEGATIVE_INFINITY;
			const float sb = b >= span.first && b < span.end ? row[lane + WARP] : NEGATIVE_INFINITY;
			const float top = fmaxf(old.x, warp_max(fmaxf(sa, sb)));
			/* Without any key so far: nothing to add, nothing to shrink. */
			const float pa = sa == NEGATIVE_INFINITY ? 0.0f : expf(sa - top);
			const float pb = sb == NEGATIVE_INFINITY ? 0.0f : expf(sb - top);
			const float shrink = old.x == top ? 1.0f : expf(old.x - top);
			const float sum = old.y * shrink + warp_sum(pa + pb);
			__syncwarp(); /* all lanes have read what one of them replaces */
			if (lane == 0)
				stats[warp * OWN + i] = make_float2(top, sum);
			row[lane] = pa;
			row[lane + WARP] = pb;
#pragma unroll
			for (int c = 0; c < COLS; c++)
				acc[i][c] *= shrink;
		}

		for (int v0 = 0; v0 < PREFILL_KEYS; v0 += PREFILL_VALUES) {
#pragma unroll 1
			for (int i = tid; i < PREFILL_VALUES * HD / 8; i += PREFILL_THREADS) {
				const int r = i / (HD / 8), d = i % (HD / 8) * 8;
				const int key = first + v0 + r;
				float v[8];
#pragma unroll
				for (int k = 0; k < 8; k++)
					v[k] = 0.0f;
				if (key < key_end)
					load8_row(kv.v, kv.v_type, HD, head_row + (kv.ring > 0 ? key % kv.ring : key),
						  d, v);
				float4 *to = (float4 *)(vs + r * HD + d);
				to[0] = make_float4(v[0], v[1], v[2], v[3]);
				to[1] = make_float4(v[4], v[5], v[6], v[7]);
			}
			__syncthreads();
#pragma unroll 1
			for (int k = 0; k < PREFILL_VALUES; k += 2) {
				float2 pr[OWN];
#pragma unroll
				for (int i = 0; i < OWN; i++)
					pr[i] = *(const float2 *)(ps + (warp * OWN + i) * P_STRIDE + v0 + k);
#pragma unroll
				for (int kk = 0; kk < 2; kk++) {
#pragma unroll
					for (int c = 0; c < COLS; c += WIDTH) {
						float x[WIDTH];
						const float *from = vs + (k + kk) * HD + c * WARP + lane * WIDTH;
						if (WIDTH == 4) {
							const float4 f = *(const float4 *)from;
							x[0] = f.x;
							x[1 % WIDTH] = f.y;
							x[2 % WIDTH] = f.z;
							x[3 % WIDTH] = f.w;
						} else {
							x[0] = *from;
						}
#pragma unroll
						for (int i = 0; i < OWN; i++) {
							const float pi = kk == 0 ? pr[i].x : pr[i].y;
#pragma unroll
							for (int w = 0; w < WIDTH; w++)
								acc[i][c + w] = fmaf(pi, x[w], acc[i][c + w]);
						}
					}
				}
			}
			__syncthreads();
		}
	}

#pragma unroll
	for (int i = 0; i < OWN; i++) {
		const int row = warp * OWN + i;
		if (row >= n_rows)
			break;
		float *y = p.y + ((long long)(t0 + row / group) * p.n_heads + kv_head * group + row % group) * HD;
		const float inverse = 1.0f / stats[row].y;
#pragma unroll
		for (int c = 0; c < COLS; c += WIDTH)
#pragma unroll
			for (int w = 0; w < WIDTH; w++)
				y[c * WARP + lane * WIDTH + w] = acc[i][c + w] * inverse;
	}
}

#define ENTRIES(hd)                                                                                 \
	extern "C" __global__ void __launch_bounds__(PREFILL_THREADS, 2)                            \
		k_attention_prefill_##hd(const __grid_constant__ struct attention_prefill_params p) \
	{                                                                                           \
		prefill<hd>(p);                                                                     \
	}

#include "kernels/cuda/head_dims.cuh"
