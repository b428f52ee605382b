/*
 * Loading onto a device with memory of its own, where matrices are converted, without one: a device here that only
 * keeps bytes. Experts in two tensors come out as the joined ones do, and what is measured is what is allocated.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device_ops.h"
#include "engine/infer/weights.h"
#include "kernels/cpu/cpu.h"
#include "tests/support/golden.h"
#include "tests/support/ok.h"
#include "tests/support/separate_experts.h"
#include "tests/support/synth_case.h"
#include "tests/support/temp_file.h"

struct keeper {
	struct device base;
	size_t allocated;
};

static int keeper_alloc(struct device *d, size_t bytes, void **out, struct error *err)
{
	(void)err;
	*out = aligned_alloc(64, (bytes + 63) / 64 * 64);
	assert_non_null(*out);
	memset(*out, 0xee, bytes);
	((struct keeper *)d)->allocated += bytes;
	return 0;
}

static void keeper_free(struct device *d, void *p)
{
	(void)d;
	free(p);
}

static int keeper_upload(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	(void)d;
	(void)err;
	memcpy(dst, src, bytes);
	return 0;
}

static const struct device_ops keeper_ops = {
	.name = "keeper", .alloc = keeper_alloc, .free = keeper_free, .upload = keeper_upload};

struct loaded {
	struct model model;
	struct keeper device;
	struct weights weights;
};

static void load(struct loaded *l, const char *path)
{
	static const struct weights_places nothing;
	struct weights_bytes measured;
	*l = (struct loaded){.device.base.ops = &keeper_ops};
	OK(model_open(&l->model, path, e));
	const struct model_range all = model_whole(&l->model);
	OK(weights_measure(&measured, &l->model, &all, false, &nothing, e));
	OK(weights_open(&l->weights, &l->model, &all, &l->device.base, &nothing, e));
	size_t sum = 0;
	for (int i = 0; i < WEIGHTS_GROUP_COUNT; i++)
		sum += measured.device[i].bytes;
	assert_int_equal(sum, l->device.allocated);
}

static void unload(struct loaded *l)
{
	weights_close(&l->weights);
	model_close(&l->model);
}

static size_t values_of(const struct weight *w)
{
	return (size_t)w->n_in * (size_t)w->n_out * (size_t)w->n_expert;
}

static void same(const struct weight *a, const struct weight *b)
{
	size_t n = values_of(a);
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->n_in, b->n_in);
	assert_int_equal(a->n_out, b->n_out);
	assert_int_equal(a->n_expert, b->n_expert);
	if (a->type == TENSOR_Q8_0) {
		assert_memory_equal(a->data, b->data, n);
		assert_memory_equal(a->scales, b->scales, n / 32 * sizeof(uint16_t));
	} else {
		assert_memory_equal(a->data, b->data, tensor_type_bytes((enum tensor_type)a->type, n));
	}
}

static void check(const char *path, enum tensor_type type, enum tensor_type on_device)
{
	struct temp_file t = temp_file_make();
	struct loaded joined, apart;
	separate_experts(path, t.path);
	load(&joined, path);
	load(&apart, t.path);
	for (int i = 0; i < joined.model.n_layer; i++) {
		assert_int_equal(apart.model.layers[i].ffn_up_exps->type, type);
		assert_int_equal(joined.weights.layers[i].gate_up_exps.type, on_device);
		same(&apart.weights.layers[i].gate_up_exps, &joined.weights.layers[i].gate_up_exps);
	}
	assert_int_equal(apart.weights.bytes, joined.weights.bytes);
	assert_int_equal(apart.weights.n_narrowed, joined.weights.n_narrowed);
	assert_int_equal(apart.device.allocated, joined.device.allocated);
	unload(&joined);
	unload(&apart);
	temp_file_remove(&t);
}

static void test_planes(void **state)
{
	(void)state;
	struct golden g;
	golden_load(&g, "gemma4-26b-a4b-tiny.q8_0");
	check(g.path, TENSOR_Q8_0, TENSOR_Q8_0);
	golden_free(&g);
}

/* Planes of a whole tensor in one go, which test_matvec_emulated.c multiplies: none of the ways there changes a byte.
 */
static void test_quants(void **state)
{
	(void)state;
	for (int i = 0; i < tensor_type_count; i++) {
		struct temp_file t = temp_file_make();
		struct loaded l;
		enum tensor_type type = tensor_types[i].type;
		if (tensor_types[i].quants && tensor_types[i].block == 32) {
			synth_case_make("gemma4-26b-a4b-tiny", type, 1, 1, t.path);
			check(t.path, type, type);
		}
		synth_case_make("gemma4-e4b-tiny", type, 1, 1, t.path);
		load(&l, t.path);
		const struct gguf_tensor *from = l.model.layers[1].ffn_down;
		const struct weight *to = &l.weights.layers[1].down;
		assert_int_equal(to->type, type);
		if (tensor_types[i].quants) {
			size_t n_blocks = values_of(to) / 32;
			void *planes = malloc(from->bytes);
			assert_non_null(planes);
			struct cpu_planes p = cpu_planes_at(type, planes, n_blocks);
			cpu_planes(type, from->data, n_blocks, &p);
			assert_memory_equal(to->data, planes, from->bytes);
			free(planes);
		}
		unload(&l);
		temp_file_remove(&t);
	}
}

static void test_floats(void **state)
{
	(void)state;
	struct golden g;
	golden_variant_load(&g, "gemma4-no-expert-scale");
	check(g.path, TENSOR_F32, TENSOR_F32);
	golden_free(&g);
}

/* Float32 that bfloat16 holds is narrowed, in both halves. */
static void test_narrowed(void **state)
{
	(void)state;
	struct golden g;
	struct temp_file t = temp_file_make();
	golden_variant_load(&g, "gemma4-no-expert-scale");
	FILE *from = fopen(g.path, "rb"), *to = fopen(t.path, "wb");
	assert_non_null(from);
	assert_non_null(to);
	for (int c; (c = fgetc(from)) != EOF;)
		fputc(c, to);
	struct gguf file;
	OK(gguf_open(&file, g.path, e));
	for (size_t i = 0; i < file.n_tensors; i++) {
		uint64_t at;
		gguf_tensor_part(&file, &file.tensors[i], &at);
		for (size_t k = 0; file.tensors[i].n_dims > 1 && k < file.tensors[i].bytes; k += sizeof(float)) {
			assert_int_equal(fseek(to, (long)(at + k), SEEK_SET), 0);
			fwrite("\0", 1, 2, to); /* the low half of a little-endian float32 */
		}
	}
	gguf_close(&file);
	fclose(from);
	assert_int_equal(fclose(to), 0);
	check(t.path, TENSOR_F32, TENSOR_BF16);
	golden_free(&g);
	temp_file_remove(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_planes),
		cmocka_unit_test(test_quants),
		cmocka_unit_test(test_floats),
		cmocka_unit_test(test_narrowed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
