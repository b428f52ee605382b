/* Memory of the host device: allocations that are counted, and refused before Linux kills for them. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/device/device_host_internal.h"

enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20 };

size_t device_host_available(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	if (!f)
		return 0;
	size_t kb = 0;
	char line[128];
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "MemAvailable: %zu kB", &kb) == 1)
			break;
	fclose(f);
	return kb << 10;
}

struct device_memory host_memory(struct device *d)
{
	struct host_device *h = host_of(d);
	return (struct device_memory){.used = h->used, .peak = h->peak, .free = device_host_available()};
}

void host_forget_peak(struct device *d)
{
	host_of(d)->peak = host_of(d)->used;
}

int host_alloc(struct device *d, size_t bytes, void **out, struct error *err)
{
	struct host_device *h = host_of(d);
	if (h->n_allocations == h->cap_allocations) {
		size_t cap = h->cap_allocations ? 2 * h->cap_allocations : 256;
		struct host_allocation *a = realloc(h->allocations, cap * sizeof *a);
		if (!a)
			return host_out_of_memory("the list of allocations", err);
		h->allocations = a;
		h->cap_allocations = cap;
	}
	/* Linux promises memory that it does not have; ask before it kills the process. */
	size_t available = device_host_available();
	void *p = NULL;
	if (bytes <= SIZE_MAX - HUGE_PAGE && (available == 0 || bytes <= available)) {
		size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
		p = aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
	}
	if (!p)
		return error_set(err, ERROR_MEMORY, "host device: out of memory: %zu bytes asked, %zu available", bytes,
				 available);
	if (bytes >= HUGE_PAGE)
		madvise(p, bytes, MADV_HUGEPAGE); /* advice only: small pages are slower, not wrong */
	h->allocations[h->n_allocations++] = (struct host_allocation){.p = p, .bytes = bytes};
	h->used += bytes;
	if (h->used > h->peak)
		h->peak = h->used;
	*out = p;
	return 0;
}

void host_free(struct device *d, void *p)
{
	struct host_device *h = host_of(d);
	host_drain(h);
	for (size_t i = 0; i < h->n_allocations; i++) {
		if (h->allocations[i].p != p)
			continue;
		h->used -= h->allocations[i].bytes;
		h->allocations[i] = h->allocations[--h->n_allocations];
		free(p);
		return;
	}
	assert(!"freed memory that this device did not allocate");
}

void host_memory_close(struct host_device *h)
{
	for (size_t i = 0; i < h->n_allocations; i++)
		free(h->allocations[i].p);
	free(h->allocations);
}

int host_upload(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	(void)err;
	host_drain(host_of(d));
	memcpy(dst, src, bytes);
	return 0;
}

int host_download(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	(void)err;
	host_drain(host_of(d));
	memcpy(dst, src, bytes);
	return 0;
}
