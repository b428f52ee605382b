/*
 * One launch on the CUDA device and the same on the host device, and what differs.
 *
 * A case takes buffers, fills the inputs, builds the kernel's params with the buffers' addresses in
 * host memory, and runs; every word of the params that points into a buffer is replaced by the
 * address of the GPU's copy. On the GPU each buffer lies between guards. After the launch inputs and guards
 * must be untouched, poison that the host's kernel left alone too, the rest as close as the
 * case says; and a second launch from the same state must give the same bits. The tests of the kernels and the
 * benchmarks' checks are such cases.
 */
#ifndef GEMMARK_BENCH_PAIR_H
#define GEMMARK_BENCH_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cuda/device_cuda.h"
#include "kernels/params.h"

enum pair_role {
	PAIR_INPUT,
	PAIR_OUTPUT,  /* within the case's tolerance of the host's */
	PAIR_EXACT,   /* the host's bits */
	PAIR_SCRATCH, /* anything */
};

/* Beside enum tensor_type: elements of a buffer. */
enum { PAIR_INT = 100, PAIR_BYTES };

struct pair; /* both devices, the buffers of the case at hand, what was seen so far */

/* o null: the host's portable kernels take the GPU's place. As pair_fail where a device cannot be opened. */
struct pair *pair_open(const struct cuda_open_options *o);
/* The same with so many threads of the host, 0: all; pair_open takes a few, of a test that is not alone. */
struct pair *pair_open_with(const struct cuda_open_options *o, int n_threads);
/* Says the worst difference seen, on standard error. Returns how many cases were wrong. */
int pair_close(struct pair *p);

/* What leaves nothing to compare: a device that fails, no memory. Ends the process, with that line and exit code 1. */
void pair_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* pair_fail, where it is not so. */
void pair_need(bool so, const char *what);

/*
 * n elements in host memory, 256-byte aligned there and on the GPU but for `offset` bytes; poisoned
 * (every byte 0xff: NaN). Valid until the launch.
 */
void *pair_buffer(struct pair *p, const char *name, enum pair_role role, int type, size_t n, size_t offset);
/* That input's bytes are blocks of one of TENSOR_QUANT_TYPES: the GPU gets them in planes. */
void pair_quants(struct pair *p, const void *elements, int type);

/*
 * Launches on the GPU, twice, and on the host: there with on_host, where it is not null. The rest: the shape, as for
 * printf. The buffers then hold what the host computed.
 */
void pair_run(struct pair *p, enum kernel k, const void *params, const void *on_host, const char *shape, ...)
	__attribute__((format(printf, 5, 6)));
/*
 * Compares, and ends the case. An element of the outputs may be off by relative * sqrt(magnitude^2 + value^2), and
 * one rounding step where it has 16 bits. Magnitudes: pair_magnitude's; else the root mean square of the output.
 */
void pair_check(struct pair *p, double relative);
/* The same for a case with a fault planted: it must be found wrong. */
void pair_check_wrong(struct pair *p, double relative);

/* What the GPU computed of an output, valid from the run until the check. */
const void *pair_got(struct pair *p, const void *output);
/* (n), of an output, zeros at first; valid until the check. */
double *pair_magnitude(struct pair *p, const void *output);
/* After the run, from what the host computed: of each row its root mean square; of each element its rotary pair's. */
void pair_magnitude_rows(struct pair *p, const void *output, size_t row);
void pair_magnitude_pairs(struct pair *p, const void *output, size_t row);

/*
 * Attention's partial sums, (rows, head_dim + 2): of splits without keys only the last element, their
 * sum of 0, is compared.
 */
void pair_mark_partial(struct pair *p, const float *partial, size_t rows, int head_dim);

/* ---- a case that is timed after it was compared ---- */

/* As pair_check, but the case goes on until pair_end. Returns whether it is right. */
bool pair_compare(struct pair *p, double relative);
void pair_end(struct pair *p);
/* The GPU; where the host takes its place, the host as it is. */
struct device *pair_timed_device(const struct pair *p);
/* Bytes of all buffers. */
size_t pair_bytes(const struct pair *p);
/* n sets of all buffers on the timed device, each as the buffers were before the run; they end with the case. */
int pair_place(struct pair *p, int n, struct error *err);
/* The kernel's params in `out`, with the addresses of that set. */
void pair_translate(const struct pair *p, int set, enum kernel k, const void *params, void *out);

/* ---- random inputs ---- */

uint32_t pair_bits(struct pair *p);
/* -scale .. scale */
float pair_float(struct pair *p, float scale);
/* least .. most */
int pair_between(struct pair *p, int least, int most);

struct pair_layout {
	int type;
	bool planes; /* of Q8_0 */
	const char *name;
};
enum { PAIR_LAYOUTS = 13 };
extern const struct pair_layout pair_layouts[PAIR_LAYOUTS];

/* Elements that rows of it are a multiple of. */
int pair_layout_block(struct pair_layout l);

/* An input of n floats. */
float *pair_floats(struct pair *p, const char *name, size_t n, float scale, size_t offset);
/* The same in F16. */
void *pair_halves(struct pair *p, const char *name, size_t n);
/* The same, powers of two from 2^low to 2^high: scales of rows. */
float *pair_scales(struct pair *p, int n, int low, int high);
/* Elements of F32, F16 or BF16 at `to`, magnitudes up to 1 with subnormals among them; from .. n. */
void pair_fill(struct pair *p, void *to, int type, size_t from, size_t n);
/* The same of a cache's rows, of Q8_0 too: rows from .. n. */
void pair_fill_rows(struct pair *p, void *to, int type, int head_dim, size_t from, size_t n);
/* A matrix as input. offset: of its data. */
struct weight pair_weight(struct pair *p, struct pair_layout l, int n_in, int n_out, int n_expert, size_t offset);
/* Its values (one expert's) rounded to float16, to nearest with ties to even; and a row of activations so, which has
 * a scale (kernels/params_prompt.h). Both as float32. */
struct weight pair_weight_as_f16(struct pair *p, const struct weight *w);
void pair_row_as_f16(const float *x, float *y, size_t n);
/* (n_expert * n_out), the caller frees it: the Euclidean norms of a matrix's rows. */
double *pair_row_norms(const struct weight *w);
/* A step; in memory of the device where on_device is set, with another one as the host's. */
struct at pair_at(struct pair *p, struct step s, bool on_device);
/* An empty cache as a buffer of `role`; of Q8_0 as bytes. */
struct kv pair_cache(struct pair *p, enum pair_role role, int type, int v_type, int n_kv_heads, int head_dim,
		     int capacity, bool ring);

#endif
