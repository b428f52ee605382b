/*
 * How much memory the kernel of a whole token asks for ahead: constants, as tuned on an H100, and on a card whose
 * memory is slower less, in the proportion of the bytes that must be on their way for it to be busy (its rate times its
 * latency: Little's law) and of its rate. In coarse steps: two measurements of a card, of which either is up to 6 %
 * off, come to one plan, and an H100's is the one that was tuned.
 */
#include <math.h>
#include <stddef.h>

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/memory_geometry.h"

enum {
	/*
	 * Bytes on their way at once, to each multiprocessor. What polls for activations queues behind them in the L2:
	 * fewer while a phase that needs little is loaded, and at the start of the widest.
	 */
	SMALL_LIMIT = 18 << 10,
	WIDE_FIRST_LIMIT = 18 << 10,
	WIDE_LIMIT = 56 << 10,
	/*
	 * Where phases bring a block that much on average, the memory is what a token waits for, and gets more to do
	 * than it can: a piece every BUSY_CYCLES. Where they bring less, blocks wait for each other, 2 to 4 us a phase,
	 * and what they poll for must not queue: a little more than an H100's memory takes for a piece.
	 */
	BUSY_BYTES = 88 << 10,
	BUSY_CYCLES = 500,
	WAITING_CYCLES = 680,
	/* In one. */
	IN_FLIGHT_STEPS = 4, /* a product of two measured numbers */
	RATE_STEPS = 8,
};

/* The card on which those were tuned. */
static const struct cuda_memory tuned_on = {.bytes_s = MEMORY_TUNED_BYTES_S,
					    .bytes_cycle = MEMORY_TUNED_BYTES_CYCLE,
					    .latency_cycles = MEMORY_TUNED_LATENCY_CYCLES};

/* A memory that is so many times faster or slower than that one is none: it is a measurement that failed. */
static const double MOST = 8;

static int is_credible(double measured, double tuned)
{
	return measured >= tuned / MOST && measured <= tuned * MOST; /* which a NaN is not */
}

/*
 * From a half to once. A faster memory does not get more: on an H200, 1.45 times as fast, with one and a half times as
 * much in flight and as fast a pace E4B in Q8_0 decoded 611 tokens/s in the place of 618. Too little costs more: an
 * H100 with three quarters in flight 464 of 539 (doc/gpu.md).
 */
static double in_steps(double ratio, int steps)
{
	return fmin(fmax(round(ratio * steps) / steps, 0.5), 1);
}

static int scaled(int constant, double by)
{
	return (int)lround(constant * by);
}

const char *cuda_persistent_limits(struct persistent_limits *out, const struct cuda_memory *m)
{
	const char *why = NULL;
	double in_flight = 1, rate = 1;
	if (m->bytes_s == 0 && m->bytes_cycle == 0 && m->latency_cycles == 0)
		why = "was not measured";
	else if (!is_credible(m->bytes_s, tuned_on.bytes_s) || !is_credible(m->bytes_cycle, tuned_on.bytes_cycle))
		why = "was measured at a rate that no memory has";
	else if (!is_credible(m->latency_cycles, tuned_on.latency_cycles))
		why = "was measured at a latency that no memory has";
	if (!why) {
		rate = m->bytes_cycle / tuned_on.bytes_cycle;
		in_flight = in_steps(rate * m->latency_cycles / tuned_on.latency_cycles, IN_FLIGHT_STEPS);
		rate = in_steps(rate, RATE_STEPS);
	}
	*out = (struct persistent_limits){
		.in_flight = in_flight,
		.rate = rate,
		.small_bytes = scaled(SMALL_LIMIT, in_flight),
		.wide_bytes = scaled(WIDE_LIMIT, in_flight),
		.first_bytes = scaled(WIDE_FIRST_LIMIT, in_flight),
		.busy_bytes = scaled(BUSY_BYTES, rate),
		.busy_cycles = scaled(BUSY_CYCLES, 1 / rate),
		.waiting_cycles = scaled(WAITING_CYCLES, 1 / rate),
	};
	return why;
}
