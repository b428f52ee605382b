/*
 * The kernel of a whole token (kernels/cuda/persistent.cu) on the processor: its threads are fibres of one thread,
 * which take turns at random, so that a seed gives one of the ways that they may run beside each other; copies and
 * their barriers complete some time later, in any order. What would be undefined on a GPU ends the program with a
 * message: a warp that meets itself in two places, an element that is written twice in a token, a copy that is
 * misaligned, leaves the shared memory or meets another one, a barrier that is arrived at too often, and threads that
 * all wait. Its clock stands still, so nobody gives up, but of a token that is watched.
 */
#ifndef GEMMARK_TESTS_EMULATED_EMULATION_H
#define GEMMARK_TESTS_EMULATED_EMULATION_H

#include <stdbool.h>

#include "kernels/params.h"

enum {
	EMULATED_BLOCKS_MAX = 8,
	EMULATED_SHARED_BYTES = 232448, /* an H100's, of a block */
	EMULATED_STREAM_CHUNKS = 2,     /* of a warp, that it is compiled for */
	EMULATED_SLICE_CHUNKS = 3,
};

#ifdef __cplusplus
extern "C"
#endif
	/* A token; all of it is done when that returns. Its program was planned for at most BLOCKS_MAX multiprocessors.
	 */
	void
	emulated_persistent(const struct persistent_params *p, unsigned seed);

/* A token whose clock goes. */
struct emulated_watch {
	unsigned long long step_ns; /* that a step of one thread takes */
	const void *withheld;       /* what is stored there, or copied from there, never comes; null: nothing */
	int absent;                 /* how many of the blocks, the last ones, never begin */
	/* What became of it. Neither done nor given up: all waited, for long. */
	bool done;
	bool gave_up;
	int block; /* that did, and its phase */
	int phase;
	unsigned long long waited_ns; /* since that block entered that phase */
	unsigned long long steps;     /* of all threads, and the most between two phases of a block that began */
	unsigned long long longest;
};

#ifdef __cplusplus
extern "C"
#endif
	/* The same; where it is given up nobody goes on, as on a GPU. */
	void
	emulated_persistent_watched(const struct persistent_params *p, unsigned seed, struct emulated_watch *w);

#ifdef __cplusplus
extern "C"
#endif
	/* Pieces of weights that the L2 has been asked for. */
	int
	emulated_asked(void);

#ifdef __cplusplus
extern "C"
#endif
	/* Of matrices as GPUs have them, in planes; y: whole vectors of 16 bytes. */
	void
	emulated_persistent_tile(const struct persistent_tile_params *p);

#endif
