/* The clock of every host-side time: CLOCK_MONOTONIC_RAW, which NTP does not slew. */
#ifndef GEMMARK_BASE_CLOCK_H
#define GEMMARK_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif
