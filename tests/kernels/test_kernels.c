/* What is beside the kernels: conversions, the choice of an instruction set, the bandwidth, splits of a GPU. */
#include "kernels/cpu/inner.h"
#include "kernels/cuda/cuda_kernels.h"
#include "tests/support/kernels_reference.h"

static void test_repack(void **state)
{
	enum { BLOCKS = 77 };
	struct test_weight t;
	int8_t *q;
	uint16_t *d;
	float *y;

	use_isa(state);
	q = take(BLOCKS * 32, 1);
	d = take(BLOCKS, 2);
	y = take(BLOCKS * 32, 4);
	t = weight_make(layouts[3], BLOCKS * 32, 1, 1);
	cpu_repack_q8_0(t.data, q, d, BLOCKS);
	for (int i = 0; i < BLOCKS * 32; i++)
		assert_true(decode_f16(d[i / 32]) * q[i] == t.values[i]);
	cpu_to_f32(t.data, TENSOR_Q8_0, y, BLOCKS * 32);
	for (int i = 0; i < BLOCKS * 32; i++)
		assert_true((double)y[i] == t.values[i]);
	weight_free(&t);
	free(q);
	free(d);
	free(y);
}

/* Every 16-bit pattern. */
static void test_to_f32(void **state)
{
	enum { N = 65536 };
	uint16_t *h;
	float *y;

	use_isa(state);
	h = take(N, 2);
	y = take(N, 4);
	for (int i = 0; i < N; i++)
		h[i] = (uint16_t)i;
	cpu_to_f32(h, TENSOR_F16, y, N);
	for (int i = 0; i < N; i++)
		assert_true((double)y[i] == decode_f16(h[i]) || (isnan(y[i]) && isnan(decode_f16(h[i]))));
	cpu_to_f32(h + 1, TENSOR_BF16, y, N - 1);
	for (int i = 0; i < N - 1; i++)
		assert_true((double)y[i] == decode_bf16(h[i + 1]) || (isnan(y[i]) && isnan(decode_bf16(h[i + 1]))));
	free(h);
	free(y);
}

static void test_isa(void **state)
{
	(void)state;
	assert_int_equal(cpu_isa_force(cpu_isa_best()), 0);
	assert_int_equal(cpu_isa_current(), cpu_isa_best());
	assert_int_equal(cpu_isa_force(CPU_ISA_PORTABLE), 0);
	assert_int_equal(cpu_isa_current(), CPU_ISA_PORTABLE);
	assert_int_equal(cpu_isa_force(CPU_ISA_COUNT), -1);
	assert_int_equal(cpu_isa_current(), CPU_ISA_PORTABLE);
	assert_string_equal(cpu_isa_name(CPU_ISA_AVX512), "avx512");
}

/* Of each ISA that runs here the table is its own and whole; avx512vnni's is avx512's, and it alone has digits. */
static void test_isa_tables(void **state)
{
	const struct cpu_inner *seen[CPU_ISA_COUNT] = {NULL};

	(void)state;
	for (int isa = 0; isa <= (int)cpu_isa_best(); isa++) {
		const bool vnni = isa == CPU_ISA_AVX512VNNI;
		void (*routines[sizeof(struct cpu_inner) / sizeof(void (*)(void))])(void);

		assert_int_equal(cpu_isa_force((enum cpu_isa)isa), 0);
		seen[isa] = cpu_inner();
		for (int other = 0; other < isa; other++)
			assert_int_equal(seen[isa] == seen[other], vnni && other == CPU_ISA_AVX512);
		memcpy(routines, seen[isa], sizeof(routines));
		for (size_t i = 0; i < COUNT(routines); i++)
			assert_true(routines[i] != NULL);
		assert_int_equal(cpu_inner_digits() != NULL, vnni);
		if (vnni)
			assert_true(cpu_inner_digits()->from_f32 && cpu_inner_digits()->multiply);
	}
	assert_int_equal(cpu_isa_force(cpu_isa_best()), 0);
}

static void test_bandwidth(void **state)
{
	(void)state;
	assert_true(cpu_read_bandwidth(1 << 24, 2, 2) > 1e8);
	assert_true(cpu_read_bandwidth(100, 1, 1) == 0.0);
	assert_true(cpu_read_bandwidth(1 << 24, 0, 1) == 0.0);
}

/* CTAs that fill the card once, whatever the heads: as many as their tiles need, over a split's own. */
static void test_attention_splits(void **state)
{
	static const struct {
		int n_sm, n_heads, n_kv_heads, head_dim, k_type, splits;
	} cases[] = {
		{132, 8, 2, 512, TENSOR_F16, 66},   /* E4B, global */
		{132, 8, 2, 256, TENSOR_F16, 132},  /* sliding */
		{132, 8, 1, 512, TENSOR_F16, 132},  /* E2B */
		{132, 16, 1, 512, TENSOR_F16, 66},  /* 12B: two CTAs for the 16 heads of one KV head */
		{132, 16, 8, 256, TENSOR_F16, 33},  /* sliding */
		{132, 32, 4, 512, TENSOR_F16, 33},  /* 31B */
		{132, 32, 8, 128, TENSOR_F16, 49},  /* Qwen3 8B */
		{20, 64, 64, 512, TENSOR_F16, 1},   /* never none */
		{400, 8, 1, 64, TENSOR_F16, 256},   /* nor more than have a place */
		{132, 8, 2, 512, TENSOR_Q8_0, 132}, /* as many bytes of half as wide rows */
		{132, 8, 2, 256, TENSOR_Q8_0, 198},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct cuda_card card = {.n_sm = cases[i].n_sm};

		assert_int_equal(cuda_attention_splits(cases[i].n_heads, cases[i].n_kv_heads, cases[i].head_dim,
						       cases[i].k_type, cases[i].k_type, &card),
				 cases[i].splits);
	}
}

/* A graph is replayed at every position: the launch is the shapes' alone. What the kernel loads in pairs is aligned. */
static void test_attention_launch(void **state)
{
	static const struct cuda_card card = {.n_sm = 132, .compute_capability = 90};
	static _Alignas(16) float memory[4];
	static struct step on_device;
	const struct attention_params good = {
		.split =
			{
				.q = memory,
				.kv = {.k = memory,
				       .v = memory,
				       .type = TENSOR_F16,
				       .v_type = TENSOR_F16,
				       .n_kv_heads = 2,
				       .head_dim = 256,
				       .capacity = 1 << 20},
				.partial = memory,
				.n_heads = 20,
				.split_len = 16,
				.n_splits = 66,
			},
		.y = memory,
	};
	struct attention_params p = good;
	struct cuda_launch first;
	struct cuda_launch l;

	(void)state;
	assert_int_equal(cuda_geometry(KERNEL_attention, &good, &card, &first), CUDA_GEOMETRY_OK);
	assert_string_equal(first.entry, "k_attention_256_f16_f16");
	assert_int_equal(first.grid[0], 66);
	assert_int_equal(first.grid[1], 4); /* 10 heads of a KV head: 8 and 2 */
	for (int pos = 0; pos < 1 << 20; pos = 3 * pos + 1) {
		p.split.at.host = (struct step){.pos = pos, .evicted = pos / 2};
		p.split.at.device = pos % 2 ? &on_device : NULL;
		assert_int_equal(cuda_geometry(KERNEL_attention, &p, &card, &l), CUDA_GEOMETRY_OK);
		assert_memory_equal(l.grid, first.grid, sizeof l.grid);
		assert_memory_equal(l.block, first.block, sizeof l.block);
		assert_int_equal(l.shared_bytes, first.shared_bytes);
		assert_int_equal(l.entry_id, first.entry_id);
	}
	p = good, p.y++;
	assert_int_equal(cuda_geometry(KERNEL_attention, &p, &card, &l), CUDA_GEOMETRY_UNSUPPORTED);
	p = good, p.split.q++;
	assert_int_equal(cuda_geometry(KERNEL_attention, &p, &card, &l), CUDA_GEOMETRY_UNSUPPORTED);
	assert_int_equal(cuda_geometry(KERNEL_attention_split, &p.split, &card, &l), CUDA_GEOMETRY_UNSUPPORTED);
	p = good, p.split.partial++;
	assert_int_equal(cuda_geometry(KERNEL_attention_split, &p.split, &card, &l), CUDA_GEOMETRY_UNSUPPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH_INNER(test_repack),
		EACH_INNER(test_to_f32),
		cmocka_unit_test(test_isa),
		cmocka_unit_test(test_isa_tables),
		cmocka_unit_test(test_bandwidth),
		cmocka_unit_test(test_attention_splits),
		cmocka_unit_test(test_attention_launch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
