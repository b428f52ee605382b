/*
 * A clock that only the test moves. The test is linked with gemmark_wrap(NAME clock_gettime): every look at the
 * clock in our code lands here, and what takes time is exactly what the test says takes time; a look does too where
 * frozen_look_ns says so.
 */
#ifndef GEMMARK_TESTS_SUPPORT_FROZEN_CLOCK_H
#define GEMMARK_TESTS_SUPPORT_FROZEN_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

static _Atomic int64_t frozen_now_ns = 1000000000;
static int64_t frozen_look_ns; /* that each look takes, behind it */
/* Of every so many looks one takes more, as where the process was interrupted; 0: none. */
static long frozen_stall_every;
static int64_t frozen_stall_ns;
static _Atomic long frozen_looks;

int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	(void)id;
	int64_t stall = frozen_stall_every && ++frozen_looks % frozen_stall_every == 0 ? frozen_stall_ns : 0;
	int64_t now = atomic_fetch_add(&frozen_now_ns, frozen_look_ns + stall);
	*t = (struct timespec){.tv_sec = now / 1000000000, .tv_nsec = now % 1000000000};
	return 0;
}

static inline void frozen_clock_advance(int64_t ns)
{
	frozen_now_ns += ns;
}

#endif
