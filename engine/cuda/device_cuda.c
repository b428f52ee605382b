/*
 * The CUDA device's vtable, its opening and closing, and its events. Memory, kernels,
 * prompts' products and graphs are in device_cuda_*.c.
 *
 * The GPU's primary context is used, so that libraries (cuBLASLt) and profilers see one
 * context; the stream does not synchronise with the default stream.
 */
#include "engine/cuda/device_cuda.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/device_cuda_internal.h"

enum { OLDEST_CC = 80, PDL_CC = 90 };

static const char *const precision_names[] = {"f16", "f32"};

const char *prefill_precision_name(enum prefill_precision p)
{
	return precision_names[p];
}

int prefill_precision_parse(const char *name)
{
	for (int p = 0; p < 2; p++)
		if (!strcmp(name, precision_names[p]))
			return p;
	return -1;
}

/* ---- the stream and its events ---- */

/* A token's kernel that waits in vain traps (kernels/cuda/persistent.cu), and the driver says that something failed. */
int cuda_stream_error(const struct cuda_device *c, int result, struct error *err, const char *what, ...)
{
	char call[256];
	va_list args;
	va_start(args, what);
	vsnprintf(call, sizeof call, what, args);
	va_end(args);
	int rc = cuda_driver_error(&c->cu, result, err, "%s", call);
	if (!c->persistent || (result != CU_LAUNCH_FAILED && result != CU_ILLEGAL_INSTRUCTION) || !err)
		return rc;
	size_t n = strlen(err->text);
	snprintf(
		err->text + n, sizeof err->text - n,
		"; the kernel of fusion persistent ends like this where a block waits for more than 10 s: let no other "
		"program and no debugger use the GPU meanwhile, or use --fusion full");
	return rc;
}

static int cuda_synchronize(struct device *d, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	c->after_kernel = false;
	int result = c->cu.StreamSynchronize(c->stream);
	c->persistent = c->persistent && result;
	return result ? cuda_stream_error(c, result, err, "cuda device: cuStreamSynchronize") : 0;
}

static int cuda_running(struct device *d, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	int result = c->cu.StreamQuery(c->stream);
	if (result == CU_NOT_READY)
		return 1;
	c->persistent = c->persistent && result;
	return result ? cuda_stream_error(c, result, err, "cuda device: cuStreamQuery") : 0;
}

static int cuda_event_create(struct device *d, struct device_event **out, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	struct device_event *e = calloc(1, sizeof *e);
	if (!e)
		return error_set(err, ERROR_MEMORY, "cuda device: no memory for an event");
	int result = c->cu.EventCreate(&e->event, 0);
	if (result) {
		free(e);
		return cuda_driver_error(&c->cu, result, err, "cuda device: cuEventCreate");
	}
	*out = e;
	return 0;
}

static int cuda_event_record(struct device *d, struct device_event *e, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	c->after_kernel = false;
	int result = c->cu.EventRecord(e->event, c->stream);
	e->recorded = !result;
	return result ? cuda_stream_error(c, result, err, "cuda device: cuEventRecord") : 0;
}

static int cuda_event_wait(struct device *d, struct device_event *e, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	if (!e->recorded)
		return error_set(err, ERROR_DEVICE, "cuda device: an event was not recorded yet");
	int result = c->cu.EventSynchronize(e->event);
	return result ? cuda_stream_error(c, result, err, "cuda device: cuEventSynchronize") : 0;
}

static int cuda_event_elapsed(struct device *d, struct device_event *from, struct device_event *to, double *us,
			      struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	float ms;
	if (!from->recorded || !to->recorded)
		return error_set(err, ERROR_DEVICE, "cuda device: an event was not recorded yet");
	int result = c->cu.EventElapsedTime(&ms, from->event, to->event);
	if (result)
		return cuda_stream_error(c, result, err, "cuda device: cuEventElapsedTime");
	*us = (double)ms * 1e3;
	return 0;
}

static void cuda_event_destroy(struct device *d, struct device_event *e)
{
	cuda_of(d)->cu.EventDestroy(e->event);
	free(e);
}

/* ---- opening ---- */

/* A device that is still open has the same context, and needs it current: all calls go to the current one. */
static void leave_context(const struct cuda_driver *cu, struct cu_context *context, int ordinal)
{
	unsigned flags;
	int active = 0;
	cu->CtxSetCurrent(NULL);
	cu->DevicePrimaryCtxRelease(ordinal);
	if (!cu->DevicePrimaryCtxGetState(ordinal, &flags, &active) && active)
		cu->CtxSetCurrent(context);
}

static void cuda_close(struct device *d)
{
	struct cuda_device *c = cuda_of(d);
	if (c->stream)
		c->cu.StreamSynchronize(c->stream);
	if (c->context) {
		cuda_prefill_close(c);
		cuda_memory_close(c);
		cuda_kernels_close(c);
		if (c->stream)
			c->cu.StreamDestroy(c->stream);
		leave_context(&c->cu, c->context, c->ordinal);
	}
	cuda_driver_close(&c->cu);
	free(c);
}

static const struct device_ops cuda_ops = {
	.name = "cuda",
	.splits = cuda_splits,
	.plan_persistent = cuda_plan_persistent,
	.graph_bytes = sizeof(struct cuda_graph),
	.close = cuda_close,
	.alloc = cuda_alloc,
	.alloc_mapped = cuda_alloc_mapped,
	.free = cuda_free,
	.memory = cuda_memory,
	.forget_peak = cuda_forget_peak,
	.upload = cuda_upload,
	.download = cuda_download,
	.copy = cuda_copy,
	.send = cuda_send,
	.launch = cuda_launch_kernel,
	.grid = cuda_grid,
	.synchronize = cuda_synchronize,
	.stamps_begin = cuda_stamps_begin,
	.stamps_end = cuda_stamps_end,
	.running = cuda_running,
	.event_create = cuda_event_create,
	.event_record = cuda_event_record,
	.event_wait = cuda_event_wait,
	.event_elapsed = cuda_event_elapsed,
	.event_destroy = cuda_event_destroy,
	.can_graph = cuda_can_graph,
	.capture_begin = cuda_capture_begin,
	.capture_end = cuda_capture_end,
	.capture_abort = cuda_capture_abort,
	.instantiate = cuda_instantiate,
	.exec_patched = cuda_exec_patched,
	.exec_upload = cuda_exec_upload,
	.exec_set_params = cuda_exec_set_params,
	.exec_update = cuda_exec_update,
	.replay = cuda_replay,
	.exec_destroy = cuda_exec_destroy,
	.graph_destroy = cuda_graph_destroy,
};

static int read_attributes(struct cuda_driver *cu, int ordinal, struct cuda_card *out, struct error *err)
{
	int major = 0, minor = 0, per_sm = 0, per_block = 0, result;
	if ((result = cu->DeviceGetAttribute(&major, CU_ATTRIBUTE_CC_MAJOR, ordinal)) ||
	    (result = cu->DeviceGetAttribute(&minor, CU_ATTRIBUTE_CC_MINOR, ordinal)) ||
	    (result = cu->DeviceGetAttribute(&out->n_sm, CU_ATTRIBUTE_MULTIPROCESSORS, ordinal)) ||
	    (result = cu->DeviceGetAttribute(&per_sm, CU_ATTRIBUTE_SHARED_PER_SM, ordinal)) ||
	    (result = cu->DeviceGetAttribute(&per_block, CU_ATTRIBUTE_SHARED_PER_BLOCK_OPTIN, ordinal)))
		return cuda_driver_error(cu, result, err, "cuda device: reading what the GPU is");
	out->compute_capability = 10 * major + minor;
	out->shared_per_sm = (size_t)per_sm;
	out->shared_per_block = (size_t)per_block;
	return 0;
}

static int read_card(struct cuda_device *c, struct error *err)
{
	int l2 = 0, result, rc;
	struct cuda_facts *f = &c->facts;
	if ((result = c->cu.DeviceGet(&c->ordinal, 0)) ||
	    (result = c->cu.DeviceGetName(f->name, sizeof f->name, c->ordinal)) ||
	    (result = c->cu.DeviceGetAttribute(&l2, CU_ATTRIBUTE_L2_BYTES, c->ordinal)))
		return cuda_driver_error(&c->cu, result, err, "cuda device: reading what the GPU is");
	if ((rc = read_attributes(&c->cu, c->ordinal, &c->card, err)))
		return rc;
	f->n_sm = c->card.n_sm;
	f->compute_capability = c->card.compute_capability;
	f->driver = c->cu.version;
	f->l2_bytes = (size_t)l2;
	if (f->compute_capability < OLDEST_CC)
		return error_set(err, ERROR_UNSUPPORTED, "the GPU %s has compute capability %d.%d; 8.0 is the oldest",
				 f->name, f->compute_capability / 10, f->compute_capability % 10);
	return 0;
}

int device_cuda_card(struct cuda_card *out, struct error *err)
{
	struct cuda_driver cu;
	int ordinal, result, rc = cuda_driver_open(&cu, err);
	*out = (struct cuda_card){0};
	if (rc)
		return rc;
	if ((result = cu.DeviceGet(&ordinal, 0)))
		rc = cuda_driver_error(&cu, result, err, "reading what the GPU is");
	else
		rc = read_attributes(&cu, ordinal, out, err);
	cuda_driver_close(&cu);
	return rc;
}

static int open_stream(struct cuda_device *c, struct error *err)
{
	int result = c->cu.DevicePrimaryCtxRetain(&c->context, c->ordinal);
	if (result) {
		c->context = NULL;
		return cuda_driver_error(&c->cu, result, err, "cuda device: the primary context of %s", c->facts.name);
	}
	if ((result = c->cu.CtxSetCurrent(c->context)) ||
	    (result = c->cu.StreamCreate(&c->stream, CU_STREAM_FLAG_NON_BLOCKING)))
		return cuda_driver_error(&c->cu, result, err, "cuda device: a stream on %s", c->facts.name);
	return 0;
}

int cuda_open_bare(struct cuda_device **out, struct error *err)
{
	*out = NULL;
	struct cuda_device *c = calloc(1, sizeof *c);
	if (!c)
		return error_set(err, ERROR_MEMORY, "no memory for the CUDA device");
	c->base.ops = &cuda_ops;
	int rc;
	if ((rc = cuda_driver_open(&c->cu, err)) || (rc = read_card(c, err)) || (rc = open_stream(c, err))) {
		cuda_close(&c->base);
		return rc;
	}
	*out = c;
	return 0;
}

int device_cuda_open(struct device **out, const struct cuda_open_options *o, struct error *err)
{
	struct cuda_device *c;
	*out = NULL;
	int rc = cuda_open_bare(&c, err);
	if (rc)
		return rc;
	c->card.memory = o->memory;
	device_cuda_set_pdl(&c->base, o->pdl);
	if ((rc = cuda_memory_open(c, err)) || (rc = cuda_kernels_open(c, &o->dims, err)) ||
	    (rc = cuda_prefill_open(c, o, err)))
		goto fail;
	*out = &c->base;
	return 0;
fail:
	cuda_close(&c->base);
	return rc;
}

int device_cuda_probe(struct error *err)
{
	struct cuda_driver cu;
	int rc = cuda_driver_open(&cu, err);
	cuda_driver_close(&cu);
	return rc;
}

static void read_stated_rates(struct cuda_driver *cu, int ordinal, struct cuda_gpu *out)
{
	int clock = 0, memory_clock = 0, bits = 0;
	int cc = out->compute_capability;
	/* Dense bf16 with float32 sums, a clock and multiprocessor; newer ones are taken for the last known. */
	int flops = cc >= 90 ? 4096 : cc == 80 ? 2048 : 1024;
	if (!cu->DeviceGetAttribute(&memory_clock, CU_ATTRIBUTE_MEMORY_CLOCK_KHZ, ordinal) &&
	    !cu->DeviceGetAttribute(&bits, CU_ATTRIBUTE_MEMORY_BUS_BITS, ordinal))
		out->bandwidth = 2e3 * memory_clock * bits / 8;
	if (!cu->DeviceGetAttribute(&clock, CU_ATTRIBUTE_CLOCK_KHZ, ordinal))
		out->bf16_rate = 1e3 * clock * out->n_sm * flops;
	out->clock_mhz = 1e-3 * clock;
	out->memory_clock_mhz = 1e-3 * memory_clock;
}

int device_cuda_gpu(struct cuda_gpu *out, struct error *err)
{
	struct cuda_driver cu;
	int ordinal, major = 0, minor = 0, domain = 0, bus = 0, slot = 0, result, rc = cuda_driver_open(&cu, err);
	if (rc)
		return rc;
	*out = (struct cuda_gpu){.driver = cu.version};
	if ((result = cu.DeviceGet(&ordinal, 0)) || (result = cu.DeviceGetName(out->name, sizeof out->name, ordinal)) ||
	    (result = cu.DeviceTotalMem(&out->memory_bytes, ordinal)) ||
	    (result = cu.DeviceGetAttribute(&major, CU_ATTRIBUTE_CC_MAJOR, ordinal)) ||
	    (result = cu.DeviceGetAttribute(&minor, CU_ATTRIBUTE_CC_MINOR, ordinal)) ||
	    (result = cu.DeviceGetAttribute(&out->n_sm, CU_ATTRIBUTE_MULTIPROCESSORS, ordinal)) ||
	    (result = cu.DeviceGetAttribute(&domain, CU_ATTRIBUTE_PCI_DOMAIN, ordinal)) ||
	    (result = cu.DeviceGetAttribute(&bus, CU_ATTRIBUTE_PCI_BUS, ordinal)) ||
	    (result = cu.DeviceGetAttribute(&slot, CU_ATTRIBUTE_PCI_SLOT, ordinal)))
		rc = cuda_driver_error(&cu, result, err, "reading what the GPU is");
	out->compute_capability = 10 * major + minor;
	if (!rc)
		read_stated_rates(&cu, ordinal, out);
	snprintf(out->pci_bus_id, sizeof out->pci_bus_id, "%08x:%02x:%02x.0", (unsigned)domain, (unsigned)bus,
		 (unsigned)slot);
	cuda_driver_close(&cu);
	return rc;
}

int device_cuda_free_memory(size_t *bytes, struct error *err)
{
	struct cuda_driver cu;
	struct cu_context *context = NULL;
	int ordinal, result, rc = cuda_driver_open(&cu, err);
	size_t total;
	*bytes = 0;
	if (rc)
		return rc;
	if ((result = cu.DeviceGet(&ordinal, 0)) || (result = cu.DevicePrimaryCtxRetain(&context, ordinal)) ||
	    (result = cu.CtxSetCurrent(context)) || (result = cu.MemGetInfo(bytes, &total)))
		rc = cuda_driver_error(&cu, result, err, "reading the GPU's free memory");
	if (context)
		leave_context(&cu, context, ordinal);
	cuda_driver_close(&cu);
	return rc;
}

const struct cuda_facts *device_cuda_facts(const struct device *d)
{
	return &((const struct cuda_device *)d)->facts;
}

bool device_cuda_set_pdl(struct device *d, bool on)
{
	struct cuda_facts *f = &cuda_of(d)->facts;
	f->pdl = on && f->compute_capability >= PDL_CC;
	return f->pdl;
}
