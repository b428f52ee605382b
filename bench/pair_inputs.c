#include "bench/pair.h"
#include "bench/quant_values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cache_rows.h"

float pair_float(struct pair *p, float scale)
{
	return (float)((double)pair_bits(p) / 2147483648.0 - 1.0) * scale;
}

int pair_between(struct pair *p, int least, int most)
{
	return least + (int)(pair_bits(p) % (uint32_t)(most - least + 1));
}

const struct pair_layout pair_layouts[PAIR_LAYOUTS] = {
	{TENSOR_F32, false, "f32"},         {TENSOR_F16, false, "f16"},        {TENSOR_BF16, false, "bf16"},
	{TENSOR_Q8_0, true, "q8_0 planes"}, {TENSOR_Q8_0, false, "q8_0 file"},
#define X(NAME, word, number, block, block_bytes, file_type, a, b) {TENSOR_##NAME, false, #word},
	TENSOR_QUANT_TYPES(X, , )
#undef X
};

int pair_layout_block(struct pair_layout l)
{
	int block = quant_block(l.type);
	return block ? block : l.type == TENSOR_Q8_0 ? 32 : 1;
}

float *pair_floats(struct pair *p, const char *name, size_t n, float scale, size_t offset)
{
	float *x = pair_buffer(p, name, PAIR_INPUT, TENSOR_F32, n, offset);
	for (size_t i = 0; i < n; i++)
		x[i] = pair_float(p, scale);
	return x;
}

float *pair_scales(struct pair *p, int n, int low, int high)
{
	float *x = pair_buffer(p, "scales", PAIR_INPUT, TENSOR_F32, (size_t)n, 0);
	for (int i = 0; i < n; i++)
		x[i] = ldexpf(1, pair_between(p, low, high));
	return x;
}

void *pair_halves(struct pair *p, const char *name, size_t n)
{
	void *x = pair_buffer(p, name, PAIR_INPUT, TENSOR_F16, n, 0);
	pair_fill(p, x, TENSOR_F16, 0, n);
	return x;
}

/* Of magnitude up to 1, one in 16 of them subnormal. */
static uint16_t random_f16(struct pair *p)
{
	uint32_t r = pair_bits(p), exponent = (r >> 20 & 15) == 0 ? 0 : 8 + (r >> 24) % 7;
	return (uint16_t)((r & 0x8000) | exponent << 10 | (r & 0x3ff));
}

static uint16_t random_bf16(struct pair *p)
{
	uint32_t r = pair_bits(p);
	return (uint16_t)((r & 0x8000) | (120 + (r >> 24) % 7) << 7 | (r & 0x7f));
}

void pair_fill(struct pair *p, void *to, int type, size_t from, size_t n)
{
	for (size_t i = from; i < from + n; i++) {
		if (type == TENSOR_F32)
			((float *)to)[i] = pair_float(p, 1);
		else
			((uint16_t *)to)[i] = type == TENSOR_F16 ? random_f16(p) : random_bf16(p);
	}
}

void pair_fill_rows(struct pair *p, void *to, int type, int head_dim, size_t from, size_t n)
{
	size_t row = (size_t)cache_row_bytes(type, head_dim), elements = (size_t)head_dim;
	if (type != TENSOR_Q8_0) {
		pair_fill(p, to, type, from * elements, n * elements);
		return;
	}
	for (size_t r = from; r < from + n; r++) {
		unsigned char *at = (unsigned char *)to + r * row;
		memset(at, 0, row);
		for (size_t i = 0; i < elements; i++)
			at[i] = (unsigned char)pair_between(p, -CACHE_STEPS, CACHE_STEPS);
		for (size_t b = 0; b < elements / CACHE_BLOCK; b++) {
			/* Magnitudes up to 1, as the others': scales of 1.5 to 2 times 2^-8, one in 16 subnormal. */
			uint32_t bits = pair_bits(p), normal = 0x1e00 | (bits & 0x1ff);
			uint16_t scale = (uint16_t)((bits >> 20 & 15) == 0 ? bits & 0x3ff : normal);
			memcpy(at + elements + 2 * b, &scale, sizeof scale);
		}
	}
}

static void fill_q8_0(struct pair *p, unsigned char *to, uint16_t *scales, size_t blocks)
{
	for (size_t b = 0; b < blocks; b++) {
		uint16_t scale = random_f16(p);
		unsigned char *q = to + (scales ? 32 : 34) * b;
		if (scales) {
			scales[b] = scale;
		} else {
			memcpy(q, &scale, 2);
			q += 2;
		}
		for (int i = 0; i < 32; i += 4) {
			uint32_t r = pair_bits(p);
			memcpy(q + i, &r, 4);
		}
	}
}

static uint32_t quant_bits(void *p)
{
	return pair_bits(p);
}

static uint16_t quant_half(void *p)
{
	return random_f16(p);
}

struct weight pair_weight(struct pair *p, struct pair_layout l, int n_in, int n_out, int n_expert, size_t offset)
{
	size_t n = (size_t)n_in * (size_t)n_out * (size_t)n_expert;
	struct weight w = {.type = l.type, .n_in = n_in, .n_out = n_out, .n_expert = n_expert};
	if (l.type == TENSOR_Q8_0) {
		pair_need(n_in % 32 == 0, "part of a block");
		uint16_t *scales = NULL;
		void *data = pair_buffer(p, "weights", PAIR_INPUT, PAIR_BYTES, l.planes ? n : n / 32 * 34, offset);
		if (l.planes)
			scales = pair_buffer(p, "scales", PAIR_INPUT, TENSOR_F16, n / 32, 0);
		fill_q8_0(p, data, scales, n / 32);
		w.data = data;
		w.scales = scales;
		return w;
	}
	if (quant_block(l.type)) {
		size_t blocks = n / (size_t)quant_block(l.type);
		pair_need(n_in % quant_block(l.type) == 0, "part of a block");
		void *data =
			pair_buffer(p, "weights", PAIR_INPUT, PAIR_BYTES, blocks * quant_block_bytes(l.type), offset);
		quant_fill(l.type, data, blocks, quant_bits, quant_half, p);
		pair_quants(p, data, l.type);
		w.data = data;
		return w;
	}
	void *data = pair_buffer(p, "weights", PAIR_INPUT, l.type, n, offset);
	pair_fill(p, data, l.type, 0, n);
	w.data = data;
	return w;
}

static float f16_value(uint16_t h)
{
	static float values[1 << 16];
	if (values[1] == 0) {
		for (int i = 0; i < 1 << 16; i++) {
			int exponent = i >> 10 & 31, fraction = i & 0x3ff;
			float v = exponent ? ldexpf((float)(1024 + fraction), exponent - 25)
					   : ldexpf((float)fraction, -24);
			values[i] = i & 0x8000 ? -v : v;
		}
	}
	return values[h];
}

/* A row's values in float32, which holds them all: a scale of 11 bits times 8. */
static void row_values(const struct weight *w, size_t row, float *v)
{
	size_t n = (size_t)w->n_in, at = row * n, block_of = (size_t)quant_block(w->type);
	if (block_of) {
		const unsigned char *blocks = (const unsigned char *)w->data;
		for (size_t i = 0; i < n; i++)
			v[i] = quant_value(w->type, blocks + (at + i) / block_of * quant_block_bytes(w->type),
					   (int)(i % block_of));
		return;
	}
	switch (w->type) {
	case TENSOR_Q8_0:
		for (size_t block = 0; block < n / 32; block++) {
			size_t b = at / 32 + block;
			const char *q = (const char *)w->data + (w->scales ? 32 * b : 34 * b + 2);
			uint16_t bits;
			memcpy(&bits, w->scales ? (const char *)w->scales + 2 * b : q - 2, 2);
			float scale = f16_value(bits);
			for (int i = 0; i < 32; i++)
				v[32 * block + (size_t)i] = scale * (float)(signed char)q[i];
		}
		return;
	case TENSOR_F32:
		memcpy(v, (const float *)w->data + at, n * sizeof *v);
		return;
	case TENSOR_F16:
		for (size_t i = 0; i < n; i++)
			v[i] = f16_value(((const uint16_t *)w->data)[at + i]);
		return;
	default:
		for (size_t i = 0; i < n; i++) {
			uint32_t word = (uint32_t)((const uint16_t *)w->data)[at + i] << 16;
			memcpy(&v[i], &word, sizeof word);
		}
	}
}

double *pair_row_norms(const struct weight *w)
{
	size_t rows = (size_t)w->n_out * (size_t)w->n_expert, n = (size_t)w->n_in;
	double *norms = malloc(rows * sizeof *norms);
	float *v = malloc(n * sizeof *v);
	pair_need(norms != NULL, "memory");
	pair_need(v != NULL, "memory");
	for (size_t r = 0; r < rows; r++) {
		double squares = 0;
		row_values(w, r, v);
		for (size_t i = 0; i < n; i++)
			squares += (double)v[i] * (double)v[i];
		norms[r] = sqrt(squares);
	}
	free(v);
	return norms;
}

/* To 11 significant bits, or multiples of 2^-24. */
static float round_f16(float f)
{
	int exponent;
	frexpf(f, &exponent);
	double step = ldexp(1, exponent < -13 ? -24 : exponent - 11);
	return (float)(rint((double)f / step) * step);
}

struct weight pair_weight_as_f16(struct pair *p, const struct weight *w)
{
	size_t n = (size_t)w->n_in;
	float *to = pair_buffer(p, "weights in f16", PAIR_INPUT, TENSOR_F32, n * (size_t)w->n_out, 0);
	for (int r = 0; r < w->n_out; r++) {
		float *row = to + (size_t)r * n;
		row_values(w, (size_t)r, row);
		for (size_t i = 0; i < n; i++)
			row[i] = round_f16(row[i]);
	}
	return (struct weight){.data = to, .type = TENSOR_F32, .n_in = w->n_in, .n_out = w->n_out, .n_expert = 1};
}

void pair_row_as_f16(const float *x, float *y, size_t n)
{
	float largest = 0;
	for (size_t i = 0; i < n; i++)
		largest = fmaxf(largest, fabsf(x[i]));
	int power = largest > 0 ? ilogbf(largest) - 2 : 0;
	for (size_t i = 0; i < n; i++)
		y[i] = ldexpf(round_f16(ldexpf(x[i], -power)), power);
}

struct at pair_at(struct pair *p, struct step s, bool on_device)
{
	if (!on_device)
		return (struct at){.host = s};
	struct step *device = pair_buffer(p, "step", PAIR_INPUT, PAIR_INT, 4, 0);
	*device = s;
	return (struct at){.device = device, .host = {.token = 1, .pos = 1}};
}

struct kv pair_cache(struct pair *p, enum pair_role role, int type, int v_type, int n_kv_heads, int head_dim,
		     int capacity, bool ring)
{
	size_t rows = (size_t)n_kv_heads * (size_t)capacity, n = rows * (size_t)head_dim;
	int types[2] = {type, v_type};
	void *of[2];
	for (int i = 0; i < 2; i++)
		of[i] = pair_buffer(
			p, i ? "v cache" : "k cache", role, types[i] == TENSOR_Q8_0 ? (int)PAIR_BYTES : types[i],
			types[i] == TENSOR_Q8_0 ? rows * (size_t)cache_row_bytes(types[i], head_dim) : n, 0);
	return (struct kv){
		.k = of[0],
		.v = of[1],
		.type = type,
		.v_type = v_type,
		.n_kv_heads = n_kv_heads,
		.head_dim = head_dim,
		.capacity = capacity,
		.ring = ring ? capacity : 0,
	};
}
