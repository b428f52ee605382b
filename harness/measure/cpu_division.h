/*
 * A machine's processors divided among processes that measure side by side, each near its own GPU: whole cores, with
 * all their hardware threads, no core twice. Linux; read from sysfs.
 */
#ifndef GEMMARK_HARNESS_MEASURE_CPU_DIVISION_H
#define GEMMARK_HARNESS_MEASURE_CPU_DIVISION_H

#include <sched.h>
#include <stddef.h>

#include "base/error.h"

/* "0-3,8"; returns 0, or -1 where it is no such list, or one with numbers that a set cannot hold. */
int cpu_list_parse(const char *list, cpu_set_t *out);
/* The same text again, cut where size is too small; out, "" of none. */
const char *cpu_list_text(const cpu_set_t *set, char *out, size_t size);

/*
 * The CPUs that are local to a PCI device ("00000000:4e:00.0", as NVML has it) and its NUMA node, -1 where it has none.
 * root: "", or a folder that stands for / (sys). 0, or -1 where the system does not say.
 */
int cpu_list_of_pci(const char *root, const char *bus_id, cpu_set_t *cpus, int *node);

/*
 * wanted: (n) the CPUs that would do for each; allowed: those of the process. Each gets as many cores as those who want
 * the same ones, neighbours of each other; who can be served by few only is served first. ERROR_INPUT where one would
 * get none: cores are given to one alone.
 */
int cpu_divide(const char *root, const cpu_set_t *allowed, const cpu_set_t *wanted, int n, cpu_set_t *out,
	       struct error *err);

#endif
