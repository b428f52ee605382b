#include "tests/support/synth_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct synth_plan synth_case_plan(const char *arch, enum tensor_type type, uint64_t seed)
{
	struct synth_options o;
	struct synth_plan p;
	struct error err = {0};
	synth_options_default(&o, arch);
	o.type = o.ple_type = type;
	o.seed = seed;
	if (synth_plan_init(&p, &o, &err))
		fail_msg("%s: %s", arch, err.text);
	return p;
}

void synth_case_write(const struct synth_plan *p, const char *path, int n_threads)
{
	struct error err = {0};
	if (synth_write(p, path, true, n_threads, NULL, NULL, &err))
		fail_msg("%s", err.text);
}

void synth_case_make(const char *arch, enum tensor_type type, uint64_t seed, int n_threads, const char *path)
{
	struct synth_plan p = synth_case_plan(arch, type, seed);
	synth_case_write(&p, path, n_threads);
	synth_plan_free(&p);
}

unsigned char *synth_case_bytes(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	*n = (size_t)ftell(f);
	rewind(f);
	unsigned char *bytes = malloc(*n);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, *n, f), *n);
	fclose(f);
	return bytes;
}

const struct synth_tensor *synth_case_tensor(const struct synth_plan *p, const char *name)
{
	for (int i = 0; i < p->n_tensors; i++)
		if (strcmp(p->tensors[i].name, name) == 0)
			return &p->tensors[i];
	return NULL;
}
