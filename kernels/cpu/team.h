/*
 * Threads that share out the pieces of one kernel after another.
 *
 * A decoded token is some hundred parallel loops of a few ten microseconds, most of them reads of weights that no
 * two cores get at the same speed. So a loop costs little to begin and end, a thread that is ahead takes
 * pieces of one that is behind, and nobody waits for a thread that has not come yet: a loop ends when its pieces
 * are done. Threads that wait spin for a moment, then yield, then sleep: too many of them for the
 * processor cost time but do not stop it.
 */
#ifndef GEMMARK_KERNELS_CPU_TEAM_H
#define GEMMARK_KERNELS_CPU_TEAM_H

struct cpu_team; /* opaque */

/* n_threads, the one that uses the team included. Null where memory or threads are out. */
struct cpu_team *cpu_team_open(int n_threads);
/* Null is fine. */
void cpu_team_close(struct cpu_team *t);

/*
 * The team of the calling thread's kernels from now on; null: none. Returns the one before. One thread may use a team
 * at a time.
 */
struct cpu_team *cpu_team_use(struct cpu_team *t);

/* Threads that the calling thread's loops have: its team's, or it alone. */
int cpu_threads(void);

/* A part of a loop: [begin, end) on thread 0 .. cpu_threads() - 1. */
typedef void cpu_body(void *ctx, int begin, int end, int thread);

/*
 * Calls body for parts of [0, n), `grain` long at most, until each index was in one; returns when all calls have. A
 * body has no loop of its own. What it computes for an index must not depend on the parts or the thread.
 */
void cpu_parallel(int n, int grain, cpu_body *body, void *ctx);

#endif
