#include "kernels/cpu/team.h"

#include <assert.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	CACHE_LINE = 64,
	SPIN_NS = 200000,       /* of waiting before others are let on the processor: longer than most loops */
	CROWDED_SPIN_NS = 5000, /* the same of more threads than processors */
	AWAKE_NS = 5000000,     /* of waiting before a thread sleeps: longer than a GPU's part of a token */
	SPINS_PER_LOOK = 64,    /* between two looks at the clock */
};

/* A thread's place. Each has its own cache line: only thieves and the end of a loop touch another's. */
struct seat {
	_Alignas(CACHE_LINE) _Atomic uint64_t cursor; /* loop number << 32 | next index of this thread's share */
	_Atomic uint32_t in;                          /* the loop that the thread takes part in; 0: none */
	struct cpu_team *team;
	pthread_t thread;
	int index;
};

struct cpu_team {
	/* Odd while a loop is open, one more when it is closed. Alone in its cache line: all who wait look at it. */
	_Alignas(CACHE_LINE) _Atomic uint32_t number;
	/* The loop; written before the number gets odd. */
	_Alignas(CACHE_LINE) cpu_body *body;
	void *ctx;
	int n;
	int grain;
	_Alignas(CACHE_LINE) _Atomic int sleepers;
	_Atomic int stop;
	int64_t spin_ns;
	int n_seats;
	int n_started;
	struct seat *seats;
};

static _Thread_local struct cpu_team *current;

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Someone who waits: how long already. */
struct patience {
	int spins;
	int64_t since;
};

/* A moment of waiting. Returns whether it has been long enough to sleep. */
static int wait_a_moment(const struct cpu_team *t, struct patience *w)
{
	int64_t waited;

	relax();
	if (++w->spins % SPINS_PER_LOOK)
		return 0;
	if (!w->since)
		w->since = now_ns();
	waited = now_ns() - w->since;
	if (waited > t->spin_ns)
		sched_yield();
	return waited > AWAKE_NS;
}

/* First index of a seat's share. */
static int share(const struct cpu_team *t, int seat)
{
	const int pieces = (t->n + t->grain - 1) / t->grain;
	const int64_t first = (int64_t)pieces * seat / t->n_seats * t->grain;

	return first < t->n ? (int)first : t->n;
}

/* Takes the next part of a seat's share; returns 0 where nothing of it is left. */
static int claim(struct cpu_team *t, int seat, uint32_t number, int *begin, int *end)
{
	struct seat *s = &t->seats[seat];
	const int last = share(t, seat + 1);
	uint64_t was = atomic_load_explicit(&s->cursor, memory_order_relaxed);

	for (;;) {
		*begin = was >> 32 == number ? (int)(uint32_t)was : share(t, seat);
		if (*begin >= last)
			return 0;
		*end = last - *begin < t->grain ? last : *begin + t->grain;
		if (atomic_compare_exchange_weak_explicit(&s->cursor, &was, (uint64_t)number << 32 | (uint32_t)*end,
							  memory_order_relaxed, memory_order_relaxed))
			return 1;
	}
}

/* The seat's own share, then what others have not come to. */
static void work(struct cpu_team *t, int seat, uint32_t number)
{
	for (int i = 0; i < t->n_seats; i++) {
		const int from = (seat + i) % t->n_seats;
		int begin, end;

		while (claim(t, from, number, &begin, &end))
			t->body(t->ctx, begin, end, seat);
	}
}

static void sleep_until_changed(struct cpu_team *t, uint32_t number)
{
	atomic_fetch_add(&t->sleepers, 1);
	if (!atomic_load(&t->stop))
		syscall(SYS_futex, &t->number, FUTEX_WAIT_PRIVATE, number, NULL, NULL, 0);
	atomic_fetch_sub(&t->sleepers, 1);
}

static void wake(struct cpu_team *t)
{
	if (atomic_load(&t->sleepers))
		syscall(SYS_futex, &t->number, FUTEX_WAKE_PRIVATE, t->n_seats, NULL, NULL, 0);
}

static void *serve(void *arg)
{
	struct seat *s = arg;
	struct cpu_team *t = s->team;
	struct patience waiting = {0};
	uint32_t seen = 0;

	while (!atomic_load_explicit(&t->stop, memory_order_relaxed)) {
		const uint32_t number = atomic_load_explicit(&t->number, memory_order_acquire);

		if (number == seen || number % 2 == 0) {
			if (wait_a_moment(t, &waiting)) {
				sleep_until_changed(t, number);
				waiting = (struct patience){0};
			}
			continue;
		}
		/* Said before it is looked at again: whoever closes the loop waits for those who were in time. */
		atomic_store(&s->in, number);
		if (atomic_load(&t->number) == number)
			work(t, s->index, number);
		atomic_store_explicit(&s->in, 0, memory_order_release);
		seen = number;
		waiting = (struct patience){0};
	}
	return NULL;
}

static void run(struct cpu_team *t, int n, int grain, cpu_body *body, void *ctx)
{
	const uint32_t number = atomic_load_explicit(&t->number, memory_order_relaxed) + 1;

	t->n = n;
	t->grain = grain;
	t->body = body;
	t->ctx = ctx;
	atomic_store(&t->number, number);
	wake(t);
	work(t, 0, number);
	atomic_store(&t->number, number + 1);
	for (int i = 1; i < t->n_seats; i++) {
		struct patience waiting = {0};

		while (atomic_load(&t->seats[i].in) == number)
			(void)wait_a_moment(t, &waiting);
	}
}

struct cpu_team *cpu_team_open(int n_threads)
{
	struct cpu_team *t = aligned_alloc(CACHE_LINE, sizeof(*t));

	assert(n_threads > 0);
	if (!t)
		return NULL;
	*t = (struct cpu_team){.n_seats = n_threads,
			       .spin_ns = n_threads > sysconf(_SC_NPROCESSORS_ONLN) ? CROWDED_SPIN_NS : SPIN_NS};
	t->seats = aligned_alloc(CACHE_LINE, (size_t)n_threads * sizeof(*t->seats));
	if (!t->seats) {
		free(t);
		return NULL;
	}
	for (int i = 0; i < n_threads; i++)
		t->seats[i] = (struct seat){.team = t, .index = i};
	for (int i = 1; i < n_threads; i++) {
		if (pthread_create(&t->seats[i].thread, NULL, serve, &t->seats[i])) {
			cpu_team_close(t);
			return NULL;
		}
		t->n_started++;
	}
	return t;
}

void cpu_team_close(struct cpu_team *t)
{
	if (!t)
		return;
	atomic_store(&t->stop, 1);
	atomic_fetch_add(&t->number, 2);
	syscall(SYS_futex, &t->number, FUTEX_WAKE_PRIVATE, t->n_seats, NULL, NULL, 0);
	for (int i = 1; i <= t->n_started; i++)
		pthread_join(t->seats[i].thread, NULL);
	free(t->seats);
	free(t);
}

struct cpu_team *cpu_team_use(struct cpu_team *t)
{
	struct cpu_team *before = current;

	current = t;
	return before;
}

int cpu_threads(void)
{
	return current ? current->n_seats : 1;
}

void cpu_parallel(int n, int grain, cpu_body *body, void *ctx)
{
	assert(grain > 0);
	if (current && n > grain) {
		run(current, n, grain, body, ctx);
		return;
	}
	for (int begin = 0; begin < n; begin += grain)
		body(ctx, begin, n - begin < grain ? n : begin + grain, 0);
}
