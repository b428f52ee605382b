/*
 * Seeded random numbers that are the same on every machine: splitmix64
 * (Steele, Lea and Flood 2014), integers only.
 */
#ifndef GEMMARK_BASE_RANDOM_H
#define GEMMARK_BASE_RANDOM_H

#include <stdint.h>

static inline uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Uniform in [0, n), without modulo bias; n > 0. */
static inline uint64_t random_below(uint64_t *state, uint64_t n)
{
	uint64_t reject = -n % n; /* 2^64 mod n */
	uint64_t x;
	do {
		x = random_next(state);
	} while (x < reject);
	return x % n;
}

/* Fisher-Yates. */
static inline void random_shuffle(uint64_t *state, int *items, int n)
{
	for (int i = n - 1; i > 0; i--) {
		int j = (int)random_below(state, (uint64_t)i + 1);
		int t = items[i];
		items[i] = items[j];
		items[j] = t;
	}
}

#endif
