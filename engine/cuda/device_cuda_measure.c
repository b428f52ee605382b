/*
 * A card's memory, measured in a few milliseconds: by turns chains of single loads go through the front of a buffer,
 * and all of it is read as fast as that goes, after which the L2 has nothing of the front. The first turns are for the
 * clocks to rise.
 *
 * Before anything is loaded: the buffer is given back.
 */
#include "engine/cuda/device_cuda_internal.h"
#include "kernels/cuda/memory_geometry.h"

enum {
	TURNS = 24, /* 0.2 ms each on an H100 */
	COUNT_FROM = TURNS / 2,
	BUFFER_BYTES = 512 << 20,
	L2_TIMES = 4, /* the buffer is larger than the L2, at least */
};

struct measuring {
	struct cuda_device *c;
	void *buffer;
	void *left, *left_host; /* what a kernel's blocks leave, in memory of the host's that the card writes */
	struct device_event *from, *to;
	struct cuda_launch read, chain;
	int n_chunks;
};

static int allocate(struct measuring *m, struct error *err)
{
	struct cuda_device *c = m->c;
	struct device *d = &c->base;
	const struct device_ops *ops = d->ops;
	const size_t n = m->read.grid[0];
	const size_t chains = m->chain.grid[0] * (size_t)MEMORY_REGION, bytes = BUFFER_BYTES;
	m->n_chunks = (int)(bytes / (n * MEMORY_CHUNK));
	if (bytes < L2_TIMES * c->facts.l2_bytes || m->n_chunks < L2_TIMES || chains > bytes - c->facts.l2_bytes)
		return error_set(err, ERROR_UNSUPPORTED,
				 "cuda device: %zu bytes are too few to measure a memory behind an L2 of %zu and %d "
				 "multiprocessors",
				 bytes, c->facts.l2_bytes, c->card.n_sm);
	int rc = ops->alloc(d, bytes, &m->buffer, err);
	if (!rc)
		rc = ops->alloc_mapped(d, (n + m->chain.grid[0]) * sizeof(unsigned long long) + n * sizeof(unsigned),
				       &m->left, &m->left_host, err);
	if (!rc)
		rc = ops->event_create(d, &m->from, err);
	return rc ? rc : ops->event_create(d, &m->to, err);
}

/* Of what a kernel's blocks (n) took. */
static double greatest(const unsigned long long *cycles, unsigned n)
{
	unsigned long long most = 0;
	for (unsigned i = 0; i < n; i++)
		most = cycles[i] > most ? cycles[i] : most;
	return (double)most;
}

static double average(const unsigned long long *cycles, unsigned n)
{
	double sum = 0;
	for (unsigned i = 0; i < n; i++)
		sum += (double)cycles[i];
	return sum / n;
}

/* The chains first, so that what is timed is enqueued by the time that it can start. */
static int take_turn(struct measuring *m, struct cuda_memory *out, struct error *err)
{
	struct cuda_device *c = m->c;
	struct device *d = &c->base;
	const struct device_ops *ops = d->ops;
	const unsigned n = m->read.grid[0], n_chains = m->chain.grid[0];
	const unsigned long long *host = m->left_host;
	unsigned long long *cycles = m->left, *chain_cycles = cycles + n;
	unsigned *words = (unsigned *)(chain_cycles + n_chains);
	const double bytes = (double)n * m->n_chunks * MEMORY_CHUNK;
	const struct memory_read_params read = {
		.from = m->buffer, .n_chunks = m->n_chunks, .cycles = cycles, .words = words};
	const struct memory_chain_params chain = {.from = m->buffer, .cycles = chain_cycles, .words = words};
	double us;
	int rc;
	if ((rc = cuda_enqueue(c, &m->chain, &chain, NULL, "memory_chain", err)) ||
	    (rc = ops->event_record(d, m->from, err)) ||
	    (rc = cuda_enqueue(c, &m->read, &read, NULL, "memory_read", err)) ||
	    (rc = ops->event_record(d, m->to, err)) || (rc = ops->event_wait(d, m->to, err)) ||
	    (rc = ops->event_elapsed(d, m->from, m->to, &us, err)))
		return rc;
	*out = (struct cuda_memory){.bytes_s = bytes / (us * 1e-6),
				    .bytes_cycle = bytes / c->card.n_sm / greatest(host, n),
				    .latency_cycles = average(host + n, n_chains) / MEMORY_LOADS};
	return 0;
}

/* Of the turns that count the fastest read, and the least that a load took: whatever else is there only slows down. */
static int measure(struct measuring *m, struct cuda_memory *out, struct error *err)
{
	*out = (struct cuda_memory){0};
	for (int i = 0; i < TURNS; i++) {
		struct cuda_memory now;
		int rc = take_turn(m, &now, err);
		if (rc)
			return rc;
		if (i < COUNT_FROM)
			continue;
		double latency = i == COUNT_FROM || now.latency_cycles < out->latency_cycles ? now.latency_cycles
											     : out->latency_cycles;
		if (i == COUNT_FROM || now.bytes_s > out->bytes_s)
			*out = now;
		out->latency_cycles = latency;
	}
	return 0;
}

static int judge(const struct cuda_memory *m, struct error *err)
{
	struct persistent_limits limits;
	const char *why = cuda_persistent_limits(&limits, m);
	return why ? error_set(err, ERROR_DEVICE,
			       "cuda device: its memory %s: %.4g GB/s, %.4g bytes a cycle, %.4g cycles", why,
			       m->bytes_s * 1e-9, m->bytes_cycle, m->latency_cycles)
		   : 0;
}

int device_cuda_measure(struct cuda_memory *out, struct error *err)
{
	struct cuda_device *c;
	*out = (struct cuda_memory){0};
	int rc = cuda_open_bare(&c, err);
	if (rc)
		return rc;
	struct measuring m = {.c = c};
	struct device *d = &c->base;
	cuda_memory_read_launch(&c->card, &m.read);
	cuda_memory_chain_launch(&c->card, &m.chain);
	if (!(rc = cuda_kernels_open_measuring(c, err)) && !(rc = allocate(&m, err)) && !(rc = measure(&m, out, err)))
		rc = judge(out, err);
	if (m.from)
		d->ops->event_destroy(d, m.from);
	if (m.to)
		d->ops->event_destroy(d, m.to);
	device_close(d); /* which frees */
	if (rc)
		*out = (struct cuda_memory){0};
	return rc;
}

int device_cuda_measure_copies(double *bytes_s, struct error *err)
{
	struct cuda_device *c;
	*bytes_s = 0;
	int rc = cuda_open_bare(&c, err);
	if (rc)
		return rc;
	*bytes_s = device_cuda_bandwidth(&c->base);
	device_close(&c->base);
	return 0;
}
