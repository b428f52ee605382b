/*
 * What `--devices` names: the GPUs, slices of them, or shares of the processor that processes side by side measure on,
 * each with the cores that are its alone.
 */
#ifndef GEMMARK_HARNESS_CLI_DEVICE_LIST_H
#define GEMMARK_HARNESS_CLI_DEVICE_LIST_H

#include <sched.h>
#include <stdio.h>

#include <jansson.h>

#include "base/error.h"

enum { DEVICE_LIST_MAX = 64, DEVICE_TEXT_SIZE = 96 };

struct listed_device {
	char name[DEVICE_TEXT_SIZE]; /* "0", "1:0" (a slice), "cpu#1", "cpu#2" (shares of the processor) */
	char uuid[DEVICE_TEXT_SIZE]; /* "" of the processor */
	char card[DEVICE_TEXT_SIZE]; /* what it calls itself; "": unknown */
	int node;                    /* NUMA; -1: unknown, or none */
	cpu_set_t cpus;
};

struct device_list {
	struct listed_device of[DEVICE_LIST_MAX];
	int n;
};

/*
 * "0,1", "GPU-5d3c..." (a beginning that is one GPU's alone), "1:0" or "MIG-...", "cpu,cpu" or "all" (every GPU, or its
 * slices). library: as of nvml_open; root: "", or a folder that stands for / (sys). ERROR_INPUT where there is no such
 * device, one is named twice or there are too few cores; ERROR_MEMORY.
 */
int device_list_parse(const char *list, const char *library, const char *root, struct device_list *out,
		      struct error *err);

/* A line a GPU and slice that can be named, or why there is none. */
void device_list_print(const char *library, const char *root, FILE *f);

/*
 * Of the process that is to measure on it, before it starts anything: its cores, near which its memory is allocated
 * from then on, and the only GPU that CUDA shows it. 0, or -1 with errno.
 */
int device_list_enter(const struct listed_device *d);

/* An array for a file, and back: 0, or -1 where it is none that device_list_json makes. */
json_t *device_list_json(const struct device_list *l);
int device_list_read(const json_t *o, struct device_list *out);

#endif
