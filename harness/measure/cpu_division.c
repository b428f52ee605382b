#include "harness/measure/cpu_division.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 512, LINE_SIZE = 4096, DEVICES_MAX = 1024 };

int cpu_list_parse(const char *list, cpu_set_t *out)
{
	CPU_ZERO(out);
	while (*list) {
		char *end;
		if (!isdigit((unsigned char)*list))
			return -1;
		long from = strtol(list, &end, 10), to = from;
		if (*end == '-') {
			if (!isdigit((unsigned char)end[1]))
				return -1;
			to = strtol(end + 1, &end, 10);
		}
		if (to < from || to >= CPU_SETSIZE || (*end && *end != ',') || (*end && !end[1]))
			return -1;
		for (long cpu = from; cpu <= to; cpu++)
			CPU_SET((size_t)cpu, out);
		list = end + (*end == ',');
	}
	return 0;
}

const char *cpu_list_text(const cpu_set_t *set, char *out, size_t size)
{
	size_t used = 0;
	*out = '\0';
	for (int cpu = 0; cpu < CPU_SETSIZE && used < size; cpu++) {
		int first = cpu;
		if (!CPU_ISSET((size_t)cpu, set))
			continue;
		while (cpu + 1 < CPU_SETSIZE && CPU_ISSET((size_t)cpu + 1, set))
			cpu++;
		int n = snprintf(out + used, size - used, "%s%d", used ? "," : "", first);
		used += n > 0 ? (size_t)n : 0;
		if (cpu > first && used < size) {
			n = snprintf(out + used, size - used, "-%d", cpu);
			used += n > 0 ? (size_t)n : 0;
		}
	}
	return out;
}

/* First line of root + path, without its end. */
static bool first_line(const char *root, const char *path, char line[LINE_SIZE])
{
	char full[2 * PATH_SIZE];
	snprintf(full, sizeof full, "%s%s", root, path);
	FILE *f = fopen(full, "r");
	bool ok = f && fgets(line, LINE_SIZE, f);
	if (f)
		fclose(f);
	if (ok)
		line[strcspn(line, "\n")] = '\0';
	return ok;
}

int cpu_list_of_pci(const char *root, const char *bus_id, cpu_set_t *cpus, int *node)
{
	unsigned domain, bus, slot, function;
	char path[PATH_SIZE], line[LINE_SIZE];
	*node = -1;
	if (sscanf(bus_id, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		return -1;
	snprintf(path, sizeof path, "/sys/bus/pci/devices/%04x:%02x:%02x.%x/numa_node", domain, bus, slot, function);
	if (first_line(root, path, line))
		*node = atoi(line);
	snprintf(path, sizeof path, "/sys/bus/pci/devices/%04x:%02x:%02x.%x/local_cpulist", domain, bus, slot,
		 function);
	return first_line(root, path, line) && !cpu_list_parse(line, cpus) && CPU_COUNT(cpus) ? 0 : -1;
}

/* The hardware threads of a CPU's core, itself among them. */
static void core_of(const char *root, int cpu, cpu_set_t *out)
{
	char path[PATH_SIZE], line[LINE_SIZE];
	snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
	if (!first_line(root, path, line) || cpu_list_parse(line, out) || !CPU_ISSET((size_t)cpu, out)) {
		CPU_ZERO(out);
		CPU_SET((size_t)cpu, out);
	}
}

/* Of each CPU, the least CPU of its core that is allowed; CPU_SETSIZE where it is not allowed itself. */
static void find_cores(const char *root, const cpu_set_t *allowed, int *core)
{
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		core[cpu] = CPU_SETSIZE;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		cpu_set_t threads;
		if (!CPU_ISSET((size_t)cpu, allowed) || core[cpu] != CPU_SETSIZE)
			continue;
		core_of(root, cpu, &threads);
		for (int other = cpu; other < CPU_SETSIZE; other++)
			if (CPU_ISSET((size_t)other, &threads) && CPU_ISSET((size_t)other, allowed))
				core[other] = cpu;
	}
}

/* Cores that are free and wanted: one's first CPU. */
static bool is_free(const int *core, const bool *taken, const cpu_set_t *wanted, int cpu)
{
	return core[cpu] == cpu && !taken[cpu] && CPU_ISSET((size_t)cpu, wanted);
}

static int count_free(const int *core, const bool *taken, const cpu_set_t *wanted)
{
	int n = 0;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		n += is_free(core, taken, wanted, cpu);
	return n;
}

int cpu_divide(const char *root, const cpu_set_t *allowed, const cpu_set_t *wanted, int n, cpu_set_t *out,
	       struct error *err)
{
	int core[CPU_SETSIZE];
	bool taken[CPU_SETSIZE] = {false}, served[DEVICES_MAX] = {false};
	if (n > DEVICES_MAX)
		return error_set(err, ERROR_INPUT, "more than %d devices; name fewer", DEVICES_MAX);
	find_cores(root, allowed, core);
	for (int left = n; left > 0; left--) {
		int next = -1, least = 0, claims = 0;
		for (int i = 0; i < n; i++) {
			int free_cores = served[i] ? 0 : count_free(core, taken, &wanted[i]);
			if (!served[i] && (next < 0 || free_cores < least)) {
				next = i;
				least = free_cores;
			}
		}
		/* Who is not served yet and could use any of them has a claim. */
		for (int i = 0; i < n; i++) {
			bool claim = false;
			for (int cpu = 0; cpu < CPU_SETSIZE && !served[i] && !claim; cpu++)
				claim = is_free(core, taken, &wanted[next], cpu) && CPU_ISSET((size_t)cpu, &wanted[i]);
			claims += claim;
		}
		int share = claims ? least / claims : 0;
		if (!share)
			return error_set(
				err, ERROR_INPUT,
				"%d devices side by side need a core each that is theirs alone, and the cores near "
				"one of them are %d for %d; name fewer devices, or allow this process more CPUs",
				n, least, claims ? claims : 1);
		CPU_ZERO(&out[next]);
		for (int cpu = 0; cpu < CPU_SETSIZE && share; cpu++) {
			if (!is_free(core, taken, &wanted[next], cpu))
				continue;
			taken[cpu] = true;
			share--;
			for (int thread = cpu; thread < CPU_SETSIZE; thread++)
				if (core[thread] == cpu)
					CPU_SET((size_t)thread, &out[next]);
		}
		served[next] = true;
	}
	return 0;
}
