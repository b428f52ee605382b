#include "kernels/cpu/team.h"

#include <assert.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	CACHE_LINE = 64,
	SPINS_PER_LOOK = 64,     /* between two looks at the clock: a few microseconds */
	SPIN_NS = 200000,        /* of waiting before others are let on the processor: longer than most loops */
	AWAKE_NS = 5000000,      /* of waiting before a thread sleeps: longer than a GPU's part of a token */
	CROWDED_SPIN_NS = 50000, /* the same where others want the processors */
	GAP_NS = 500000,         /* between two looks: the thread was not running, others were */
	CROWDED_NS = 200000000,  /* for so long others are believed to be there still */
};

/* A thread's place, in cache lines of its own: only thieves, and who begins and ends a loop, look at another's. */
struct seat {
	_Alignas(CACHE_LINE) _Atomic uint64_t cursor; /* loop number << 32 | next index of this thread's share */
	_Alignas(CACHE_LINE) _Atomic uint32_t in;     /* the loop that the thread takes part in; 0: none */
	_Atomic uint32_t awaited;                     /* who ends the loop sleeps until `in` changes */
	_Alignas(CACHE_LINE) _Atomic uint32_t asleep; /* the thread sleeps until it is 0 */
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
	_Alignas(CACHE_LINE) _Atomic int stop;
	_Atomic int64_t crowded_until; /* now_ns() */
	int n_seats;
	int n_awake; /* seats that loops wake: no more than processors */
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
	int64_t looked;
	long switches; /* that the thread had when it began to wait for long; 0: it does not yet */
};

/* How often the thread has been taken off its processor for another; 1 more, so that it is never 0. */
static long switches(void)
{
	struct rusage r;

	return getrusage(RUSAGE_THREAD, &r) == 0 ? r.ru_nivcsw + 1 : 1;
}

/*
 * A moment of waiting. Returns whether it has been long enough to sleep.
 *
 * Waking costs more than most waits last, so a thread that has the processor for itself stays awake. Where others want
 * it, what is waited for may be a thread that is not running: then a waiting one that runs, or only stands in
 * the queue, is in the way; one that sleeps is the next to run when it is woken. A yield that others use, or a turn
 * that ends while waiting, tells which of the two it is: time that is missing, and a switch. (A virtual machine that
 * does not run misses time without one.)
 */
static int wait_a_moment(struct cpu_team *t, struct patience *w)
{
	int64_t now;

	relax();
	if (++w->spins % SPINS_PER_LOOK)
		return 0;
	now = now_ns();
	if (!w->since)
		w->since = w->looked = now;
	if (now - w->since > CROWDED_SPIN_NS) {
		if (now < atomic_load_explicit(&t->crowded_until, memory_order_relaxed))
			return 1;
		if (!w->switches)
			w->switches = switches();
		else if (now - w->looked > GAP_NS && switches() != w->switches)
			atomic_store_explicit(&t->crowded_until, now + CROWDED_NS, memory_order_relaxed);
	}
	w->looked = now;
	if (now - w->since > SPIN_NS)
		sched_yield();
	return now - w->since > AWAKE_NS;
}

/* Returns when *word is not `value`, or at any time before. */
static void sleep_while(_Atomic uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
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

/* Until someone wakes the seat, or at once where the loop `number` is not the last any more. */
static void seat_sleep(struct seat *s, uint32_t number)
{
	struct cpu_team *t = s->team;

	/* Said before it is looked at again: whoever begins a loop after that look sees it. */
	atomic_store(&s->asleep, 1);
	if (atomic_load(&t->number) != number || atomic_load(&t->stop))
		atomic_store(&s->asleep, 0);
	while (atomic_load(&s->asleep))
		sleep_while(&s->asleep, 1);
}

static void seat_wake(struct seat *s)
{
	if (atomic_load(&s->asleep) && atomic_exchange(&s->asleep, 0))
		wake(&s->asleep);
}

static void seat_leave(struct seat *s)
{
	atomic_store(&s->in, 0);
	if (atomic_load(&s->awaited))
		wake(&s->in);
}

/* Until the seat has left the loop. */
static void seat_await(struct seat *s, uint32_t number)
{
	struct cpu_team *t = s->team;
	struct patience waiting = {0};

	while (atomic_load(&s->in) == number) {
		if (!wait_a_moment(t, &waiting))
			continue;
		atomic_store(&s->awaited, 1);
		while (atomic_load(&s->in) == number)
			sleep_while(&s->in, number);
		atomic_store(&s->awaited, 0);
	}
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
				seat_sleep(s, number);
				waiting = (struct patience){0};
			}
			continue;
		}
		/* Said before it is looked at again: whoever closes the loop waits for those who were in time. */
		atomic_store(&s->in, number);
		if (atomic_load(&t->number) == number)
			work(t, s->index, number);
		seat_leave(s);
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
	for (int i = 1; i < t->n_awake && (n - 1) / grain >= i; i++)
		seat_wake(&t->seats[i]);
	work(t, 0, number);
	atomic_store(&t->number, number + 1);
	for (int i = 1; i < t->n_seats; i++)
		seat_await(&t->seats[i], number);
}

/* That the calling thread may run on. */
static int processors(void)
{
	cpu_set_t set;
	long online;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return CPU_COUNT(&set);
	online = sysconf(_SC_NPROCESSORS_ONLN); /* more than the set has room for */
	return online > 0 ? (int)online : 1;
}

/* Signals that are not for these threads: all but those of a thread's own faults, such as a mapped file that is cut. */
static const sigset_t *signals_of_others(sigset_t *mask)
{
	static const int own[] = {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP};

	sigfillset(mask);
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		sigdelset(mask, own[i]);
	return mask;
}

struct cpu_team *cpu_team_open(int n_threads)
{
	struct cpu_team *t = aligned_alloc(CACHE_LINE, sizeof(*t));
	const int n_processors = processors();
	sigset_t mask, before;

	assert(n_threads > 0);
	if (!t)
		return NULL;
	*t = (struct cpu_team){.n_seats = n_threads, .n_awake = n_threads < n_processors ? n_threads : n_processors};
	t->seats = aligned_alloc(CACHE_LINE, (size_t)n_threads * sizeof(*t->seats));
	if (!t->seats) {
		free(t);
		return NULL;
	}
	for (int i = 0; i < n_threads; i++)
		t->seats[i] = (struct seat){.team = t, .index = i};
	pthread_sigmask(SIG_SETMASK, signals_of_others(&mask), &before);
	for (int i = 1; i < n_threads; i++) {
		if (pthread_create(&t->seats[i].thread, NULL, serve, &t->seats[i]))
			break;
		t->n_started++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (t->n_started == n_threads - 1)
		return t;
	cpu_team_close(t);
	return NULL;
}

void cpu_team_close(struct cpu_team *t)
{
	if (!t)
		return;
	atomic_store(&t->stop, 1);
	for (int i = 1; i <= t->n_started; i++)
		seat_wake(&t->seats[i]);
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
