#include "tests/support/tasks.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAUSE_MS = 10, PAUSES = 6000 };

static int self(void)
{
	return (int)syscall(SYS_gettid);
}

static int list(int ids[TASKS_MAX])
{
	DIR *d = opendir("/proc/self/task");
	int n = 0;
	for (struct dirent *e; d && (e = readdir(d)) && n < TASKS_MAX;)
		if (e->d_name[0] != '.')
			ids[n++] = atoi(e->d_name);
	if (d)
		closedir(d);
	return n;
}

static bool among(int id, const int *ids, int n)
{
	for (int i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

void tasks_begin(struct tasks *t)
{
	t->n_before = list(t->before);
	t->ids[0] = self();
	t->n = 1;
}

void tasks_end(struct tasks *t)
{
	int ids[TASKS_MAX], n = list(ids);
	for (int i = 0; i < n; i++)
		if (!among(ids[i], t->before, t->n_before) && t->n < TASKS_MAX)
			t->ids[t->n++] = ids[i];
}

/* A thread's state, and how often it was switched away from. */
static char look(int id, int64_t *switches)
{
	char path[64], line[256], state = 0;
	snprintf(path, sizeof path, "/proc/self/task/%d/status", id);
	FILE *f = fopen(path, "r");
	*switches = 0;
	while (f && fgets(line, sizeof line, f)) {
		long long n;
		(void)sscanf(line, "State: %c", &state);
		if (sscanf(line, "voluntary_ctxt_switches: %lld", &n) == 1 ||
		    sscanf(line, "nonvoluntary_ctxt_switches: %lld", &n) == 1)
			*switches += n;
	}
	if (f)
		fclose(f);
	return state;
}

/* All but the calling thread: asleep, and how often they have been in all. */
static bool asleep(const struct tasks *t, int64_t *switches)
{
	bool all = true;
	*switches = 0;
	for (int i = 0; i < t->n; i++) {
		int64_t own;
		if (t->ids[i] == self())
			continue;
		all &= look(t->ids[i], &own) == 'S';
		*switches += own;
	}
	return all;
}

bool tasks_rest(const struct tasks *t)
{
	int64_t before = -1, now;
	for (int i = 0; i < PAUSES; i++) {
		if (!asleep(t, &now))
			before = -1;
		else if (now == before)
			return true;
		else
			before = now;
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
	}
	return false;
}

int64_t tasks_switches(const struct tasks *t, int i)
{
	int64_t n;
	look(t->ids[i], &n);
	return n;
}

/* A thread that has been joined may still be listed for a moment. */
bool tasks_gone(const struct tasks *t)
{
	for (int i = 0; i < PAUSES; i++) {
		int ids[TASKS_MAX], n = list(ids), others = 0;
		for (int j = 0; j < n; j++)
			others += !among(ids[j], t->before, t->n_before);
		if (!others)
			return true;
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
	}
	return false;
}

int tasks_processors(void)
{
	cpu_set_t set;
	return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}
