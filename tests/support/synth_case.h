/* Synthetic models as their tests make them. Each call fails the running test where it cannot. */
#ifndef GEMMARK_TESTS_SUPPORT_SYNTH_CASE_H
#define GEMMARK_TESTS_SUPPORT_SYNTH_CASE_H

#include "engine/model/synth.h"

/* All matrices of one type; freed with synth_plan_free. */
struct synth_plan synth_case_plan(const char *arch, enum tensor_type type, uint64_t seed);
void synth_case_write(const struct synth_plan *p, const char *path, int n_threads);
/* Both. */
void synth_case_make(const char *arch, enum tensor_type type, uint64_t seed, int n_threads, const char *path);
/* A whole file: *n bytes, the caller's. */
unsigned char *synth_case_bytes(const char *path, size_t *n);
/* A plan's tensor; null where it has none of that name. */
const struct synth_tensor *synth_case_tensor(const struct synth_plan *p, const char *name);

#endif
