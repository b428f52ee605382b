/* Temporary memory of the kernels: one block for each thread that calls them, grown and kept. */
#include <stdio.h>
#include <stdlib.h>
#include <threads.h>

#include "kernels/cpu/inner.h"

static _Thread_local struct {
	void *memory;
	size_t bytes;
} scratch;

/* Only for its destructor, which frees the block of a thread that ends. */
static tss_t owner;
static once_flag owner_once = ONCE_FLAG_INIT;
static int owner_made;

static void owner_make(void)
{
	owner_made = tss_create(&owner, free) == thrd_success;
}

void cpu_scratch_free(void)
{
	if (!scratch.memory)
		return;
	(void)tss_set(owner, NULL);
	free(scratch.memory);
	scratch.memory = NULL;
	scratch.bytes = 0;
}

void *cpu_scratch(size_t bytes)
{
	if (bytes <= scratch.bytes)
		return scratch.memory;
	cpu_scratch_free();
	bytes = (bytes + 4095) / 4096 * 4096;
	call_once(&owner_once, owner_make);
	scratch.memory = aligned_alloc(64, bytes);
	if (!owner_made || !scratch.memory || tss_set(owner, scratch.memory) != thrd_success) {
		fprintf(stderr, "kernel scratch: no memory for %zu bytes; use a smaller prefill chunk\n", bytes);
		abort();
	}
	scratch.bytes = bytes;
	return scratch.memory;
}
