/*
 * The CUDA device's time stamps: its kernels compiled once more, with TIMELINE, when they are first asked for, and the
 * records that all of them share while stamps are taken.
 */
#include <stdlib.h>

#include "engine/cuda/device_cuda_internal.h"
#include "engine/cuda/launch_rows.h"

enum { RECORDS = 1 << 20 }; /* 32 MiB: a token's of a model of 100 layers with --fusion none, 300 blocks a launch */

/* Where the module's kernels find the records; null: they leave none. */
static int point(struct cuda_device *c, struct cu_module *module, const void *records, struct error *err)
{
	uint64_t at = 0, address = address_of(records);
	size_t bytes = 0;
	int result = c->cu.ModuleGetGlobal(&at, &bytes, module, "block_stamps");
	if (result == CU_NOT_FOUND)
		return 0; /* none of them waits for others */
	if (result)
		return cuda_driver_error(&c->cu, result, err, "cuda device: where kernels leave time stamps");
	return cuda_upload(&c->base, (void *)(uintptr_t)at, &address, sizeof address, err);
}

static int load(struct cuda_device *c, int source, struct error *err)
{
	struct nvrtc *n;
	int rc = nvrtc_open(&n, err);
	if (rc)
		return rc;
	rc = cuda_kernels_load(c, n, source, true, &c->stamps.modules[source], err);
	nvrtc_close(n);
	return rc ? rc : point(c, c->stamps.modules[source], c->stamps.records, err);
}

int cuda_stamped_function(struct cuda_device *c, int entry, struct cu_function **out, struct error *err)
{
	struct cuda_stamps *s = &c->stamps;
	int source = cuda_kernels_source(entry);
	if (!s->functions[entry]) {
		int rc = source < 0 || s->modules[source] ? 0 : load(c, source, err);
		if (!rc && source >= 0)
			rc = cuda_kernels_find(c, s->modules[source], entry, &s->functions[entry], err);
		if (rc)
			return rc;
	}
	*out = s->functions[entry];
	return *out ? 0 : error_set(err, ERROR_DEVICE, "cuda device: %s has no time stamps", cuda_entries[entry].name);
}

static int open(struct cuda_device *c, struct error *err)
{
	struct cuda_stamps *s = &c->stamps;
	if (!s->modules)
		s->modules = calloc((size_t)cuda_n_sources + 1, sizeof(struct cu_module *));
	if (!s->functions)
		s->functions = calloc((size_t)cuda_n_entries + 1, sizeof(struct cu_function *));
	if (!s->modules || !s->functions)
		return error_set(err, ERROR_MEMORY, "cuda device: no memory for the list of kernels");
	const struct block_stamps none = {.cap = RECORDS};
	int rc = cuda_alloc(&c->base, sizeof none + RECORDS * sizeof(struct block_stamp), &s->records, err);
	if (!rc)
		rc = cuda_upload(&c->base, s->records, &none, sizeof none, err);
	for (int i = 0; i < cuda_n_sources && !rc; i++)
		if (s->modules[i])
			rc = point(c, s->modules[i], s->records, err);
	return rc;
}

static void forget_records(struct cuda_device *c)
{
	cuda_free(&c->base, c->stamps.records);
	c->stamps.records = NULL;
}

int cuda_stamps_begin(struct device *d, struct error *err)
{
	int rc = open(cuda_of(d), err);
	if (rc && cuda_of(d)->stamps.records)
		forget_records(cuda_of(d));
	return rc;
}

static int read_records(struct cuda_device *c, struct device_stamps *out, struct error *err)
{
	struct block_stamps head;
	int rc = cuda_download(&c->base, &head, c->stamps.records, sizeof head, err);
	if (rc)
		return rc;
	if (head.n > head.cap)
		return error_set(err, ERROR_WRONG,
				 "cuda device: room for the time stamps of %u blocks, and there are %u", head.cap,
				 head.n);
	struct block_stamp *records = malloc(((size_t)head.n + 1) * sizeof *records);
	if (!records)
		return error_set(err, ERROR_MEMORY, "cuda device: no memory for the time stamps of %u blocks", head.n);
	if (head.n)
		rc = cuda_download(&c->base, records, (const struct block_stamps *)c->stamps.records + 1,
				   head.n * sizeof *records, err);
	if (!rc)
		rc = launch_rows(out, c->base.stamps.launches, records, head.n, err);
	free(records);
	return rc;
}

int cuda_stamps_end(struct device *d, struct device_stamps *out, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	int rc = read_records(c, out, err);
	forget_records(c);
	return rc;
}
