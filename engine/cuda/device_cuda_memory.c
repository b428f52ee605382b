/*
 * Memory of the CUDA device: allocations, transfers through pinned staging, and the
 * ring of pinned slots behind send.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/device_cuda_internal.h"

static int add_allocation(struct cuda_device *c, struct cuda_allocation a, struct error *err)
{
	if (c->n_allocations == c->cap_allocations) {
		size_t cap = c->cap_allocations ? 2 * c->cap_allocations : 1024;
		struct cuda_allocation *grown = realloc(c->allocations, cap * sizeof *grown);
		if (!grown)
			return error_set(err, ERROR_MEMORY, "cuda device: no memory for the list of allocations");
		c->allocations = grown;
		c->cap_allocations = cap;
	}
	c->allocations[c->n_allocations++] = a;
	if (a.host)
		return 0;
	c->used += a.bytes;
	if (c->used > c->peak)
		c->peak = c->used;
	return 0;
}

static int out_of_memory(struct cuda_device *c, int result, const char *kind, size_t bytes, struct error *err)
{
	size_t available = 0, total = 0;
	if (result != CU_OUT_OF_MEMORY)
		return cuda_driver_error(&c->cu, result, err, "cuda device: allocating %zu bytes of %s memory", bytes,
					 kind);
	if (c->cu.MemGetInfo(&available, &total))
		available = total = 0;
	return cuda_driver_error(&c->cu, result, err,
				 "cuda device: out of %s memory: %zu bytes asked, %zu of the GPU's %zu free", kind,
				 bytes, available, total);
}

/* NaNs of every type, as what nobody has written. */
static int poison(struct cuda_device *c, uint64_t address, size_t bytes, struct error *err)
{
	enum { PIECE = 1 << 20 };
	unsigned char *piece = malloc(PIECE);
	int result = 0;
	if (!piece)
		return error_set(err, ERROR_MEMORY, "no memory to poison the device's");
	memset(piece, 0xff, PIECE);
	for (size_t at = 0; at < bytes && !result; at += PIECE)
		result = c->cu.MemcpyHtoDAsync(address + at, piece, bytes - at < PIECE ? bytes - at : PIECE, c->stream);
	int waited = c->cu.StreamSynchronize(c->stream);
	free(piece);
	result = result ? result : waited;
	return result ? cuda_driver_error(&c->cu, result, err, "cuda device: poisoning %zu bytes", bytes) : 0;
}

int cuda_alloc(struct device *d, size_t bytes, void **out, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	uint64_t address = 0;
	int result = c->cu.MemAlloc(&address, bytes ? bytes : 1);
	if (result)
		return out_of_memory(c, result, "device", bytes, err);
	int rc = add_allocation(c, (struct cuda_allocation){.address = address, .bytes = bytes}, err);
	if (rc) {
		c->cu.MemFree(address);
		return rc;
	}
	if (getenv("GEMMARK_POISON") && (rc = poison(c, address, bytes, err))) {
		cuda_free(d, (void *)(uintptr_t)address);
		return rc;
	}
	*out = (void *)(uintptr_t)address;
	return 0;
}

int cuda_alloc_mapped(struct device *d, size_t bytes, void **out, void **host, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	uint64_t address = 0;
	void *p = NULL;
	int result = c->cu.MemHostAlloc(&p, bytes ? bytes : 1, CU_HOST_ALLOC_DEVICEMAP);
	if (!result)
		result = c->cu.MemHostGetDevicePointer(&address, p, 0);
	int rc = result ? out_of_memory(c, result, "pinned host", bytes, err)
			: add_allocation(c, (struct cuda_allocation){.address = address, .host = p, .bytes = bytes},
					 err);
	if (rc) {
		if (p)
			c->cu.MemFreeHost(p);
		return rc;
	}
	*out = (void *)(uintptr_t)address;
	*host = p;
	return 0;
}

void cuda_free(struct device *d, void *p)
{
	struct cuda_device *c = cuda_of(d);
	/* Freeing waits for nothing on its own. A failure here is an earlier kernel's; the next call says it. */
	c->cu.StreamSynchronize(c->stream);
	for (size_t i = c->n_allocations; i > 0; i--) {
		struct cuda_allocation a = c->allocations[i - 1];
		if (a.address != address_of(p))
			continue;
		c->allocations[i - 1] = c->allocations[--c->n_allocations];
		if (a.host) {
			c->cu.MemFreeHost(a.host);
		} else {
			c->used -= a.bytes;
			c->cu.MemFree(a.address);
		}
		return;
	}
	assert(!"freed memory that this device did not allocate");
}

struct device_memory cuda_memory(struct device *d)
{
	struct cuda_device *c = cuda_of(d);
	size_t available = 0, total;
	if (c->cu.MemGetInfo(&available, &total))
		available = 0;
	return (struct device_memory){.used = c->used, .peak = c->peak, .free = available};
}

void cuda_forget_peak(struct device *d)
{
	cuda_of(d)->peak = cuda_of(d)->used;
}

/* ---- transfers ---- */

static int fail(struct cuda_device *c, int result, const char *call, size_t bytes, struct error *err)
{
	return cuda_stream_error(c, result, err, "cuda device: %s of %zu bytes", call, bytes);
}

int cuda_upload(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	const unsigned char *from = src;
	int result = 0;
	c->after_kernel = false;
	/* One buffer is filled while the other is copied from. */
	for (size_t done = 0, i = 0; done < bytes && !result; i++) {
		size_t n = bytes - done < STAGING_BYTES ? bytes - done : STAGING_BYTES;
		size_t b = i % 2;
		if (i >= 2)
			result = c->cu.EventSynchronize(c->staging.free[b]);
		if (result)
			break;
		memcpy(c->staging.buffer[b], from + done, n);
		result = c->cu.MemcpyHtoDAsync(address_of(dst) + done, c->staging.buffer[b], n, c->stream);
		if (!result)
			result = c->cu.EventRecord(c->staging.free[b], c->stream);
		done += n;
	}
	if (!result)
		result = c->cu.StreamSynchronize(c->stream);
	return result ? fail(c, result, "upload", bytes, err) : 0;
}

int cuda_download(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	unsigned char *to = dst;
	int result = 0;
	c->after_kernel = false;
	for (size_t done = 0; done < bytes && !result;) {
		size_t n = bytes - done < STAGING_BYTES ? bytes - done : STAGING_BYTES;
		result = c->cu.MemcpyDtoHAsync(c->staging.buffer[0], address_of(src) + done, n, c->stream);
		if (!result)
			result = c->cu.StreamSynchronize(c->stream);
		if (!result)
			memcpy(to + done, c->staging.buffer[0], n);
		done += n;
	}
	return result ? fail(c, result, "download", bytes, err) : 0;
}

int cuda_copy(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	int rc = d->capturing ? cuda_record_copy(c, err) : 0;
	if (rc)
		return rc;
	c->after_kernel = false;
	/* Either end may be mapped host memory: the driver tells from the address. */
	int result = c->cu.MemcpyAsync(address_of(dst), address_of(src), bytes, c->stream);
	return result ? fail(c, result, "copy", bytes, err) : 0;
}

int cuda_send(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	struct cuda_device *c = cuda_of(d);
	struct cuda_ring *r = &c->ring;
	c->after_kernel = false;
	int half = r->next / (SEND_SLOTS / 2), result = 0;
	if (r->next % (SEND_SLOTS / 2) == 0 && r->in_use[half])
		result = c->cu.EventSynchronize(r->used[half]);
	unsigned char *slot = r->slots + (size_t)r->next * DEVICE_SEND_MAX;
	if (!result) {
		memcpy(slot, src, bytes);
		result = c->cu.MemcpyHtoDAsync(address_of(dst), slot, bytes, c->stream);
	}
	if (!result) {
		r->next = (r->next + 1) % SEND_SLOTS;
		if (r->next % (SEND_SLOTS / 2) == 0) {
			result = c->cu.EventRecord(r->used[half], c->stream);
			r->in_use[half] = true;
		}
	}
	return result ? fail(c, result, "send", bytes, err) : 0;
}

/* ---- bandwidth ---- */

double device_cuda_bandwidth(struct device *d)
{
	enum { PASSES = 10 };
	const size_t bytes = (size_t)512 << 20; /* ten times the largest cache of a card */
	struct cuda_device *c = cuda_of(d);
	uint64_t a = 0, b = 0;
	struct cu_event *from = NULL, *to = NULL;
	double best = 0;
	/* Past the device's books: this is not the model's memory. */
	int result = c->cu.MemAlloc(&a, bytes);
	if (!result)
		result = c->cu.MemAlloc(&b, bytes);
	if (!result)
		result = c->cu.EventCreate(&from, 0);
	if (!result)
		result = c->cu.EventCreate(&to, 0);
	for (int i = 0; i < PASSES && !result; i++) {
		float ms = 0;
		if (!(result = c->cu.EventRecord(from, c->stream)) &&
		    !(result = c->cu.MemcpyDtoDAsync(b, a, bytes, c->stream)) &&
		    !(result = c->cu.EventRecord(to, c->stream)) && !(result = c->cu.EventSynchronize(to)) &&
		    !(result = c->cu.EventElapsedTime(&ms, from, to)) && ms > 0) {
			double rate = 2.0 * (double)bytes / ((double)ms * 1e-3);
			best = rate > best ? rate : best;
		}
	}
	c->after_kernel = false;
	if (from)
		c->cu.EventDestroy(from);
	if (to)
		c->cu.EventDestroy(to);
	if (a)
		c->cu.MemFree(a);
	if (b)
		c->cu.MemFree(b);
	return best;
}

/* ---- opening ---- */

static int pinned(struct cuda_device *c, size_t bytes, unsigned char **out, struct error *err)
{
	void *p;
	int result = c->cu.MemHostAlloc(&p, bytes, 0);
	if (result)
		return out_of_memory(c, result, "pinned host", bytes, err);
	*out = p;
	return 0;
}

int cuda_memory_open(struct cuda_device *c, struct error *err)
{
	int rc = pinned(c, (size_t)SEND_SLOTS * DEVICE_SEND_MAX, &c->ring.slots, err), result;
	for (int i = 0; i < 2 && !rc; i++) {
		rc = pinned(c, STAGING_BYTES, &c->staging.buffer[i], err);
		if (!rc && ((result = c->cu.EventCreate(&c->staging.free[i], CU_EVENT_FLAG_DISABLE_TIMING)) ||
			    (result = c->cu.EventCreate(&c->ring.used[i], CU_EVENT_FLAG_DISABLE_TIMING))))
			rc = cuda_driver_error(&c->cu, result, err, "cuda device: cuEventCreate");
	}
	return rc;
}

void cuda_memory_close(struct cuda_device *c)
{
	for (size_t i = 0; i < c->n_allocations; i++) {
		if (c->allocations[i].host)
			c->cu.MemFreeHost(c->allocations[i].host);
		else
			c->cu.MemFree(c->allocations[i].address);
	}
	free(c->allocations);
	for (int i = 0; i < 2; i++) {
		if (c->staging.buffer[i])
			c->cu.MemFreeHost(c->staging.buffer[i]);
		if (c->staging.free[i])
			c->cu.EventDestroy(c->staging.free[i]);
		if (c->ring.used[i])
			c->cu.EventDestroy(c->ring.used[i]);
	}
	if (c->ring.slots)
		c->cu.MemFreeHost(c->ring.slots);
}
