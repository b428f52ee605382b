/*
 * Bytes of allocations that are counted before they are made: what is asked for, and what a
 * GPU's driver takes for it.
 */
#ifndef GEMMARK_ENGINE_DEVICE_BYTE_COUNT_H
#define GEMMARK_ENGINE_DEVICE_BYTE_COUNT_H

#include <stddef.h>

struct byte_count {
	size_t bytes; /* asked for */
	size_t taken; /* by CUDA's allocator: whole 2 MiB pages from 1 MiB up, parts of 512 bytes below */
};

/* One allocation; of 0 bytes nothing is counted. */
static inline void byte_count_add(struct byte_count *c, size_t bytes)
{
	const size_t page = (size_t)2 << 20, part = 512;
	size_t unit = bytes >= page / 2 ? page : part;
	c->bytes += bytes;
	c->taken += (bytes + unit - 1) / unit * unit;
}

#endif
