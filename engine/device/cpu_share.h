/*
 * How much of this machine's processors the process may use: what the host device's
 * default number of threads comes from. Linux; what cannot be read counts as no limit.
 */
#ifndef GEMMARK_ENGINE_DEVICE_CPU_SHARE_H
#define GEMMARK_ENGINE_DEVICE_CPU_SHARE_H

#include <sched.h>

struct cpu_share {
	int cpus;       /* logical ones in the affinity mask */
	int cores;      /* physical ones that they belong to */
	double quota;   /* CPU seconds a second that the control group allows; 0: no limit */
	int numa_nodes; /* that they lie on; 0: unknown */
};

/* root: "", or a folder that stands for / (proc, sys). allowed: the mask; null: the process's. */
struct cpu_share cpu_share_read(const char *root, const cpu_set_t *allowed);

/*
 * One a physical core, because a core's second hardware thread adds no memory bandwidth; no more than the quota has
 * whole CPUs, because a group over its quota stops altogether. At least 1.
 */
int cpu_share_threads(const struct cpu_share *s);

#endif
