/*
 * Which inner routines run: CPUID says what the processor has, XCR0 what the operating
 * system saves; both must agree.
 */
#include <stdatomic.h>

#include "kernels/cpu/inner.h"

#if defined(__x86_64__)

#include <cpuid.h>

static uint64_t saved_state(void)
{
	uint32_t lo;
	uint32_t hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

static int supported(enum cpu_isa isa)
{
	const uint32_t fma_osxsave_avx_f16c = 1u << 12 | 1u << 27 | 1u << 28 | 1u << 29;
	const uint32_t avx2 = 1u << 5;
	const uint32_t avx512_f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
	const uint32_t avx512_vnni = 1u << 11;
	const uint64_t ymm = 0x6;
	const uint64_t zmm = 0xe6;
	uint32_t a;
	uint32_t b;
	uint32_t c;
	uint32_t d;

	if (isa == CPU_ISA_PORTABLE)
		return 1;
	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & fma_osxsave_avx_f16c) != fma_osxsave_avx_f16c)
		return 0;
	if ((saved_state() & ymm) != ymm || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & avx2))
		return 0;
	if (isa == CPU_ISA_AVX2)
		return 1;
	if ((saved_state() & zmm) != zmm || (b & avx512_f_dq_bw_vl) != avx512_f_dq_bw_vl)
		return 0;
	return isa == CPU_ISA_AVX512 || (c & avx512_vnni);
}

static const struct cpu_inner *const tables[CPU_ISA_COUNT] = {&cpu_inner_portable, &cpu_inner_avx2, &cpu_inner_avx512,
							      &cpu_inner_avx512};

const struct cpu_inner_digits *cpu_inner_digits(void)
{
	return cpu_isa_current() == CPU_ISA_AVX512VNNI ? &cpu_inner_avx512vnni : NULL;
}

static int supported_bf16(void)
{
	const uint32_t avx512_bf16 = 1u << 5;
	uint32_t a;
	uint32_t b;
	uint32_t c;
	uint32_t d;

	return supported(CPU_ISA_AVX512) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & avx512_bf16);
}

/* As current: -1 until the first use. A virtual machine takes microseconds for a CPUID. */
static atomic_int bf16 = -1;

const struct cpu_inner_bf16 *cpu_inner_bf16(void)
{
	int has = atomic_load_explicit(&bf16, memory_order_relaxed);

	if (has < 0) {
		has = supported_bf16();
		atomic_store_explicit(&bf16, has, memory_order_relaxed);
	}
	return has ? &cpu_inner_avx512bf16 : NULL;
}

#else

static int supported(enum cpu_isa isa)
{
	return isa == CPU_ISA_PORTABLE;
}

static const struct cpu_inner *const tables[CPU_ISA_COUNT] = {&cpu_inner_portable};

const struct cpu_inner_bf16 *cpu_inner_bf16(void)
{
	return NULL;
}

const struct cpu_inner_digits *cpu_inner_digits(void)
{
	return NULL;
}

#endif

/* -1 until the first use. Threads that race to set it store the same value. */
static atomic_int current = -1;

enum cpu_isa cpu_isa_best(void)
{
	int isa = CPU_ISA_COUNT - 1;

	while (!supported((enum cpu_isa)isa))
		isa--;
	return (enum cpu_isa)isa;
}

enum cpu_isa cpu_isa_current(void)
{
	int isa = atomic_load_explicit(&current, memory_order_relaxed);

	if (isa < 0) {
		isa = (int)cpu_isa_best();
		atomic_store_explicit(&current, isa, memory_order_relaxed);
	}
	return (enum cpu_isa)isa;
}

int cpu_isa_force(enum cpu_isa isa)
{
	if ((int)isa < 0 || isa >= CPU_ISA_COUNT || !supported(isa))
		return -1;
	atomic_store_explicit(&current, (int)isa, memory_order_relaxed);
	return 0;
}

const char *cpu_isa_name(enum cpu_isa isa)
{
	static const char *const names[CPU_ISA_COUNT] = {"portable", "avx2", "avx512", "avx512vnni"};

	return (int)isa >= 0 && isa < CPU_ISA_COUNT ? names[isa] : "unknown";
}

const struct cpu_inner *cpu_inner(void)
{
	return tables[cpu_isa_current()];
}

int cpu_has_bf16(void)
{
	return cpu_inner_bf16() != NULL;
}
