#include "bench/pair.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/quant_values.h"
#include "engine/device/device_host.h"
#include "kernels/cpu/cpu.h"

enum {
	GUARD = 256, /* bytes; keeps the alignment */
	BUFFERS_MAX = 16,
	FAILURES_SHOWN = 12, /* cases of a kernel; more of them say nothing new */
	SHAPE_BYTES = 256,
};

struct buffer {
	const char *name;
	enum pair_role role;
	int type;
	size_t n, bytes;       /* elements; all of the block, guards included */
	unsigned char *block;  /* host: guard, offset, elements, guard */
	unsigned char *before; /* the block as it was, where the kernel may write */
	unsigned char *got;    /* the GPU's after the launch */
	unsigned char *elements;
	double *magnitude; /* (n), pair_magnitude; null: the root mean square for all */
	void *on_gpu;
	void **sets;          /* (n_sets), pair_place */
	unsigned char *image; /* what the GPU has of an input, where that is something else: pair_quants */
	size_t partial_rows;  /* pair_mark_partial */
	int partial_head_dim;
};

struct pair {
	struct device *gpu, *host;
	bool on_host; /* the first is the host, too */
	struct buffer buffers[BUFFERS_MAX];
	int n_buffers, n_sets;
	uint64_t random;
	int cases, wrong;
	bool quiet;
	char what[SHAPE_BYTES]; /* the case at hand */
	bool right;             /* so far */
	double worst;           /* difference of all cases, relative to what is allowed, and where it was */
	char worst_what[SHAPE_BYTES];
};

void pair_fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("FAILED: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

void pair_need(bool so, const char *what)
{
	if (!so)
		pair_fail("there is no %s", what);
}

struct pair *pair_open(const struct cuda_open_options *o)
{
	return pair_open_with(o, 4);
}

struct pair *pair_open_with(const struct cuda_open_options *o, int n_threads)
{
	struct pair *p = calloc(1, sizeof *p);
	struct error err = {""};
	pair_need(p != NULL, "memory");
	p->random = 1;
	p->on_host = !o;
	if (device_host_open(&p->host, n_threads, &err) ||
	    (o ? device_cuda_open(&p->gpu, o, &err) : device_host_open(&p->gpu, 1, &err)))
		pair_fail("%s", err.text);
	return p;
}

int pair_close(struct pair *p)
{
	int wrong = p->wrong;
	if (p->cases)
		fprintf(stderr, "%d cases, worst difference %.2g of what is allowed: %s\n", p->cases, p->worst,
			p->worst_what);
	if (wrong)
		fprintf(stderr, "%d of %d cases wrong\n", wrong, p->cases);
	device_close(p->gpu);
	device_close(p->host);
	free(p);
	return wrong;
}

/* ---- buffers ---- */

static size_t element_bytes(int type)
{
	return type == TENSOR_F16 || type == TENSOR_BF16 ? 2 : type == PAIR_BYTES ? 1 : 4;
}

void *pair_buffer(struct pair *p, const char *name, enum pair_role role, int type, size_t n, size_t offset)
{
	pair_need(p->n_buffers < BUFFERS_MAX && offset < GUARD, "room for one buffer more");
	struct buffer *b = &p->buffers[p->n_buffers++];
	*b = (struct buffer){.name = name, .role = role, .type = type, .n = n};
	b->bytes = (2 * GUARD + offset + n * element_bytes(type) + GUARD - 1) / GUARD * GUARD;
	b->block = aligned_alloc(GUARD, b->bytes);
	pair_need(b->block != NULL, "memory");
	b->elements = b->block + GUARD + offset;
	/* Around inputs NaN, which spreads where it is read; around outputs a number, which NaN does not hide in. */
	memset(b->block, role == PAIR_INPUT ? 0xff : 0xa5, b->bytes);
	memset(b->elements, 0xff, n * element_bytes(type));
	return b->elements;
}

static void buffers_free(struct pair *p)
{
	for (int i = 0; i < p->n_buffers; i++) {
		struct buffer *b = &p->buffers[i];
		free(b->block);
		free(b->image);
		free(b->before);
		free(b->got);
		free(b->magnitude);
		device_free(p->gpu, b->on_gpu);
		for (int k = 0; b->sets && k < p->n_sets; k++)
			device_free(pair_timed_device(p), b->sets[k]);
		free(b->sets);
	}
	p->n_buffers = p->n_sets = 0;
}

static struct buffer *buffer_of(struct pair *p, const void *elements)
{
	for (int i = 0; i < p->n_buffers; i++)
		if (p->buffers[i].elements == elements)
			return &p->buffers[i];
	pair_fail("%s", "no such buffer");
}

void pair_quants(struct pair *p, const void *elements, int type)
{
	struct buffer *b = buffer_of(p, elements);
	size_t n_blocks = b->n / quant_block_bytes(type) * (size_t)quant_block(type) / 32;
	if (p->on_host)
		return;
	b->image = malloc(b->bytes);
	pair_need(b->image != NULL, "memory");
	memcpy(b->image, b->block, b->bytes);
	struct cpu_planes to = cpu_planes_at((enum tensor_type)type, b->image + (b->elements - b->block), n_blocks);
	cpu_planes((enum tensor_type)type, b->elements, n_blocks, &to);
}

/* A buffer's bytes at first, as the GPU has them. */
static const unsigned char *as_uploaded(const struct buffer *b)
{
	return b->image ? b->image : b->before ? b->before : b->block;
}

void pair_mark_partial(struct pair *p, const float *partial, size_t rows, int head_dim)
{
	struct buffer *b = buffer_of(p, partial);
	b->partial_rows = rows;
	b->partial_head_dim = head_dim;
}

const void *pair_got(struct pair *p, const void *output)
{
	const struct buffer *b = buffer_of(p, output);
	pair_need(b->got != NULL, "memory");
	return b->got + (b->elements - b->block);
}

double *pair_magnitude(struct pair *p, const void *output)
{
	struct buffer *b = buffer_of(p, output);
	if (!b->magnitude)
		b->magnitude = calloc(b->n, sizeof *b->magnitude);
	pair_need(b->magnitude != NULL, "memory");
	return b->magnitude;
}

/* An address in a buffer of the host to the same on the GPU; anything else as it is. */
static uint64_t translate(const struct pair *p, uint64_t word)
{
	for (int i = 0; i < p->n_buffers; i++) {
		const struct buffer *b = &p->buffers[i];
		uint64_t from = (uint64_t)(uintptr_t)b->block;
		if (word >= from && word < from + b->bytes)
			return (uint64_t)(uintptr_t)b->on_gpu + (word - from);
	}
	return word;
}

/* ---- comparing ---- */

static double f16(uint16_t h)
{
	int exponent = h >> 10 & 31;
	double sign = h & 0x8000 ? -1.0 : 1.0;
	if (exponent == 31)
		return h & 0x3ff ? (double)NAN : sign * (double)INFINITY;
	return exponent ? sign * ldexp(1024 + (h & 0x3ff), exponent - 25) : sign * ldexp(h & 0x3ff, -24);
}

static double value(int type, const void *elements, size_t i)
{
	uint32_t word;
	float f;
	switch (type) {
	case TENSOR_F16:
		return f16(((const uint16_t *)elements)[i]);
	case TENSOR_BF16:
		word = (uint32_t)((const uint16_t *)elements)[i] << 16;
		memcpy(&f, &word, sizeof f);
		return (double)f;
	case PAIR_INT:
		return ((const int *)elements)[i];
	case PAIR_BYTES:
		return ((const unsigned char *)elements)[i];
	default:
		return (double)((const float *)elements)[i];
	}
}

/* What one rounding to the type may differ by, relative. */
static double rounding_step(int type)
{
	return type == TENSOR_F16 ? 0x1p-10 : type == TENSOR_BF16 ? 0x1p-7 : 0;
}

static double root_mean_square(const struct buffer *b, size_t from, size_t n)
{
	double squares = 0;
	size_t finite = 0;
	for (size_t i = from; i < from + n; i++) {
		double v = value(b->type, b->elements, i);
		if (isfinite(v)) {
			squares += v * v;
			finite++;
		}
	}
	return finite ? sqrt(squares / (double)finite) : 0;
}

void pair_magnitude_rows(struct pair *p, const void *output, size_t row)
{
	struct buffer *b = buffer_of(p, output);
	double *m = pair_magnitude(p, output);
	for (size_t from = 0; from < b->n; from += row) {
		double rms = root_mean_square(b, from, row);
		for (size_t i = from; i < from + row; i++)
			m[i] = rms;
	}
}

void pair_magnitude_pairs(struct pair *p, const void *output, size_t row)
{
	struct buffer *b = buffer_of(p, output);
	double *m = pair_magnitude(p, output);
	for (size_t i = 0; i < b->n; i++) {
		size_t at = i % row, other = at < row / 2 ? i + row / 2 : i - row / 2;
		m[i] = hypot(value(b->type, b->elements, i), value(b->type, b->elements, other));
	}
}

struct difference {
	size_t wrong, first;
	double worst; /* of what is allowed */
};

static bool poison(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0xff)
			return false;
	return true;
}

static struct difference compare(const struct buffer *b, double relative)
{
	struct difference d = {0};
	size_t size = element_bytes(b->type);
	const unsigned char *got = b->got + (b->elements - b->block);
	double rms = root_mean_square(b, 0, b->n), step = rounding_step(b->type);
	for (size_t i = 0; i < b->n; i++) {
		if (!memcmp(got + i * size, b->elements + i * size, size))
			continue;
		double g = value(b->type, got, i), w = value(b->type, b->elements, i), off = fabs(g - w);
		double allowed = relative * hypot(b->magnitude ? b->magnitude[i] : rms, w) + step * fabs(w) +
				 (b->type == TENSOR_F16 ? 0x1p-24 : 0); /* a step between subnormals */
		/* What the host's kernel left alone is poison still. */
		bool ok = b->role == PAIR_OUTPUT && !poison(b->elements + i * size, size) &&
			  (off <= allowed || (isnan(g) && isnan(w)));
		if (!ok && !d.wrong++)
			d.first = i;
		if (off > d.worst * allowed || isnan(off))
			d.worst = allowed > 0 ? off / allowed : (double)INFINITY;
	}
	return d;
}

static void forget_unused_partials(struct buffer *b)
{
	float *want = (float *)(void *)b->elements, *got = (float *)(void *)(b->got + (b->elements - b->block));
	size_t row = (size_t)b->partial_head_dim + 2;
	for (size_t r = 0; r < b->partial_rows; r++)
		if (want[r * row + row - 1] == 0.0f)
			for (size_t i = 0; i < row - 1; i++)
				got[r * row + i] = want[r * row + i] = 0;
}

static bool shown(const struct pair *p)
{
	return !p->quiet && p->wrong < FAILURES_SHOWN;
}

/* Bytes of the block outside the elements, and all of an input: as they were. */
static bool untouched(const struct pair *p, const struct buffer *b)
{
	size_t first = (size_t)(b->elements - b->block), end = first + b->n * element_bytes(b->type);
	const unsigned char *want = as_uploaded(b);
	for (size_t i = 0; i < b->bytes; i++) {
		if ((b->role != PAIR_INPUT && i >= first && i < end) || b->got[i] == want[i])
			continue;
		if (shown(p))
			fprintf(stderr, "WRONG %s: byte %td of %s (%zu elements) was written: %02x, was %02x\n",
				p->what, (ptrdiff_t)i - (ptrdiff_t)first, b->name, b->n, b->got[i], want[i]);
		return false;
	}
	return true;
}

static bool buffer_right(struct pair *p, struct buffer *b, double relative)
{
	if (!untouched(p, b))
		return false;
	if (b->role == PAIR_INPUT || b->role == PAIR_SCRATCH)
		return true;
	if (b->partial_rows)
		forget_unused_partials(b);
	struct difference d = compare(b, relative);
	if (!p->quiet && (d.worst > p->worst || d.worst != d.worst)) {
		p->worst = d.worst;
		snprintf(p->worst_what, sizeof p->worst_what, "%s", p->what);
	}
	if (!d.wrong)
		return true;
	const unsigned char *got = b->got + (b->elements - b->block);
	if (shown(p)) {
		fprintf(stderr, "WRONG %s: %s: %zu of %zu elements, worst %.3g of what is allowed\n", p->what, b->name,
			d.wrong, b->n, d.worst);
		size_t end = d.first + 6 < b->n ? d.first + 6 : b->n;
		for (size_t i = d.first; i < end; i++)
			fprintf(stderr, "    [%zu] cuda %.9g, host %.9g, magnitude %.3g\n", i, value(b->type, got, i),
				value(b->type, b->elements, i),
				b->magnitude ? b->magnitude[i] : root_mean_square(b, 0, b->n));
	}
	return false;
}

/* ---- launching ---- */

static void give_up(const struct pair *p, const struct error *err)
{
	fprintf(stderr, "after %d cases, %d of them wrong:\n", p->cases, p->wrong);
	pair_fail("%s: %s", p->what, err->text);
}

static void upload(struct pair *p, bool only_written)
{
	struct error err = {""};
	for (int i = 0; i < p->n_buffers; i++) {
		struct buffer *b = &p->buffers[i];
		if (only_written && b->role == PAIR_INPUT)
			continue;
		if (!b->on_gpu && device_alloc(p->gpu, b->bytes, &b->on_gpu, &err))
			give_up(p, &err);
		if (device_upload(p->gpu, b->on_gpu, as_uploaded(b), b->bytes, &err))
			give_up(p, &err);
	}
}

static void download(struct pair *p)
{
	struct error err = {""};
	for (int i = 0; i < p->n_buffers; i++) {
		struct buffer *b = &p->buffers[i];
		if (!b->got)
			b->got = malloc(b->bytes);
		pair_need(b->got != NULL, "memory");
		if (device_download(p->gpu, b->got, b->on_gpu, b->bytes, &err))
			give_up(p, &err);
	}
}

static int launch_first(struct pair *p, enum kernel k, const void *params, struct error *err)
{
	if (!p->on_host)
		return device_launch(p->gpu, k, params, err);
	cpu_isa_force(CPU_ISA_PORTABLE); /* sums in another order */
	int rc = device_launch(p->gpu, k, params, err);
	rc = rc ? rc : device_synchronize(p->gpu, err);
	cpu_isa_force(cpu_isa_best());
	return rc;
}

static bool same_again(struct pair *p, enum kernel k, const void *params)
{
	struct error err = {""};
	unsigned char *first[BUFFERS_MAX] = {0};
	for (int i = 0; i < p->n_buffers; i++) {
		struct buffer *b = &p->buffers[i];
		if (b->role == PAIR_INPUT || b->role == PAIR_SCRATCH)
			continue;
		first[i] = b->got;
		b->got = NULL;
	}
	upload(p, true);
	if (launch_first(p, k, params, &err))
		give_up(p, &err);
	download(p);
	bool same = true;
	for (int i = 0; i < p->n_buffers; i++) {
		struct buffer *b = &p->buffers[i];
		if (!first[i])
			continue;
		if (same && memcmp(first[i], b->got, b->bytes)) {
			same = false;
			if (shown(p))
				fprintf(stderr, "WRONG %s: %s: a second launch gives other bits\n", p->what, b->name);
		}
		free(first[i]);
	}
	return same;
}

static bool launch_on_gpu(struct pair *p, enum kernel k, const void *params)
{
	uint64_t translated[128];
	size_t bytes = kernel_params_bytes(k);
	pair_need(bytes % sizeof *translated == 0 && bytes <= sizeof translated, "params of whole words");
	memcpy(translated, params, bytes);
	for (size_t i = 0; i < bytes / sizeof *translated; i++)
		translated[i] = translate(p, translated[i]);

	struct error err = {""};
	int rc = launch_first(p, k, translated, &err);
	if (rc == ERROR_UNSUPPORTED) {
		if (shown(p))
			fprintf(stderr, "WRONG %s: %s\n", p->what, err.text);
		return false;
	}
	if (rc)
		give_up(p, &err);
	download(p);
	return same_again(p, k, translated);
}

void pair_run(struct pair *p, enum kernel k, const void *params, const void *on_host, const char *shape, ...)
{
	char rest[SHAPE_BYTES - 32];
	va_list args;
	va_start(args, shape);
	vsnprintf(rest, sizeof rest, shape, args);
	va_end(args);
	snprintf(p->what, sizeof p->what, "%s %s", kernel_name(k), rest);

	for (int i = 0; i < p->n_buffers; i++) {
		struct buffer *b = &p->buffers[i];
		if (b->role == PAIR_INPUT)
			continue;
		b->before = malloc(b->bytes);
		pair_need(b->before != NULL, "memory");
		memcpy(b->before, b->block, b->bytes);
	}
	upload(p, false);
	p->right = launch_on_gpu(p, k, params);
	struct error err = {""};
	if (device_launch(p->host, k, on_host ? on_host : params, &err) || device_synchronize(p->host, &err))
		give_up(p, &err);
}

static bool right(struct pair *p, double relative)
{
	bool so = p->right;
	for (int i = 0; i < p->n_buffers && so; i++)
		so = buffer_right(p, &p->buffers[i], relative);
	p->cases++;
	return so;
}

bool pair_compare(struct pair *p, double relative)
{
	bool so = right(p, relative);
	p->wrong += !so;
	return so;
}

void pair_check(struct pair *p, double relative)
{
	pair_compare(p, relative);
	buffers_free(p);
}

void pair_end(struct pair *p)
{
	buffers_free(p);
}

void pair_check_wrong(struct pair *p, double relative)
{
	p->quiet = true;
	bool so = right(p, relative);
	p->quiet = false;
	if (so)
		fprintf(stderr, "NOT NOTICED %s\n", p->what);
	p->wrong += so;
	buffers_free(p);
}

/* ---- timing ---- */

struct device *pair_timed_device(const struct pair *p)
{
	return p->on_host ? p->host : p->gpu;
}

size_t pair_bytes(const struct pair *p)
{
	size_t bytes = 0;
	for (int i = 0; i < p->n_buffers; i++)
		bytes += p->buffers[i].bytes;
	return bytes;
}

static int place(struct pair *p, struct buffer *b, struct error *err)
{
	struct device *d = pair_timed_device(p);
	int rc = 0;
	for (int k = 0; k < p->n_sets && !rc; k++) {
		rc = device_alloc(d, b->bytes, &b->sets[k], err);
		if (!rc && !k)
			rc = device_upload(d, b->sets[k], as_uploaded(b), b->bytes, err);
		else if (!rc)
			rc = device_copy(d, b->sets[k], b->sets[0], b->bytes, err);
	}
	return rc;
}

int pair_place(struct pair *p, int n, struct error *err)
{
	int rc = 0;
	pair_need(!p->n_sets, "second place for a case's buffers");
	for (int i = 0; i < p->n_buffers && !rc; i++) {
		struct buffer *b = &p->buffers[i];
		device_free(p->gpu, b->on_gpu);
		b->on_gpu = NULL;
		b->sets = calloc((size_t)n, sizeof(void *));
		pair_need(b->sets != NULL, "memory");
		p->n_sets = n;
		rc = place(p, b, err);
	}
	return rc ? rc : device_synchronize(pair_timed_device(p), err);
}

void pair_translate(const struct pair *p, int set, enum kernel k, const void *params, void *out)
{
	size_t bytes = kernel_params_bytes(k);
	memcpy(out, params, bytes);
	for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
		uint64_t word;
		memcpy(&word, (const char *)params + at, sizeof word);
		for (int i = 0; i < p->n_buffers; i++) {
			const struct buffer *b = &p->buffers[i];
			uint64_t from = (uint64_t)(uintptr_t)b->block;
			if (word >= from && word < from + b->bytes) {
				word = (uint64_t)(uintptr_t)b->sets[set] + (word - from);
				memcpy((char *)out + at, &word, sizeof word);
				break;
			}
		}
	}
}

uint32_t pair_bits(struct pair *p)
{
	p->random = p->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(p->random >> 32);
}
