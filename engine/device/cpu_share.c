#include "engine/device/cpu_share.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 512, LINE_BYTES = 4096, NODES_MAX = 1024 };

/* First line of root + path, without its end. */
static bool first_line(const char *root, const char *path, char line[LINE_BYTES])
{
	char full[2 * PATH_BYTES];
	snprintf(full, sizeof full, "%s%s", root, path);
	FILE *f = fopen(full, "r");
	bool ok = f && fgets(line, LINE_BYTES, f);
	if (f)
		fclose(f);
	if (ok)
		line[strcspn(line, "\n")] = 0;
	return ok;
}

/* "0-3,8,10-11"; calls for no more CPUs than a mask holds. Whether one of them is in the mask. */
static bool list_meets(const char *list, const cpu_set_t *allowed)
{
	while (*list) {
		char *end;
		long from = strtol(list, &end, 10), to = from;
		if (end == list)
			return false;
		if (*end == '-')
			to = strtol(end + 1, &end, 10);
		for (long cpu = from; cpu >= 0 && cpu <= to && cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET((size_t)cpu, allowed))
				return true;
		list = end + (*end == ',');
	}
	return false;
}

static int count_cores(const char *root, const cpu_set_t *allowed)
{
	int n = 0;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		char path[PATH_BYTES], line[LINE_BYTES];
		int first = cpu;
		if (!CPU_ISSET((size_t)cpu, allowed))
			continue;
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
		if (!first_line(root, path, line) || sscanf(line, "%d", &first) != 1 || first < 0 ||
		    first >= CPU_SETSIZE)
			first = cpu;
		/* Counted at its first allowed sibling; a first sibling that is not allowed does not hide the core. */
		if (first == cpu || !CPU_ISSET((size_t)first, allowed))
			n++;
	}
	return n;
}

static int count_nodes(const char *root, const cpu_set_t *allowed)
{
	int n = 0;
	for (int node = 0; node < NODES_MAX; node++) {
		char path[PATH_BYTES], line[LINE_BYTES];
		snprintf(path, sizeof path, "/sys/devices/system/node/node%d/cpulist", node);
		if (first_line(root, path, line))
			n += list_meets(line, allowed);
	}
	return n;
}

/* Of one control group; 0: it sets no limit, or is not there. */
static double group_quota(const char *root, const char *group, bool unified)
{
	char path[2 * PATH_BYTES], line[LINE_BYTES];
	double quota, period;
	if (unified) {
		snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
		return first_line(root, path, line) && sscanf(line, "%lf %lf", &quota, &period) == 2 && period > 0
			       ? quota / period
			       : 0;
	}
	snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", group);
	if (!first_line(root, path, line) || sscanf(line, "%lf", &quota) != 1 || quota <= 0)
		return 0;
	snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", group);
	return first_line(root, path, line) && sscanf(line, "%lf", &period) == 1 && period > 0 ? quota / period : 0;
}

/* The least of a group and those above it. A container may see its own group as the root. */
static double least_quota(const char *root, char *group, bool unified)
{
	double least = 0;
	for (;;) {
		char *slash = strrchr(group, '/');
		double q = group_quota(root, group, unified);
		if (q > 0 && (least == 0 || q < least))
			least = q;
		if (!slash)
			return least;
		*slash = 0;
	}
}

/* Whether a comma list has the word. */
static bool lists(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *at = list; (at = strstr(at, word)); at += n)
		if ((at == list || at[-1] == ',') && (at[n] == ',' || at[n] == 0))
			return true;
	return false;
}

static double read_quota(const char *root)
{
	char full[PATH_BYTES], line[LINE_BYTES];
	double least = 0;
	snprintf(full, sizeof full, "%s/proc/self/cgroup", root);
	FILE *f = fopen(full, "r");
	while (f && fgets(line, sizeof line, f)) { /* "number:controllers:/group" */
		line[strcspn(line, "\n")] = 0;
		char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!group || strlen(group) >= PATH_BYTES)
			continue;
		*group++ = 0;
		bool unified = !controllers[1];
		if (!unified && !lists(controllers + 1, "cpu"))
			continue;
		double q = least_quota(root, group, unified);
		if (q > 0 && (least == 0 || q < least))
			least = q;
	}
	if (f)
		fclose(f);
	return least;
}

struct cpu_share cpu_share_read(const char *root, const cpu_set_t *allowed)
{
	cpu_set_t own;
	CPU_ZERO(&own);
	if (!allowed && sched_getaffinity(0, sizeof own, &own))
		CPU_SET(0, &own);
	if (!allowed)
		allowed = &own;
	return (struct cpu_share){
		.cpus = CPU_COUNT(allowed),
		.cores = count_cores(root, allowed),
		.quota = read_quota(root),
		.numa_nodes = count_nodes(root, allowed),
	};
}

int cpu_share_threads(const struct cpu_share *s)
{
	int n = s->cores;
	if (s->quota > 0 && s->quota < n)
		n = (int)s->quota;
	return n > 1 ? n : 1;
}
