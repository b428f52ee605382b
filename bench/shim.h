/*
 * Google Benchmark for C. A benchmark is a function that sets up, loops while
 * bench_keep_running, and says what one pass was worth; wall time is what counts, since the
 * kernels have threads of their own.
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
/* True while another pass is wanted. Time outside the loop is not counted. */
bool bench_keep_running(struct bench_state *s);
/* After the loop: shown as `per_pass` times passes, per second. */
void bench_rate(struct bench_state *s, const char *counter, double per_pass);
/* The same for a figure that was measured elsewhere: shown as it is. */
void bench_value(struct bench_state *s, const char *counter, double value);
/* Instead of the loop. */
void bench_skip(struct bench_state *s, const char *why);
/* Reads Google Benchmark's own options and runs what they select. Returns the exit code: 2 where nothing ran. */
int bench_run(int argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif
