/*
 * The measured bandwidth and peak, of memories and processors that are as fast as the test says: reads, copies and
 * multiplications advance a clock that nothing else moves. What is counted must be what was done.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/cuda/device_cuda_internal.h"
#include "engine/device/device_host.h"
#include "kernels/cpu/inner.h"
#include "tests/support/frozen_clock.h"

enum { MIB = 1 << 20, BUFFER = 8 * MIB, PASSES = 3 };

static void check_rate(double got, double expected)
{
	if (!(fabs(got - expected) <= 1e-6 * expected))
		fail_msg("%.9g bytes/s, where the memory moves %.9g", got, expected);
}

/* ---- the host ---- */

static _Atomic size_t bytes_read;
static _Atomic uintptr_t lowest, highest;

/* Nanoseconds for 4 bytes: the first pass finds cold memory, the last one is disturbed. */
static const int64_t pass_ns[PASSES] = {8, 2, 3};

static float slow_read(const void *p, size_t bytes)
{
	uintptr_t at = (uintptr_t)p, seen = lowest;
	while (at < seen && !atomic_compare_exchange_weak(&lowest, &seen, at))
		;
	seen = highest;
	while (at + bytes > seen && !atomic_compare_exchange_weak(&highest, &seen, at + bytes))
		;
	size_t before = atomic_fetch_add(&bytes_read, bytes);
	frozen_clock_advance((int64_t)(bytes / 4) * pass_ns[before / BUFFER % PASSES]);
	return 0;
}

static _Atomic int64_t steps_done;

/* Ten operations a step, one a nanosecond. */
static double slow_multiply(int steps, float *kept)
{
	*kept = 0;
	atomic_fetch_add(&steps_done, steps);
	frozen_clock_advance(10 * (int64_t)steps);
	return 10.0 * steps;
}

const struct cpu_inner *__real_cpu_inner(void);
const struct cpu_inner *__wrap_cpu_inner(void);
const struct cpu_inner *__wrap_cpu_inner(void)
{
	static struct cpu_inner slow;
	slow = *__real_cpu_inner();
	slow.read = slow_read;
	slow.multiply = slow_multiply;
	return &slow;
}

static void test_host(void **state)
{
	(void)state;
	for (int threads = 1; threads <= 2; threads++) {
		bytes_read = 0;
		lowest = UINTPTR_MAX;
		highest = 0;
		/* 4 bytes in 2 ns; what is left of the last megabyte is neither read nor counted. */
		check_rate(device_host_read_bandwidth(BUFFER + 12345, threads, PASSES), 2e9);
		assert_int_equal(bytes_read, PASSES * BUFFER);
		assert_int_equal(highest - lowest, BUFFER);
	}
	bytes_read = 0;
	check_rate(device_host_read_bandwidth(BUFFER, 1, 1), 0.5e9);
	assert_true(device_host_read_bandwidth(MIB - 1, 1, 1) == 0);
	assert_true(device_host_read_bandwidth(BUFFER, 0, 1) == 0);
}

/* The clock goes on for each of the threads, which compute at once: together as much as one. */
static void test_peak(void **state)
{
	(void)state;
	for (int threads = 1; threads <= 2; threads++) {
		steps_done = 0;
		check_rate(cpu_peak_flops(threads, PASSES), 1e9);
		assert_true(steps_done > 0 && steps_done % (PASSES * threads) == 0);
	}
	assert_true(cpu_peak_flops(0, 1) == 0);
	assert_true(cpu_peak_flops(1, 0) == 0);
}

/* Each step is computed, of each chain that is counted. */
static void test_steps(void **state)
{
	(void)state;
	enum { STEPS = 3 };
	for (int isa = 0; isa < CPU_ISA_COUNT; isa++) {
		double expected = 0;
		float kept;
		if (cpu_isa_force((enum cpu_isa)isa))
			continue;
		int lanes = isa < CPU_ISA_AVX512 ? 4 << isa : 16,
		    chains = (int)(__real_cpu_inner()->multiply(STEPS, &kept) / (2 * STEPS * lanes));
		assert_in_range(chains, 8, 32);
		for (int j = 0; j < chains; j++) {
			double x = j;
			for (int s = 0; s < STEPS; s++)
				x = x / 2 + 1;
			expected += lanes * x;
		}
		assert_true(fabs(kept - expected) <= 1e-5 * expected);
	}
	assert_int_equal(cpu_isa_force(cpu_isa_best()), 0);
}

/* ---- the GPU: a driver whose copies take time ---- */

enum { COPIED_PER_NS = 1024 }; /* bytes read, and as many written */

static int64_t stream_ns;
static int n_allocated, n_events, n_copies;
static uint64_t next_address = 1 << 20;
static size_t allocated_bytes[2];

static int mem_alloc(uint64_t *address, size_t bytes)
{
	assert_true(n_allocated < 2);
	allocated_bytes[n_allocated++] = bytes;
	*address = next_address;
	next_address += bytes;
	return 0;
}

static int mem_free(uint64_t address)
{
	assert_true(address != 0);
	n_allocated--;
	return 0;
}

static int event_create(struct cu_event **event, unsigned flags)
{
	assert_int_equal(flags & CU_EVENT_FLAG_DISABLE_TIMING, 0);
	static int64_t times[2];
	assert_true(n_events < 2);
	*event = (struct cu_event *)&times[n_events++];
	return 0;
}

static int event_record(struct cu_event *event, struct cu_stream *stream)
{
	(void)stream;
	memcpy(event, &stream_ns, sizeof stream_ns);
	return 0;
}

static int event_synchronize(struct cu_event *event)
{
	(void)event;
	return 0;
}

static int event_elapsed(float *ms, struct cu_event *from, struct cu_event *to)
{
	int64_t a, b;
	memcpy(&a, from, sizeof a);
	memcpy(&b, to, sizeof b);
	*ms = (float)((double)(b - a) / 1e6);
	return 0;
}

static int event_destroy(struct cu_event *event)
{
	(void)event;
	n_events--;
	return 0;
}

static int copy_within(uint64_t dst, uint64_t src, size_t bytes, struct cu_stream *stream)
{
	(void)stream;
	/* All of both buffers: a card's cache holds neither. */
	assert_true(dst - src == bytes || src - dst == bytes);
	assert_true(bytes == allocated_bytes[0] && bytes == allocated_bytes[1]);
	/* The third copy is the undisturbed one. */
	stream_ns += (int64_t)bytes / COPIED_PER_NS * (n_copies++ == 2 ? 1 : 2);
	return 0;
}

static void test_gpu(void **state)
{
	(void)state;
	struct cuda_device c = {.cu = {.MemAlloc = mem_alloc,
				       .MemFree = mem_free,
				       .EventCreate = event_create,
				       .EventRecord = event_record,
				       .EventSynchronize = event_synchronize,
				       .EventElapsedTime = event_elapsed,
				       .EventDestroy = event_destroy,
				       .MemcpyDtoDAsync = copy_within}};
	check_rate(device_cuda_bandwidth(&c.base), 2e9 * COPIED_PER_NS);
	assert_true(n_copies > 2);
	assert_int_equal(n_allocated, 0);
	assert_int_equal(n_events, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_host), cmocka_unit_test(test_peak),
					   cmocka_unit_test(test_steps), cmocka_unit_test(test_gpu)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
