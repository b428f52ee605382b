/*
 * The host device: the kernels as C functions on this machine's cores.
 *
 * It is a stream like a GPU's: launches, copies and replays only copy their params
 * into a queue; synchronize, and whatever needs a result, runs the queue. So the time
 * to enqueue (host cost) and the time to execute are two things here too, and graph
 * code meets the rules of a real device: params are copied when recorded, a capture
 * refuses what CUDA refuses, node updates touch only later replays, and any step can
 * be made to fail.
 */
#ifndef GEMMARK_ENGINE_DEVICE_DEVICE_HOST_H
#define GEMMARK_ENGINE_DEVICE_DEVICE_HOST_H

#include "engine/device/device.h"

/* Runs kernels/cpu on n_threads threads (0: one a physical core that this process may use; cpu_share.h). */
int device_host_open(struct device **out, int n_threads, struct error *err);
int device_host_threads(const struct device *d);

/* What products of a prompt's rows are computed in, CPU_PROMPT_TOKENS of them and more (kernels/cpu/cpu.h). */
enum host_products {
	HOST_PRODUCTS_F32,
	HOST_PRODUCTS_BF16, /* with matrices in Q8_0 and BF16: operands rounded to bfloat16, sums in float32 */
};
/* "f32", "bf16"; -1 for neither */
const char *host_products_name(enum host_products p);
int host_products_parse(const char *name);
/* ERROR_UNSUPPORTED where this processor has no instructions for them. */
int device_host_can_products(enum host_products p, struct error *err);
/* Of what is executed from now on; at opening: float32. As device_host_can_products. */
int device_host_set_products(struct device *d, enum host_products p, struct error *err);

/* Bytes of memory that this machine could still give, the page cache's included; 0: unknown. */
size_t device_host_available(void);

/* Time of each kernel, where one is kept. The last place is that of copies. */
struct device_host_profile {
	uint64_t ns[KERNEL_COUNT + 1];
	uint64_t calls[KERNEL_COUNT + 1];
};
/* Adds to *p, the caller's, what is executed from now on; null stops it. Two looks at the clock a kernel. */
void device_host_profile(struct device *d, struct device_host_profile *p);

/* Instruction set that the kernels use here: "avx512", "avx2", "portable". */
const char *device_host_isa(void);
/* Read bandwidth of this machine's memory in bytes/s, n_threads reading a buffer of `bytes`; 0: it does not fit. */
double device_host_read_bandwidth(size_t bytes, int n_threads, int passes);

#endif
