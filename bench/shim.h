/*
 * Google Benchmark for C. A benchmark is a function that sets up, loops while
 * bench_keep_running, and says what one pass was worth; wall time is what counts, since the
 * kernels have threads of their own. Or it says itself how long passes took, on a device's clock, and
 * loops while bench_keep_running_batch.
 */
#ifndef GEMMARK_BENCH_SHIM_H
#define GEMMARK_BENCH_SHIM_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench_state;

/* arg must live until bench_run has returned; name is copied. */
void bench_register(const char *name, void (*body)(struct bench_state *s, const void *arg), const void *arg);
/* The same for one that calls bench_time. */
void bench_register_timed(const char *name, void (*body)(struct bench_state *s, const void *arg), const void *arg);
/* Beside the results: a fact of the machine. */
void bench_fact(const char *name, const char *value);
/* True while another pass is wanted. Time outside the loop is not counted. */
bool bench_keep_running(struct bench_state *s);
/* The same of n passes at once; each time bench_time then says how long these n took. */
bool bench_keep_running_batch(struct bench_state *s, int n);
void bench_time(struct bench_state *s, double seconds);
/* After the loop: shown as `per_pass` times passes, per second. */
void bench_rate(struct bench_state *s, const char *counter, double per_pass);
/* The same for a figure that was measured elsewhere: shown as it is. */
void bench_value(struct bench_state *s, const char *counter, double value);
/* Instead of the loop, or what is left of it: an error in the results. */
void bench_skip(struct bench_state *s, const char *why);
/* Beside the result. */
void bench_label(struct bench_state *s, const char *text);
/* Google Benchmark's own options, once, before everything. -1: bad usage, which it has said. */
int bench_options(int argc, char **argv);
/* Runs what they select. Returns how many that were. */
int bench_run(void);

#ifdef __cplusplus
}
#endif

#endif
