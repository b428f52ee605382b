/*
 * What a card's memory is measured with (memory.cu): kernels that read it as fast as it goes, and one load after the
 * other. No part of a model's work. C and CUDA.
 */
#ifndef GEMMARK_KERNELS_CUDA_MEMORY_GEOMETRY_H
#define GEMMARK_KERNELS_CUDA_MEMORY_GEOMETRY_H

/*
 * What they say of the card that fusion persistent was tuned on, an H100 80GB HBM3 (device_cuda_measure): the
 * medians of twelve processes, of which none was 0.3 % away.
 */
#define MEMORY_TUNED_BYTES_S 3098e9
#define MEMORY_TUNED_BYTES_CYCLE 12.107
#define MEMORY_TUNED_LATENCY_CYCLES 718

enum {
	MEMORY_THREADS = 512,
	MEMORY_EACH = 8,      /* vectors of 16 bytes that a thread asks for at once */
	MEMORY_PER_SM = 2,    /* blocks */
	MEMORY_LOADS = 256,   /* of a chain */
	MEMORY_STRIDE = 7808, /* bytes from a load of a chain to the next one: another line, of another channel */
	MEMORY_CHUNK = MEMORY_THREADS * MEMORY_EACH * 16, /* bytes that a block asks for at once */
	MEMORY_REGION = MEMORY_LOADS * MEMORY_STRIDE,     /* that a chain is in */
};

/* Every block the same number of chunks, of which each takes every n_blocks-th. */
struct memory_read_params {
	const void *from; /* (n_blocks * n_chunks, MEMORY_CHUNK) bytes */
	int n_chunks;     /* of a block */
	int reserved;
	unsigned long long *cycles; /* (n_blocks): from a block's first load to its last */
	unsigned *words;            /* (n_blocks): of all words that a block read, the exclusive or */
};

/* Of each block one thread, each of whose loads waits for the one before. */
struct memory_chain_params {
	const void *from; /* (n_blocks, MEMORY_REGION) bytes */
	unsigned mask;    /* 0, which the compiler does not know: what is loaded decides where the next load is */
	int reserved;
	unsigned long long *cycles; /* (n_blocks): of the chain */
	unsigned *words;            /* (n_blocks): of what it loaded, the exclusive or */
};

#endif
