/* Between the tensor types, outside the kernels: at load and in tests. */
#include <assert.h>
#include <string.h>

#include "kernels/cpu/inner.h"

void cpu_repack_q8_0(const void *blocks, int8_t *q, uint16_t *d, size_t n_blocks)
{
	const unsigned char *p = blocks;

	for (size_t b = 0; b < n_blocks; b++, p += CPU_Q8_BYTES) {
		memcpy(d + b, p, sizeof(*d));
		memcpy(q + b * CPU_Q8_BLOCK, p + sizeof(*d), CPU_Q8_BLOCK);
	}
}

void cpu_to_f32(const void *src, enum tensor_type type, float *dst, size_t n)
{
	assert(cpu_whole_blocks((int)type, n));
	cpu_inner()->to_f32(src, NULL, (int)type, dst, n);
}
