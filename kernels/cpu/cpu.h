/*
 * The kernels as C functions, for the host device.
 *
 * Each k_NAME(p) does what kernels/params.h says of NAME_params, on the calling
 * thread's team (team.h), or on it alone where it has none. Results do not depend on the number of threads: every
 * output element is computed by one thread in one fixed order.
 */
#ifndef GEMMARK_KERNELS_CPU_CPU_H
#define GEMMARK_KERNELS_CPU_CPU_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/params.h"

#define X(name, positional) void k_##name(const struct name##_params *p);
KERNEL_LIST(X)
#undef X

/* Instruction sets with a path of their own. */
enum cpu_isa { CPU_ISA_PORTABLE, CPU_ISA_AVX2, CPU_ISA_AVX512, CPU_ISA_AVX512VNNI, CPU_ISA_COUNT };

/* The best one that this processor and operating system run. */
enum cpu_isa cpu_isa_best(void);
/* The one in use: the best one until cpu_isa_force says otherwise. */
enum cpu_isa cpu_isa_current(void);
/* For tests and comparisons. Returns 0, or -1 (and changes nothing) where it cannot run here. */
int cpu_isa_force(enum cpu_isa isa);
/* "portable", "avx2", "avx512", "avx512vnni" */
const char *cpu_isa_name(enum cpu_isa isa);

/* Rows of activations from which on products are a prompt's, and may be computed in another way than a decoded token's.
 */
enum { CPU_PROMPT_TOKENS = 9 };
/*
 * Products in bfloat16: of CPU_PROMPT_TOKENS rows and more with matrices in Q8_0 and BF16, activations and weights
 * rounded to bfloat16 and summed in float32. Other products, and attention, stay what they are.
 */
/* Whether this processor and operating system have the instructions: AVX512_BF16. */
int cpu_has_bf16(void);
/* Whether the calling thread's products are so from now on, where it has them; at first they are not. Returns what was
 * before. */
int cpu_bf16_use(int on);

/*
 * Q8_0 blocks as GGUF stores them to the planes of struct weight, n_blocks of 32.
 * q: int8 (32 * n_blocks), 64-byte aligned; d: fp16 (n_blocks).
 */
void cpu_repack_q8_0(const void *blocks, int8_t *q, uint16_t *d, size_t n_blocks);

/*
 * Blocks of TENSOR_QUANT_TYPES as files have them to the planes that GPUs read (kernels/cuda/quants_geometry.h says
 * what they are; one that the type does not have is not touched). n_blocks of 32 elements, whole ones of the file's.
 */
struct cpu_planes {
	unsigned char *low;
	unsigned char *high;
	unsigned char *side;
	unsigned char *d;
};
void cpu_planes(enum tensor_type type, const void *blocks, size_t n_blocks, const struct cpu_planes *to);
/* Where they are in a matrix of so many blocks of 32. */
struct cpu_planes cpu_planes_at(enum tensor_type type, void *matrix, size_t n_blocks);

/* n elements of any tensor type, whole blocks as files have them, to float32. */
void cpu_to_f32(const void *src, enum tensor_type type, float *dst, size_t n);

/*
 * The read bandwidth of this machine in bytes/s: n_threads threads sum a buffer of
 * `bytes` (choose several times the last-level cache), best of `passes`. Returns 0
 * where memory or threads are out.
 */
double cpu_read_bandwidth(size_t bytes, int n_threads, int passes);

/*
 * The float32 peak of n_threads of this machine's cores in FLOP/s: multiplications and additions of registers alone,
 * best of `passes` of less than a millisecond. Returns 0 where threads are out.
 */
double cpu_peak_flops(int n_threads, int passes);

/* Frees the temporary memory that kernels keep for the calling thread (also done when the thread ends). */
void cpu_scratch_free(void);

#endif
