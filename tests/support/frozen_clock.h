/*
 * A clock that only the test moves. The test is linked with gemmark_wrap(NAME clock_gettime): every look at the
 * clock in our code lands here, and what takes time is exactly what the test says takes time.
 */
#ifndef GEMMARK_TESTS_SUPPORT_FROZEN_CLOCK_H
#define GEMMARK_TESTS_SUPPORT_FROZEN_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

static _Atomic int64_t frozen_now_ns = 1000000000;

int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	(void)id;
	int64_t now = frozen_now_ns;
	*t = (struct timespec){.tv_sec = now / 1000000000, .tv_nsec = now % 1000000000};
	return 0;
}

static inline void frozen_clock_advance(int64_t ns)
{
	frozen_now_ns += ns;
}

#endif
