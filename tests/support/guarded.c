#include "tests/support/guarded.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/device/device_host.h"
#include "engine/device/device_ops.h"

enum { DEVICES = 8, MAPPED = 16, ALIGNMENT = 64, HUGE_PAGE = 2 << 20 };
/* Of address space; what is not allocated takes no memory, but ASan unpoisons it all. */
static const size_t REGION = (size_t)1 << 27;

/* Mapped memory: the same pages at two addresses. */
struct mapped {
	unsigned char *here; /* for the device */
	unsigned char *host; /* for the host and the other device */
	size_t bytes;
};

struct guarded {
	struct device *d; /* null: free */
	const struct device_ops *host;
	struct device_ops ops;
	unsigned char *space;
	unsigned char *region; /* in space, in huge pages where there are some: few to open and close */
	size_t next;           /* nothing is given twice */
	size_t used, peak;
	struct mapped mapped[MAPPED];
	size_t crossed;
	uint64_t launches; /* of the device's counters, when its queue was empty */
};

static struct guarded devices[DEVICES];

static struct guarded *guarded(const struct device *d)
{
	for (int i = 0; i < DEVICES; i++)
		if (devices[i].d == d)
			return &devices[i];
	abort();
}

static void protect(void *p, size_t bytes, bool open)
{
	if (bytes && mprotect(p, bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE))
		abort();
}

static size_t pages(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	return (bytes + page - 1) / page * page;
}

/* open: a call of the device runs. */
static void turn(struct guarded *g, bool open)
{
	protect(g->region, (g->next + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE, open);
	for (int i = 0; i < MAPPED; i++) {
		struct mapped *m = &g->mapped[i];
		protect(m->here, m->here ? m->bytes : 0, open);
		protect(m->host, m->here ? m->bytes : 0, !open);
	}
}

/* ---- memory ---- */

static int guarded_alloc(struct device *d, size_t bytes, void **out, struct error *err)
{
	struct guarded *g = guarded(d);
	if (bytes > REGION - g->next)
		return error_set(err, ERROR_MEMORY, "guarded device: out of memory: %zu bytes asked", bytes);
	/* Its size is kept in front of it. */
	unsigned char *p = g->region + g->next + ALIGNMENT;
	g->next += ALIGNMENT + (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	turn(g, true);
	memcpy(p - ALIGNMENT, &bytes, sizeof bytes);
	memset(p, 0xff, bytes);
	turn(g, false);
	g->used += bytes;
	g->peak = g->used > g->peak ? g->used : g->peak;
	*out = p;
	return 0;
}

static int guarded_alloc_mapped(struct device *d, size_t bytes, void **out, void **host, struct error *err)
{
	struct guarded *g = guarded(d);
	int i = 0, file = -1;
	while (i < MAPPED && g->mapped[i].here)
		i++;
	struct mapped m = {.bytes = pages(bytes)};
	if (i == MAPPED || (file = memfd_create("mapped", 0)) < 0 || ftruncate(file, (off_t)m.bytes))
		return error_set(err, ERROR_MEMORY, "guarded device: out of memory: %zu mapped bytes asked", bytes);
	m.here = mmap(NULL, m.bytes, PROT_NONE, MAP_SHARED, file, 0);
	m.host = mmap(NULL, m.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	assert(m.here != MAP_FAILED && m.host != MAP_FAILED);
	memset(m.host, 0xff, m.bytes);
	g->mapped[i] = m;
	*out = m.here;
	*host = m.host;
	return 0;
}

static void guarded_free(struct device *d, void *p)
{
	struct guarded *g = guarded(d);
	unsigned char *at = p;
	turn(g, true);
	g->host->synchronize(d, NULL);
	turn(g, false);
	for (int i = 0; i < MAPPED; i++) {
		struct mapped *m = &g->mapped[i];
		if (m->here != at)
			continue;
		munmap(m->here, m->bytes);
		munmap(m->host, m->bytes);
		*m = (struct mapped){0};
		return;
	}
	assert(at > g->region && at < g->region + g->next);
	turn(g, true);
	size_t bytes;
	memcpy(&bytes, at - ALIGNMENT, sizeof bytes);
	memset(at, 0xff, bytes);
	turn(g, false);
	g->used -= bytes;
}

static struct device_memory guarded_memory(struct device *d)
{
	const struct guarded *g = guarded(d);
	return (struct device_memory){.used = g->used, .peak = g->peak, .free = REGION - g->next};
}

static void guarded_forget_peak(struct device *d)
{
	guarded(d)->peak = guarded(d)->used;
}

static void guarded_close(struct device *d)
{
	struct guarded *g = guarded(d);
	turn(g, true);
	g->host->close(d);
	for (int i = 0; i < MAPPED; i++) {
		if (!g->mapped[i].here)
			continue;
		munmap(g->mapped[i].here, g->mapped[i].bytes);
		munmap(g->mapped[i].host, g->mapped[i].bytes);
	}
	munmap(g->space, REGION + HUGE_PAGE);
	*g = (struct guarded){0};
}

static bool in_mapped(const struct guarded *g, const void *p)
{
	const unsigned char *at = p;
	for (int i = 0; i < MAPPED; i++)
		if (g->mapped[i].here && at >= g->mapped[i].here && at < g->mapped[i].here + g->mapped[i].bytes)
			return true;
	return false;
}

static int guarded_copy(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	struct guarded *g = guarded(d);
	int rc = g->host->copy(d, dst, src, bytes, err);
	if (!rc && !d->capturing && in_mapped(g, dst) != in_mapped(g, src))
		g->crossed += bytes;
	return rc;
}

/* ---- what runs the queue ---- */

#define RUNNING(d, call)                                  \
	do {                                              \
		struct guarded *g = guarded(d);           \
		turn(g, true);                            \
		int rc = g->host->call;                   \
		g->launches = (d)->counters.api_launches; \
		turn(g, false);                           \
		return rc;                                \
	} while (0)

/* Where nothing is queued, nothing runs. */
#define RUNNING_QUEUED(d, call)                                         \
	do {                                                            \
		if (guarded(d)->launches == (d)->counters.api_launches) \
			return guarded(d)->host->call;                  \
		RUNNING(d, call);                                       \
	} while (0)

static int guarded_upload(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	RUNNING(d, upload(d, dst, src, bytes, err));
}

static int guarded_download(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	RUNNING(d, download(d, dst, src, bytes, err));
}

static int guarded_synchronize(struct device *d, struct error *err)
{
	RUNNING_QUEUED(d, synchronize(d, err));
}

static int guarded_exec_set_params(struct device *d, struct device_exec *x, int node, const void *params,
				   struct error *err)
{
	RUNNING_QUEUED(d, exec_set_params(d, x, node, params, err));
}

static int guarded_exec_update(struct device *d, struct device_exec *x, struct device_graph *graph, struct error *err)
{
	RUNNING_QUEUED(d, exec_update(d, x, graph, err));
}

static void guarded_event_destroy(struct device *d, struct device_event *e)
{
	struct guarded *g = guarded(d);
	turn(g, true);
	g->host->event_destroy(d, e);
	turn(g, false);
}

static void guarded_exec_destroy(struct device *d, struct device_exec *x)
{
	struct guarded *g = guarded(d);
	turn(g, true);
	g->host->exec_destroy(d, x);
	turn(g, false);
}

int guarded_open(struct device **out, bool far, int n_threads, struct error *err)
{
	struct guarded *g = devices;
	while (g < devices + DEVICES && g->d)
		g++;
	assert(g < devices + DEVICES);
	int rc = device_host_open(out, n_threads, err);
	if (rc)
		return rc;
	*g = (struct guarded){.d = *out, .host = (*out)->ops, .ops = *(*out)->ops};
	g->space = mmap(NULL, REGION + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert(g->space != MAP_FAILED);
	g->region = g->space + (HUGE_PAGE - (uintptr_t)g->space % HUGE_PAGE) % HUGE_PAGE;
	madvise(g->region, REGION, MADV_HUGEPAGE);
	struct device_ops *ops = &g->ops;
	ops->host_memory = !far;
	ops->close = guarded_close;
	ops->alloc = guarded_alloc;
	ops->alloc_mapped = far ? guarded_alloc_mapped : NULL;
	ops->free = guarded_free;
	ops->memory = guarded_memory;
	ops->forget_peak = guarded_forget_peak;
	ops->upload = guarded_upload;
	ops->download = guarded_download;
	ops->copy = guarded_copy;
	ops->synchronize = guarded_synchronize;
	ops->event_destroy = guarded_event_destroy;
	ops->exec_set_params = guarded_exec_set_params;
	ops->exec_update = guarded_exec_update;
	ops->exec_destroy = guarded_exec_destroy;
	(*out)->ops = ops;
	return 0;
}

size_t guarded_crossed(const struct device *d)
{
	return guarded(d)->crossed;
}
