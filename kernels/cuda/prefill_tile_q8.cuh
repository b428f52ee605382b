/*
 * Tiles of keys and values for a prompt's attention on tensor cores, of caches in Q8_0: bytes are copied to shared
 * memory as they are, into where other types have their second tile, and each thread makes what it copied into
 * float16, in the one tile that all read.
 */
#ifndef GEMMARK_KERNELS_CUDA_PREFILL_TILE_Q8_CUH
#define GEMMARK_KERNELS_CUDA_PREFILL_TILE_Q8_CUH

#include "kernels/cuda/cache_rows.cuh"
#include "kernels/cuda/prefill_mma_geometry.h"
#include "kernels/cuda/steps_f16.cuh"

/* What tensor cores multiply of a cache of that type. */
template <int T> struct operand {
	enum { TYPE = T == TENSOR_Q8_0 ? TENSOR_F16 : T };
};

/* Keys, or values, of a tile. tile: the first of two, `next` bytes apart. */
template <int HD, int KEYS, int T> struct plane {
	enum {
		Q8_0 = T == TENSOR_Q8_0,
		STRIDE = prefill_mma_stride(HD),
		BYTES = cache_row_bytes(T, HD),
		CHUNKS = Q8_0 ? HD / 16 : HD / 8, /* of 16 bytes */
		ALL = KEYS * CHUNKS,
		EACH = (ALL + PREFILL_MMA_THREADS - 1) / PREFILL_MMA_THREADS,
	};
	unsigned short scales[Q8_0 ? EACH : 1]; /* of the chunks that this thread copies */

	/* Starts the copies of a tile; zeros from key_end on. cache: the head's first row; to: other types' */
	__device__ __forceinline__ void copy(const struct kv &kv, const char *cache, int first, int key_end,
					     unsigned to)
	{
		const int slot0 = kv.ring > 0 ? first % kv.ring : first;
		const unsigned thread = thread_anew();
#pragma unroll
		for (int n = 0; n < EACH; n++) {
			const unsigned i = thread + n * PREFILL_MMA_THREADS;
			const int key = i / CHUNKS, chunk = i % CHUNKS;
			if (ALL % PREFILL_MMA_THREADS != 0 && i >= ALL)
				break;
			const bool valid = first + key < key_end;
			int slot = slot0 + key;
			if (kv.ring > 0 && slot >= kv.ring) /* once: what is valid is no longer than the ring */
				slot -= kv.ring;
			const char *const row = cache + (long long)(valid ? slot : 0) * BYTES;
			copy_async(to + (Q8_0 ? key * HD : key * STRIDE) + chunk * 16, row + chunk * 16, valid);
			if (Q8_0)
				scales[n % EACH] = valid ? ((const unsigned short *)(row + HD))[chunk / 2] : 0;
		}
	}

	/* What this thread copied to the operands. Behind its copies, and what others read of the tile before. */
	__device__ __forceinline__ void expand(unsigned from, unsigned to) const
	{
		const unsigned thread = thread_anew();
#pragma unroll
		for (int n = 0; Q8_0 && n < EACH; n++) {
			const unsigned i = thread + n * PREFILL_MMA_THREADS;
			const int key = i / CHUNKS, chunk = i % CHUNKS;
			if (ALL % PREFILL_MMA_THREADS != 0 && i >= ALL)
				break;
			const uint4 v = load_shared(from + key * HD + chunk * 16);
			const unsigned words[4] = {v.x, v.y, v.z, v.w};
			const unsigned scale = scales[n % EACH] * 0x10001u;
			unsigned y[8];
#pragma unroll
			for (int k = 0; k < 4; k++)
				steps_to_f16(words[k] ^ 0x80808080u, y[2 * k], y[2 * k + 1]);
#pragma unroll
			for (int k = 0; k < 8; k++)
				y[k] = multiply_f16x2(y[k], scale);
			const unsigned there = to + key * STRIDE + chunk * 32;
			store_shared(there, make_uint4(y[0], y[1], y[2], y[3]));
			store_shared(there + 16, make_uint4(y[4], y[5], y[6], y[7]));
		}
	}
};

/* Tiles of keys and of values, of which one at least is in Q8_0. */
template <int HD, int KEYS, int KT, int VT> struct staged_tiles {
	enum { TILE = KEYS * prefill_mma_stride(HD) };
	plane<HD, KEYS, KT> keys;
	plane<HD, KEYS, VT> values;

	/* now: 0 or 2 * TILE, where other types have the tile */
	__device__ __forceinline__ void copy(const struct kv &kv, int kv_head, int first, int key_end, unsigned tiles,
					     unsigned now)
	{
		keys.copy(kv, cache_row(kv.k, KT, kv, kv_head, 0), first, key_end,
			  tiles + (KT == TENSOR_Q8_0 ? 2 * TILE : now));
		values.copy(kv, cache_row(kv.v, VT, kv, kv_head, 0), first, key_end,
			    tiles + (VT == TENSOR_Q8_0 ? 3 * TILE : now + TILE));
	}

	__device__ __forceinline__ void expand(unsigned tiles) const
	{
		keys.expand(tiles + 2 * TILE, tiles);
		values.expand(tiles + 3 * TILE, tiles + TILE);
	}
};

#endif
