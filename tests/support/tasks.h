/*
 * Threads of this process as the kernel sees them: whether they sleep. For tests of who waits how; they hold on a
 * machine of any speed and load.
 */
#ifndef GEMMARK_TESTS_SUPPORT_TASKS_H
#define GEMMARK_TESTS_SUPPORT_TASKS_H

#include <stdbool.h>
#include <stdint.h>

enum { TASKS_MAX = 64 };

struct tasks {
	int ids[TASKS_MAX]; /* the calling thread's first */
	int n;
	int before[TASKS_MAX]; /* there already, and not looked at */
	int n_before;
};

/* The calling thread, and those that are made until tasks_end. */
void tasks_begin(struct tasks *t);
void tasks_end(struct tasks *t);

/*
 * Waits until all of them but the calling thread sleep, and do not run for a while. False where one still runs after a
 * minute.
 */
bool tasks_rest(const struct tasks *t);

/* How often the i-th has been taken off a processor, or has left it. */
int64_t tasks_switches(const struct tasks *t, int i);

/* Waits until there are no threads but those before tasks_begin. False where there still are after a minute. */
bool tasks_gone(const struct tasks *t);

/* Processors that the calling thread may run on. */
int tasks_processors(void);

#endif
