/*
 * selftest --neighbours: one cell on several devices at once, each in a process of its own, as bench --devices
 * measures. In every round all decode side by side, and then each while the others' processes are stopped.
 */
#ifndef GEMMARK_HARNESS_CLI_NEIGHBOURS_H
#define GEMMARK_HARNESS_CLI_NEIGHBOURS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "harness/sweep/matrix.h"

struct neighbours {
	const char *devices;       /* as of --devices */
	const struct matrix *cell; /* one value of each axis at most */
	int rounds;
	double delta; /* a change that disturbs */
	uint64_t seed;
	const char *output; /* a directory for the runs and neighbours.json; null: neither is kept */
	bool json;          /* printed, in the table's place */
};

/* *disturbed: whether any device is, by more than delta. ERROR_INPUT, ERROR_IO, ERROR_MEMORY. */
int neighbours_measure(const struct neighbours *o, int *disturbed, struct error *err);

#endif
