/*
 * Attention of a chunk of tokens whose keys and values are already in the cache, on tensor cores: 16-bit operands,
 * float32 sums.
 *
 * The query rows of a KV head, (token, head of its group), are one sequence, of which a CTA takes a block; it goes
 * through the keys that any of them attends in tiles, the next of which is copied to shared memory meanwhile. A warp
 * keeps its 16 rows' queries and sums in registers; what a product of scores leaves in them is what the one of values
 * takes.
 *
 * Rounded are a query, over a power of two of its own, to the keys' type, and a probability to the values'; the sum
 * that it is divided by is that of the rounded ones. Of a cache in Q8_0 the operands are float16, to which its elements
 * are rounded (prefill_tile_q8.cuh). Probabilities are relative to a reference that follows the
 * greatest score so far at a distance: a row's sums change their scale only where that has grown by 2^SLACK.
 */
#include "kernels/cuda/prefill_tile_q8.cuh"

extern __shared__ __align__(16) char shared_memory[];

#if defined(__CUDA_ARCH__)
enum { COMPUTE_CAPABILITY = __CUDA_ARCH__ / 10 };
#else
enum { COMPUTE_CAPABILITY = 80 };
#endif

/* Powers of two: a probability at the reference is 2^SHIFT, and 2^(SHIFT + SLACK) at most. float16 has a few to spare
 * on either side. */
constexpr float SHIFT = 6.0f;
constexpr float SLACK = 8.0f;

/* What a thread knows of its rows, lane / 4 and lane / 4 + 8 of its warp's. */
struct pair_of_rows {
	int end[2];         /* behind the last key that it attends; 0: there is no such row */
	float scale[2];     /* from products to powers of two */
	float reference[2]; /* of the powers of two; minus infinity before the first key */
};

template <int HD, int KEY_PARTS> struct shape {
	enum {
		COLUMN_PARTS = prefill_mma_column_parts(HD),
		COLS = HD / COLUMN_PARTS, /* of the result, in a warp */
		STEPS = COLS / 16,
		ROWS = prefill_mma_rows(HD, KEY_PARTS),
		KEYS = prefill_mma_keys(HD, COMPUTE_CAPABILITY),
		OWN = KEYS / KEY_PARTS, /* keys of a tile, in a warp */
		STRIDE = prefill_mma_stride(HD),
		TILE = prefill_mma_tile(HD, COMPUTE_CAPABILITY),
		ROW_WARPS = ROWS / PREFILL_MMA_ROWS,
	};
	static_assert(ROW_WARPS * COLUMN_PARTS * KEY_PARTS == PREFILL_MMA_WARPS && OWN % 16 == 0 && COLS % 16 == 0,
		      "warps and tensor cores' products divide a tile");
	static_assert(KEY_PARTS == 1 || PREFILL_MMA_WARPS / 2 * WARP * (COLS / 2 + 4) * 4 <= 4 * TILE,
		      "the sums of half the warps fit where the tiles were");
};

/* What a thread's warp works on: warps are column parts side by side, then rows, then key parts. */
struct role {
	int lane;
	int warp;
	int column_part;
	int row; /* of the block, the warp's first */
	int key_part;
};

template <class S> INLINE struct role role_of(unsigned thread)
{
	const unsigned warp = thread / WARP, rest = warp / S::COLUMN_PARTS;
	return {(int)(thread % WARP), (int)warp, (int)(warp % S::COLUMN_PARTS),
		(int)(rest % S::ROW_WARPS * PREFILL_MMA_ROWS), (int)(rest / S::ROW_WARPS)};
}

/* Starts the copies of a tile of keys, and of values behind them; zeros from key_end on. */
template <int HD, int KEYS>
INLINE void copy_tile(const struct kv &kv, int head_row, int first, int key_end, unsigned to)
{
	enum { CHUNKS = HD / 8, STRIDE = prefill_mma_stride(HD), EACH = KEYS * CHUNKS / PREFILL_MMA_THREADS };
	static_assert(KEYS * CHUNKS % PREFILL_MMA_THREADS == 0, "every thread has as many");
	const int slot0 = kv.ring > 0 ? first % kv.ring : first;
	const unsigned thread = thread_anew();
#pragma unroll
	for (int n = 0; n < EACH; n++) {
		const unsigned i = thread + n * PREFILL_MMA_THREADS;
		const int key = i / CHUNKS, chunk = i % CHUNKS;
		const bool valid = first + key < key_end;
		int slot = slot0 + key;
		if (kv.ring > 0 && slot >= kv.ring) /* once: what is valid is no longer than the ring */
			slot -= kv.ring;
		const long long at = (long long)(valid ? head_row + slot : 0) * (HD * 2) + chunk * 16;
		const unsigned there = to + key * STRIDE + chunk * 16;
		copy_async(there, (const char *)kv.k + at, valid);
		copy_async(there + KEYS * STRIDE, (const char *)kv.v + at, valid);
	}
}

/* The power of two below a row's greatest magnitude; 1 where that is none to divide by. */
INLINE float power_below(float most)
{
	const unsigned exponent = __float_as_uint(most) & 0x7f800000u;
	return exponent > 0 && exponent < 0x7f000000u ? __uint_as_float(exponent) : 1.0f;
}

INLINE float inverse_of_power(float power)
{
	return __uint_as_float(0x7f000000u - __float_as_uint(power));
}

INLINE float quad_max(float v)
{
	v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, 1));
	return fmaxf(v, __shfl_xor_sync(ALL_LANES, v, 2));
}

/*
 * A thread's queries, two rows' columns from `q0` and `q1` on, over their powers of two, which it sets `scale` to.
 * tell: room for (PREFILL_MMA_WARPS, 16) floats, where column parts find each other's greatest element.
 */
template <class S, int KT>
INLINE void load_queries(const float *q0, const float *q1, const struct role &role, float *tell,
			 unsigned (&a)[S::STEPS][4], float (&scale)[2])
{
	const int lane = role.lane;
	float2 q[S::STEPS][4];
	float most[2] = {0.0f, 0.0f};
#pragma unroll
	for (int k = 0; k < S::STEPS; k++) {
#pragma unroll
		for (int j = 0; j < 4; j++) { /* row j % 2, columns j / 2 * 8 on */
			q[k][j] = *(const float2 *)((j % 2 ? q1 : q0) + k * 16 + j / 2 * 8 + lane % 4 * 2);
			most[j % 2] = fmaxf(most[j % 2], fmaxf(fabsf(q[k][j].x), fabsf(q[k][j].y)));
		}
	}
	most[0] = quad_max(most[0]);
	most[1] = quad_max(most[1]);
	if (S::COLUMN_PARTS > 1) {
		if (lane % 4 == 0) {
			tell[role.warp * 16 + lane / 4] = most[0];
			tell[role.warp * 16 + lane / 4 + 8] = most[1];
		}
		__syncthreads();
		most[0] = fmaxf(most[0], tell[(role.warp ^ 1) * 16 + lane / 4]);
		most[1] = fmaxf(most[1], tell[(role.warp ^ 1) * 16 + lane / 4 + 8]);
	}
	scale[0] = power_below(most[0]);
	scale[1] = power_below(most[1]);
	const float inverse[2] = {inverse_of_power(scale[0]), inverse_of_power(scale[1])};
#pragma unroll
	for (int k = 0; k < S::STEPS; k++)
#pragma unroll
		for (int j = 0; j < 4; j++)
			a[k][j] = pair_from_f32<KT>(q[k][j].x * inverse[j % 2], q[k][j].y * inverse[j % 2]);
}

/* A warp's part of a tile of keys or values: its first key, its columns. */
template <class S> INLINE unsigned part_of(unsigned tile)
{
	const struct role role = role_of<S>(thread_anew());
	return tile + role.key_part * S::OWN * S::STRIDE + role.column_part * S::COLS * 2;
}

/*
 * s = queries times the warp's part of a tile of keys: (16, OWN), of which a thread has row lane / 4 (s[n][0], s[n][1])
 * and 8 rows on (s[n][2], s[n][3]), keys 8 n + lane % 4 * 2 and the next.
 */
template <class S, int KT>
INLINE void multiply_keys(unsigned tile, const unsigned (&a)[S::STEPS][4], float (&s)[S::OWN / 8][4])
{
	enum { CHAINS = S::OWN <= 16 ? 2 : 1 }; /* so few products do not hide each other's latency */
	const unsigned lane = thread_anew() % WARP;
	const unsigned from = part_of<S>(tile) + (lane / 16 * 8 + lane % 8) * S::STRIDE + lane / 8 % 2 * 16;
	float sums[CHAINS][S::OWN / 8][4];
#pragma unroll
	for (int c = 0; c < CHAINS; c++)
#pragma unroll
		for (int n = 0; n < S::OWN / 8; n++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				sums[c][n][i] = 0.0f;
#pragma unroll
	for (int k = 0; k < S::STEPS; k++) {
#pragma unroll
		for (int n = 0; n < S::OWN / 8; n += 2) {
			unsigned b[4];
			load_matrices(from + n * 8 * S::STRIDE + k * 32, b);
			multiply_add<KT>(sums[k % CHAINS][n], a[k], b[0], b[1]);
			multiply_add<KT>(sums[k % CHAINS][n + 1], a[k], b[2], b[3]);
		}
	}
#pragma unroll
	for (int n = 0; n < S::OWN / 8; n++)
#pragma unroll
		for (int i = 0; i < 4; i++)
			s[n][i] = CHAINS > 1 ? sums[0][n][i] + sums[CHAINS - 1][n][i] : sums[0][n][i];
}

/* Two column parts' scores added, in the same order on either side. exchange: (PREFILL_MMA_WARPS, N, 32) float4. */
template <int N> INLINE void add_partners(float4 *exchange, float (&s)[N][4])
{
	const unsigned thread = thread_anew(), lane = thread % WARP, warp = thread / WARP;
#pragma unroll
	for (int n = 0; n < N; n++)
		exchange[(warp * N + n) * WARP + lane] = make_float4(s[n][0], s[n][1], s[n][2], s[n][3]);
	barrier_of(1 + warp / 2, 2 * WARP);
#pragma unroll
	for (int n = 0; n < N; n++) {
		const float4 other = exchange[((warp ^ 1) * N + n) * WARP + lane];
		s[n][0] += other.x, s[n][1] += other.y, s[n][2] += other.z, s[n][3] += other.w;
	}
}

/*
 * Behind a tile that some pairs of warps rested through, and others met each other in. Not needed for order, which the
 * loop's own barrier makes: without it racecheck takes the copies of values behind that one for races, and with
 * add_partners taken out it no longer does.
 */
template <class S, int KEY_PARTS> INLINE void settle()
{
	if (S::COLUMN_PARTS > 1 && KEY_PARTS > 1)
		__syncthreads();
}

/* The first key that a row attends. */
INLINE int first_of(int end, int window)
{
	return window > 0 ? max(end - window, 0) : 0;
}

/* Scores of keys that a row does not attend to minus infinity; key: the first of s. */
template <int N> INLINE void mask(const struct pair_of_rows &rows, int window, int key, float (&s)[N][4])
{
	key += (int)(thread_anew() % 4 * 2);
#pragma unroll
	for (int r = 0; r < 2; r++) {
		const int end = rows.end[r] - key, first = first_of(rows.end[r], window) - key;
#pragma unroll
		for (int n = 0; n < N; n++)
#pragma unroll
			for (int i = 0; i < 2; i++)
				if (n * 8 + i < first || n * 8 + i >= end)
					s[n][2 * r + i] = NEGATIVE_INFINITY;
	}
}

/* Scores to probabilities; sums and counts follow the rows' references. */
template <int N, int COLUMNS>
INLINE void exponentiate(struct pair_of_rows &rows, float (&s)[N][4], float (&sums)[COLUMNS][4], float (&count)[4])
{
	float top[2], base[2];
#pragma unroll
	for (int r = 0; r < 2; r++) {
		top[r] = fmaxf(s[0][2 * r], s[0][2 * r + 1]);
#pragma unroll
		for (int n = 1; n < N; n++)
			top[r] = fmaxf(top[r], fmaxf(s[n][2 * r], s[n][2 * r + 1]));
		top[r] = quad_max(top[r]) * rows.scale[r];
	}
	if (__any_sync(ALL_LANES, top[0] > rows.reference[0] + SLACK || top[1] > rows.reference[1] + SLACK)) {
		float shrink[2];
#pragma unroll
		for (int r = 0; r < 2; r++) {
			const float old = rows.reference[r];
			rows.reference[r] = fmaxf(old, top[r]);
			/* Without any key so far there is nothing to shrink. */
			shrink[r] = old == rows.reference[r] ? 1.0f : power_of_two(old - rows.reference[r]);
		}
#pragma unroll
		for (int c = 0; c < COLUMNS; c++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				sums[c][i] *= shrink[i / 2];
#pragma unroll
		for (int i = 0; i < 4; i++)
			count[i] *= shrink[i / 2];
	}
#pragma unroll
	for (int r = 0; r < 2; r++)
		base[r] = rows.reference[r] == NEGATIVE_INFINITY ? 0.0f : rows.reference[r] - SHIFT;
#pragma unroll
	for (int n = 0; n < N; n++)
#pragma unroll
		for (int i = 0; i < 4; i++)
			s[n][i] = power_of_two(fmaf(s[n][i], rows.scale[i / 2], -base[i / 2]));
}

/* sums += probabilities times the warp's part of a tile of values; count += the probabilities' sums. */
template <class S, int VT>
INLINE void multiply_values(unsigned tile, const float (&s)[S::OWN / 8][4], float (&sums)[S::COLS / 8][4],
			    float (&count)[4])
{
	const unsigned ones = VT == TENSOR_F16 ? 0x3c003c00u : 0x3f803f80u;
	const unsigned lane = thread_anew() % WARP;
	const unsigned from = part_of<S>(tile) + lane % 16 * S::STRIDE + lane / 16 * 16;
#pragma unroll
	for (int k = 0; k < S::OWN / 16; k++) {
		const float(&low)[4] = s[2 * k], (&high)[4] = s[2 * k + 1];
		const unsigned a[4] = {pair_from_f32<VT>(low[0], low[1]), pair_from_f32<VT>(low[2], low[3]),
				       pair_from_f32<VT>(high[0], high[1]), pair_from_f32<VT>(high[2], high[3])};
		multiply_add<VT>(count, a, ones, ones);
#pragma unroll
		for (int c = 0; c < S::COLS / 8; c += 2) {
			unsigned b[4];
			load_matrices_transposed(from + k * 16 * S::STRIDE + c * 16, b);
			multiply_add<VT>(sums[c], a, b[0], b[1]);
			multiply_add<VT>(sums[c + 1], a, b[2], b[3]);
		}
	}
}

/* The second key part's sums to the first one's. room: where the tiles were, for half of the warps. */
template <class S>
INLINE void merge(float4 *room, const struct role &role, const struct pair_of_rows &rows, float (&sums)[S::COLS / 8][4],
		  float (&count)[4])
{
	enum { N = S::COLS / 8 };
	float4 *const mine = room + role.warp % (PREFILL_MMA_WARPS / 2) * (N + 1) * WARP + role.lane;
	__syncthreads(); /* all have left the tiles */
	if (role.key_part) {
#pragma unroll
		for (int c = 0; c < N; c++)
			mine[c * WARP] = make_float4(sums[c][0], sums[c][1], sums[c][2], sums[c][3]);
		mine[N * WARP] = make_float4(rows.reference[0], rows.reference[1], count[0], count[2]);
	}
	__syncthreads();
	if (role.key_part)
		return;
	const float4 state = mine[N * WARP];
	const float reference[2] = {state.x, state.y};
	float own[2], other[2];
#pragma unroll
	for (int r = 0; r < 2; r++) {
		const float top = fmaxf(rows.reference[r], reference[r]);
		own[r] = rows.reference[r] == top ? 1.0f : power_of_two(rows.reference[r] - top);
		other[r] = reference[r] == top ? 1.0f : power_of_two(reference[r] - top);
	}
	count[0] = count[0] * own[0] + state.z * other[0];
	count[2] = count[2] * own[1] + state.w * other[1];
#pragma unroll
	for (int c = 0; c < N; c++) {
		const float4 more = mine[c * WARP];
		sums[c][0] = sums[c][0] * own[0] + more.x * other[0];
		sums[c][1] = sums[c][1] * own[0] + more.y * other[0];
		sums[c][2] = sums[c][2] * own[1] + more.z * other[1];
		sums[c][3] = sums[c][3] * own[1] + more.w * other[1];
	}
}

/* A CTA's query rows: of the sequence of a KV head's. */
struct block {
	int kv_head;
	int group; /* query heads of a KV head */
	int first;
	int n;
};

template <class S> INLINE struct block block_of(const struct attention_prefill_params &p, unsigned index)
{
	const int n_kv_heads = p.kv.n_kv_heads, group = p.n_heads / n_kv_heads;
	/* The last tokens attend the most keys: first, so that none is left running alone. */
	const int first = (int)(gridDim.x - 1 - index) / n_kv_heads * S::ROWS;
	return {(int)index % n_kv_heads, group, first, min((int)S::ROWS, p.n_tokens * group - first)};
}

/* Where a row of the block is in q and y, from a column part on. */
template <class S>
INLINE long long place_of(const struct attention_prefill_params &p, const struct block &block, int row, int column_part)
{
	const int i = block.first + row, head = block.kv_head * block.group + i % block.group;
	return ((long long)(i / block.group) * p.n_heads + head) * p.kv.head_dim + column_part * S::COLS;
}

/* What a row of the block attends. */
INLINE struct span attended_by(const struct attention_prefill_params &p, const struct step &step,
			       const struct block &block, int row)
{
	return attended(p.kv, p.window, step.pos + (block.first + row) / block.group, step.evicted);
}

template <int HD, int KEY_PARTS, int KT, int VT> INLINE void prefill_mma(const struct attention_prefill_params &p)
{
	typedef shape<HD, KEY_PARTS> S;
	enum { STAGED = KT == TENSOR_Q8_0 || VT == TENSOR_Q8_0, K = operand<KT>::TYPE, V = operand<VT>::TYPE };
	staged_tiles<HD, S::KEYS, KT, VT> staged;
	const struct kv &kv = p.kv;
	const struct block block = block_of<S>(p, blockIdx.x);
	const int head_row = block.kv_head * kv.capacity;
	const unsigned tiles = kept_shared_address(shared_memory);
	float4 *const exchange = (float4 *)(shared_memory + 4 * S::TILE);

	let_next_start();
	wait_for_earlier();
	const struct step step = step_of(p.at);
	const int key0 = attended_by(p, step, block, 0).first;
	const int key_end = attended_by(p, step, block, block.n - 1).end;
	if (STAGED)
		staged.copy(kv, block.kv_head, key0, key_end, tiles, 0);
	else
		copy_tile<HD, S::KEYS>(kv, head_row, key0, key_end, tiles);

	/* Rows behind the last one are it again, and not stored; warps of such rows alone rest. */
	const struct role at_first = role_of<S>(threadIdx.x);
	struct pair_of_rows rows;
	const float *q[2];
#pragma unroll
	for (int r = 0; r < 2; r++) {
		const int row = min(at_first.row + at_first.lane / 4 + 8 * r, block.n - 1);
		rows.end[r] = at_first.row < block.n ? attended_by(p, step, block, row).end : 0;
		rows.reference[r] = NEGATIVE_INFINITY;
		q[r] = p.q + place_of<S>(p, block, row, at_first.column_part);
	}
	unsigned a[S::STEPS][4];
	load_queries<S, K>(q[0], q[1], at_first, (float *)exchange, a, rows.scale);
	rows.scale[0] *= p.scale * 1.4426950408889634f; /* log2 e */
	rows.scale[1] *= p.scale * 1.4426950408889634f;

	float sums[S::COLS / 8][4], count[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
	for (int c = 0; c < S::COLS / 8; c++)
#pragma unroll
		for (int i = 0; i < 4; i++)
			sums[c][i] = 0.0f;

	unsigned now = 0;
#pragma unroll 1
	for (int first = key0; first < key_end; first += S::KEYS, now ^= 2 * S::TILE) {
		wait_for_copies();
		__syncthreads();
		if (STAGED)
			staged.expand(tiles);
		if (STAGED && first + S::KEYS < key_end)
			staged.copy(kv, block.kv_head, first + S::KEYS, key_end, tiles, now ^ 2 * S::TILE);
		else if (first + S::KEYS < key_end)
			copy_tile<HD, S::KEYS>(kv, head_row, first + S::KEYS, key_end, tiles + (now ^ 2 * S::TILE));
		if (STAGED)
			__syncthreads();
		const int own = first + role_of<S>(thread_anew()).key_part * S::OWN;
		const int own0 = first_of(rows.end[0], p.window), own1 = first_of(rows.end[1], p.window);
		const bool any =
			(own < rows.end[0] && own + S::OWN > own0) || (own < rows.end[1] && own + S::OWN > own1);
		const bool all = own >= max(own0, own1) && own + S::OWN <= min(rows.end[0], rows.end[1]);
		if (__any_sync(ALL_LANES, any)) {
			float s[S::OWN / 8][4];
			multiply_keys<S, K>(tiles + (KT == TENSOR_Q8_0 ? 0 : now), a, s);
			if (S::COLUMN_PARTS > 1)
				add_partners(exchange, s);
			if (!__all_sync(ALL_LANES, all))
				mask(rows, p.window, own, s);
			exponentiate(rows, s, sums, count);
			multiply_values<S, V>(tiles + (VT == TENSOR_Q8_0 ? 0 : now) + S::TILE, s, sums, count);
		}
		settle<S, KEY_PARTS>();
	}

	const struct role role = role_of<S>(thread_anew());
	if (KEY_PARTS > 1) {
		merge<S>((float4 *)shared_memory, role, rows, sums, count);
		if (role.key_part)
			return;
	}
	const struct block again = block_of<S>(p, block_anew());
#pragma unroll
	for (int r = 0; r < 2; r++) {
		const int row = role.row + role.lane / 4 + 8 * r;
		if (row >= again.n)
			continue;
		const float inverse = 1.0f / count[2 * r];
		float *to = p.y + place_of<S>(p, again, row, role.column_part) + role.lane % 4 * 2;
#pragma unroll
		for (int c = 0; c < S::COLS / 8; c++)
			*(float2 *)(to + c * 8) = make_float2(sums[c][2 * r] * inverse, sums[c][2 * r + 1] * inverse);
	}
}

#define ENTRY(name, key_parts, hd, k, KT, v, VT)                                                       \
	extern "C" __global__ void __launch_bounds__(PREFILL_MMA_THREADS, 1)                           \
		k_##name##_##hd##_##k##_##v(const __grid_constant__ struct attention_prefill_params p) \
	{                                                                                              \
		if constexpr (prefill_mma_possible(hd, key_parts, COMPUTE_CAPABILITY))                 \
			prefill_mma<hd, key_parts, KT, VT>(p);                                         \
	}
#define BOTH(hd, k, KT, v, VT)                    \
	ENTRY(attention_mma, 1, hd, k, KT, v, VT) \
	ENTRY(attention_mma_half, 2, hd, k, KT, v, VT)

#ifdef KV_F16_F16
#define F16_F16(hd) BOTH(hd, f16, TENSOR_F16, f16, TENSOR_F16)
#else
#define F16_F16(hd)
#endif
#ifdef KV_F16_BF16
#define F16_BF16(hd) BOTH(hd, f16, TENSOR_F16, bf16, TENSOR_BF16)
#else
#define F16_BF16(hd)
#endif
#ifdef KV_F16_Q8_0
#define F16_Q8_0(hd) BOTH(hd, f16, TENSOR_F16, q8_0, TENSOR_Q8_0)
#else
#define F16_Q8_0(hd)
#endif
#ifdef KV_BF16_F16
#define BF16_F16(hd) BOTH(hd, bf16, TENSOR_BF16, f16, TENSOR_F16)
#else
#define BF16_F16(hd)
#endif
#ifdef KV_BF16_BF16
#define BF16_BF16(hd) BOTH(hd, bf16, TENSOR_BF16, bf16, TENSOR_BF16)
#else
#define BF16_BF16(hd)
#endif
#ifdef KV_BF16_Q8_0
#define BF16_Q8_0(hd) BOTH(hd, bf16, TENSOR_BF16, q8_0, TENSOR_Q8_0)
#else
#define BF16_Q8_0(hd)
#endif
#ifdef KV_Q8_0_F16
#define Q8_0_F16(hd) BOTH(hd, q8_0, TENSOR_Q8_0, f16, TENSOR_F16)
#else
#define Q8_0_F16(hd)
#endif
#ifdef KV_Q8_0_BF16
#define Q8_0_BF16(hd) BOTH(hd, q8_0, TENSOR_Q8_0, bf16, TENSOR_BF16)
#else
#define Q8_0_BF16(hd)
#endif
#ifdef KV_Q8_0_Q8_0
#define Q8_0_Q8_0(hd) BOTH(hd, q8_0, TENSOR_Q8_0, q8_0, TENSOR_Q8_0)
#else
#define Q8_0_Q8_0(hd)
#endif

#define ENTRIES(hd) \
	F16_F16(hd) \
	F16_BF16(hd) F16_Q8_0(hd) BF16_F16(hd) BF16_BF16(hd) BF16_Q8_0(hd) Q8_0_F16(hd) Q8_0_BF16(hd) Q8_0_Q8_0(hd)

#include "kernels/cuda/head_dims.cuh"
