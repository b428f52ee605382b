/*
 * How the next token is chosen: what a caller sets, and what the kernel takes of it. What the settings mean, and in
 * which order they apply, is in kernels/params_sampling.h.
 */
#ifndef GEMMARK_ENGINE_INFER_SAMPLING_H
#define GEMMARK_ENGINE_INFER_SAMPLING_H

#include <stdint.h>

#include "base/error.h"
#include "kernels/params.h"

struct sampling_options {
	double temperature; /* 0: greedy */
	int top_k;          /* 0: no limit */
	double top_p;       /* 0 .. 1; 1: no limit */
	double min_p;       /* 0 .. 1; 0: no limit */
	uint64_t seed;
};

/* On the device: how tokens are chosen there, and the last one. */
struct sampler {
	struct sampling settings;
	struct sampled chosen;
};

/* Temperatures other than 0. */
#define SAMPLING_COLDEST 1e-6
#define SAMPLING_HOTTEST 1e6

/* Greedy; no limits, seed 0. */
void sampling_options_default(struct sampling_options *o);
/* ERROR_INPUT names the value that is out of its range. */
int sampling_check(const struct sampling_options *o, struct error *err);
/* Of options that sampling_check takes. */
struct sampling sampling_of(const struct sampling_options *o);

#endif
