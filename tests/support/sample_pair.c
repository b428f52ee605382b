#include "tests/support/sample_pair.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu/cpu.h"
#include "tests/support/ok.h"
#include "tests/support/sample_case.h"

static struct sample_params params_of(struct pair *p, int n, const struct sampling_options *o, int pos)
{
	return (struct sample_params){
		.at = pair_at(p, (struct step){.token = 5, .pos = pos}, false),
		.host = sampling_of(o),
		.logits = pair_buffer(p, "logits", PAIR_INPUT, TENSOR_F32, (size_t)n, 0),
		.out = pair_buffer(p, "token, wrong", PAIR_EXACT, PAIR_INT, 2, 0),
		.n = n,
	};
}

void sample_pair(struct pair *p, int n, int kind, int options, int pos, bool step_on_device, bool settings_on_device)
{
	struct sampling_options o = sample_case_options(options % SAMPLE_OPTIONS, n);
	struct sample_params m = params_of(p, n, &o, pos);
	uint64_t random = (uint64_t)n << 32 | (uint64_t)options;
	sample_case_logits((float *)m.logits, n, kind, &random);
	if (step_on_device)
		m.at = pair_at(p, m.at.host, true);
	if (settings_on_device) {
		struct sampling *s = pair_buffer(p, "settings", PAIR_INPUT, PAIR_BYTES, sizeof *s, 0);
		*s = m.host;
		m.device = s;
		m.host = (struct sampling){.seed = 1};
	}
	pair_run(p, KERNEL_sample, &m, NULL, "n %d kind %d T %g k %d p %g m %g pos %d device %d%d", n,
		 kind % SAMPLE_KINDS, o.temperature, o.top_k, o.top_p, o.min_p, pos, step_on_device,
		 settings_on_device);
	pair_check(p, 0);
}

void sample_pair_wrong(struct pair *p, int n, int what, int options)
{
	struct sampling_options o = sample_case_options(options % SAMPLE_OPTIONS, n);
	struct sample_params m = params_of(p, n, &o, 3);
	float *logits = (float *)m.logits;
	uint64_t random = (uint64_t)options;
	sample_case_logits(logits, n, options, &random);
	for (int i = 0; i < n && what >= 2; i++)
		logits[i] = -INFINITY;
	if (what != 2)
		logits[n - 2] = what == 1 ? INFINITY : NAN;
	memset(m.out, 0, sizeof *m.out);
	pair_run(p, KERNEL_sample, &m, NULL, "n %d wrong %d T %g k %d", n, what, o.temperature, o.top_k);
	assert_int_equal(m.out->wrong, 1);
	pair_check(p, 0);
}

/* The host's, alone. */
static int chosen(const struct sample_params *m)
{
	struct sampled out = {0};
	struct sample_params p = *m;
	p.out = &out;
	k_sample(&p);
	return out.token;
}

void sample_pair_planted(struct pair *p, enum sample_fault fault)
{
	enum { N = 5000, K = 40 };
	struct sampling_options o = {.temperature = M_LOG2E, .top_p = 1, .seed = 7};
	struct sample_params m = params_of(p, N, &o, 0);
	/* Weights of ten each are halves of those of the ten before; ids are mixed. */
	float *logits = (float *)m.logits, *others = pair_buffer(p, "others", PAIR_INPUT, TENSOR_F32, N, 0);
	for (int i = 0; i < N; i++)
		logits[i * 77 % N] = (float)(-(i / 10));
	memcpy(others, logits, N * sizeof *others);
	struct sample_params other = m;
	if (fault == SAMPLE_K_OFF || fault == SAMPLE_TIES) {
		m.host.top_k = K + 5;
		other.host = m.host;
		other.host.top_k += fault == SAMPLE_K_OFF;
	} else if (fault == SAMPLE_P_OFF) {
		/* 10 + 5 of 20 - 20 / 2^500. */
		m.host.top_p = SAMPLING_ALL * 3 / 4 - SAMPLING_ALL / 1000;
		other.host.top_p = m.host.top_p - SAMPLING_ALL / 40;
	} else if (fault == SAMPLE_MIN_OFF) {
		m.host.min_p = SAMPLING_ONE / 4 - SAMPLING_ONE / 1000;
		other.host.min_p = SAMPLING_ONE / 4 + SAMPLING_ONE / 1000;
	} else if (fault == SAMPLE_SEED_HIGH) {
		other.host.seed |= 1ull << 63;
	}
	if (fault == SAMPLE_TIES) { /* ranks 40 .. 49 are equal, five are in: those of the lowest ids */
		int in = -1, out = -1;
		for (int i = 0; i < N; i++)
			if (logits[i] == -4.0f) {
				in = in < 0 ? i : in;
				out = i;
			}
		others[in] = -600;
		other.logits = others;
		assert_true(in < out);
	}
	do {
		m.at.host.pos++;
		other.at.host.pos = m.at.host.pos + (fault == SAMPLE_POS_OFF);
		assert_true(m.at.host.pos < 10000);
	} while (fault != SAMPLE_RIGHT && chosen(&m) == chosen(&other));
	pair_run(p, KERNEL_sample, &m, &other, "fault %d, position %d", (int)fault, m.at.host.pos);
	if (fault == SAMPLE_RIGHT)
		pair_check(p, 0);
	else
		pair_check_wrong(p, 0);
}

static void *on_device(struct device *d, const void *from, size_t bytes)
{
	void *p;
	OK(device_alloc(d, bytes, &p, e));
	OK(device_upload(d, p, from, bytes, e));
	return p;
}

void sample_replayed(struct device *d)
{
	enum { N = 20000, ROWS = 3, REPLAYS = 40 };
	float *logits = malloc(ROWS * N * sizeof *logits);
	struct sampled got[ROWS] = {0};
	uint64_t random = 19;
	assert_non_null(logits);
	for (int r = 0; r < ROWS; r++)
		sample_case_logits(logits + r * N, N, 2 * r, &random);
	struct sample_params m = {.at.device = on_device(d, &(struct step){0}, sizeof(struct step)),
				  .device = on_device(d, &(struct sampling){0}, sizeof(struct sampling)),
				  .n = N};
	float *row = on_device(d, logits, ROWS * N * sizeof *logits);
	struct sampled *out = on_device(d, got, sizeof got);
	struct device_graph *g;
	struct device_exec *x;
	OK(device_capture_begin(d, DEVICE_GRAPH_PLAIN, e));
	for (int r = 0; r < ROWS; r++) {
		m.logits = row + r * N;
		m.out = out + r;
		OK(device_launch(d, KERNEL_sample, &m, e));
	}
	OK(device_capture_end(d, &g, e));
	OK(device_instantiate(d, g, &x, e));
	for (int i = 0; i < REPLAYS; i++) {
		struct sampling_options o = sample_case_options(i * 31 + 1, N);
		struct sampling settings = sampling_of(&o);
		struct step step = {.pos = 1000 * i};
		OK(device_send(d, (void *)m.at.device, &step, sizeof step, e));
		OK(device_send(d, (void *)m.device, &settings, sizeof settings, e));
		OK(device_replay(d, x, e));
		OK(device_replay(d, x, e));
		OK(device_download(d, got, out, sizeof got, e));
		for (int r = 0; r < ROWS; r++) {
			struct sample_params host = {
				.at.host = step, .host = settings, .logits = logits + r * N, .n = N};
			assert_int_equal(got[r].wrong, 0);
			assert_int_equal(got[r].token, chosen(&host));
		}
	}
	device_exec_destroy(d, x);
	device_graph_destroy(d, g);
	device_free(d, row);
	device_free(d, out);
	device_free(d, (void *)m.at.device);
	device_free(d, (void *)m.device);
	free(logits);
}
