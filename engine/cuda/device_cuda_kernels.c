/*
 * The CUDA device's kernels: compiled or fetched from the cache, loaded, launched.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/cuda/cuda_compile.h"
#include "engine/cuda/device_cuda_internal.h"
#include "kernels/cuda/attention_geometry.h"

/* A cubin that loads: a cached one that does not (another driver's, damaged and not noticed) is made again. */
int cuda_kernels_load(struct cuda_device *c, struct nvrtc *n, int index, bool stamped, struct cu_module **out,
		      struct error *err)
{
	const struct cuda_source *source = &cuda_sources[index];
	struct cuda_compile_options o = {.dims = &c->dims,
					 .card = &c->card,
					 .arch = c->facts.compute_capability,
					 .cache = true,
					 .stamped = stamped};
	for (;;) {
		struct cuda_cubin cubin;
		int rc = cuda_compile(n, source, &o, &cubin, err);
		if (rc)
			return rc;
		int result = c->cu.ModuleLoadData(out, cubin.bytes);
		free(cubin.bytes);
		if (!cubin.cached)
			c->facts.compiled++;
		if (!result)
			return 0;
		*out = NULL;
		if (!cubin.cached)
			return cuda_driver_error(&c->cu, result, err, "cuda device: loading %s for sm_%d", source->name,
						 o.arch);
		o.cache = false;
	}
}

/*
 * Sources whose kernels call what the driver has since CUDA 12.4: where they do not load, what needs them is refused,
 * with this reason.
 */
static struct error *reason_of(struct cuda_device *c, const char *source)
{
	return !strcmp(source, "kernels/cuda/patch.cu")  ? &c->no_patch
	       : !strcmp(source, "kernels/cuda/loop.cu") ? &c->no_loop
							 : NULL;
}

static int find_source(const char *name)
{
	for (int i = 0; i < cuda_n_sources; i++)
		if (!strcmp(cuda_sources[i].name, name))
			return i;
	return -1;
}

int cuda_kernels_source(int entry)
{
	return find_source(cuda_entries[entry].source);
}

int cuda_kernels_find(struct cuda_device *c, struct cu_module *module, int entry, struct cu_function **out,
		      struct error *err)
{
	const struct cuda_entry *e = &cuda_entries[entry];
	int shared = 0;
	struct cu_function *f;
	int result = c->cu.ModuleGetFunction(&f, module, e->name);
	if (result == CU_NOT_FOUND)
		return 0; /* not for this model's dimensions */
	/* Asking for an attribute also loads the kernel now: lazily it would be in the first launch, or a capture. */
	if (!result)
		result = c->cu.FuncGetAttribute(&shared, CU_FUNCTION_SHARED_BYTES, f);
	if (!result)
		result = c->cu.FuncSetAttribute(f, CU_FUNCTION_MAX_DYNAMIC_SHARED,
						(int)c->card.shared_per_block - shared);
	if (result)
		return cuda_driver_error(&c->cu, result, err, "cuda device: kernel %s of %s", e->name, e->source);
	*out = f;
	return 0;
}

static int find_function(struct cuda_device *c, int entry, struct error *err)
{
	const struct cuda_entry *e = &cuda_entries[entry];
	int source = cuda_kernels_source(entry);
	if (source >= 0 && !c->modules[source] && reason_of(c, e->source))
		return 0;
	if (source < 0 || !c->modules[source])
		return error_set(err, ERROR_DEVICE, "cuda device: %s names the source %s, which is not in this build",
				 e->name, e->source);
	return cuda_kernels_find(c, c->modules[source], entry, &c->functions[entry], err);
}

static int load_or_refuse(struct cuda_device *c, struct nvrtc *n, int index, struct error *err)
{
	struct error *why = reason_of(c, cuda_sources[index].name);
	if (!why)
		return cuda_kernels_load(c, n, index, false, &c->modules[index], err);
	if (cuda_driver_check_graph_kernels(&c->cu, why))
		return 0;
	struct error failure;
	if (cuda_kernels_load(c, n, index, false, &c->modules[index], &failure))
		error_set(why, ERROR_UNSUPPORTED, "kernels that this driver does not load: %s", failure.text);
	return 0;
}

/* Of what is measured, which no model is run with. */
static bool is_measuring(const char *source)
{
	return !strcmp(source, "kernels/cuda/memory.cu");
}

static bool is_models(const char *source)
{
	return !is_measuring(source);
}

int cuda_kernels_open_some(struct cuda_device *c, const struct cuda_dims *dims, bool (*wanted)(const char *source),
			   struct error *err)
{
	c->dims = *dims;
	c->persistent_chunks = cuda_persistent_chunks(dims, &c->card);
	c->k_type = dims->k_type;
	c->v_type = dims->v_type;
	c->modules = calloc((size_t)cuda_n_sources + 1, sizeof(struct cu_module *));
	c->functions = calloc((size_t)cuda_n_entries + 1, sizeof(struct cu_function *));
	if (!c->modules || !c->functions)
		return error_set(err, ERROR_MEMORY, "cuda device: no memory for the list of kernels");
	struct nvrtc *n;
	int64_t t0 = clock_ns();
	int rc = nvrtc_open(&n, err);
	if (rc)
		return rc;
	nvrtc_version(n, &c->facts.nvrtc_major, &c->facts.nvrtc_minor);
	for (int i = 0; i < cuda_n_sources && !rc; i++)
		if (!cuda_sources[i].is_header && wanted(cuda_sources[i].name))
			rc = load_or_refuse(c, n, i, err);
	nvrtc_close(n);
	for (int i = 0; i < cuda_n_entries && !rc; i++)
		if (wanted(cuda_entries[i].source))
			rc = find_function(c, i, err);
	c->facts.compile_us = (double)(clock_ns() - t0) * 1e-3;
	return rc;
}

int cuda_kernels_open(struct cuda_device *c, const struct cuda_dims *dims, struct error *err)
{
	return cuda_kernels_open_some(c, dims, is_models, err);
}

int cuda_kernels_open_measuring(struct cuda_device *c, struct error *err)
{
	const struct cuda_dims any = {.n_head_dims = 1, .head_dims = {256}, .k_type = -1, .v_type = -1};
	return cuda_kernels_open_some(c, &any, is_measuring, err);
}

/* Both lists may be null. */
static void unload(struct cuda_device *c, struct cu_module **modules, struct cu_function **functions)
{
	for (int i = 0; modules && i < cuda_n_sources; i++)
		if (modules[i])
			c->cu.ModuleUnload(modules[i]);
	free(modules);
	free(functions);
}

void cuda_kernels_close(struct cuda_device *c)
{
	unload(c, c->stamps.modules, c->stamps.functions);
	unload(c, c->modules, c->functions);
}

/* ---- launching ---- */

int cuda_function(struct cuda_device *c, int entry, struct cu_function **out, struct error *err)
{
	*out = c->functions[entry];
	return *out && c->base.stamps.on ? cuda_stamped_function(c, entry, out, err) : 0;
}

int cuda_enqueue(struct cuda_device *c, const struct cuda_launch *l, const void *params, void **updatable,
		 const char *what, struct error *err)
{
	struct cu_function *f;
	int rc = cuda_function(c, l->entry_id, &f, err);
	if (rc)
		return rc;
	if (!f)
		return error_set(err, ERROR_UNSUPPORTED,
				 "cuda device: kernel %s: %s was not compiled for this model's dimensions", what,
				 l->entry);
	if (c->base.stamps.rehearsing)
		return 0;
	struct cu_launch_attribute attributes[3];
	unsigned n_attributes = 0;
	/* Only behind a kernel of ours, which waits for the one before it: elsewhere nothing says so. */
	if (c->facts.pdl && l->pdl && c->after_kernel)
		attributes[n_attributes++] = (struct cu_launch_attribute){.id = CU_LAUNCH_PROGRAMMATIC_SERIALIZATION,
									  .value.programmatic_serialization = 1};
	if (l->cooperative)
		attributes[n_attributes++] =
			(struct cu_launch_attribute){.id = CU_LAUNCH_COOPERATIVE, .value.cooperative = 1};
	struct cu_launch_attribute *update = &attributes[n_attributes];
	if (updatable)
		attributes[n_attributes++] =
			(struct cu_launch_attribute){.id = CU_LAUNCH_DEVICE_UPDATABLE, .value.device_updatable.on = 1};
	struct cu_launch_config config = {
		.grid = {l->grid[0], l->grid[1], l->grid[2]},
		.block = {l->block[0], l->block[1], l->block[2]},
		.shared_bytes = l->shared_bytes,
		.stream = c->stream,
		.attributes = attributes,
		.n_attributes = n_attributes,
	};
	void *args[] = {(void *)(uintptr_t)params};
	int result = c->cu.LaunchKernelEx(&config, f, args, NULL);
	if (result)
		return cuda_stream_error(
			c, result, err, "cuda device: launch of %s (%s, grid %ux%ux%u, block %u, %u bytes shared)",
			what, l->entry, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->shared_bytes);
	if (updatable)
		*updatable = update->value.device_updatable.node;
	c->after_kernel = true;
	if (!c->base.capturing) {
		c->base.counters.api_launches++;
		c->base.counters.kernels++;
	}
	return device_note_launch(&c->base, l->grid[0] * l->grid[1] * l->grid[2], err);
}

static_assert((int)ATTENTION_MAX_SPLITS <= (int)DEVICE_SPLITS_MAX, "partial sums of all have a place");

struct device_splits cuda_splits(const struct device *d, int n_heads, int n_kv_heads, int head_dim)
{
	const struct cuda_device *c = (const struct cuda_device *)d;
	return (struct device_splits){
		.unit = ATTENTION_UNIT,
		.keys = ATTENTION_SPLIT_KEYS,
		.most = cuda_attention_splits(n_heads, n_kv_heads, head_dim, c->k_type, c->v_type, &c->card),
		.fused = ATTENTION_FUSED_SPLITS,
	};
}

int cuda_check_persistent(struct cuda_device *c, const struct persistent_params *p, struct error *err)
{
	struct cuda_launch l;
	int per_sm = 0, geometry = cuda_geometry(KERNEL_persistent, p, &c->card, &l);
	struct cu_function *f = geometry ? NULL : c->functions[l.entry_id];
	if (!f)
		return error_set(
			err, ERROR_UNSUPPORTED,
			"fusion persistent: its kernel was not compiled for this model's caches; use --fusion full");
	int result = c->cu.OccupancyMaxActiveBlocksPerMultiprocessor(&per_sm, f, (int)l.block[0], l.shared_bytes);
	if (result)
		return cuda_driver_error(&c->cu, result, err, "cuda device: occupancy of %s", l.entry);
	/* Blocks wait for each other: one that is not resident is waited for in vain. */
	if (per_sm < 1)
		return error_set(err, ERROR_UNSUPPORTED,
				 "fusion persistent: %s has no room for a block of %u threads and %u bytes of shared "
				 "memory on each multiprocessor; use --fusion full",
				 c->facts.name, l.block[0], l.shared_bytes);
	return 0;
}

int cuda_plan_persistent(struct device *d, struct persistent_program *g, struct persistent_phase *phases,
			 struct persistent_copy *copies, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	cuda_persistent_compiled(g, &c->persistent_chunks);
	const char *why = cuda_persistent_plan(g, phases, copies, &c->card);
	if (why)
		return error_set(err, ERROR_UNSUPPORTED,
				 "fusion persistent on %s (compute capability %d.%d): its kernel %s; "
				 "use --fusion full",
				 c->facts.name, c->facts.compute_capability / 10, c->facts.compute_capability % 10,
				 why);
	const struct persistent_params p = {
		.n_blocks = g->n_blocks, .shared_bytes = g->shared_bytes, .k_type = g->k_type, .v_type = g->v_type};
	return cuda_check_persistent(c, &p, err);
}

/* With how what it ends goes on: nobody but the capture knows. */
static const void *going_on(const struct cuda_device *c, const void *params, struct advance_params *to)
{
	memcpy(to, params, sizeof *to);
	to->how = !c->base.capturing                        ? LOOP_ONCE
		  : c->base.kind == DEVICE_GRAPH_RELAUNCHED ? LOOP_RELAUNCH
		  : c->base.kind == DEVICE_GRAPH_WHILE      ? LOOP_WHILE
							    : LOOP_ONCE;
	to->handle = c->loop_condition;
	return to;
}

int cuda_launch_kernel(struct device *d, enum kernel k, const void *params, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	struct cuda_launch l;
	if (k == KERNEL_matmul && c->prefill.blas) {
		const struct matmul_params *m = params;
		if (m->n_tokens >= GEMM_MIN_TOKENS)
			return cuda_prefill_matmul(c, m, err);
	}
	if (k == KERNEL_prompt_matmul)
		return cuda_prefill_product(c, params, err);
	struct advance_params advance;
	if (k == KERNEL_advance)
		params = going_on(c, params, &advance);
	int geometry = CUDA_GEOMETRY_UNSUPPORTED;
	if (k == KERNEL_attention_prefill && c->prefill.precision == PREFILL_F16)
		geometry = cuda_geometry_attention_mma(params, &c->card, &l);
	if (geometry == CUDA_GEOMETRY_UNSUPPORTED)
		geometry = cuda_geometry(k, params, &c->card, &l);
	switch (geometry) {
	case CUDA_GEOMETRY_OK:
		break;
	case CUDA_GEOMETRY_NOTHING:
		return 0;
	default:
		return error_set(err, ERROR_UNSUPPORTED, "cuda device: no kernel does %s with these shapes and types",
				 kernel_name(k));
	}
	c->persistent |= k == KERNEL_persistent && !d->capturing;
	if (!d->capturing)
		return cuda_enqueue(c, &l, params, NULL, kernel_name(k), err);
	void **updatable = NULL;
	int rc = cuda_record_kernel(c, k, params, &l, &updatable, err);
	bool patched = d->kind == DEVICE_GRAPH_PATCHED && (kernel_positional(k) || d->vary.n);
	return rc ? rc : cuda_enqueue(c, &l, params, patched ? updatable : NULL, kernel_name(k), err);
}

int cuda_grid(struct device *d, enum kernel k, const void *params, unsigned grid[3], struct error *err)
{
	struct cuda_launch l;
	if (cuda_geometry(k, params, &cuda_of(d)->card, &l))
		return error_set(err, ERROR_UNSUPPORTED, "cuda device: no grid of %s at another depth", kernel_name(k));
	for (int i = 0; i < 3; i++)
		grid[i] = l.grid[i];
	return 0;
}
