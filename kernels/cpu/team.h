/*
 * Threads that share out the pieces of one kernel after another.
 *
 * A decoded token is some hundred parallel loops of a few ten microseconds, most of them reads of weights that no
 * two cores get at the same speed. So a loop costs little to begin and end, a thread that is ahead takes
 * pieces of one that is behind, and nobody waits for a thread that has not come yet: a loop ends when its pieces
 * are done.
 *
 * Who waits looks for a moment and then sleeps until it is woken, the thread that ends a loop too: after 5 ms where it
 * has its processor for itself, after 50 us where others want it. So a thread that is not running, and for which
 * the others wait, gets their time. Of more threads than processors no more are woken than there are processors.
 */
#ifndef GEMMARK_KERNELS_CPU_TEAM_H
#define GEMMARK_KERNELS_CPU_TEAM_H

struct cpu_team; /* opaque */

/* n_threads, the one that uses the team included. Null where memory or threads are out. */
struct cpu_team *cpu_team_open(int n_threads);
/* Null is fine. Not while a thread uses it. */
void cpu_team_close(struct cpu_team *t);

/*
 * The team of the calling thread's kernels from now on; null: none. Returns the one before. One thread may use a team
 * at a time.
 */
struct cpu_team *cpu_team_use(struct cpu_team *t);

/* Threads that the calling thread's loops have: its team's, or it alone. */
int cpu_threads(void);

/* A part of a loop: [begin, end) on thread 0 .. cpu_threads() - 1; 0 is the one that calls cpu_parallel. */
typedef void cpu_body(void *ctx, int begin, int end, int thread);

/*
 * Calls body for parts of [0, n), `grain` long at most, until each index was in one; returns when all calls have. A
 * body has no loop of its own. What it computes for an index must not depend on the parts or the thread.
 */
void cpu_parallel(int n, int grain, cpu_body *body, void *ctx);

#endif
